//! Copies of file trees, and folders that are created once under a lock.

use std::fs::{self, File, TryLockError};
use std::io;
use std::num::NonZero;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use anyhow::Context;

use crate::folders::make_open;
use crate::user::User;

/// How the files of a tree are copied.
#[derive(Clone, Copy)]
pub(crate) enum How {
    /// Copied, and owned by a user.
    Copy(Option<User>),
    /// Hard-linked where the file system allows it, otherwise copied.
    Link,
}

/// Copies the tree at `from` to `to`, which must not exist. Folders of copied files are private, as PostgreSQL requires,
/// those of linked files accessible for all users.
pub(crate) fn copy_tree(from: &Path, to: &Path, how: How) -> anyhow::Result<()> {
    let mut files = Vec::new();
    make_folders(from, to, how, &mut files)
        .with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    // The time is spent in the kernel per file: a few threads halve it.
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(4);
    let files = Mutex::new(files);
    let next = || files.lock().ok().and_then(|mut files| files.pop());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| -> anyhow::Result<()> {
                    while let Some((from, to)) = next() {
                        copy_file(&from, &to, how)
                            .with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("a thread that copies files panicked")))
        })
    })
}

fn make_folders(from: &Path, to: &Path, how: How, files: &mut Vec<(PathBuf, PathBuf)>) -> io::Result<()> {
    fs::create_dir(to)?;
    match how {
        How::Copy(user) => {
            fs::set_permissions(to, fs::Permissions::from_mode(0o700))?;
            give(to, user)?;
        }
        How::Link => fs::set_permissions(to, fs::Permissions::from_mode(0o755))?,
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            make_folders(&from, &to, how, files)?;
        } else {
            files.push((from, to));
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path, how: How) -> io::Result<()> {
    match how {
        How::Copy(user) => {
            fs::copy(from, to)?;
            give(to, user)
        }
        How::Link => fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop)),
    }
}

/// Changes the owner of a file or folder, if a user is given.
pub(crate) fn give(path: &Path, user: Option<User>) -> io::Result<()> {
    match user {
        Some(user) => chown(path, Some(user.id), Some(user.group)),
        None => Ok(()),
    }
}

/// Locks a file among processes until the returned file is dropped. Prints `waiting` if another process has the lock.
///
/// # Errors
/// If the file cannot be created or locked.
pub fn lock(path: &Path, waiting: &str) -> anyhow::Result<File> {
    let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            subprocess::eprint_line(waiting);
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("lock {}", path.display()));
        }
    }
    Ok(file)
}

/// Creates the folder `path` unless it exists: `create` fills an empty folder, which is then renamed. It is created once,
/// however many processes call this at the same time, and is visible only when it is complete.
pub(crate) fn once(
    path: &Path,
    what: &str,
    create: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(path);
    make_open(folder).with_context(|| format!("create {}", folder.display()))?;
    let waiting = format!(
        "embedded: waiting for another process to create {what} ({})",
        path.display()
    );
    let _lock = lock(&path.with_added_extension("lock"), &waiting)?;
    if path.is_dir() {
        return Ok(());
    }
    let unfinished = tempfile::Builder::new()
        .prefix("unfinished-")
        .tempdir_in(folder)?;
    let content = unfinished.path().join("content");
    make_open(&content)?;
    create(&content)?;
    // The lock file stays: if it were removed, one process could hold it while another creates it again.
    fs::rename(&content, path).with_context(|| format!("move {what} to {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn is_created_once_under_concurrency() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("deep/thing");
        let made = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    once(&path, "the thing", |folder| {
                        made.fetch_add(1, Ordering::SeqCst);
                        fs::write(folder.join("part"), "whole")?;
                        Ok(())
                    })
                    .unwrap();
                    assert_eq!(fs::read_to_string(path.join("part")).unwrap(), "whole");
                });
            }
        });
        assert_eq!(made.load(Ordering::SeqCst), 1);
        let mut left: Vec<_> = fs::read_dir(root.path().join("deep"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["thing", "thing.lock"]);
    }

    #[test]
    fn a_failure_leaves_nothing_and_the_next_call_tries_again() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("thing");
        let failed = once(&path, "the thing", |folder| {
            fs::write(folder.join("part"), "half")?;
            anyhow::bail!("no space left")
        });
        assert!(failed.unwrap_err().to_string().contains("no space left"));
        assert!(!path.exists());
        once(&path, "the thing", |_| Ok(())).unwrap();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    }

    #[test]
    fn a_copied_tree_is_complete_and_independent() {
        let root = tempfile::tempdir().unwrap();
        let from = root.path().join("from");
        fs::create_dir_all(from.join("a/b")).unwrap();
        for number in 0..100 {
            fs::write(from.join(format!("a/b/{number}")), number.to_string()).unwrap();
        }
        let to = root.path().join("to");
        copy_tree(&from, &to, How::Copy(None)).unwrap();
        fs::write(to.join("a/b/7"), "changed").unwrap();
        assert_eq!(fs::read_to_string(from.join("a/b/7")).unwrap(), "7");
        assert_eq!(fs::read_dir(to.join("a/b")).unwrap().count(), 100);
    }
}
