//! The alert rules use metrics that exist, and docs/gateway.md says what each one means.

use crate::stack::Stack;

const RULES: &str = include_str!("../../../docs/alerts/gateway.yaml");
const GUIDE: &str = include_str!("../../../docs/gateway.md");

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
        .filter(|word| word.starts_with("gateway_"))
}

#[tokio::test(flavor = "multi_thread")]
async fn alert_rules_use_existing_metrics_and_are_explained() {
    let stack = Stack::start().await;
    let gateway = stack.gateway("a", "").await;
    assert_eq!(gateway.alert("A").await.status, 201);
    let existing = gateway.metrics().await;
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
            "docs/gateway.md does not explain {alert}"
        );
    }
}
