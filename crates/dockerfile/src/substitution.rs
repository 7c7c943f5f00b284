//! Substitutions: `$V` and all forms of `${V…}`.

use crate::pattern::{Pattern, Replace};
use crate::shell::{ExpansionError, Lexer, fail};

/// Maximum cost of matching the patterns of one word.
const MOST_STEPS: usize = 4_000_000;

impl Lexer<'_> {
    /// The text after a dollar sign.
    pub(crate) fn dollar(&mut self) -> Result<String, ExpansionError> {
        self.next();
        if self.peek() != Some('{') {
            let name = self.name();
            return Ok(match name.as_str() {
                "" => "$".to_owned(),
                _ => self.plain(&name, || format!("${name}")),
            });
        }
        self.next();
        match self.peek() {
            None => return fail("syntax error: missing '}'"),
            Some('{' | '}' | ':') => return fail("syntax error: bad substitution"),
            Some(_) => {}
        }
        let name = self.name();
        match self.next() {
            Some('}') => Ok(self.plain(&name, || format!("${{{name}}}"))),
            Some('/') => self.replaced(&name),
            Some(':') => {
                let operator = self.next();
                self.operated(&name, operator, true)
            }
            operator @ Some('+' | '-' | '?' | '#' | '%') => self.operated(&name, operator, false),
            operator => fail(unsupported(false, operator)),
        }
    }

    fn plain(&mut self, name: &str, written: impl Fn() -> String) -> String {
        match self.values.value(name) {
            Some(value) => value.to_owned(),
            None if self.mode.keep_unset => written(),
            None => {
                self.missing.push(name.to_owned());
                String::new()
            }
        }
    }

    /// `${name:OPERATOR…}` (`colon`: an empty value counts as none) after the operator was read.
    fn operated(
        &mut self,
        name: &str,
        operator: Option<char>,
        colon: bool,
    ) -> Result<String, ExpansionError> {
        let trims = matches!(operator, Some('#' | '%'));
        if colon && trims {
            return fail(unsupported(colon, operator));
        }
        let missing_before = self.missing.len();
        let word = match self.until(Some('}'), trims, trims) {
            Ok((word, _)) => word,
            Err(_) if self.rest.is_empty() => return fail("syntax error: missing '}'"),
            Err(error) => return Err(error),
        };
        let value = self.values.value(name);
        if self.mode.keep_unset && value.is_none() {
            let mut written = format!("${{{name}{}", if colon { ":" } else { "" });
            written.extend(operator);
            return Ok(written + &word + "}");
        }
        let present = value.filter(|value| !(colon && value.is_empty()));
        match operator {
            Some('-') => Ok(match present {
                Some(value) => {
                    self.missing.truncate(missing_before);
                    value.to_owned()
                }
                None => word,
            }),
            Some('+') => Ok(match present {
                Some(_) => word,
                None => {
                    self.missing.truncate(missing_before);
                    String::new()
                }
            }),
            Some('?') => {
                self.missing.truncate(missing_before);
                present
                    .map(str::to_owned)
                    .ok_or_else(|| required(name, &word, value.is_some()))
            }
            Some(operator @ ('#' | '%')) => self.trimmed(name, operator, &word),
            operator => fail(unsupported(colon, operator)),
        }
    }

    fn trimmed(&mut self, name: &str, operator: char, word: &str) -> Result<String, ExpansionError> {
        let (greedy, word) = match word.strip_prefix(operator) {
            Some(rest) => (true, rest),
            None => (false, word),
        };
        let value = self.plain(name, String::new);
        let (prefix, steps) = (operator == '#', &mut self.steps);
        let kept = match prefix {
            true => Pattern::new(word).map(|it| it.without_prefix(&value, greedy, steps)),
            false => Pattern::reversed(word).map(|it| it.without_suffix(&value, greedy, steps)),
        };
        let kept = kept.map_err(|reason| bad_pattern(word, &reason))?;
        self.affordable(kept)
    }

    /// `${name/pattern/replacement}` after the first slash.
    fn replaced(&mut self, name: &str) -> Result<String, ExpansionError> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let (pattern, _) = self
            .until(Some('/'), true, true)
            .map_err(|error| match self.rest {
                "" => ExpansionError("syntax error: missing '/' in ${}".to_owned()),
                _ => error,
            })?;
        let (replacement, _) = self
            .until(Some('}'), true, false)
            .map_err(|error| match self.rest {
                "" => ExpansionError("syntax error: missing '}'".to_owned()),
                _ => error,
            })?;
        if self.mode.keep_unset && self.values.value(name).is_none() {
            return Ok(format!("${{{name}/{pattern}/{replacement}}}"));
        }
        let value = self.plain(name, String::new);
        let compiled = Pattern::new(&pattern).map_err(|reason| bad_pattern(&pattern, &reason))?;
        let which = if all { Replace::All } else { Replace::First };
        let replaced = compiled.replace(&value, &replacement, which, &mut self.steps);
        self.affordable(replaced)
    }

    fn affordable(&self, text: String) -> Result<String, ExpansionError> {
        if self.steps > MOST_STEPS {
            return fail("the pattern takes too long to match");
        }
        Ok(text)
    }

    /// A variable's name: digits, one special character, or letters, digits and underscores.
    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(next) = self.peek() {
            if name.is_empty() && next.is_numeric() {
                while let Some(digit) = self.peek().filter(|digit| digit.is_numeric()) {
                    self.next();
                    name.push(digit);
                }
                return name;
            }
            if name.is_empty() && matches!(next, '@' | '*' | '#' | '?' | '-' | '$' | '!') {
                self.next();
                return next.to_string();
            }
            if !(next.is_alphanumeric() || next == '_') {
                break;
            }
            self.next();
            name.push(next);
        }
        name
    }
}

fn bad_pattern(text: &str, reason: &str) -> ExpansionError {
    ExpansionError(format!("invalid pattern ({text}) in substitution: {reason}"))
}

fn unsupported(colon: bool, operator: Option<char>) -> String {
    let operator = operator.map(String::from).unwrap_or_default();
    format!(
        "unsupported modifier ({}{operator}) in substitution",
        if colon { ":" } else { "" }
    )
}

fn required(name: &str, message: &str, set: bool) -> ExpansionError {
    let message = match (message, set) {
        ("", true) => "is not allowed to be empty",
        ("", false) => "is not allowed to be unset",
        (message, _) => message,
    };
    ExpansionError(format!("{name}: {message}"))
}
