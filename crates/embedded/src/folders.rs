//! Where things are kept for this user.

use std::env;
use std::path::PathBuf;

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
        None => env::temp_dir().join("cache"),
    }
}
