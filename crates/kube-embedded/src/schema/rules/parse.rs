//! Parses a rule.

use serde_json::Value;

use super::expression::{Comparison, Expression, Root};

/// Parses a rule.
///
/// # Errors
/// The unsupported part.
pub(super) fn expression(source: &str) -> Result<Expression, String> {
    let mut parser = Parser {
        tokens: tokens(source)?,
        at: 0,
    };
    let expression = parser.or()?;
    match parser.tokens.get(parser.at) {
        Some(token) => Err(format!("unsupported rule at {token:?}")),
        None => Ok(expression),
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Name(String),
    Literal(Value),
    Sign(&'static str),
}

const SIGNS: &[&str] = &["==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "(", ")", "."];

fn tokens(source: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = source.trim_start();
    while let Some(first) = rest.chars().next() {
        let length;
        if first.is_ascii_alphabetic() || first == '_' {
            length = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            tokens.push(match &rest[..length] {
                "true" => Token::Literal(true.into()),
                "false" => Token::Literal(false.into()),
                "null" => Token::Literal(Value::Null),
                name => Token::Name(name.to_owned()),
            });
        } else if first.is_ascii_digit() {
            length = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .unwrap_or(rest.len());
            let number = serde_json::from_str(&rest[..length]);
            tokens.push(Token::Literal(
                number.map_err(|_| format!("invalid number: {}", &rest[..length]))?,
            ));
        } else if matches!(first, '"' | '\'') {
            let end = rest[1..].find(first).ok_or("unterminated string")?;
            let text = &rest[1..=end];
            if text.contains('\\') {
                return Err("escapes in strings are not implemented".into());
            }
            length = end + 2;
            tokens.push(Token::Literal(text.into()));
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = sign.ok_or_else(|| format!("unsupported rule at `{rest}`"))?;
            length = sign.len();
            tokens.push(Token::Sign(sign));
        }
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Sign(next)) if *next == sign);
        self.at += usize::from(found);
        found
    }

    fn or(&mut self) -> Result<Expression, String> {
        let mut left = self.and()?;
        while self.take("||") {
            left = Expression::Or(left.into(), self.and()?.into());
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expression, String> {
        let mut left = self.comparison()?;
        while self.take("&&") {
            left = Expression::And(left.into(), self.comparison()?.into());
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Result<Expression, String> {
        let left = self.unary()?;
        let signs = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        for (sign, comparison) in signs {
            if self.take(sign) {
                return Ok(Expression::Compare(left.into(), comparison, self.unary()?.into()));
            }
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expression, String> {
        if self.take("!") {
            return Ok(Expression::Not(self.unary()?.into()));
        }
        if self.take("(") {
            let inner = self.or()?;
            return if self.take(")") {
                Ok(inner)
            } else {
                Err("unclosed parenthesis".into())
            };
        }
        let token = self
            .tokens
            .get(self.at)
            .cloned()
            .ok_or("unexpected end of the rule")?;
        self.at += 1;
        match token {
            Token::Literal(value) => Ok(Expression::Literal(value)),
            Token::Name(name) if name == "has" || name == "size" => {
                if !self.take("(") {
                    return Err(format!("{name} without a parenthesis"));
                }
                let inner = self.or()?;
                if !self.take(")") {
                    return Err(format!("{name} takes one field"));
                }
                match inner {
                    inner if name == "size" => Ok(Expression::Size(inner.into())),
                    Expression::Path(root, path) if !path.is_empty() => Ok(Expression::Has(root, path)),
                    _ => Err("has() takes a field".into()),
                }
            }
            Token::Name(name) => self.path(&name),
            Token::Sign(sign) => Err(format!("unsupported rule at `{sign}`")),
        }
    }

    fn path(&mut self, root: &str) -> Result<Expression, String> {
        let root = match root {
            "self" => Root::New,
            "oldSelf" => Root::Old,
            other => return Err(format!("`{other}` is not implemented in rules")),
        };
        let mut path = Vec::new();
        while self.take(".") {
            match self.tokens.get(self.at) {
                Some(Token::Name(name)) => path.push(name.clone()),
                other => return Err(format!("unsupported rule at {other:?}")),
            }
            self.at += 1;
            if matches!(self.tokens.get(self.at), Some(Token::Sign("("))) {
                let name = path.pop().unwrap_or_default();
                if name == "size" && self.take("(") && self.take(")") {
                    return Ok(Expression::Size(Expression::Path(root, path).into()));
                }
                return Err(format!("`{name}()` is not implemented in rules"));
            }
        }
        Ok(Expression::Path(root, path))
    }
}
