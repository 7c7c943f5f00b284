//! JUnit XML, as CI systems read it.
//!
//! ```
//! use junit::{Case, Outcome, Suite, Suites};
//!
//! let failed = Outcome::Failed { kind: None, message: "exit code 1".into(), text: "exit code 1\nno space left".into() };
//! let case = Case { outcome: failed, ..Case::new("ci", "build") };
//! let suites = Suites { name: "nightly".into(), time: None, suites: vec![Suite::new("builds", vec![case])] };
//! assert!(suites.to_xml().contains(r#"<testsuite name="builds" tests="1" failures="1" errors="0" skipped="0">"#));
//! ```

use std::fmt::{self, Display, Write};
use std::time::Duration;

/// A whole report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suites {
    /// Name of the report.
    pub name: String,
    /// Duration of the whole run.
    pub time: Option<Duration>,
    /// Suites in the order in which they are written.
    pub suites: Vec<Suite>,
}

/// Cases that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suite {
    /// Name of the suite.
    pub name: String,
    /// Duration of the suite.
    pub time: Option<Duration>,
    /// Cases in the order in which they are written.
    pub cases: Vec<Case>,
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Class or group; most CI systems show it as a tree, split at dots.
    pub class: String,
    /// Name of the test.
    pub name: String,
    /// Duration of the test.
    pub time: Option<Duration>,
    /// How it ended.
    pub outcome: Outcome,
    /// Its output; nothing is written if empty.
    pub output: String,
}

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It passed.
    Passed,
    /// It did not run.
    Skipped {
        /// Reason.
        message: String,
    },
    /// What it checks is not met.
    Failed {
        /// Kind of failure, for example the name of a rule.
        kind: Option<String>,
        /// One line.
        message: String,
        /// All that is known.
        text: String,
    },
    /// It failed, and passed when it was repeated (`flakyFailure` of Maven Surefire); not counted as a failure.
    Flaky {
        /// One line.
        message: String,
        /// All that is known.
        text: String,
    },
    /// It could not be completed.
    Error {
        /// Kind of error.
        kind: Option<String>,
        /// One line.
        message: String,
    },
}

impl Suite {
    /// A suite without a duration.
    #[must_use]
    pub fn new(name: impl Into<String>, cases: Vec<Case>) -> Self {
        Self {
            name: name.into(),
            time: None,
            cases,
        }
    }
}

impl Case {
    /// A test that passed, without duration and output.
    #[must_use]
    pub fn new(class: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            class: class.into(),
            name: name.into(),
            time: None,
            outcome: Outcome::Passed,
            output: String::new(),
        }
    }
}

impl Suites {
    /// Returns the report as XML. Terminal colors and characters that XML 1.0 forbids are left out.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        // Writing to a String does not fail.
        let _ = self.write(&mut xml);
        xml
    }

    fn write(&self, xml: &mut String) -> fmt::Result {
        let all = || self.suites.iter().flat_map(|suite| &suite.cases);
        let head = Head(&self.name, Counts::of(all()), self.time);
        writeln!(xml, "<testsuites {head}>")?;
        for suite in &self.suites {
            let head = Head(&suite.name, Counts::of(suite.cases.iter()), suite.time);
            writeln!(xml, "  <testsuite {head}>")?;
            for case in &suite.cases {
                case.write(xml)?;
            }
            writeln!(xml, "  </testsuite>")?;
        }
        writeln!(xml, "</testsuites>")
    }
}

impl Case {
    fn write(&self, xml: &mut String) -> fmt::Result {
        let (class, name, time) = (Attribute(&self.class), Attribute(&self.name), Time(self.time));
        write!(xml, "    <testcase classname=\"{class}\" name=\"{name}\"{time}")?;
        if self.outcome == Outcome::Passed && self.output.is_empty() {
            return writeln!(xml, "/>");
        }
        xml.push('>');
        match &self.outcome {
            Outcome::Passed => {}
            Outcome::Skipped { message } => {
                write!(xml, "\n      <skipped message=\"{}\"/>", Attribute(message))?;
            }
            Outcome::Failed { kind, message, text } => write!(
                xml,
                "\n      <failure message=\"{}\"{}>{}</failure>",
                Attribute(message),
                Kind(kind.as_deref()),
                Text(text)
            )?,
            Outcome::Flaky { message, text } => write!(
                xml,
                "\n      <flakyFailure message=\"{}\">{}</flakyFailure>",
                Attribute(message),
                Text(text)
            )?,
            Outcome::Error { kind, message } => write!(
                xml,
                "\n      <error message=\"{}\"{}/>",
                Attribute(message),
                Kind(kind.as_deref())
            )?,
        }
        if !self.output.is_empty() {
            write!(xml, "\n      <system-out>{}</system-out>", Text(&self.output))?;
        }
        writeln!(xml, "\n    </testcase>")
    }
}

#[derive(Default)]
struct Counts {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

impl Counts {
    fn of<'c>(cases: impl Iterator<Item = &'c Case>) -> Self {
        let mut counts = Self::default();
        for case in cases {
            counts.tests += 1;
            match case.outcome {
                Outcome::Passed | Outcome::Flaky { .. } => {}
                Outcome::Skipped { .. } => counts.skipped += 1,
                Outcome::Failed { .. } => counts.failures += 1,
                Outcome::Error { .. } => counts.errors += 1,
            }
        }
        counts
    }
}

/// Attributes of a suite and of the whole report.
struct Head<'a>(&'a str, Counts, Option<Duration>);

