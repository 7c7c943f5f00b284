//! The user as which a server runs when this process is root.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::bail;

/// User and group ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    pub(crate) id: u32,
    pub(crate) group: u32,
}

/// Returns the unprivileged user for PostgreSQL; none if this process is not root.
pub(crate) fn unprivileged() -> anyhow::Result<Option<User>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    for name in ["postgres", "_postgres", "nobody"] {
        if let Some(user) = find(&users, name) {
            return Ok(Some(user));
        }
    }
    bail!(
        "cannot run PostgreSQL as root, and there is neither a user postgres nor a user nobody; \
         run this as another user, or call `useradd --system postgres`"
    )
}

fn find(users: &str, name: &str) -> Option<User> {
    let line = users
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let mut fields = line.split(':').skip(1);
    // On macOS the ids of nobody are -2.
    let mut number = || fields.next()?.parse::<i64>().ok().map(|number| number as u32);
    Some(User {
        id: number()?,
        group: number()?,
    })
}

impl User {
    /// Whether this user can access `path`, as far as it exists.
    pub(crate) fn can_reach(self, path: &Path) -> bool {
        path.ancestors()
            .filter_map(|folder| fs::metadata(folder).ok())
            .all(|folder| {
                let needed = if folder.uid() == self.id {
                    0o100
                } else if folder.gid() == self.group {
                    0o010
                } else {
                    0o001
                };
                folder.mode() & needed != 0
            })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn reads_the_user_files_of_linux_and_macos() {
        let users = "root:x:0:0::/root:/bin/sh\nnobody2:x:5:6::/:/\nnobody:*:-2:-2:Unprivileged:/var/empty:/usr/bin/false\n";
        assert_eq!(
            find(users, "nobody"),
            Some(User {
                id: 4_294_967_294,
                group: 4_294_967_294
            })
        );
        assert_eq!(find(users, "postgres"), None);
    }

    #[test]
    fn a_folder_below_a_private_one_is_not_accessible() {
        let root = tempfile::tempdir().unwrap();
        let below = root.path().join("closed/open");
        fs::create_dir_all(&below).unwrap();
        let nobody = User {
            id: 65_534,
            group: 65_534,
        };
        for (mode, expected) in [(0o755, true), (0o700, false), (0o711, true)] {
            fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
            fs::set_permissions(root.path().join("closed"), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(nobody.can_reach(&below), expected, "{mode:o}");
        }
    }
}
