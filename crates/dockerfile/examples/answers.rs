//! Prints the references, stages and problems of each file named on standard input, one JSON line per file, in the form of `oracle/`.

use std::io::{BufRead, Write};

use dockerfile::{BuildArguments, Unresolved};
use serde_json::json;

fn main() -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for path in std::io::stdin().lock().lines() {
        let path = path?;
        let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
        let file = dockerfile::parse(&text);
        let images = dockerfile::images(&file, &BuildArguments::new());
        let problems: Vec<_> = file
            .problems
            .iter()
            .chain(&images.problems)
            .map(ToString::to_string)
            .collect();
        let references: Vec<_> = images
            .references
            .iter()
            .map(|it| {
                let missing = matches!(it.image, Err(Unresolved::Missing(_)));
                json!({
                    "line": it.line, "kind": it.kind.name(), "raw": it.raw, "expanded": it.expanded,
                    "normalized": it.image.as_ref().ok().map(ToString::to_string),
                    "error": it.image.as_ref().err().map(ToString::to_string), "missing": missing,
                })
            })
            .collect();
        let stages: Vec<_> = images
            .stages
            .iter()
            .map(|stage| stage.name.clone().unwrap_or_default())
            .collect();
        writeln!(
            out,
            "{}",
            json!({"path": path, "references": references, "stages": stages, "problems": problems})
        )?;
    }
    Ok(())
}
