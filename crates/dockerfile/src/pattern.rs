//! Shell patterns of `${V#p}`, `${V%p}` and `${V/p/r}`: `*`, `?` and escapes; no brackets, as in the front end.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    AnyText,
    AnyChar,
    Char(char),
}

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    tokens: Vec<Token>,
}

/// Which matches to replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replace {
    First,
    All,
}

impl Pattern {
    /// Compiles a pattern; the error is the reason.
    pub(crate) fn new(text: &str) -> Result<Pattern, String> {
        let mut tokens = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(next) = chars.next() {
            tokens.push(match next {
                '*' => Token::AnyText,
                '?' => Token::AnyChar,
                // Within `${}` these two need an escape that is not part of the pattern.
                '\\' if matches!(chars.peek(), Some('}' | '/')) => continue,
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '?' | '\\')) => Token::Char(escaped),
                    Some(other) => return Err(format!("invalid escape '\\{other}'")),
                    None => return Err("invalid escape at the end".to_owned()),
                },
                other => Token::Char(other),
            });
        }
        Ok(Pattern { tokens })
    }

    /// `value` without the shortest (or longest: `greedy`) prefix that matches.
    pub(crate) fn without_prefix(&self, value: &str, greedy: bool, steps: &mut usize) -> String {
        let chars: Vec<char> = value.chars().collect();
        match ends(&self.tokens, &chars, greedy, steps) {
            Some(end) => chars[end..].iter().collect(),
            None => value.to_owned(),
        }
    }

    /// Compiles a pattern from its end, for suffixes. The front end reverses the text and not its meaning, so that
    /// an escape character at the end, which escapes nothing there, escapes what was the last but one.
    pub(crate) fn reversed(text: &str) -> Result<Pattern, String> {
        let mut pieces: Vec<String> = Vec::new();
        let mut chars = text.chars();
        while let Some(next) = chars.next() {
            let mut piece = String::from(next);
            if next == '\\' {
                piece.extend(chars.next());
            }
            pieces.push(piece);
        }
        Pattern::new(&pieces.into_iter().rev().collect::<String>())
    }

    /// `value` without the shortest (or longest: `greedy`) suffix that this pattern, which is [`Pattern::reversed`],
    /// matches.
    pub(crate) fn without_suffix(&self, value: &str, greedy: bool, steps: &mut usize) -> String {
        let chars: Vec<char> = value.chars().rev().collect();
        match ends(&self.tokens, &chars, greedy, steps) {
            Some(end) => chars[end..].iter().rev().collect(),
            None => value.to_owned(),
        }
    }

    /// `value` with the first or all matches (each as long as it can be) replaced.
    pub(crate) fn replace(
        &self,
        value: &str,
        replacement: &str,
        which: Replace,
        steps: &mut usize,
    ) -> String {
        let chars: Vec<char> = value.chars().collect();
        let mut out = String::new();
        let mut copied = 0;
        let mut position = 0;
        while position <= chars.len() {
            let Some((start, end)) = self.find(&chars, position, steps) else {
                break;
            };
            out.extend(&chars[copied..start]);
            if which == Replace::First {
                out.push_str(replacement);
                copied = end;
                break;
            }
            // An empty match directly after a match does not count.
            if end > copied || start == 0 {
                push_template(&mut out, replacement, &chars[start..end]);
            }
            copied = end;
            position = end.max(position + 1);
        }
        out.extend(&chars[copied.min(chars.len())..]);
        out
    }

    fn find(&self, chars: &[char], from: usize, steps: &mut usize) -> Option<(usize, usize)> {
        for start in from..=chars.len() {
            if let Some(length) = ends(&self.tokens, &chars[start..], true, steps) {
                return Some((start, start + length));
            }
            // If `*` at the front does not match from here, it matches from no later position.
            if self.tokens.first() == Some(&Token::AnyText) {
                return None;
            }
        }
        None
    }
}

/// In "replace all" the front end's replacement is a template in which `$0` is the match and other names are empty.
fn push_template(out: &mut String, template: &str, matched: &[char]) {
    let mut rest = template;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let braced = rest.starts_with('{');
        let body = if braced { &rest[1..] } else { rest };
        let length = body
            .find(|each: char| !(each.is_alphanumeric() || each == '_'))
            .unwrap_or(body.len());
        let closed = !braced || body[length..].starts_with('}');
        if length == 0 || !closed {
            out.push('$');
            continue;
        }
        if body[..length].bytes().all(|byte| byte == b'0') {
            out.extend(matched);
        }
        rest = &body[length + usize::from(braced)..];
    }
    out.push_str(rest);
}

/// Maximum steps of matching; exceeding it is an error.
const GIVE_UP: usize = 4_000_000;

/// The end of a match from the start of `chars`, the nearest or (`greedy`) the farthest.
fn ends(tokens: &[Token], chars: &[char], greedy: bool, steps: &mut usize) -> Option<usize> {
    // A state is the number of matched tokens; all states advance together, so a text costs length times tokens.
    let mut now = vec![false; tokens.len() + 1];
    let mut next = now.clone();
    now[0] = true;
    let mut best = None;
    for position in 0..=chars.len() {
        *steps = steps.saturating_add(tokens.len() + 1);
        for (index, token) in tokens.iter().enumerate() {
            now[index + 1] |= now[index] && *token == Token::AnyText;
        }
        if now[tokens.len()] {
            best = Some(position);
            if !greedy {
                break;
            }
        }
        let Some(&char) = chars.get(position) else { break };
        next.fill(false);
        for (index, token) in tokens.iter().enumerate().filter(|(index, _)| now[*index]) {
            match token {
                Token::AnyText => next[index] |= char != '\n',
                Token::AnyChar => next[index + 1] |= char != '\n',
                Token::Char(expected) => next[index + 1] |= char == *expected,
            }
        }
        std::mem::swap(&mut now, &mut next);
        if *steps > GIVE_UP || !now.contains(&true) {
            break;
        }
    }
    best
}
