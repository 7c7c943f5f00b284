//! x02, x06, x07, x08 and the rest of the catalogue: summaries of failed runs. Each failure is produced for real, without
//! a cluster where it needs none.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::ensure;
use libtest_mimic::Trial;

use crate::{repository::Repository, root_test, test};

const LOCAL: [&str; 2] = ["--provider", "local"];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        test(
            "x01_explains_a_compile_error_before_anything_starts",
            compile_error,
        ),
        test(
            "x06_explains_a_service_that_is_not_ready_by_its_response_and_last_lines",
            never_ready,
        ),
        root_test(
            "x07_explains_a_build_killed_for_memory_by_the_available_memory",
            build_killed,
        ),
        test(
            "x08_uses_another_port_if_the_declared_one_is_in_use",
            declared_port_taken,
        ),
        test("explains_a_fixed_port_in_use_by_its_listener", written_port_taken),
        test("explains_a_program_of_another_architecture", other_architecture),
        root_test("explains_a_full_disk_by_the_free_space", disk_full),
        test("explains_an_invalid_crd_by_its_field", invalid_crd),
        test("explains_a_failed_migration_by_its_last_lines", failed_migration),
        test("explains_a_crash_at_start_by_the_last_lines", crash),
        test("explains_a_service_of_another_version", other_version),
        test("explains_an_address_outside_of_the_stack", wrong_url),
        test("explains_an_old_tool_by_the_required_version", tool_too_old),
        root_test(
            "runs_jobs_that_exceed_the_memory_one_after_the_other",
            one_after_the_other,
        ),
    ]
}

/// Checks that a run on the provider `local` fails with this exit code and these texts.
fn fails(repository: &Repository, arguments: &[&str], code: i32, expected: &[&str]) -> anyhow::Result<()> {
    let ended = repository.e2e(&[&LOCAL[..], arguments].concat())?;
    // A failed run is kept for inspection.
    let down = ended
        .id()
        .map(str::to_owned)
        .and_then(|run| repository.run(&["down", &run]));
    ended.ended_with(code)?;
    ended.contains(expected)?;
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
    ended.contains(&["[compile-error]", "--> back/src/main.rs:", "--only compile"])?;
    ensure!(
        !ended.output.contains("cluster  "),
        "the cluster was started:\n{}",
        ended.output
    );
    Ok(())
}

fn never_ready() -> anyhow::Result<()> {
    let repository = with_behaviour("front", "probe")?;
    let expected = [
        "[probe-failing]",
        "last state: 503 {\"status\":\"not_ready\"",
        "\"orders\":{\"status\":\"down\"}",
        "waiting for orders at 10.0.0.1:5432",
        "fix:",
    ];
    fails(&repository, &[], 3, &expected)
}

/// A build that needs more memory than its control group has, like a linker.
const HUNGRY_BUILD: &str = "fn main() { let held: Vec<Vec<u8>> = (0..2048).map(|_| vec![7; 1 << 20]).collect(); \
                            println!(\"cargo::warning={}\", held.len()); }";

fn build_killed() -> anyhow::Result<()> {
    let repository = Repository::new()?;
    fs::write(repository.file("front/build.rs"), HUNGRY_BUILD)?;
    let group = Group::with(1024)?;
    let ended = repository.e2e_in(&group, &LOCAL)?;
    ended.ended_with(3)?;
    ended.contains(&[
        "[killed-for-memory]",
        "SIGKILL",
        "memory for the run:",
        "left in the control group",
        "fix:",
    ])
}

fn declared_port_taken() -> anyhow::Result<()> {
    let (repository, listener) = (Repository::new()?, TcpListener::bind("127.0.0.1:0")?);
    let port = listener.local_addr()?.port();
    repository.edit("deploy/stack.toml", "host = 22081", &format!("host = {port}"))?;
    let ended = repository.e2e(&LOCAL)?;
    ended.ended_with(0)?;
    ended.contains(&[
        &format!("port {port} (front.health) is in use by "),
        &format!(" {})", std::process::id()),
        "; using port ",
    ])
}

fn written_port_taken() -> anyhow::Result<()> {
    let (repository, listener) = (Repository::new()?, TcpListener::bind("127.0.0.1:0")?);
    let address = listener.local_addr()?;
    repository.edit(
        "deploy/config/back.toml",
        "{{ listen.back.health }}",
        &address.to_string(),
    )?;
    let port = format!("port {} is in use by ", address.port());
    let process = format!(" {})", std::process::id());
    let expected = ["[port-in-use]", "Address already in use", &port, &process];
    fails(&repository, &[], 3, &expected)
}

fn other_architecture() -> anyhow::Result<()> {
    let repository = Repository::new()?;
    // ELF header of a program for an unknown processor: e_machine is 0xF00D.
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
    ended.contains(&["[disk-full]", "No space left on device", "MiB free in", "fix:"])?;
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
            "front exited unexpectedly",
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
        &["[wrong-version]", "has another version, 0.0.1-old"],
    )
}

fn wrong_url() -> anyhow::Result<()> {
    let repository = Repository::new()?;
    let expected = [
        "[wrong-url]",
        "not in this stack: 127.0.0.1:9",
        "in this stack: back.health 127.0.0.1:",
    ];
    fails(&repository, &["http://127.0.0.1:9/readyz"], 1, &expected)
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
    ended.contains(&[
        "[tool-too-old]",
        "kind 0.11.1",
        "0.20 or newer is needed",
        "cargo xtask doctor",
    ])
}

/// Two jobs of 300 MiB each: in 512 MiB they are killed if they run at the same time, and run one after the other once
/// their need is measured.
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
    unknown.contains(&["[killed-for-memory]"])?;
    // Without a limit the run passes and measures.
    repository.e2e(&LOCAL)?.ended_with(0)?;
    let known = repository.e2e_in(&group, &LOCAL)?;
    known.ended_with(0)
}

/// A control group with a memory limit.
pub(crate) struct Group(PathBuf);

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
        // Swap would hide the limit.
        let _absent = fs::write(folder.join("memory.swap.max"), "0");
        Ok(Self(folder))
    }

    /// Returns the file to which a process writes its id to enter the group.
    pub(crate) fn procs(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let members = fs::read_to_string(self.procs()).unwrap_or_default();
        let left: Vec<&str> = members.lines().collect();
        if !left.is_empty() {
            let _ended = std::process::Command::new("kill").arg("-9").args(left).status();
        }
        // The group is busy until its last process is reaped.
        let deadline = Instant::now() + Duration::from_secs(10);
        while fs::remove_dir(&self.0).is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A small tmpfs that is mounted on a folder.
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
