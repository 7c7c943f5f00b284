//! `cargo xtask bench e2e`: the three orders of the same run, one after the other in turn, several times.
//!
//! The cluster is cold each time, the compile cache warm: what differs is the order alone. Each run is a run of
//! `cargo xtask e2e` as anyone calls it; the figures are read from its report.json. One quick scenario runs at the
//! end, so that "up" is proved and the scenarios' own time does not thin the ratio.

use std::{collections::BTreeMap, fmt::Write as _, fs, io::Write as _, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use report::Document;
use subprocess::Cancel;

use crate::run_folder::{self, Provider};

/// The scenario that proves that the stack is up.
const SCENARIO: &str = "g16";

/// The order that the others are compared with comes last.
const ORDERS: [&str; 3] = ["graph", "phased", "sequential"];

/// A run on a machine that others use too.
const LONGEST_RUN: Duration = Duration::from_secs(3600);

/// Where docs/benchmarks.md has the part that this bench writes.
const BEGIN: &str = "<!-- bench e2e: begin -->";
const END: &str = "<!-- bench e2e: end -->";

/// Measure a run in its three orders: cold cluster, warm compile cache
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Runs of each order
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Where the stack runs
    #[arg(long, value_enum, default_value = "kind")]
    provider: Provider,
    /// Renew this bench's part of docs/benchmarks.md
    #[arg(long)]
    write: bool,
}

/// One measured run.
#[derive(Debug, Clone)]
struct Measured {
    /// Seconds until the scenarios began: everything is built, deployed and ready.
    up: f64,
    document: Document,
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options {
        runs,
        provider,
        write,
    } = options;
    if runs == 0 {
        bail!("--runs must be at least 1");
    }
    let mut measured: BTreeMap<&str, Vec<Measured>> = BTreeMap::new();
    // Once before, uncounted: afterwards the compile cache and the images are warm for all alike.
    measure(provider, ORDERS[0])?;
    for round in 1..=runs {
        for order in ORDERS {
            eprintln!("round {round} of {runs}: {order}");
            measured.entry(order).or_default().push(measure(provider, order)?);
        }
    }
    let text = markdown(provider, runs, &measured);
    std::io::stdout().lock().write_all(text.as_bytes())?;
    if write {
        renew(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(provider: Provider, order: &str) -> anyhow::Result<Measured> {
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.args([
        "e2e",
        SCENARIO,
        "--provider",
        &provider.to_string(),
        "--order",
        order,
        "--format",
        "json",
    ]);
    // A failed run must not leave a cluster to the next one.
    command.env("CI", "true");
    let command = subprocess::Command::new(command).name(format!("a run in the order {order}"));
    let output = command.deadline(LONGEST_RUN).capture(&Cancel::never())?;
    let document: Document =
        serde_json::from_slice(&output.stdout).context("the run's report can't be read")?;
    let test = document.tasks.iter().find(|task| task.name == "test");
    let up = test
        .and_then(|task| task.start)
        .context("the scenarios never began")?;
    Ok(Measured { up, document })
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (
        values.len() % 2,
        values.get(middle),
        middle.checked_sub(1).and_then(|before| values.get(before)),
    ) {
        (0, Some(upper), Some(lower)) => f64::midpoint(*lower, *upper),
        (_, Some(middle), _) => *middle,
        _ => f64::NAN,
    }
}

fn markdown(provider: Provider, runs: usize, measured: &BTreeMap<&str, Vec<Measured>>) -> String {
    let up = |order: &str| -> Vec<f64> {
        measured
            .get(order)
            .into_iter()
            .flatten()
            .map(|run| run.up)
            .collect()
    };
    let sequential = median(up("sequential"));
    let mut text = String::new();
    let machine = measured
        .values()
        .flatten()
        .next()
        .map(|run| &run.document.machine);
    if let Some(machine) = machine {
        let gib = machine.memory_bytes as f64 / f64::from(1 << 30);
        let _ = writeln!(
            text,
            "Provider {provider}, {}, {} CPUs, {gib:.0} GiB; {runs} runs of each order in turn, cold cluster, warm \
             compile cache. Seconds until the scenarios begin.\n",
            machine.system, machine.cpus
        );
    }
    text.push_str("| order | median | runs | against sequential |\n|---|---|---|---|\n");
    for order in ORDERS {
        let all = up(order);
        let shown: Vec<String> = all.iter().map(|seconds| format!("{seconds:.1}")).collect();
        let middle = median(all);
        let _ = writeln!(
            text,
            "| {order} | {middle:.1} s | {} | {:.2} |",
            shown.join(", "),
            middle / sequential
        );
    }
    let _ = writeln!(
        text,
        "\nGraph against phased: {:.2}.",
        median(up("graph")) / median(up("phased"))
    );
    text + &chain(measured.get("graph").map_or(&[][..], Vec::as_slice))
}

/// The chain that bounded the graph's median run, and how near the run came to the longest chain.
fn chain(runs: &[Measured]) -> String {
    let middle = median(runs.iter().map(|run| run.up));
    let distance = |run: &&Measured| (run.up - middle).abs();
    let Some(run) = runs
        .iter()
        .min_by(|one, other| distance(one).total_cmp(&distance(other)))
    else {
        return String::new();
    };
    let longest: f64 = run.document.longest_chain.iter().map(|link| link.cost).sum();
    let mut text = format!(
        "Wall time against the longest chain of its own tasks: {:.2}. The chain that bounded it:\n\n\
         | task | seconds |\n|---|---|\n",
        run.document.seconds / longest
    );
    for link in &run.document.bounding_chain {
        let _ = writeln!(text, "| {} | {:.1} |", link.task, link.cost);
    }
    text
}

/// Replaces this bench's part of docs/benchmarks.md.
fn renew(text: &str) -> anyhow::Result<()> {
    let path = run_folder::workspace().join("docs/benchmarks.md");
    let page = fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
    let page = replaced(&page, text).with_context(|| format!("{} has no {BEGIN} … {END}", path.display()))?;
    fs::write(&path, page).with_context(|| format!("can't write {}", path.display()))
}

fn replaced(page: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{text}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_between_the_middle_two() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median([7.0]), 7.0);
    }

    #[test]
    fn only_its_own_part_of_the_page_is_renewed() {
        let page = format!("# A\n{BEGIN}\nold\n{END}\n# B\n");
        let renewed = replaced(&page, "new\n").unwrap();
        assert_eq!(renewed, format!("# A\n{BEGIN}\n\nnew\n\n{END}\n# B\n"));
        assert_eq!(replaced(&renewed, "new\n").unwrap(), renewed);
        assert!(replaced("# A\n", "new").is_none());
    }
}
