//! Shell words: quotes, escapes and `${…}` substitution as the reference front end does them.
//!
//! Only the substitutions that it knows: `$V`, `${V}`, `${V-w}`, `${V:-w}`, `${V+w}`, `${V:+w}`, `${V?m}`, `${V:?m}`,
//! `${V#p}`, `${V##p}`, `${V%p}`, `${V%%p}`, `${V/p/r}`, `${V//p/r}`; words nest.

use std::fmt;

/// Values of variables by name.
pub trait Environment {
    /// The value of `name`; `None` if it is unset. An empty value is set.
    fn value(&self, name: &str) -> Option<&str>;
}

impl Environment for () {
    fn value(&self, _name: &str) -> Option<&str> {
        None
    }
}

impl Environment for std::collections::BTreeMap<String, String> {
    fn value(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }
}

impl Environment for &std::collections::BTreeMap<String, String> {
    fn value(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }
}

/// A word after expansion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expanded {
    /// The expanded text; a variable without a value is empty in it.
    pub text: String,
    /// Variables without a value on which the text depends, in order, each once.
    pub missing: Vec<String>,
}

/// Why a word cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpansionError(pub(crate) String);

impl fmt::Display for ExpansionError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for ExpansionError {}

/// Expands one word, where `escape` is the file's escape character.
///
/// ```
/// let mut values = std::collections::BTreeMap::new();
/// values.insert("V".to_string(), "v1.2.3".to_string());
/// let word = dockerfile::expand("alpine:${V#v}", '\\', &values).unwrap();
/// assert_eq!(word.text, "alpine:1.2.3");
/// ```
///
/// # Errors
/// Unterminated quotes or braces, an unknown operator, `${V?message}` without a value, or a text that
/// grows beyond 64 KiB.
pub fn expand(word: &str, escape: char, values: &dyn Environment) -> Result<Expanded, ExpansionError> {
    if !word.contains(['$', '\'', '"', escape]) {
        return Ok(Expanded {
            text: strip_mark(word).to_owned(),
            missing: Vec::new(),
        });
    }
    let mut lexer = Lexer::new(word, escape, values, Mode::default());
    let (text, _) = lexer.run()?;
    let mut missing = std::mem::take(&mut lexer.missing);
    let mut seen = std::collections::BTreeSet::new();
    missing.retain(|name| seen.insert(name.clone()));
    Ok(Expanded { text, missing })
}

/// Options of a lexer in addition to the escape character.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mode {
    /// Quotes stay in the text.
    pub(crate) raw_quotes: bool,
    /// Escape characters stay in the text.
    pub(crate) raw_escapes: bool,
    /// A variable without a value stays as it is written.
    pub(crate) keep_unset: bool,
}

/// Splits a text into its words (for here-documents). After an error the front end sees no words.
pub(crate) fn words(text: &str, mode: Mode) -> Result<Vec<String>, ExpansionError> {
    let mut lexer = Lexer::new(text, '\\', &(), mode);
    lexer.run().map(|(_, words)| words)
}

/// The front end's scanner drops a byte order mark at the start of a word.
fn strip_mark(word: &str) -> &str {
    word.strip_prefix('\u{feff}').unwrap_or(word)
}

/// Maximum cost of one expansion: without a limit `ARG A=$A$A` forty times over is a terabyte.
const LONGEST_TEXT: usize = 64 * 1024;
const DEEPEST_NESTING: usize = 100;

/// Reads one text: words, quotes and escapes here, `$…` in `substitution`.
pub(crate) struct Lexer<'a> {
    pub(crate) rest: &'a str,
    escape: char,
    pub(crate) mode: Mode,
    pub(crate) values: &'a dyn Environment,
    pub(crate) missing: Vec<String>,
    /// The current word. The front end shares one buffer between nested substitutions, so does this one.
    word: String,
    depth: usize,
    /// Accumulated cost of matching patterns.
    pub(crate) steps: usize,
}

/// The state of one nesting level's splitting into words.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    inside: bool,
}

impl<'a> Lexer<'a> {
    fn new(text: &'a str, escape: char, values: &'a dyn Environment, mode: Mode) -> Self {
        let rest = strip_mark(text);
        Lexer {
            rest,
            escape,
            mode,
            values,
            missing: Vec::new(),
            word: String::new(),
            depth: 0,
            steps: 0,
        }
    }

