//! What a failed scenario shows: the failure with its causes, and the log lines that belong to it.

use std::any::Any;
use std::panic;

use anyhow::Error;
use jiff::Timestamp;
use serde_json::Value;

use super::context::Context;
use super::part::Part;
use super::scenario::Scenario;

/// How many log lines of each service a failure shows.
const LINES: usize = 20;
/// How many of the latest answers' request ids are looked for.
const REQUEST_IDS: usize = 10;

/// An error and its causes, one a line.
pub(crate) fn told(error: &Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        text.push_str("\n  because: ");
        text.push_str(&cause.to_string());
    }
    text
}

/// What a scenario's task said when it panicked.
pub(crate) fn panicked(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| String::from("without a text"));
    format!("the scenario panicked: {text}")
}

/// The log lines of the scenario's services that name it or its latest requests, and warnings and errors.
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
                    "\nlog of {service}, what belongs to it ({} lines):\n",
                    lines.len()
                ));
                lines
                    .iter()
                    .for_each(|line| text.push_str(&format!("  {line}\n")));
            }
            Err(error) => text.push_str(&format!("\nlog of {service}: none: {}\n", told(&error))),
        }
    }
    text
}

/// The last lines that hold one of the traces or report trouble since then.
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
    // Not of the service's own logger: the last words of a panic, for instance.
    let Ok(entry) = serde_json::from_str::<Value>(line) else {
        return line.contains("panicked") || line.starts_with("error");
    };
    let time = entry["timestamp"]
        .as_str()
        .and_then(|time| time.parse::<Timestamp>().ok());
    let level = entry["level"].as_str().unwrap_or_default();
    time.is_none_or(|time| time >= since) && ["WARN", "ERROR"].contains(&level)
}

/// Keeps a scenario's panic from being printed twice: it is part of the report.
pub(crate) fn silence_panics() {
    panic::set_hook(Box::new(|_| {}));
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn every_cause_is_told() {
        let error = anyhow!("connection refused")
            .context("no answer\n  GET http://d/readyz")
            .context("waited 5 s");
        assert_eq!(
            told(&error),
            "waited 5 s\n  because: no answer\n  GET http://d/readyz\n  because: connection refused"
        );
    }

    #[test]
    fn log_lines_are_those_of_the_scenario_and_those_about_trouble() {
        let log = concat!(
            "{\"level\":\"INFO\",\"request_id\":\"other\"}\n",
            "{\"level\":\"INFO\",\"request_id\":\"mine\"}\n",
            "{\"level\":\"WARN\",\"timestamp\":\"2026-01-01T00:00:00Z\",\"message\":\"of an earlier scenario\"}\n",
            "{\"level\":\"WARN\",\"timestamp\":\"2026-01-03T00:00:00Z\",\"message\":\"postgresql is away\"}\n",
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
    fn of_many_lines_the_last_are_shown() {
        let log: String = (0..100).map(|number| format!("mine {number}\n")).collect();
        let lines = relevant(&log, &["mine".into()], Timestamp::UNIX_EPOCH);
        assert_eq!(
            (lines.len(), lines[0], lines[LINES - 1]),
            (LINES, "mine 80", "mine 99")
        );
    }
}
