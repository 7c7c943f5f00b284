//! PostgreSQL's programs, run as an unprivileged user from a folder that this user can access.

use std::ffi::OsStr;
use std::process;

use anyhow::Context;

use crate::files::{How, copy_tree};
use crate::find::{Programs, Source};
use crate::instance::Instance;
use crate::user::User;

/// Programs and the user as which they run.
pub(super) struct Setup {
    pub(super) programs: Programs,
    pub(super) user: Option<User>,
}

impl Setup {
    /// Returns the command of a program of PostgreSQL, without the PG… variables of this process.
    pub(super) fn command(&self, program: &str, arguments: &[&OsStr]) -> subprocess::Command {
        let mut command = process::Command::new(self.programs.folder.join(program));
        command.args(arguments);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        // On macOS a server without a locale in its environment becomes multithreaded and exits.
        command.env("LC_ALL", "C").current_dir("/");
        let command = subprocess::Command::new(command);
        match self.user {
            Some(user) => command.user(user.id, user.group),
            None => command,
        }
    }

    /// Links the programs into a folder that the user can access, if they are elsewhere.
    pub(super) fn make_reachable(&mut self, instance: &Instance) -> anyhow::Result<()> {
        let Self { programs, user } = self;
        if programs.source == Source::Found || user.is_none_or(|user| user.can_reach(&programs.folder)) {
            return Ok(());
        }
        // The cache is in root's private home. The wheel has bin, lib and share in one folder; the libraries of the
        // client tools, which are not run from there, are outside.
        let tree = programs
            .folder
            .parent()
            .context("the folder of the programs has no parent")?;
        let linked = instance.folder().join("server");
        copy_tree(tree, &linked, How::Link)?;
        programs.folder = linked.join("bin");
        programs.server = programs.folder.join("postgres");
        Ok(())
    }
}
