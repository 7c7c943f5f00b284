//! The query parameters of a request.

use super::fields::{Invalid, Reason, shown};

/// Query parameters that are taken one by one; remaining ones are unknown, so that a misspelt filter does not return
/// everything.
pub(crate) struct Parameters {
    pairs: Vec<(String, String)>,
    invalid: Vec<Invalid>,
}

impl Parameters {
    /// From the percent-decoded names and values of a query.
    pub(crate) fn new(pairs: Vec<(String, String)>) -> Self {
        Self {
            pairs,
            invalid: Vec::new(),
        }
    }

    /// Records an error of a parameter.
    pub(crate) fn reject(&mut self, field: &str, reason: Reason, message: impl Into<String>) {
        self.invalid.push(Invalid::new(field, reason, message));
    }

    /// A parameter that may occur once.
    fn take(&mut self, name: &str) -> Option<String> {
        let index = self.pairs.iter().position(|(key, _)| key == name)?;
        let (_, value) = self.pairs.remove(index);
        if self.pairs.iter().any(|(key, _)| key == name) {
            self.pairs.retain(|(key, _)| key != name);
            self.reject(name, Reason::Format, "occurs more than once");
        }
        Some(value)
    }

    /// A string of 1 to `max` characters.
    pub(crate) fn text(&mut self, name: &str, max: usize) -> Option<String> {
        let text = self.take(name)?;
        if text.is_empty() {
            self.reject(name, Reason::Required, "is empty; leave it out or give a value");
            return None;
        }
        if text.chars().count() > max {
            self.reject(name, Reason::Length, format!("is longer than {max} characters"));
            return None;
        }
        if text.contains('\0') {
            self.reject(
                name,
                Reason::Format,
                "contains U+0000, which no stored value contains",
            );
            return None;
        }
        Some(text)
    }

    /// A required string of 1 to `max` characters; empty if it is rejected.
    pub(crate) fn required_text(&mut self, name: &str, max: usize) -> String {
        if !self.pairs.iter().any(|(key, _)| key == name) {
            self.reject(name, Reason::Required, "is required");
        }
        self.text(name, max).unwrap_or_default()
    }

    /// An integer from `min` to `max`.
    pub(crate) fn integer(&mut self, name: &str, min: i64, max: i64) -> Option<i64> {
        let text = self.take(name)?;
        let value = text.parse().ok().filter(|value| (min..=max).contains(value));
        if value.is_none() {
            let message = format!("is {}; expected a whole number from {min} to {max}", shown(&text));
            self.reject(name, Reason::Range, message);
        }
        value
    }

    /// A parameter parsed by `read`; `expected` describes valid values.
    pub(crate) fn parsed<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Option<T>,
        expected: &str,
    ) -> Option<T> {
        let text = self.take(name)?;
        let value = read(&text);
        if value.is_none() {
            self.reject(
                name,
                Reason::Format,
                format!("is {}; expected {expected}", shown(&text)),
            );
        }
        value
    }

    /// All errors, including unknown parameters.
    pub(crate) fn finish(mut self) -> Result<(), Vec<Invalid>> {
        for (name, _) in &self.pairs {
            self.invalid.push(Invalid::new(
                name,
                Reason::Unknown,
                "is not a parameter of this path; /openapi.json lists them",
            ));
        }
        if self.invalid.is_empty() {
            Ok(())
        } else {
            Err(self.invalid)
        }
    }
}
