//! Applies the edits that need no decision, and renders them as a diff. Every other byte is kept.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use similar::TextDiff;

use crate::model::{Edit, File};

/// Returns the text of a file with its fixable edits applied; `None` if it has none.
pub(crate) fn fixed(file: &File) -> Option<String> {
    let mut edits: Vec<&Edit> = file
        .findings
        .iter()
        .filter_map(|each| each.edit.as_deref())
        .filter(|it| it.certain)
        .collect();
    edits.sort_by_key(|edit| edit.span.start);
    let mut out = String::with_capacity(file.text.len());
    let mut copied = 0;
    for edit in edits {
        // Two rules may edit one reference: this run applies the first edit, the next run the other.
        let Some(before) = file.text.get(copied..edit.span.start) else {
            continue;
        };
        out.push_str(before);
        out.push_str(&edit.text);
        copied = edit.span.end;
    }
    out.push_str(file.text.get(copied..)?);
    (out != file.text).then_some(out)
}

/// Returns a file's edits as a diff of git, whose paths are relative to the repository in any folder.
pub(crate) fn diff(file: &File, fixed: &str) -> String {
    let name = |side: &str| quoted(&format!("{side}/{}", file.path));
    let (old, new) = (name("a"), name("b"));
    // A name with blanks ends at a tab.
    let end = |name: &str| if name.contains(' ') { "\t" } else { "" };
    let changes = TextDiff::from_lines(file.text.as_str(), fixed)
        .unified_diff()
        .header(&format!("{old}{}", end(&old)), &format!("{new}{}", end(&new)))
        .to_string();
    format!("diff --git {old} {new}\n{changes}")
}

/// Quotes a name as git does if it has control characters, quotes or backslashes.
fn quoted(name: &str) -> String {
    let is_special = |char: char| char.is_ascii_control() || matches!(char, '"' | '\\');
    if !name.contains(is_special) {
        return name.to_owned();
    }
    let mut quoted = String::from("\"");
    for char in name.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            char if char.is_ascii_control() => quoted.push_str(&format!("\\{:03o}", u32::from(char))),
            char => quoted.push(char),
        }
    }
    quoted + "\""
}

/// Replaces a file atomically and keeps its permissions.
pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    // Write to the target of a symbolic link, not over the link.
    let path = path
        .canonicalize()
        .with_context(|| format!("cannot fix {}", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let make = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file()
            .set_permissions(std::fs::metadata(&path)?.permissions())?;
        file.persist(&path)?;
        Ok(())
    };
    make().with_context(|| format!("cannot fix {}", path.display()))
}
