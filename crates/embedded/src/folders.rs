//! Where things are kept for this user.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::user::User;

/// The user's cache folder: `$XDG_CACHE_HOME`, else `~/Library/Caches` on macOS and `~/.cache` elsewhere; where
/// there is no home, a folder of the user's in the temporary one.
#[must_use]
pub fn user_cache() -> PathBuf {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    // The XDG specification: a path that is not absolute is to be ignored.
    if let Some(cache) = absolute("XDG_CACHE_HOME") {
        return cache;
    }
    match absolute("HOME") {
        Some(home) if cfg!(target_os = "macos") => home.join("Library/Caches"),
        Some(home) => home.join(".cache"),
        None => env::temp_dir().join(format!("cache-{}", own_id())),
    }
}

/// What is fetched and prepared once.
pub(crate) fn cache() -> PathBuf {
    user_cache().join("embedded-servers")
}

/// The folders that may hold instances: the cache, and one that another user can reach where the cache is closed
/// to it (root's home). Both are on disk: a data folder in memory would flatter every benchmark.
pub(crate) fn instance_roots() -> [PathBuf; 2] {
    [
        cache().join("instances"),
        PathBuf::from(format!("/var/tmp/embedded-servers-{}", own_id())),
    ]
}

/// The folder for a new instance whose server runs as `user` (or as us), made if need be.
pub(crate) fn instance_root(user: Option<User>) -> anyhow::Result<PathBuf> {
    let [ours, reachable] = instance_roots();
    let root = match user {
        Some(user) if !user.can_reach(&ours) => reachable,
        _ => ours,
    };
    make_open(&root).with_context(|| format!("make {}", root.display()))?;
    let found = fs::symlink_metadata(&root)?;
    if !found.is_dir() || found.uid() != own_id() {
        // /var/tmp is everybody's.
        bail!("{} belongs to somebody else; remove it", root.display());
    }
    Ok(root)
}

/// Makes a folder, and what is above it, that others may walk into, whatever the umask.
pub(crate) fn make_open(folder: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o755).create(folder) {
        Ok(()) => fs::set_permissions(folder, fs::Permissions::from_mode(0o755)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_open(folder.parent().ok_or(error)?)?;
            make_open(folder)
        }
        Err(error) => Err(error),
    }
}

pub(crate) fn own_id() -> u32 {
    rustix::process::geteuid().as_raw()
}