impl Display for Head<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, counts, time) = self;
        let Counts {
            tests,
            failures,
            errors,
            skipped,
        } = counts;
        write!(
            formatter,
            "name=\"{}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\"{}",
            Attribute(name),
            Time(*time)
        )
    }
}

/// The attribute `time`, in seconds.
struct Time(Option<Duration>);

impl Display for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(time) => write!(formatter, " time=\"{:.3}\"", time.as_secs_f64()),
            None => Ok(()),
        }
    }
}

/// The attribute `type`.
struct Kind<'a>(Option<&'a str>);

impl Display for Kind<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(kind) => write!(formatter, " type=\"{}\"", Attribute(kind)),
            None => Ok(()),
        }
    }
}

/// Value of an XML attribute, escaped. A parser makes a space of a line end that is not a reference.
#[derive(Debug)]
pub struct Attribute<'a>(pub &'a str);

impl Display for Attribute<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in allowed(self.0) {
            match character {
                '"' => formatter.write_str("&quot;")?,
                '\n' => formatter.write_str("&#10;")?,
                '\t' => formatter.write_str("&#9;")?,
                character => write_text(formatter, character)?,
            }
        }
        Ok(())
    }
}

/// Text between tags.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        allowed(self.0).try_for_each(|character| write_text(formatter, character))
    }
}

fn write_text(formatter: &mut fmt::Formatter<'_>, character: char) -> fmt::Result {
    match character {
        '&' => formatter.write_str("&amp;"),
        '<' => formatter.write_str("&lt;"),
        '>' => formatter.write_str("&gt;"),
        character => formatter.write_char(character),
    }
}

/// The characters without those that XML 1.0 forbids and without terminal colors (`ESC [`, parameters, a final letter).
fn allowed(text: &str) -> impl Iterator<Item = char> {
    let mut characters = text.chars();
    std::iter::from_fn(move || {
        loop {
            match characters.next()? {
                '\u{1b}' if characters.as_str().starts_with('[') => {
                    characters.next();
                    characters.find(|character| ('@'..='~').contains(character));
                }
                '\u{fffe}' | '\u{ffff}' => {}
                character if character.is_control() && !matches!(character, '\n' | '\t') => {}
                character => return Some(character),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use quick_xml::Reader;
    use quick_xml::events::Event;

    use super::*;

    const HOSTILE: &str = "a<b>&\"'\u{1b}[31mred\u{1b}[0m\0\u{ffff}\n\tend ]]>";

    #[test]
    fn any_text_is_read_back_as_text() {
        let outcome = Outcome::Failed {
            kind: Some(HOSTILE.to_owned()),
            message: HOSTILE.to_owned(),
            text: HOSTILE.to_owned(),
        };
        let case = Case {
            outcome,
            output: HOSTILE.to_owned(),
            ..Case::new(HOSTILE, HOSTILE)
        };
        let suites = Suites {
            name: HOSTILE.to_owned(),
            time: None,
            suites: vec![Suite::new(HOSTILE, vec![case])],
        };
        let xml = suites.to_xml();
        let expected = "a<b>&\"'red\n\tend ]]>";
        let mut reader = Reader::from_str(&xml);
        let (mut attributes, mut texts, mut text) = (Vec::new(), Vec::new(), String::new());
        loop {
            match reader.read_event().unwrap() {
                Event::Start(tag) => {
                    for attribute in tag.attributes() {
                        let value = attribute
                            .unwrap()
                            .normalized_value(quick_xml::XmlVersion::Implicit1_0)
                            .unwrap()
                            .into_owned();
                        if value.parse::<u32>().is_err() {
                            attributes.push(value);
                        }
                    }
                    text.clear();
                }
                Event::Text(part) => text.push_str(&part.decode().unwrap()),
                Event::GeneralRef(part) => {
                    let entity = format!("&{};", part.decode().unwrap());
                    text.push_str(&quick_xml::escape::unescape(&entity).unwrap());
                }
                Event::End(_) if !text.trim().is_empty() => texts.push(std::mem::take(&mut text)),
                Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!(attributes, [expected; 6]);
        assert_eq!(texts, [expected; 2]);
    }

    #[test]
    fn outcomes_are_counted_by_suite_and_in_total() {
        let case = |outcome| Case {
            outcome,
            ..Case::new("c", "n")
        };
        let message = || "m".to_owned();
        let skipped = case(Outcome::Skipped { message: message() });
        let error = case(Outcome::Error {
            kind: None,
            message: message(),
        });
        let flaky = case(Outcome::Flaky {
            message: message(),
            text: "first <attempt>".to_owned(),
        });
        let one = Suite::new("one", vec![flaky, skipped.clone()]);
        let other = Suite {
            time: Some(Duration::from_millis(1500)),
            ..Suite::new("other", vec![skipped, error])
        };
        let suites = Suites {
            name: "all".to_owned(),
            time: Some(Duration::from_secs(2)),
            suites: vec![one, other],
        };
        let xml = suites.to_xml();
        for expected in [
            "<testsuites name=\"all\" tests=\"4\" failures=\"0\" errors=\"1\" skipped=\"2\" time=\"2.000\">",
            "<testsuite name=\"one\" tests=\"2\" failures=\"0\" errors=\"0\" skipped=\"1\">",
            "<testsuite name=\"other\" tests=\"2\" failures=\"0\" errors=\"1\" skipped=\"1\" time=\"1.500\">",
            "<flakyFailure message=\"m\">first &lt;attempt&gt;</flakyFailure>",
        ] {
            assert!(xml.contains(expected), "{xml}");
        }
    }
}
