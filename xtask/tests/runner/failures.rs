//! x02, x06, x07, x08 and the rest of the catalogue: what the last screen of a failed run says. Each failure is made
//! for real; what needs no cluster is made without one.

use std::{fs, net::TcpListener, path::Path, time::Duration};

use anyhow::ensure;
use libtest_mimic::Trial;

use crate::{repository::Repository, root_test, test};

const LOCAL: [&str; 2] = ["--provider", "local"];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        test(
            "x01_a_compile_error_is_told_in_seconds_with_its_place",
            compile_error,
        ),
        test(
            "x06_a_service_that_never_gets_ready_is_told_with_its_probes_answer_and_last_lines",
            never_ready,
        ),
        root_test(
            "x07_a_build_killed_for_memory_says_so_with_the_memory_there_was",
            build_killed,
        ),
        test(
            "x08_a_port_in_use_is_told_with_its_holder_and_another_is_taken",
            declared_port_taken,
        ),
        test(
            "a_port_that_is_written_down_and_in_use_is_told_with_its_holder",
            written_port_taken,
        ),
        test("a_program_of_another_architecture_is_told", other_architecture),
        root_test("a_full_disk_is_told_with_what_is_free", disk_full),
        test("an_invalid_crd_is_told_with_the_field", invalid_crd),
        test("a_failed_migration_is_told_with_its_last_lines", failed_migration),
        test("a_service_that_ends_at_once_is_told_with_its_last_lines", crash),
        test("a_service_of_another_version_is_told", other_version),
        test("a_scenario_that_talks_to_another_address_is_told", wrong_url),
        test(
            "a_tool_that_is_too_old_is_told_with_the_version_that_is_needed",
            tool_too_old,
        ),
        root_test(
            "two_that_do_not_fit_side_by_side_run_one_after_the_other",
            one_after_the_other,
        ),
    ]
}

/// A run on the local provider that fails in this way.
fn fails(repository: &Repository, arguments: &[&str], code: i32, says: &[&str]) -> anyhow::Result<()> {
    let ended = repository.e2e(&[&LOCAL[..], arguments].concat())?;
    // What stays for looking at is not looked at here.
    let down = ended
        .id()
        .map(str::to_owned)
        .and_then(|run| repository.run(&["down", &run]));
    ended.ended_with(code)?;
    ended.says(says)?;
    drop(down);
    Ok(())
}

fn with_behaviour(service: &str, behaviour: &str) -> anyhow::Result<Repository> {
    let repository = Repository::new()?;
    let wanted = format!("behaviour = \"{behaviour}\"");
    repository.edit(
        &format!("deploy/config/{service}.toml"),
        "behaviour = \"fine\"",
        &wanted,
    )?;
    Ok(repository)
}

fn compile_error() -> anyhow::Result<()> {
    let repository = Repository::new()?;
    repository.edit("back/src/main.rs", "fn main()", "fn broken( -> {}\nfn main()")?;
    let ended = repository.e2e(&LOCAL)?;
    ended.ended_with(3)?;
    ended.says(&["[compile-error]", "--> back/src/main.rs:", "--only compile"])?;
    ensure!(
        !ended.output.contains("cluster  "),
        "nothing else was begun:\n{}",
        ended.output
    );
    ensure!(ended.took < Duration::from_secs(30), "it took {:?}", ended.took);
    Ok(())
}

fn never_ready() -> anyhow::Result<()> {
    let repository = with_behaviour("front", "probe")?;
    let says = [
        "[probe-failing]",
        "the last state was: 503 {\"status\":\"not_ready\"",
        "\"orders\":{\"status\":\"down\"}",
        "waiting for orders at 10.0.0.1:5432",
        "what to do:",
    ];
    fails(&repository, &[], 3, &says)
}

/// Eats more than its control group may have, as a linker would.
const HUNGRY_BUILD: &str = "fn main() { let food: Vec<Vec<u8>> = (0..2048).map(|_| vec![7; 1 << 20]).collect(); \
                            println!(\"cargo::warning={}\", food.len()); }";

