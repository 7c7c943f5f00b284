//! Compiler errors in a log of cargo.

/// Maximum number of errors: the first is the cause, later ones often follow from it.
const MAX_ERRORS: usize = 3;

/// Maximum number of lines of one error.
const MAX_LINES: usize = 15;

/// Returns the first errors of the compiler; the last lines of cargo only count them.
pub(super) fn errors(log: &str) -> Option<String> {
    let mut blocks: Vec<Vec<&str>> = Vec::new();
    let mut inside = false;
    for line in log.lines() {
        let begins = line.starts_with("error: ") || line.starts_with("error[");
        // Cargo's summary of rustc's errors.
        let counts = line.starts_with("error: could not compile") || line.starts_with("error: aborting");
        if line.is_empty() || counts {
            inside = false;
        } else if begins {
            inside = blocks.len() < MAX_ERRORS;
            if inside {
                blocks.push(Vec::new());
            }
        }
        if let Some(block) = blocks
            .last_mut()
            .filter(|block| inside && block.len() < MAX_LINES)
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
    fn returns_first_errors_without_cargos_summary() {
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