    fn run(&mut self) -> Result<(String, Vec<String>), ExpansionError> {
        self.until(None, self.mode.raw_escapes, false)
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub(crate) fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    fn grow(&self, text: &mut String, more: &str) -> Result<(), ExpansionError> {
        if text.len() + more.len() > LONGEST_TEXT.max(self.rest.len()) + LONGEST_TEXT {
            return fail("the expanded text is longer than 64 KiB");
        }
        text.push_str(more);
        Ok(())
    }

    /// Reads to `stop` (consumed) or, without one, to the end.
    pub(crate) fn until(
        &mut self,
        stop: Option<char>,
        raw_escapes: bool,
        pattern: bool,
    ) -> Result<(String, Vec<String>), ExpansionError> {
        if self.depth >= DEEPEST_NESTING {
            return fail("substitutions nest too deeply");
        }
        let before = std::mem::replace(&mut self.mode.raw_escapes, raw_escapes);
        self.depth += 1;
        let result = self.read_until(stop, pattern);
        self.depth -= 1;
        self.mode.raw_escapes = before;
        result
    }

    fn read_until(
        &mut self,
        stop: Option<char>,
        pattern: bool,
    ) -> Result<(String, Vec<String>), ExpansionError> {
        self.word.clear();
        // The whole text's capacity at once; text within braces is short.
        let mut text = match stop {
            None => String::with_capacity(self.rest.len()),
            Some(_) => String::new(),
        };
        let mut words = Words::default();
        loop {
            let plain = self.plain_text(stop);
            if !plain.is_empty() {
                self.word.push_str(plain);
                text.push_str(plain);
                words.inside = true;
            }
            let Some(next) = self.peek() else { break };
            if Some(next) == stop {
                self.next();
                return Ok((text, self.finish(words)));
            }
            match next {
                '$' => {
                    let value = self.dollar()?;
                    self.grow(&mut text, &value)?;
                    value.chars().for_each(|each| self.add(&mut words, each));
                }
                '\'' | '"' | '<' => {
                    let value = match next {
                        '\'' => self.single_quoted(pattern)?,
                        '"' => self.double_quoted(pattern)?,
                        _ => self.less_than(),
                    };
                    self.grow(&mut text, &value)?;
                    self.word.push_str(&value);
                    words.inside = true;
                }
                _ => {
                    self.next();
                    if next != self.escape {
                        self.add(&mut words, next);
                        text.push(next);
                        continue;
                    }
                    if self.mode.raw_escapes {
                        self.add_raw(&mut words, next);
                        text.push(next);
                    }
                    let Some(escaped) = self.next() else { break };
                    self.add_raw(&mut words, escaped);
                    text.push(escaped);
                }
            }
        }
        match stop {
            Some(stop) => fail(format!(
                "unexpected end of statement while looking for matching {stop}"
            )),
            None => Ok((text, self.finish(words))),
        }
    }

    /// Takes characters without a special meaning, up to a possible end of the word.
    fn plain_text(&mut self, stop: Option<char>) -> &'a str {
        let rest = self.rest;
        let has_meaning = |next: char| {
            next == self.escape
                || Some(next) == stop
                || next.is_whitespace()
                || matches!(next, '$' | '\'' | '"' | '<')
        };
        let (plain, rest) = rest.split_at(rest.find(has_meaning).unwrap_or(rest.len()));
        self.rest = rest;
        plain
    }

    fn add(&mut self, words: &mut Words, next: char) {
        if !next.is_whitespace() {
            self.add_raw(words, next);
        } else if words.inside && !self.word.is_empty() {
            words.done.push(std::mem::take(&mut self.word));
            words.inside = false;
        }
    }

    fn add_raw(&mut self, words: &mut Words, next: char) {
        self.word.push(next);
        words.inside = true;
    }

    fn finish(&mut self, mut words: Words) -> Vec<String> {
        if !self.word.is_empty() {
            words.done.push(std::mem::take(&mut self.word));
        }
        words.done
    }

    fn single_quoted(&mut self, pattern: bool) -> Result<String, ExpansionError> {
        let mut text = String::new();
        self.next();
        if self.mode.raw_quotes {
            text.push('\'');
        }
        loop {
            match self.next() {
                None => return fail("unexpected end of statement while looking for matching single-quote"),
                Some('\'') => {
                    if self.mode.raw_quotes {
                        text.push('\'');
                    }
                    return Ok(text);
                }
                Some(next) => {
                    if pattern && next == self.escape {
                        text.push(next);
                    }
                    text.push(next);
                }
            }
        }
    }

    fn double_quoted(&mut self, pattern: bool) -> Result<String, ExpansionError> {
        let mut text = String::new();
        self.next();
        if self.mode.raw_quotes {
            text.push('"');
        }
        loop {
            match self.peek() {
                None => return fail("unexpected end of statement while looking for matching double-quote"),
                Some('"') => {
                    self.next();
                    if self.mode.raw_quotes {
                        text.push('"');
                    }
                    return Ok(text);
                }
                Some('$') => {
                    let value = self.dollar()?;
                    self.grow(&mut text, &value)?;
                }
                Some(next) if next == self.escape => {
                    self.next();
                    self.escape_in_quotes(&mut text, pattern);
                }
                Some(next) => {
                    self.next();
                    text.push(next);
                }
            }
        }
    }

    /// After an escape character within double quotes: it escapes `"`, `$` and itself, otherwise it is text.
    fn escape_in_quotes(&mut self, text: &mut String, pattern: bool) {
        match self.peek() {
            None => {}
            Some(next) if next == '"' || next == '$' || next == self.escape => {
                if self.mode.raw_escapes {
                    text.push(self.escape);
                }
                self.next();
                text.push(next);
            }
            Some(_) => {
                if self.mode.raw_escapes && (!self.mode.raw_quotes || pattern) {
                    text.push(self.escape);
                }
                text.push(self.escape);
            }
        }
    }

    /// `<<` takes the following blanks into its word: `<< EOF` is one word.
    fn less_than(&mut self) -> String {
        self.next();
        if self.peek() != Some('<') {
            return "<".to_owned();
        }
        self.next();
        let mut text = "<<".to_owned();
        while let Some(blank @ ('\t' | '\r' | ' ')) = self.peek() {
            self.next();
            text.push(blank);
        }
        text
    }
}

pub(crate) fn fail<T>(reason: impl Into<String>) -> Result<T, ExpansionError> {
    Err(ExpansionError(reason.into()))
}
