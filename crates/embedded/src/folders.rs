//! Folders of this user.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::user::User;

/// Returns the user's cache folder: `$XDG_CACHE_HOME`, otherwise `~/Library/Caches` on macOS and `~/.cache` elsewhere;
/// without a home, a folder for the user in the temporary one.
#[must_use]
pub fn user_cache() -> PathBuf {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    // XDG specification: a relative path is ignored.
    if let Some(cache) = absolute("XDG_CACHE_HOME") {
        return cache;
    }
    match absolute("HOME") {
        Some(home) if cfg!(target_os = "macos") => home.join("Library/Caches"),
        Some(home) => home.join(".cache"),
        None => env::temp_dir().join(format!("cache-{}", own_id())),
    }
}

/// Returns the folder of everything that is fetched or prepared once.
pub(crate) fn cache() -> PathBuf {
    user_cache().join("embedded-servers")
}

/// Returns the folders that may contain instances: one in the cache, and one for servers of another user where that
/// user cannot access the cache (root's home). Both are on disk: a data folder in memory would distort benchmarks.
pub(crate) fn instance_roots() -> [PathBuf; 2] {
    [
        cache().join("instances"),
        PathBuf::from(format!("/var/tmp/embedded-servers-{}", own_id())),
    ]
}

/// Returns, and creates, the folder for new instances whose server runs as `user` (or as this user).
pub(crate) fn instance_root(user: Option<User>) -> anyhow::Result<PathBuf> {
    let [ours, reachable] = instance_roots();
    let root = match user {
        Some(user) if !user.can_reach(&ours) => reachable,
        _ => ours,
    };
    make_open(&root).with_context(|| format!("create {}", root.display()))?;
    let found = fs::symlink_metadata(&root)?;
    if !found.is_dir() || found.uid() != own_id() {
        // All users can write to /var/tmp.
        bail!("{} belongs to another user; remove it", root.display());
    }
    Ok(root)
}

/// Creates a folder, accessible for other users whatever the umask is.
pub(crate) fn create_open(folder: &Path) -> io::Result<()> {
    fs::create_dir(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

/// Creates a folder and its parents, accessible for other users whatever the umask is.
pub(crate) fn make_open(folder: &Path) -> io::Result<()> {
    match create_open(folder) {
        Ok(()) => Ok(()),
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
