//! PostgreSQL's programs made to run: as a user that they accept, from a place that the user reaches.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process;

use anyhow::Context;
use subprocess::Signal;

use crate::files::{How, bring_tree};
use crate::find::{Programs, Source};
use crate::instance::Instance;
use crate::user::User;

/// What is run, and as whom.
pub(super) struct Setup {
    pub(super) programs: Programs,
    pub(super) user: Option<User>,
}

impl Setup {
    /// One of PostgreSQL's programs, as its user, deaf to the caller's own PostgreSQL settings.
    pub(super) fn command(&self, program: &str, arguments: &[&OsStr]) -> subprocess::Command {
        let mut command = process::Command::new(self.programs.folder.join(program));
        command.args(arguments);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        // On macOS a server with no locale in its environment becomes multithreaded and gives up.
        command.env("LC_ALL", "C").current_dir("/");
        let command = subprocess::Command::new(command);
        match self.user {
            Some(user) => command.user(user.id, user.group),
            None => command,
        }
    }
}

/// The programs, in a place where the user can reach them.
pub(super) fn reachable(
    programs: &Programs,
    user: Option<User>,
    instance: &Instance,
) -> anyhow::Result<Programs> {
    if programs.source == Source::Found || user.is_none_or(|user| user.can_reach(&programs.folder)) {
        return Ok(programs.clone());
    }
    // The cache lies in root's closed home. The wheel holds bin, lib and share in one folder, and the libraries of the
    // client tools, which are not run from here, beside it.
    let tree = programs
        .folder
        .parent()
        .context("the programs lie in no folder")?;
    let linked = instance.folder().join("server");
    bring_tree(tree, &linked, How::Link)?;
    let folder = linked.join("bin");
    Ok(Programs {
        server: folder.join("postgres"),
        folder,
        ..programs.clone()
    })
}

/// The command of the server on this data and port.
pub(super) fn serve(
    setup: &Setup,
    data: PathBuf,
    port: u16,
) -> Box<dyn Fn() -> subprocess::Command + Send + Sync> {
    let setup = Setup {
        programs: setup.programs.clone(),
        user: setup.user,
    };
    Box::new(move || {
        let port = format!("--port={port}");
        // SIGINT is PostgreSQL's fast shutdown, which does not wait for clients to leave.
        setup
            .command("postgres", &["-D".as_ref(), data.as_ref(), port.as_ref()])
            .stop_signal(Signal::INT)
    })
}
