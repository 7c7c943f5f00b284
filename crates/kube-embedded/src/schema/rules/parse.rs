//! Parses a rule.

use serde_json::Value;

use super::expression::{Comparison, Expression, Node, Root};

/// Why a rule cannot be parsed.
#[derive(Debug)]
pub(super) enum ParseError {
    /// An error of the rule, at an offset.
    Syntax(usize, String),
    /// A part that only the real server implements.
    Unsupported(String),
}

use ParseError::{Syntax, Unsupported};

/// Parses a rule.
///
/// # Errors
/// The first error, or the unsupported part.
pub(super) fn expression(source: &str) -> Result<Expression, ParseError> {
    let mut parser = Parser {
        tokens: tokens(source)?,
        at: 0,
        end: source.chars().count(),
    };
    let expression = parser.or()?;
    match parser.tokens.get(parser.at) {
        Some(token) => Err(token.unexpected("<EOF>")),
        None => Ok(expression),
    }
}

#[derive(Debug, Clone)]
struct Token {
    at: usize,
    kind: TokenKind,
}

#[derive(Debug, Clone, PartialEq)]
enum TokenKind {
    Name(String),
    Literal(Value),
    Sign(&'static str),
}

const SIGNS: &[&str] = &[
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "(", ")", ".", "-", "+", "*", "/", "%", "?", ":", "[",
    "]", "{", "}", ",",
];
/// Signs of operators, lists and maps that are not implemented.
const UNSUPPORTED: &[&str] = &["-", "+", "*", "/", "%", "?", ":", "[", "]", "{", "}", ","];

impl Token {
    /// The error of a token where another one is needed.
    fn unexpected(&self, expected: &str) -> ParseError {
        match &self.kind {
            TokenKind::Sign(sign) if UNSUPPORTED.contains(sign) => {
                Unsupported(format!("the operator `{sign}` is not implemented in rules"))
            }
            TokenKind::Name(name) if name == "in" => {
                Unsupported("the operator `in` is not implemented in rules".to_owned())
            }
            kind => Syntax(
                self.at,
                format!(
                    "Syntax error: extraneous input '{}' expecting {expected}",
                    shown(kind)
                ),
            ),
        }
    }
}

fn shown(kind: &TokenKind) -> String {
    match kind {
        TokenKind::Name(name) => name.clone(),
        TokenKind::Literal(value) => value.to_string(),
        TokenKind::Sign(sign) => (*sign).to_owned(),
    }
}

fn tokens(source: &str) -> Result<Vec<Token>, ParseError> {
    let characters: Vec<char> = source.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&first) = characters.get(at) {
        if first.is_whitespace() {
            at += 1;
            continue;
        }
        let run = |belongs: fn(char) -> bool| {
            let rest = &characters[at..];
            let length = rest.iter().position(|&c| !belongs(c)).unwrap_or(rest.len());
            rest[..length].iter().collect::<String>()
        };
        let (kind, length) = if first.is_ascii_alphabetic() || first == '_' {
            let name = run(|c| c.is_ascii_alphanumeric() || c == '_');
            (named(&name), name.len())
        } else if first.is_ascii_digit() {
            let digits = run(|c| c.is_ascii_alphanumeric() || c == '.');
            let number = serde_json::from_str::<Value>(&digits);
            let unsupported = |_| Unsupported(format!("the number `{digits}` is not implemented in rules"));
            let number = number.map_err(unsupported)?;
            if number.as_i64().is_none() && !digits.contains(['.', 'e', 'E']) {
                return Err(Syntax(at, "invalid int literal".to_owned()));
            }
            (TokenKind::Literal(number), digits.len())
        } else if matches!(first, '"' | '\'') {
            let (text, length) = string(&characters[at..], at)?;
            (TokenKind::Literal(text.into()), length)
        } else {
            let is_next = |sign: &&&str| {
                sign.chars()
                    .enumerate()
                    .all(|(n, c)| characters.get(at + n) == Some(&c))
            };
            let Some(sign) = SIGNS.iter().find(is_next) else {
                let what = format!("Syntax error: token recognition error at: '{first}'");
                return Err(Syntax(at, what));
            };
            (TokenKind::Sign(sign), sign.len())
        };
        tokens.push(Token { at, kind });
        at += length;
    }
    Ok(tokens)
}

fn named(name: &str) -> TokenKind {
    match name {
        "true" => TokenKind::Literal(true.into()),
        "false" => TokenKind::Literal(false.into()),
        "null" => TokenKind::Literal(Value::Null),
        name => TokenKind::Name(name.to_owned()),
    }
}

/// A quoted text and its length in the source.
fn string(characters: &[char], at: usize) -> Result<(String, usize), ParseError> {
    let quote = characters[0];
    let mut text = String::new();
    let mut rest = characters.iter().enumerate().skip(1);
    while let Some((index, &c)) = rest.next() {
        match c {
            c if c == quote => return Ok((text, index + 1)),
            '\\' => text.push(match rest.next().map(|(_, &c)| c) {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                Some(c @ ('\\' | '"' | '\'' | '`' | '?')) => c,
                _ => {
                    return Err(Unsupported(
                        "this escape in a string is not implemented in rules".to_owned(),
                    ));
                }
            }),
            c => text.push(c),
        }
    }
    let opened: String = characters.iter().collect();
    Err(Syntax(
        at,
        format!("Syntax error: token recognition error at: '{opened}'"),
    ))
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    end: usize,
}

