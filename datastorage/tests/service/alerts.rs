//! The alert rules use metrics that exist, and docs/datastorage.md says what each one means.

use std::sync::Arc;

use crate::log::signing_in;
use crate::stack::{Archive, Servers, event, name};

const RULES: &str = include_str!("../../../docs/alerts/datastorage.yaml");
const GUIDE: &str = include_str!("../../../docs/datastorage.md");

/// The values of a key in the rules.
fn values(key: &str) -> Vec<&'static str> {
    RULES
        .lines()
        .filter_map(|line| line.trim_start().trim_start_matches("- ").strip_prefix(key))
        .map(str::trim)
        .collect()
}

/// The names of metrics in an expression.
fn metrics(expression: &str) -> impl Iterator<Item = &str> {
    expression
        .split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
        .filter(|word| word.starts_with("datastorage_"))
}

#[test]
fn alert_rules_use_existing_metrics_and_are_explained() {
    let archive = Archive::start();
    let target = format!("targets = [{{ url = {:?} }}]\n", archive.url());
    let (service, _, _folder) = signing_in(Arc::new(Servers::shared()), &target);
    assert_eq!(service.write(&event(&name("alerts"))).status, 201);
    let existing = service.metrics();
    let expressions = values("expr:");
    let alerts = values("alert:");
    assert!(!alerts.is_empty() && alerts.len() == expressions.len());
    for metric in expressions.iter().flat_map(|expression| metrics(expression)) {
        let exists = existing
            .lines()
            .any(|line| line.starts_with(metric) && line[metric.len()..].starts_with(['{', ' ']));
        assert!(exists, "{metric} does not exist");
    }
    for alert in alerts {
        assert!(
            GUIDE.contains(&format!("| {alert} |")),
            "docs/datastorage.md does not explain {alert}"
        );
    }
}
