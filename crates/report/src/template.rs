//! Templates of the timeline and the page.

use anyhow::Context;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, value::Serde};
use serde::Serialize;

/// Renders the template of this name. All values are escaped.
pub(crate) fn render(name: &str, values: &impl Serialize) -> anyhow::Result<String> {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates.set_auto_escape_callback(|_| AutoEscape::Html);
    templates.add_template("timeline.svg", include_str!("templates/timeline.svg"))?;
    templates.add_template("report.html", include_str!("templates/report.html"))?;
    let template = templates.get_template(name)?;
    template
        .render(Serde(values))
        .with_context(|| format!("render {name}"))
}
