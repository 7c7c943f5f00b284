//! What a bench found, in one form for all: held against what is wanted of it, printed, and kept in the docs.

use std::fmt::Write as _;

use clap::ValueEnum;
use serde_json::{Value, json};

/// What stdout gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Markdown
    Text,
    /// One object
    Json,
}

/// A figure with what is wanted of it.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    /// The largest value that is good enough.
    pub(crate) at_most: Option<f64>,
    /// What was measured, round by round.
    pub(crate) runs: Vec<f64>,
}

impl Figure {
    /// The middle run; between the middle two of an even number.
    pub(crate) fn value(&self) -> f64 {
        median(&self.runs)
    }

    pub(crate) fn holds(&self) -> Option<bool> {
        self.at_most.map(|limit| self.value() <= limit)
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name, "value": self.value(), "unit": self.unit, "holds": self.holds(), "runs": self.runs,
            "target": self.at_most.map(|limit| format!("≤ {limit}")),
        })
    }
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.get(middle) {
        None => f64::NAN,
        Some(upper) if values.len().is_multiple_of(2) => values
            .get(middle.wrapping_sub(1))
            .map_or(*upper, |lower| f64::midpoint(*lower, *upper)),
        Some(middle) => *middle,
    }
}

/// One document, as every bench prints it.
pub(crate) fn document(bench: &str, machine: &Value, figures: &[Figure]) -> Value {
    let figures: Vec<Value> = figures.iter().map(Figure::to_json).collect();
    json!({"bench": bench, "machine": machine, "figures": figures})
}

/// The figures as a table.
pub(crate) fn table<'f>(figures: impl IntoIterator<Item = &'f Figure>) -> String {
    let mut text = String::from("| what | median | runs | wanted | holds |\n|---|---|---|---|---|\n");
    for figure in figures {
        let shown = |value: f64| match figure.unit {
            "ratio" => format!("{value:.2}"),
            "files" => format!("{value:.0}"),
            // Half of a small figure must not be lost in rounding.
            unit if value.abs() < 1.0 => format!("{value:.2} {unit}"),
            unit => format!("{value:.1} {unit}"),
        };
        let runs: Vec<String> = figure.runs.iter().copied().map(shown).collect();
        let wanted = match (figure.at_most, figure.unit) {
            (None, _) => String::new(),
            (Some(limit), "ratio" | "files") => format!("≤ {limit}"),
            (Some(limit), unit) => format!("≤ {limit} {unit}"),
        };
        let holds = match figure.holds() {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        let (name, value, runs) = (&figure.name, shown(figure.value()), runs.join(", "));
        let _ = writeln!(text, "| {name} | {value} | {runs} | {wanted} | {holds} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_between_the_middle_two() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[7.0]), 7.0);
    }

    #[test]
    fn a_figure_holds_when_its_median_is_not_above_what_is_wanted() {
        let figure = |runs: &[f64]| Figure {
            name: "x".to_owned(),
            unit: "ratio",
            at_most: Some(0.6),
            runs: runs.to_vec(),
        };
        assert_eq!(figure(&[0.5, 0.6, 0.9]).holds(), Some(true));
        assert_eq!(figure(&[0.5, 0.61, 0.9]).holds(), Some(false));
        assert!(table([&figure(&[0.7])]).contains("| x | 0.70 | 0.70 | ≤ 0.6 | **no** |"));
    }
}
