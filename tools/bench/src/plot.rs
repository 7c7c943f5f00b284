//! Plots as SVG in docs/plots/.

mod lines;

use std::fs;

use anyhow::Context;
use minijinja::{AutoEscape, Environment, value::Serde};
use serde::Serialize;

pub(crate) use self::lines::{Line, lines};
use crate::workspace;

/// Writes a plot and returns the Markdown that shows it on docs/benchmarks.md.
pub(crate) fn write(name: &str, title: &str, svg: &str) -> anyhow::Result<String> {
    let file = format!("plots/{name}.svg");
    let path = workspace::root().join("docs").join(&file);
    fs::create_dir_all(path.parent().unwrap_or(&path))?;
    fs::write(&path, svg).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(format!("![{title}]({file})\n"))
}

/// Renders groups of bars; the calling code computes all geometry.
pub(crate) fn bars(picture: &impl Serialize) -> anyhow::Result<String> {
    let mut templates = Environment::new();
    templates.set_auto_escape_callback(|_| AutoEscape::Html);
    templates.add_template("bars.svg", include_str!("plot/bars.svg"))?;
    let svg = templates.get_template("bars.svg")?.render(Serde(picture));
    Ok(svg.context("cannot render the plot")? + "\n")
}

/// Rounds to a hundredth of a pixel: more digits only make the file longer.
pub(crate) fn round(pixels: f64) -> f64 {
    (pixels * 100.0).round() / 100.0
}
