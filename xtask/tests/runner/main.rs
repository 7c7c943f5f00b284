//! The runner on itself: what it leaves, what it says of each failure, what it does again. Each test runs the built
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
mod warm;

#[cfg(test)]
use libtest_mimic::{Arguments, Failed, Trial};

/// What asks for the tests that make clusters.
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
    // Each runs programs of its own: more at a time than this only wait for one another's CPU.
    arguments.test_threads = arguments.test_threads.or(Some(3));
    let mut trials = nothing_left::trials();
    trials.extend(failures::trials());
    trials.extend(on_kind::trials());
    trials.extend(warm::trials());
    libtest_mimic::run(&arguments, trials).exit_code()
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

/// A test that makes control groups or mounts, which only root may.
#[cfg(test)]
fn root_test(name: impl Into<String>, body: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> Trial {
    let test = test(name, body);
    if cfg!(target_os = "linux") && rustix::process::geteuid().is_root() {
        return test;
    }
    test.with_kind("skipped without root on Linux")
        .with_ignored_flag(true)
}
