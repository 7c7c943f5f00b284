//! Output of a run: JSON lines for programs, plain lines for people.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::scenario::Scenario;

/// How a scenario ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The scenario proved what its name says.
    Passed,
    /// With the failure, the requests and responses that show it, and log lines.
    Failed(String),
    /// With the reason.
    Skipped(String),
}

/// The format of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Plain lines.
    Text,
    /// One JSON document per line.
    Json,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event<'a> {
    Planned {
        scenarios: usize,
    },
    Started {
        id: &'a str,
        name: &'a str,
    },
    Finished {
        id: &'a str,
        name: &'a str,
        outcome: &'a str,
        seconds: f64,
        reason: Option<&'a str>,
        detail: Option<&'a str>,
    },
    Summary {
        passed: usize,
        failed: usize,
        skipped: usize,
        seconds: f64,
    },
}

/// Number of scenarios by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

/// Writes and counts the events.
pub(crate) struct Report<W> {
    out: W,
    format: Format,
    counts: Counts,
}

impl<W: Write> Report<W> {
    pub(crate) fn new(out: W, format: Format) -> Self {
        Self {
            out,
            format,
            counts: Counts::default(),
        }
    }

    /// Reports the number of scenarios of the run.
    pub(crate) fn planned(&mut self, scenarios: usize) -> io::Result<()> {
        match self.format {
            Format::Json => self.json(&Event::Planned { scenarios }),
            Format::Text => Ok(()),
        }
    }

    /// Reports the start of a scenario.
    pub(crate) fn started(&mut self, scenario: &Scenario) -> io::Result<()> {
        match self.format {
            Format::Json => self.json(&Event::Started {
                id: scenario.id(),
                name: scenario.name,
            }),
            Format::Text => Ok(()),
        }
    }

    /// Reports the end of a scenario.
    pub(crate) fn finished(
        &mut self,
        scenario: &Scenario,
        outcome: &Outcome,
        took: Duration,
    ) -> io::Result<()> {
        let (word, reason, detail) = match outcome {
            Outcome::Passed => {
                self.counts.passed += 1;
                ("passed", None, None)
            }
            Outcome::Failed(detail) => {
                self.counts.failed += 1;
                ("failed", None, Some(detail.as_str()))
            }
            Outcome::Skipped(reason) => {
                self.counts.skipped += 1;
                ("skipped", Some(reason.as_str()), None)
            }
        };
        let seconds = rounded(took);
        match self.format {
            Format::Json => self.json(&Event::Finished {
                id: scenario.id(),
                name: scenario.name,
                outcome: word,
                seconds,
                reason,
                detail,
            }),
            Format::Text => {
                writeln!(
                    self.out,
                    "{word:<7} {:>6.1} s  {}",
                    took.as_secs_f64(),
                    scenario.name
                )?;
                for line in reason.or(detail).unwrap_or_default().lines() {
                    writeln!(self.out, "          {line}")?;
                }
                self.out.flush()
            }
        }
    }

    /// Reports the end of the run.
    pub(crate) fn summary(&mut self, took: Duration) -> io::Result<Counts> {
        let Counts {
            passed,
            failed,
            skipped,
        } = self.counts;
        match self.format {
            Format::Json => self.json(&Event::Summary {
                passed,
                failed,
                skipped,
                seconds: rounded(took),
            })?,
            Format::Text => {
                writeln!(
                    self.out,
                    "\n{passed} passed, {failed} failed, {skipped} skipped in {:.1} s",
                    took.as_secs_f64()
                )?;
            }
        }
        Ok(self.counts)
    }

    fn json(&mut self, event: &Event<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, event)?;
        self.out.write_all(b"\n")?;
        self.out.flush()
    }
}

fn rounded(took: Duration) -> f64 {
    (took.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Scenario = Scenario::new("g01_one_request", |_| Box::pin(async { Ok(()) }));

    fn written(format: Format) -> (String, Counts) {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out, format);
        report.planned(3).unwrap();
        report.started(&ONE).unwrap();
        report
            .finished(&ONE, &Outcome::Passed, Duration::from_millis(1234))
            .unwrap();
        report
            .finished(
                &ONE,
                &Outcome::Failed("two\nlines".into()),
                Duration::from_secs(2),
            )
            .unwrap();
        report
            .finished(&ONE, &Outcome::Skipped("no kubeconfig".into()), Duration::ZERO)
            .unwrap();
        let counts = report.summary(Duration::from_secs(3)).unwrap();
        (String::from_utf8(out).unwrap(), counts)
    }

    #[test]
    fn writes_one_json_line_per_event() {
        let (text, counts) = written(Format::Json);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                r#"{"event":"planned","scenarios":3}"#,
                r#"{"event":"started","id":"g01","name":"g01_one_request"}"#,
                r#"{"event":"finished","id":"g01","name":"g01_one_request","outcome":"passed","seconds":1.234,"reason":null,"detail":null}"#,
                r#"{"event":"finished","id":"g01","name":"g01_one_request","outcome":"failed","seconds":2.0,"reason":null,"detail":"two\nlines"}"#,
                r#"{"event":"finished","id":"g01","name":"g01_one_request","outcome":"skipped","seconds":0.0,"reason":"no kubeconfig","detail":null}"#,
                r#"{"event":"summary","passed":1,"failed":1,"skipped":1,"seconds":3.0}"#,
            ]
        );
        assert_eq!(
            counts,
            Counts {
                passed: 1,
                failed: 1,
                skipped: 1
            }
        );
    }

    #[test]
    fn text_has_the_reason_and_every_line_of_a_failure() {
        let (text, _) = written(Format::Text);
        for part in [
            "passed     1.2 s  g01_one_request",
            "          two\n          lines",
            "no kubeconfig",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(
            text.ends_with("\n1 passed, 1 failed, 1 skipped in 3.0 s\n"),
            "{text}"
        );
    }
}
