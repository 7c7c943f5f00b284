//! Makes the edits that have one answer, and shows them as a diff. Every other byte stays.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use similar::TextDiff;

use crate::model::{Edit, File};

/// The text of a file with its certain edits made; None without any.
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
        // Two rules about one reference: the first edit counts, a second run makes the other.
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

/// A unified diff of a file's edits.
pub(crate) fn diff(file: &File, fixed: &str) -> String {
    let (old, new) = (format!("a/{}", file.path), format!("b/{}", file.path));
    TextDiff::from_lines(file.text.as_str(), fixed)
        .unified_diff()
        .header(&old, &new)
        .to_string()
}

/// Puts the new text in the place of the old one, whole or not at all, with the file's permissions.
pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    // A link's target is what is changed, not the link.
    let path = path
        .canonicalize()
        .with_context(|| format!("can't fix {}", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let make = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file()
            .set_permissions(std::fs::metadata(&path)?.permissions())?;
        file.persist(&path)?;
        Ok(())
    };
    make().with_context(|| format!("can't fix {}", path.display()))
}
