//! Template of a cluster, created by initdb once per PostgreSQL version and copied for each instance: initdb takes a
//! second, a copy a fraction of it.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use subprocess::Cancel;

use super::SUPERUSER;
use super::setup::Setup;
use crate::files::{How, copy_tree, give, once};
use crate::folders::cache;
use crate::instance::Instance;

/// Role and database of the template; renamed in the copy.
pub(super) const ROLE: &str = "embedded";
pub(super) const DATABASE: &str = "embedded";
/// File with the settings of an instance, in its data folder.
const SETTINGS: &str = "embedded.conf";

const DEADLINE: Duration = Duration::from_secs(120);

/// Fills the data folder with a copy of the cached template, and sets names and passwords.
pub(super) fn fill(
    setup: &Setup,
    instance: &Instance,
    statements: &str,
    settings: &str,
) -> anyhow::Result<()> {
    let template = get(setup, instance.folder())?;
    let data = instance.folder().join("data");
    copy_tree(&template, &data, How::Copy(setup.user))?;
    single_user(setup, &data, statements).context("set names and passwords")?;
    let file = data.join(SETTINGS);
    fs::write(&file, settings).with_context(|| format!("write {}", file.display()))?;
    Ok(give(&file, setup.user)?)
}

/// Returns the template of these programs; if there is none, creates it in a folder inside `work`.
fn get(setup: &Setup, work: &Path) -> anyhow::Result<PathBuf> {
    let path = cache().join("templates").join(name(setup)?);
    once(&path, "the template of a PostgreSQL cluster", |folder| {
        // The user of the server may not have access to the cache.
        let cluster = work.join("template");
        initialize(setup, &cluster)?;
        fs::remove_dir(folder)?;
        copy_tree(&cluster, folder, How::Copy(None))?;
        Ok(fs::remove_dir_all(&cluster)?)
    })?;
    Ok(path)
}

/// Another build of the same version may have another format.
fn name(setup: &Setup) -> anyhow::Result<String> {
    let server = &setup.programs.server;
    let file = fs::metadata(server).with_context(|| format!("read {}", server.display()))?;
    let mut hasher = DefaultHasher::new();
    (file.len(), file.mtime(), SETTINGS, 2).hash(&mut hasher);
    Ok(format!(
        "postgresql-{}-{:016x}",
        setup.programs.version,
        hasher.finish()
    ))
}

fn initialize(setup: &Setup, cluster: &Path) -> anyhow::Result<()> {
    // initdb reads the password from a file. It is no secret: each copy replaces it.
    let mut password = tempfile::NamedTempFile::new_in(cluster.parent().unwrap_or(cluster))?;
    password.write_all(b"replaced in every copy\n")?;
    give(password.path(), setup.user)?;
    fs::create_dir(cluster)?;
    give(cluster, setup.user)?;

    let mut password_file = std::ffi::OsString::from("--pwfile=");
    password_file.push(password.path());
    let username = format!("--username={SUPERUSER}");
    let arguments: [&std::ffi::OsStr; 8] = [
        "-D".as_ref(),
        cluster.as_ref(),
        username.as_ref(),
        password_file.as_ref(),
        "--auth=scram-sha-256".as_ref(),
        "--encoding=UTF8".as_ref(),
        "--no-locale".as_ref(),
        "--no-sync".as_ref(),
    ];
    setup
        .command("initdb", &arguments)
        .name("create a PostgreSQL cluster")
        .deadline(DEADLINE)
        .run(&Cancel::never())?;
    single_user(
        setup,
        cluster,
        &format!("CREATE ROLE {ROLE} LOGIN;\nCREATE DATABASE {DATABASE} OWNER {ROLE};\n"),
    )?;

    let settings = cluster.join("postgresql.conf");
    let mut text = fs::read_to_string(&settings).with_context(|| format!("read {}", settings.display()))?;
    text.push_str(&format!("\ninclude_if_exists '{SETTINGS}'\n"));
    fs::write(&settings, text).with_context(|| format!("write {}", settings.display()))
}

/// Executes statements, one per line, in a cluster that is not running.
fn single_user(setup: &Setup, cluster: &Path, statements: &str) -> anyhow::Result<()> {
    let arguments: [&std::ffi::OsStr; 9] = [
        "--single".as_ref(),
        "-F".as_ref(),
        "-D".as_ref(),
        cluster.as_ref(),
        // By default a failing statement is ignored.
        "-c".as_ref(),
        "exit_on_error=on".as_ref(),
        "-c".as_ref(),
        "log_checkpoints=off".as_ref(),
        SUPERUSER.as_ref(),
    ];
    setup
        .command("postgres", &arguments)
        .name("prepare a PostgreSQL cluster")
        .input(statements)
        .deadline(DEADLINE)
        .run(&Cancel::never())?;
    Ok(())
}
