//! Program for the tests: prints, sleeps, fails and starts children, as its arguments say.

use std::env;
use std::io::{self, Read, Write};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut stdout = io::stdout().lock();
    match arguments.as_slice() {
        // Numbered lines: odd ones to stdout, even ones to stderr.
        ["lines", count] => {
            for number in 1..=parse(count) {
                let line = format!("line {number}\n");
                if number % 2 == 1 {
                    stdout.write_all(line.as_bytes())?;
                    stdout.flush()?;
                } else {
                    io::stderr().write_all(line.as_bytes())?;
                }
            }
        }
        // Prints `text` to stderr and exits with the code.
        ["fail", code, text] => {
            io::stderr().write_all(format!("{text}\n").as_bytes())?;
            return Ok(ExitCode::from(u8::try_from(parse(code)).unwrap_or(1)));
        }
        // Prints its process id and that of a child, then waits to be ended.
        ["family"] => {
            let child = Command::new(env::current_exe()?).arg("forever").spawn()?;
            writeln!(stdout, "family {} {}", std::process::id(), child.id())?;
            stdout.flush()?;
            drop(stdout);
            forever();
        }
        ["forever"] => forever(),
        // Starts a child that holds its output open, and succeeds.
        ["leave"] => {
            let child = Command::new(env::current_exe()?).arg("forever").spawn()?;
            writeln!(stdout, "left {}", child.id())?;
        }
        ["bytes", count] => {
            let block = [b'x'; 8192];
            let mut left = parse(count);
            while left > 0 {
                let next = left.min(block.len());
                stdout.write_all(&block[..next])?;
                left -= next;
            }
        }
        // Fills this many mebibytes of memory.
        ["eat", mebibytes] => {
            let memory = vec![7_u8; parse(mebibytes) << 20];
            writeln!(
                stdout,
                "{}",
                memory.iter().map(|byte| u64::from(*byte)).sum::<u64>()
            )?;
        }
        // Counts the bytes of its input.
        ["count"] => {
            let count = io::copy(&mut io::stdin(), &mut io::sink())?;
            writeln!(stdout, "{count}")?;
        }
        // Reads this many bytes, then fails without reading the rest.
        ["choke", count] => {
            let mut bytes = vec![0; parse(count)];
            io::stdin().read_exact(&mut bytes)?;
            io::stderr().write_all(b"no space left\n")?;
            return Ok(ExitCode::from(4));
        }
        ["show", name] => {
            let value = env::var(name).unwrap_or_else(|_| "unset".to_owned());
            writeln!(stdout, "{name}={value} in {}", env::current_dir()?.display())?;
            stdout.flush()?;
            drop(stdout);
            forever();
        }
        // Starts a recorded child, detaches it and exits.
        ["detach", record, log] => {
            let mut command = Command::new(env::current_exe()?);
            command
                .args(["show", "COLOUR"])
                .env("COLOUR", "green")
                .stdin(Stdio::null());
            subprocess::Command::new(command)
                .record(*record)
                .log(*log)
                .spawn()
                .map_err(other)?
                .detach();
        }
        // Runs a child that has a child, and waits for it.
        ["parent"] => {
            let mut family = Command::new(env::current_exe()?);
            family.arg("family");
            let print = |line: &str| {
                let _reader_is_gone = writeln!(io::stdout(), "{line}");
            };
            drop(stdout);
            let family = subprocess::Command::new(family).observe(print);
            family.run(&subprocess::Cancel::never()).map_err(other)?;
        }
        // Waits for a second and prints how often it was woken.
        ["wait-idle"] => {
            let mut sleep = Command::new("sleep");
            sleep.arg("1");
            let before = switches()?;
            let cancel = subprocess::Cancel::new();
            let limit = Duration::from_secs(60);
            subprocess::Command::new(sleep)
                .deadline(limit)
                .run(&cancel)
                .map_err(other)?;
            writeln!(stdout, "{}", switches()? - before)?;
        }
        _ => return Ok(ExitCode::from(2)),
    }
    Ok(ExitCode::SUCCESS)
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}

fn parse(number: &str) -> usize {
    number.parse().unwrap_or_default()
}

fn forever() -> ! {
    loop {
        thread::park();
    }
}

/// Returns how often the live threads of this process gave up the CPU, which the load of the machine does not change. The
/// only code that lists threads, so not in `proc`.
fn switches() -> io::Result<u64> {
    let mut sum = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let status = std::fs::read_to_string(task?.path().join("status"))?;
        sum += status
            .lines()
            .filter(|line| line.starts_with("voluntary_ctxt_switches"))
            .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
            .sum::<u64>();
    }
    Ok(sum)
}