impl Parser {
    /// The offset of a sign, if it is next.
    fn take(&mut self, sign: &str) -> Option<usize> {
        let token = self.tokens.get(self.at)?;
        let found = matches!(token.kind, TokenKind::Sign(next) if next == sign).then_some(token.at);
        self.at += usize::from(found.is_some());
        found
    }

    fn expect(&mut self, sign: &str) -> Result<usize, ParseError> {
        match self.take(sign) {
            Some(at) => Ok(at),
            None if self.at == self.tokens.len() => Err(Syntax(
                self.end,
                format!("Syntax error: missing '{sign}' at '<EOF>'"),
            )),
            None => Err(self.unexpected(&format!("'{sign}'"))),
        }
    }

    fn unexpected(&self, expected: &str) -> ParseError {
        match self.tokens.get(self.at) {
            Some(token) => token.unexpected(expected),
            None => Syntax(
                self.end,
                format!("Syntax error: mismatched input '<EOF>' expecting {expected}"),
            ),
        }
    }

    fn or(&mut self) -> Result<Expression, ParseError> {
        let mut left = self.and()?;
        while let Some(at) = self.take("||") {
            let node = Node::Or(left.into(), self.and()?.into());
            left = Expression { at, node };
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expression, ParseError> {
        let mut left = self.comparison()?;
        while let Some(at) = self.take("&&") {
            let node = Node::And(left.into(), self.comparison()?.into());
            left = Expression { at, node };
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Result<Expression, ParseError> {
        const SIGNS: [(&str, Comparison); 6] = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let mut left = self.unary()?;
        while let Some((at, comparison)) = SIGNS
            .iter()
            .find_map(|(sign, comparison)| Some((self.take(sign)?, *comparison)))
        {
            let node = Node::Compare(left.into(), comparison, self.unary()?.into());
            left = Expression { at, node };
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expression, ParseError> {
        if let Some(at) = self.take("!") {
            let node = Node::Not(self.unary()?.into());
            return Ok(Expression { at, node });
        }
        if let Some(at) = self.take("-") {
            return self.negative(at);
        }
        let primary = self.primary()?;
        self.members(primary)
    }

    /// A negative number; other negations are not implemented.
    fn negative(&mut self, at: usize) -> Result<Expression, ParseError> {
        if let Some(TokenKind::Literal(Value::Number(number))) =
            self.tokens.get(self.at).map(|token| &token.kind)
            && let Ok(number) = serde_json::from_str(&format!("-{number}"))
        {
            self.at += 1;
            let node = Node::Literal(number);
            return Ok(Expression { at, node });
        }
        Err(Unsupported(
            "the operator `-` is not implemented in rules".to_owned(),
        ))
    }

    fn primary(&mut self) -> Result<Expression, ParseError> {
        const START: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";
        if self.take("(").is_some() {
            let inner = self.or()?;
            self.expect(")")?;
            return Ok(inner);
        }
        let Some(Token { at, kind }) = self.tokens.get(self.at).cloned() else {
            return Err(self.unexpected(START));
        };
        let node = match kind {
            TokenKind::Literal(value) => Node::Literal(value),
            TokenKind::Name(name) => {
                self.at += 1;
                if let Some(open) = self.take("(") {
                    return self.call(&name, open);
                }
                self.at -= 1;
                match name.as_str() {
                    "self" => Node::Root(Root::New),
                    "oldSelf" => Node::Root(Root::Old),
                    _ => Node::Unknown(name),
                }
            }
            TokenKind::Sign(_) => return Err(self.unexpected(START)),
        };
        self.at += 1;
        Ok(Expression { at, node })
    }

    /// `has(…)` or `size(…)`, after the parenthesis at `open`.
    fn call(&mut self, name: &str, open: usize) -> Result<Expression, ParseError> {
        if !matches!(name, "has" | "size") {
            return Err(Unsupported(format!("`{name}()` is not implemented in rules")));
        }
        let inner = self.or()?;
        self.expect(")")?;
        if name == "size" {
            let node = Node::Size(inner.into());
            return Ok(Expression { at: open, node });
        }
        match inner.node {
            Node::Select { owner, name, .. } => {
                let is_test = true;
                let node = Node::Select { owner, name, is_test };
                Ok(Expression { at: open, node })
            }
            _ => Err(Syntax(inner.at, "invalid argument to has() macro".to_owned())),
        }
    }

    fn members(&mut self, mut owner: Expression) -> Result<Expression, ParseError> {
        while let Some(at) = self.take(".") {
            let Some(TokenKind::Name(name)) = self.tokens.get(self.at).map(|token| token.kind.clone()) else {
                return Err(self.unexpected("IDENTIFIER"));
            };
            self.at += 1;
            let Some(open) = self.take("(") else {
                let is_test = false;
                let owner_of = owner.into();
                let node = Node::Select {
                    owner: owner_of,
                    name,
                    is_test,
                };
                owner = Expression { at, node };
                continue;
            };
            if name != "size" || self.take(")").is_none() {
                return Err(Unsupported(format!("`{name}()` is not implemented in rules")));
            }
            let node = Node::Size(owner.into());
            owner = Expression { at: open, node };
        }
        match self.tokens.get(self.at).map(|token| &token.kind) {
            Some(TokenKind::Sign("[" | "{")) => Err(self.unexpected("<EOF>")),
            _ => Ok(owner),
        }
    }
}