fn build_killed() -> anyhow::Result<()> {
    let repository = Repository::new()?;
    fs::write(repository.file("front/build.rs"), HUNGRY_BUILD)?;
    let group = Group::with(1024)?;
    let ended = repository.e2e_in(&group, &LOCAL)?;
    ended.ended_with(3)?;
    ended.says(&[
        "[killed-for-memory]",
        "SIGKILL",
        "memory for the run:",
        "left in the control group",
        "what to do:",
    ])
}

fn declared_port_taken() -> anyhow::Result<()> {
    let (repository, holder) = (Repository::new()?, TcpListener::bind("127.0.0.1:0")?);
    let port = holder.local_addr()?.port();
    repository.edit("deploy/stack.toml", "host = 22081", &format!("host = {port}"))?;
    let ended = repository.e2e(&LOCAL)?;
    ended.ended_with(0)?;
    let who = format!("(process {})", std::process::id());
    ended.says(&[
        &format!("port {port} of 127.0.0.1 (front.health) is in use by "),
        &who,
        " is taken instead",
    ])
}

fn written_port_taken() -> anyhow::Result<()> {
    let (repository, holder) = (Repository::new()?, TcpListener::bind("127.0.0.1:0")?);
    let address = holder.local_addr()?;
    repository.edit(
        "deploy/config/back.toml",
        "{{ listen.back.health }}",
        &address.to_string(),
    )?;
    let who = format!("port {} has ", address.port());
    let process = format!("(process {})", std::process::id());
    fails(
        &repository,
        &[],
        3,
        &["[port-in-use]", "Address already in use", &who, &process],
    )
}

fn other_architecture() -> anyhow::Result<()> {
    let repository = Repository::new()?;
    // The head of a program for a machine that nobody has: e_machine is 0xF00D.
    let mut program = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x0d\xf0\x01\0\0\0".to_vec();
    program.resize(4096, 0);
    let file = repository.file("deploy/scenarios");
    fs::write(&file, program)?;
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    repository.edit(
        "deploy/stack.toml",
        "package = \"checks\"",
        "command = [\"./scenarios\"]",
    )?;
    fails(
        &repository,
        &[],
        3,
        &["[wrong-architecture]", "xec format error", "deploy/./scenarios"],
    )
}

fn disk_full() -> anyhow::Result<()> {
    let repository = Repository::new()?;
    let target = repository.target();
    let disk = SmallDisk::mount(&target, 24)?;
    let ended = repository.e2e(&LOCAL)?;
    ended.says(&[
        "[disk-full]",
        "No space left on device",
        "MiB free in",
        "what to do:",
    ])?;
    drop(disk);
    ended.ended_with(3)
}

fn invalid_crd() -> anyhow::Result<()> {
    let repository = Repository::new()?;
    repository.edit(
        "deploy/manifests/orders.yaml",
        "scope: Namespaced",
        "scope: Sideways",
    )?;
    fails(
        &repository,
        &[],
        3,
        &["[crd-invalid]", "orders.example.com", "scope", "422"],
    )
}

fn failed_migration() -> anyhow::Result<()> {
    let repository = with_behaviour("back", "migration")?;
    fails(
        &repository,
        &[],
        3,
        &[
            "[migration-failed]",
            "relation \"orders\" already exists",
            "--only migrate",
        ],
    )
}

fn crash() -> anyhow::Result<()> {
    let repository = with_behaviour("front", "crash")?;
    fails(
        &repository,
        &[],
        3,
        &[
            "[crash-loop]",
            "front ended by itself",
            "the key `orders.url` is missing",
        ],
    )
}

fn other_version() -> anyhow::Result<()> {
    let repository = with_behaviour("front", "version")?;
    fails(
        &repository,
        &[],
        3,
        &["[wrong-version]", "answers as another version, 0.0.1-old"],
    )
}

