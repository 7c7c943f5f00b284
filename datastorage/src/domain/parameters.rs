//! The query parameters of a request, whatever it asks for.

use super::fields::{Invalid, Reason, shown};

/// Query parameters that are taken one by one; what is left over is unknown, so that a filter with a typing mistake
/// is not answered with everything.
pub(crate) struct Parameters {
    pairs: Vec<(String, String)>,
    invalid: Vec<Invalid>,
}

impl Parameters {
    /// Of the names and values of a query, percent-decoded.
    pub(crate) fn new(pairs: Vec<(String, String)>) -> Self {
        Self {
            pairs,
            invalid: Vec::new(),
        }
    }

    /// Notes that a parameter is wrong.
    pub(crate) fn refuse(&mut self, field: &str, reason: Reason, message: impl Into<String>) {
        self.invalid.push(Invalid::new(field, reason, message));
    }

    /// A parameter that may stand there once.
    fn take(&mut self, name: &str) -> Option<String> {
        let index = self.pairs.iter().position(|(key, _)| key == name)?;
        let (_, value) = self.pairs.remove(index);
        if self.pairs.iter().any(|(key, _)| key == name) {
            self.pairs.retain(|(key, _)| key != name);
            self.refuse(name, Reason::Format, "is there more than once");
        }
        Some(value)
    }

    /// A text of 1 to `most` characters.
    pub(crate) fn text(&mut self, name: &str, most: usize) -> Option<String> {
        let text = self.take(name)?;
        if text.is_empty() {
            self.refuse(name, Reason::Required, "is empty; leave it out or give a value");
            return None;
        }
        if text.chars().count() > most {
            self.refuse(name, Reason::Length, format!("is longer than {most} characters"));
            return None;
        }
        if text.contains('\0') {
            self.refuse(
                name,
                Reason::Format,
                "holds U+0000, which nothing that is stored holds",
            );
            return None;
        }
        Some(text)
    }

    /// A text of 1 to `most` characters that must be there; empty if it is refused.
    pub(crate) fn required_text(&mut self, name: &str, most: usize) -> String {
        if !self.pairs.iter().any(|(key, _)| key == name) {
            self.refuse(name, Reason::Required, "is required");
        }
        self.text(name, most).unwrap_or_default()
    }

    /// A whole number from `least` to `most`.
    pub(crate) fn integer(&mut self, name: &str, least: i64, most: i64) -> Option<i64> {
        let text = self.take(name)?;
        let value = text.parse().ok().filter(|value| (least..=most).contains(value));
        if value.is_none() {
            let message = format!(
                "is {}; expected a whole number from {least} to {most}",
                shown(&text)
            );
            self.refuse(name, Reason::Range, message);
        }
        value
    }

    /// What `read` makes of a parameter; `expected` says what it takes.
    pub(crate) fn parsed<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Option<T>,
        expected: &str,
    ) -> Option<T> {
        let text = self.take(name)?;
        let value = read(&text);
        if value.is_none() {
            self.refuse(
                name,
                Reason::Format,
                format!("is {}; expected {expected}", shown(&text)),
            );
        }
        value
    }

    /// Everything that was wrong, parameters that nobody took included.
    pub(crate) fn finish(mut self) -> Result<(), Vec<Invalid>> {
        for (name, _) in &self.pairs {
            self.invalid.push(Invalid::new(
                name,
                Reason::Unknown,
                "is no parameter of this; /openapi.json lists them",
            ));
        }
        if self.invalid.is_empty() {
            Ok(())
        } else {
            Err(self.invalid)
        }
    }
}
