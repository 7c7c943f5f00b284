//! Tests of the runner: what it leaves behind, how it explains failures, what it repeats. Each test runs the built
//! `xtask` on the small stack in `tests/stack`, copied out of this repository.
//!
//! Tests that need a real cluster run with `E2E_TEST_KIND=1`; without it they are listed and counted as ignored.

#[cfg(test)]
mod failures;
#[cfg(test)]
mod nothing_left;
#[cfg(test)]
mod on_kind;
#[cfg(test)]
mod repository;
#[cfg(test)]
#[path = "../support/mod.rs"]
mod support;
#[cfg(test)]
mod warm;

#[cfg(test)]
use libtest_mimic::{Arguments, Failed, Trial};

/// Environment variable that enables the tests with clusters.
#[cfg(test)]
const KIND: &str = "E2E_TEST_KIND";

fn main() -> std::process::ExitCode {
    #[cfg(test)]
    return tests();
    #[cfg(not(test))]
    std::process::ExitCode::SUCCESS
}

#[cfg(test)]
fn tests() -> std::process::ExitCode {
    let mut arguments = Arguments::from_args();
    // Each test runs many processes: more tests at a time would only compete for the CPU.
    arguments.test_threads = arguments.test_threads.or(Some(3));
    let mut trials = nothing_left::trials();
    trials.extend(failures::trials());
    trials.extend(on_kind::trials());
    trials.extend(warm::trials());
    let conclusion = libtest_mimic::run(&arguments, trials);
    nothing_left::drop_shared();
    conclusion.exit_code()
}

/// A test that runs everywhere.
#[cfg(test)]
fn test(name: impl Into<String>, body: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> Trial {
    Trial::test(name, move || {
        body().map_err(|error| Failed::from(format!("{error:#}")))
    })
}

/// A test that needs a real cluster.
#[cfg(test)]
fn kind_test(name: impl Into<String>, body: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> Trial {
    let wanted = std::env::var_os(KIND).is_some();
    let test = test(name, body);
    if wanted {
        return test.with_kind("kind");
    }
    test.with_kind(format!("kind: skipped without {KIND}=1"))
        .with_ignored_flag(true)
}

/// A test that creates control groups or mounts, which needs root.
#[cfg(test)]
fn root_test(name: impl Into<String>, body: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> Trial {
    let test = test(name, body);
    if cfg!(target_os = "linux") && rustix::process::geteuid().is_root() {
        return test;
    }
    test.with_kind("skipped without root on Linux")
        .with_ignored_flag(true)
}