fn wrong_url() -> anyhow::Result<()> {
    let repository = Repository::new()?;
    let says = [
        "[wrong-url]",
        "not this stack's: 127.0.0.1:9",
        "this stack's: back.health 127.0.0.1:",
    ];
    fails(&repository, &["http://127.0.0.1:9/readyz"], 1, &says)
}

fn tool_too_old() -> anyhow::Result<()> {
    let repository = Repository::new()?;
    let tools = repository.file("tools");
    fs::create_dir(&tools)?;
    for (tool, version) in [
        ("podman", "podman version 4.9.4"),
        ("kind", "kind v0.11.1 go1.16.4"),
        ("kubectl", "v1.33.1"),
    ] {
        let file = tools.join(tool);
        fs::write(&file, format!("#!/bin/sh\necho '{version}'\n"))?;
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    }
    let path = format!(
        "{}:{}",
        tools.display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let stack = repository.file("deploy/stack.toml").display().to_string();
    let mut command = repository.command(&["e2e", "--provider", "kind", "--stack", &stack]);
    command.env("PATH", path);
    let ended = crate::repository::finish(command)?;
    ended.ended_with(3)?;
    ended.says(&[
        "[tool-too-old]",
        "kind 0.11.1",
        "0.20 or newer is needed",
        "cargo xtask doctor",
    ])
}

/// Two jobs of 300 MiB each: side by side they are killed in 512 MiB, and run one after the other once a run has
/// measured them.
fn one_after_the_other() -> anyhow::Result<()> {
    let repository = with_behaviour("back", "hungry-job")?;
    let second = "[jobs.index]\nservice = \"back\"\nargs = [\"migrate\"]\nmanifest = \"manifests/migrate.yaml\"\nneeds = []\n\n";
    repository.edit(
        "deploy/stack.toml",
        "[services.back]",
        &format!("{second}[services.back]"),
    )?;
    repository.edit(
        "deploy/stack.toml",
        "needs = [\"migrate\", \"orders\"]",
        "needs = [\"migrate\", \"index\", \"orders\"]",
    )?;
    let group = Group::with(512)?;
    let unknown = repository.e2e_in(&group, &LOCAL)?;
    unknown.ended_with(3)?;
    unknown.says(&["[killed-for-memory]"])?;
    // Nobody limits this one: it passes, and measures.
    repository.e2e(&LOCAL)?.ended_with(0)?;
    let known = repository.e2e_in(&group, &LOCAL)?;
    known.ended_with(0)
}

/// A control group with a limit of memory, which children can be started in.
pub(crate) struct Group(std::path::PathBuf);

impl Group {
    fn with(mebibytes: u64) -> anyhow::Result<Self> {
        let name = format!("runner-tests-{}-{mebibytes}", std::process::id());
        let version_1 = Path::new("/sys/fs/cgroup/memory");
        let (folder, limit) = if version_1.is_dir() {
            (version_1.join(name), "memory.limit_in_bytes")
        } else {
            (Path::new("/sys/fs/cgroup").join(name), "memory.max")
        };
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(limit), (mebibytes << 20).to_string())?;
        // Where there is swap it would take what does not fit.
        let _absent = fs::write(folder.join("memory.swap.max"), "0");
        Ok(Self(folder))
    }

    /// The file that a process writes its number to in order to enter.
    pub(crate) fn door(&self) -> std::path::PathBuf {
        self.0.join("cgroup.procs")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let members = fs::read_to_string(self.door()).unwrap_or_default();
        let left: Vec<&str> = members.lines().collect();
        if !left.is_empty() {
            let _ended = std::process::Command::new("kill").arg("-9").args(left).status();
        }
        // Busy until the last of them is reaped.
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while fs::remove_dir(&self.0).is_err() && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A small file system in memory over a folder.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(folder: &'a Path, mebibytes: u64) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut mount = std::process::Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"])
            .arg(folder);
        ensure!(mount.status()?.success(), "mount failed");
        Ok(Self(folder))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _unmounted = std::process::Command::new("umount")
            .args(["--lazy"])
            .arg(self.0)
            .status();
    }
}
