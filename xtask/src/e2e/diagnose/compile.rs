//! What a failed task's log says beyond its last lines.

/// Blocks of a compiler that are shown: the first is the cause, later ones often follow from it.
const MOST_ERRORS: usize = 3;

/// Lines of one of them.
const MOST_LINES: usize = 15;

/// The first errors of a compiler in a log of cargo, whole: its last lines only count them.
pub(super) fn errors(log: &str) -> Option<String> {
    let mut blocks: Vec<Vec<&str>> = Vec::new();
    let mut inside = false;
    for line in log.lines() {
        let begins = line.starts_with("error: ") || line.starts_with("error[");
        // Cargo's own counts of what rustc has said.
        let counts = line.starts_with("error: could not compile") || line.starts_with("error: aborting");
        if line.is_empty() || counts {
            inside = false;
        } else if begins {
            inside = blocks.len() < MOST_ERRORS;
            if inside {
                blocks.push(Vec::new());
            }
        }
        if let Some(block) = blocks
            .last_mut()
            .filter(|block| inside && block.len() < MOST_LINES)
        {
            block.push(line);
        }
    }
    let text: Vec<String> = blocks.iter().map(|block| block.join("\n    ")).collect();
    (!text.is_empty()).then(|| format!("    {}", text.join("\n\n    ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_errors_are_shown_whole_and_cargos_counts_are_not() {
        let log = "$ cargo check\n    Checking a v1\nwarning: unused\n --> a.rs:1:1\n\nerror: expected `;`\n \
                   --> datastorage/src/lib.rs:7:3\n  |\n7 | fn broken( -> {}\n\nerror[E0432]: unresolved\n --> b.rs:1:1\n\n\
                   error: could not compile `a` (lib) due to 2 previous errors\n";
        let shown = errors(log).unwrap();
        assert!(
            shown.starts_with("    error: expected `;`\n     --> datastorage/src/lib.rs:7:3"),
            "{shown}"
        );
        assert!(shown.contains("error[E0432]: unresolved"), "{shown}");
        assert!(
            !shown.contains("could not compile") && !shown.contains("warning"),
            "{shown}"
        );
        assert_eq!(errors("    Finished\n"), None);
    }
}
