//! Globs of files.

use std::sync::atomic::{AtomicBool, Ordering};

use globset::{GlobBuilder, GlobMatcher};
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// Compiles a glob of paths relative to the repository root: `*` is within one folder, `**` any folders, a trailing `/`
/// means everything in a folder.
pub(crate) fn path_glob(text: &str) -> Result<GlobMatcher, String> {
    let body = text.trim_start_matches("./").trim_start_matches('/');
    let body = match body.strip_suffix('/') {
        Some(folder) => format!("{folder}/**"),
        None => body.to_owned(),
    };
    let glob = GlobBuilder::new(&body).literal_separator(true).build();
    Ok(glob.map_err(|error| error.to_string())?.compile_matcher())
}

/// Files that the policy excludes, in the syntax of `.gitignore`. Records which patterns matched.
#[derive(Debug)]
pub(crate) struct Excluded {
    rules: Gitignore,
    patterns: Vec<(String, AtomicBool)>,
}

impl Default for Excluded {
    fn default() -> Self {
        Excluded {
            rules: Gitignore::empty(),
            patterns: Vec::new(),
        }
    }
}

impl Excluded {
    /// Compiles patterns. Returns the errors with the indices of their patterns too.
    pub(super) fn new<'a>(patterns: impl Iterator<Item = &'a str>) -> (Excluded, Vec<(usize, String)>) {
        let mut builder = GitignoreBuilder::new("");
        let mut errors = Vec::new();
        let mut kept = Vec::new();
        for (index, pattern) in patterns.enumerate() {
            if let Err(error) = builder.add_line(None, pattern) {
                errors.push((index, error.to_string()));
            }
            kept.push((pattern.to_owned(), AtomicBool::new(false)));
        }
        let rules = builder.build().unwrap_or_else(|error| {
            errors.push((0, error.to_string()));
            Gitignore::empty()
        });
        (
            Excluded {
                rules,
                patterns: kept,
            },
            errors,
        )
    }

    /// Returns whether a file is excluded.
    pub(crate) fn matches(&self, path: &str) -> bool {
        if self.patterns.is_empty() || path.starts_with('/') || path.starts_with("..") {
            return false;
        }
        let found = self.rules.matched_path_or_any_parents(path, false);
        let glob = found.inner();
        let used = glob.and_then(|glob| {
            self.patterns
                .iter()
                .find(|(pattern, _)| pattern == glob.original())
        });
        if let Some((_, used)) = used {
            used.store(true, Ordering::Relaxed);
        }
        found.is_ignore()
    }

    /// Returns the indices of patterns that matched no file so far.
    pub(crate) fn unused(&self) -> impl Iterator<Item = (usize, &str)> {
        let patterns = self.patterns.iter().enumerate();
        patterns
            .filter(|(_, (_, used))| !used.load(Ordering::Relaxed))
            .map(|(index, (pattern, _))| (index, pattern.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_stays_within_a_folder() {
        let matches = |glob: &str, path: &str| path_glob(glob).unwrap().is_match(path);
        assert!(matches("services/*/Dockerfile", "services/a/Dockerfile"));
        assert!(!matches("services/*/Dockerfile", "services/a/deep/Dockerfile"));
        assert!(matches("services/**/Dockerfile", "services/a/deep/Dockerfile"));
        assert!(matches("services/", "services/a/Dockerfile"));
        assert!(matches("/a/{b,c}.yaml", "a/c.yaml"));
        assert!(!matches("Dockerfile", "a/Dockerfile"));
    }

    #[test]
    fn excludes_as_git_ignores() {
        let excluded = |pattern: &str, path: &str| Excluded::new([pattern].into_iter()).0.matches(path);
        for pattern in ["vendor/", "vendor", "/vendor/**", "vendor/**", "**/vendor/**"] {
            assert!(excluded(pattern, "vendor/a/Dockerfile"), "{pattern}");
        }
        assert!(excluded("vendor/", "a/vendor/b/Dockerfile"));
        assert!(excluded("*.yaml", "a/b.yaml"));
        assert!(!excluded("/vendor", "a/vendor/Dockerfile"));
        assert!(!excluded("a/*.yaml", "a/b/c.yaml"));
        let (both, _) = Excluded::new(["out/", "*.yaml", "!a.yaml"].into_iter());
        assert!(both.matches("b.yaml"));
        assert!(!both.matches("a.yaml"));
        assert_eq!(both.unused().collect::<Vec<_>>(), [(0, "out/")]);
    }
}
