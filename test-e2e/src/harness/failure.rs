//! Text of a failed scenario: the failure with its causes, and the related log lines.

use std::any::Any;
use std::panic;

use anyhow::Error;
use jiff::Timestamp;
use serde_json::Value;

use super::context::Context;
use super::part::Part;
use super::scenario::Scenario;

/// Maximum log lines per service.
const LINES: usize = 20;
/// Number of recent request ids to search for.
const REQUEST_IDS: usize = 10;

/// An error and its causes, one per line.
pub(crate) fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        text.push_str("\n  caused by: ");
        text.push_str(&cause.to_string());
    }
    text
}

/// The message of a panic.
pub(crate) fn panicked(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| String::from("no message"));
    format!("the scenario panicked: {text}")
}

/// Log lines of the scenario's services that contain its name or recent request ids, and warnings and errors.
pub(crate) async fn log_lines(context: &Context, scenario: &Scenario, since: Timestamp) -> String {
    let Some(control) = context.control_if_any() else {
        return String::new();
    };
    let mut traces = context.http.latest_request_ids(REQUEST_IDS);
    traces.push(context.token().to_owned());
    let mut text = String::new();
    for service in scenario.parts().filter(|part| Part::is_service(*part)) {
        match control.logs(service).await {
            Ok(log) => {
                let lines = relevant(&log, &traces, since);
                text.push_str(&format!(
                    "\nrelated log lines of {service} ({} lines):\n",
                    lines.len()
                ));
                lines
                    .iter()
                    .for_each(|line| text.push_str(&format!("  {line}\n")));
            }
            Err(error) => text.push_str(&format!("\nno log of {service}: {}\n", with_causes(&error))),
        }
    }
    text
}

/// The last lines that contain one of the traces, or are warnings or errors since then.
fn relevant<'a>(log: &'a str, traces: &[String], since: Timestamp) -> Vec<&'a str> {
    let belongs =
        |line: &str| traces.iter().any(|trace| line.contains(trace.as_str())) || is_trouble(line, since);
    let mut lines: Vec<_> = log
        .lines()
        .rev()
        .filter(|line| belongs(line))
        .take(LINES)
        .collect();
    lines.reverse();
    lines
}

fn is_trouble(line: &str, since: Timestamp) -> bool {
    // Not from the service's logger: a panic message, for instance.
    let Ok(entry) = serde_json::from_str::<Value>(line) else {
        return line.contains("panicked") || line.starts_with("error");
    };
    let time = entry["timestamp"]
        .as_str()
        .and_then(|time| time.parse::<Timestamp>().ok());
    let level = entry["level"].as_str().unwrap_or_default();
    time.is_none_or(|time| time >= since) && ["WARN", "ERROR"].contains(&level)
}

/// Suppresses the printing of panics: they are part of the report.
pub(crate) fn silence_panics() {
    panic::set_hook(Box::new(|_| {}));
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn shows_every_cause() {
        let error = anyhow!("connection refused")
            .context("no response\n  GET http://d/readyz")
            .context("waited 5 s");
        assert_eq!(
            with_causes(&error),
            "waited 5 s\n  caused by: no response\n  GET http://d/readyz\n  caused by: connection refused"
        );
    }

    #[test]
    fn selects_the_scenarios_lines_and_recent_warnings() {
        let log = concat!(
            "{\"level\":\"INFO\",\"request_id\":\"other\"}\n",
            "{\"level\":\"INFO\",\"request_id\":\"mine\"}\n",
            "{\"level\":\"WARN\",\"timestamp\":\"2026-01-01T00:00:00Z\",\"message\":\"of an earlier scenario\"}\n",
            "{\"level\":\"WARN\",\"timestamp\":\"2026-01-03T00:00:00Z\",\"message\":\"postgresql is unavailable\"}\n",
            "thread 'main' panicked at x.rs\n",
            "{\"level\":\"INFO\",\"namespace\":\"e2e-g01-abc\"}\n",
        );
        let lines = relevant(
            log,
            &["mine".into(), "g01-abc".into()],
            "2026-01-02T00:00:00Z".parse().unwrap(),
        );
        assert_eq!(lines.len(), 4);
        assert!(
            !lines
                .iter()
                .any(|line| line.contains("other") || line.contains("earlier"))
        );
    }

    #[test]
    fn shows_the_last_lines_of_many() {
        let log: String = (0..100).map(|number| format!("mine {number}\n")).collect();
        let lines = relevant(&log, &["mine".into()], Timestamp::UNIX_EPOCH);
        assert_eq!(
            (lines.len(), lines[0], lines[LINES - 1]),
            (LINES, "mine 80", "mine 99")
        );
    }
}
