//! Metrics in the text format that Prometheus scrapes.

use std::collections::BTreeMap;

/// The samples of one scrape: value by name and labels.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    samples: Vec<Sample>,
}

#[derive(Debug, Clone)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Parses a scrape; comments and invalid lines are skipped.
    pub(crate) fn read(text: &str) -> Self {
        Self {
            samples: text.lines().filter_map(sample).collect(),
        }
    }

    /// The sum of all samples of this name that have these labels; `None` without samples.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let matching: Vec<_> = self
            .samples
            .iter()
            .filter(|sample| sample.name == name)
            .filter(|sample| {
                labels
                    .iter()
                    .all(|(name, value)| sample.labels.get(*name).is_some_and(|v| v == value))
            })
            .map(|sample| sample.value)
            .collect();
        (!matching.is_empty()).then(|| matching.iter().sum())
    }

    /// The growth of the sum since an earlier scrape; a missing sample counts as zero.
    pub(crate) fn grown_since(&self, earlier: &Self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.sum(name, labels).unwrap_or_default() - earlier.sum(name, labels).unwrap_or_default()
    }

    /// Whether a metric of this name or a series of its family (`_total`, `_bucket`, …) exists.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.samples.iter().any(|sample| {
            sample
                .name
                .strip_prefix(name)
                .is_some_and(|rest| ["", "_total", "_bucket", "_sum", "_count"].contains(&rest))
        })
    }

    /// All names, for error messages.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.samples.iter().map(|sample| sample.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// `name{label="value",…} 12.5 [time]`
fn sample(line: &str) -> Option<Sample> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let name_ends = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(name_ends);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (BTreeMap::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// Parses labels up to the closing brace; returns the rest of the line.
fn labels(mut text: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        text = text.trim_start_matches([',', ' ']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = rest.char_indices();
        let end = loop {
            match characters.next()? {
                (_, '\\') => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (end, '"') => break end,
                (_, other) => value.push(other),
            }
        };
        labels.insert(name.to_owned(), value);
        text = &rest[end + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRAPE: &str = r#"
# HELP gateway_signals_received_total Signals.
# TYPE gateway_signals_received_total counter
gateway_signals_received_total{source_type="prometheus-alert",severity="critical"} 3
gateway_signals_received_total{source_type="prometheus-alert",severity="info"} 4
gateway_signals_received_total{source_type="a \"b\", {c}",severity="info"} 1 1700000000
gateway_up 1
request_seconds_bucket{le="+Inf"} 8
# EOF
"#;

    #[test]
    fn sums_samples_over_unspecified_labels() {
        let metrics = Metrics::read(SCRAPE);
        let name = "gateway_signals_received_total";
        assert_eq!(metrics.sum(name, &[]), Some(8.0));
        assert_eq!(metrics.sum(name, &[("severity", "info")]), Some(5.0));
        assert_eq!(metrics.sum(name, &[("source_type", "a \"b\", {c}")]), Some(1.0));
        assert_eq!(metrics.sum(name, &[("severity", "none")]), None);
        assert_eq!(metrics.sum("gateway_up", &[]), Some(1.0));
    }

    #[test]
    fn growth_counts_from_zero_without_an_earlier_sample() {
        let (before, after) = (Metrics::read("a 1\n"), Metrics::read("a 3\nb 2\n"));
        assert_eq!(after.grown_since(&before, "a", &[]), 2.0);
        assert_eq!(after.grown_since(&before, "b", &[]), 2.0);
    }

    #[test]
    fn finds_a_family_by_its_name() {
        let metrics = Metrics::read(SCRAPE);
        assert!(
            metrics.has("request_seconds")
                && metrics.has("gateway_signals_received")
                && metrics.has("gateway_up")
        );
        assert!(!metrics.has("gateway_signals") && !metrics.has("gateway"));
    }
}
