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

/// Returns a file's edits as a unified diff.
pub(crate) fn diff(file: &File, fixed: &str) -> String {
    let (old, new) = (format!("a/{}", file.path), format!("b/{}", file.path));
    TextDiff::from_lines(file.text.as_str(), fixed)
        .unified_diff()
        .header(&old, &new)
        .to_string()
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
