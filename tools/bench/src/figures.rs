//! Measured figures and their targets, in one form for all benches.

use std::fmt::Write as _;

use clap::ValueEnum;
use report::Machine;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Format of the output on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Markdown
    Text,
    /// One JSON object
    Json,
}

/// A figure: the median of its rounds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) target: Option<Target>,
    /// Value of each round.
    pub(crate) runs: Vec<f64>,
    /// Of a ratio, the values of each round on both sides: the measured program, and the reference.
    pub(crate) sides: Option<(Vec<f64>, Vec<f64>)>,
}

/// Target of a figure.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
}

impl Figure {
    pub(crate) fn new(
        name: impl Into<String>,
        unit: &str,
        target: impl Into<Option<Target>>,
        runs: Vec<f64>,
    ) -> Self {
        Self {
            name: name.into(),
            unit: unit.to_owned(),
            target: target.into(),
            runs,
            sides: None,
        }
    }

    /// Ratio of two values in each round, which keeps both.
    pub(crate) fn ratio(
        name: impl Into<String>,
        target: impl Into<Option<Target>>,
        measured: &[f64],
        reference: &[f64],
    ) -> Self {
        Self {
            sides: Some((measured.to_vec(), reference.to_vec())),
            ..Self::new(name, "ratio", target, ratios(measured, reference))
        }
    }

    /// Median of the rounds.
    pub(crate) fn value(&self) -> f64 {
        median(&self.runs)
    }

    /// Whether the target is met; `None` without one.
    pub(crate) fn is_met(&self) -> Option<bool> {
        let value = self.value();
        self.target.map(|target| match target {
            Target::AtLeast(limit) => value >= limit,
            Target::AtMost(limit) => value <= limit,
            Target::Below(limit) => value < limit,
        })
    }

    /// Cells `target` and `met` of a table; `unit` follows the target's number.
    pub(crate) fn target_cells(&self, unit: &str) -> String {
        let target = self.target.map(|target| format!("{} {unit}", target.shown()));
        let target = target.unwrap_or_default();
        let target = target.trim_end();
        let met = match self.is_met() {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        format!("{target} | {met}")
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name, "value": self.value(), "unit": self.unit, "target": self.target.map(Target::shown),
            "met": self.is_met(), "runs": self.runs,
        })
    }
}

impl Target {
    fn shown(self) -> String {
        match self {
            Self::AtLeast(limit) => format!("≥ {limit}"),
            Self::AtMost(limit) => format!("≤ {limit}"),
            Self::Below(limit) => format!("< {limit}"),
        }
    }
}

/// Ratios of the same rounds: a disturbance of the machine affects both sides.
pub(crate) fn ratios(measured: &[f64], reference: &[f64]) -> Vec<f64> {
    let pairs = measured.iter().zip(reference);
    pairs.map(|(measured, reference)| measured / reference).collect()
}

/// Median; the mean of the middle two values of an even number, NaN of none.
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

/// Removes and returns the item with the median key; the upper one of an even number.
pub(crate) fn take_median<T>(items: &mut Vec<T>, key: impl Fn(&T) -> f64) -> Option<T> {
    items.sort_by(|one, other| key(one).total_cmp(&key(other)));
    let middle = items.len() / 2;
    (!items.is_empty()).then(|| items.swap_remove(middle))
}

/// Returns today's date in UTC.
pub(crate) fn today() -> String {
    jiff::Timestamp::now().to_string().chars().take(10).collect()
}

/// Describes a machine in words.
pub(crate) fn describe(machine: &Machine) -> String {
    let gib = machine.memory_bytes as f64 / f64::from(1 << 30);
    format!("{}, {} CPUs, {gib:.0} GiB", machine.system, machine.cpus)
}

/// JSON document of a bench.
pub(crate) fn document<'f>(
    bench: &str,
    machine: &Value,
    figures: impl IntoIterator<Item = &'f Figure>,
) -> Value {
    let figures: Vec<Value> = figures.into_iter().map(Figure::to_json).collect();
    json!({"bench": bench, "machine": machine, "figures": figures})
}

/// Figures as a table.
pub(crate) fn table<'f>(figures: impl IntoIterator<Item = &'f Figure>) -> String {
    let mut text = String::from("| figure | median | runs | target | met |\n|---|---|---|---|---|\n");
    for figure in figures {
        let shown = |value: f64| match figure.unit.as_str() {
            "ratio" => format!("{value:.2}"),
            "files" => format!("{value:.0}"),
            // Two digits: rounding to one may lose half of a small figure.
            unit if value.abs() < 1.0 => format!("{value:.2} {unit}"),
            unit => format!("{value:.1} {unit}"),
        };
        let runs: Vec<String> = figure.runs.iter().copied().map(shown).collect();
        let (name, value, runs) = (&figure.name, shown(figure.value()), runs.join(", "));
        let unit = match figure.unit.as_str() {
            "ratio" | "files" => "",
            unit => unit,
        };
        let target = figure.target_cells(unit);
        let _ = writeln!(text, "| {name} | {value} | {runs} | {target} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_middle_value_or_mean_of_middle_two() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[7.0]), 7.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn target_is_compared_with_median() {
        let figure = |runs: &[f64]| Figure::new("x", "ratio", Target::AtMost(0.6), runs.to_vec());
        assert_eq!(figure(&[0.5, 0.6, 0.9]).is_met(), Some(true));
        assert_eq!(figure(&[0.5, 0.61, 0.9]).is_met(), Some(false));
        assert!(table([&figure(&[0.7])]).contains("| x | 0.70 | 0.70 | ≤ 0.6 | **no** |"));
        let seconds = Figure::new("x", "s", Target::AtMost(5.0), vec![2.0]);
        assert!(table([&seconds]).contains("| x | 2.0 s | 2.0 s | ≤ 5 s | yes |"));
        let below = Figure::new("x", "ms", Target::Below(10.0), vec![10.0]);
        assert_eq!(below.is_met(), Some(false));
        assert_eq!(Figure::new("x", "ms", None, vec![1.0]).is_met(), None);
    }

    #[test]
    fn ratio_is_median_of_ratios_of_rounds() {
        let figure = Figure::ratio("x", Target::AtLeast(1.0), &[90.0, 300.0, 120.0], &[100.0; 3]);
        assert_eq!((figure.value(), figure.is_met()), (1.2, Some(true)));
    }
}
