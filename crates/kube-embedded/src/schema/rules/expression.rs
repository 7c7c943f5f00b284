//! The syntax tree of a rule.

use serde_json::Value;

/// A rule.
#[derive(Debug, Clone)]
pub(super) enum Expression {
    Path(Root, Vec<String>),
    Has(Root, Vec<String>),
    Literal(Value),
    Size(Box<Self>),
    Compare(Box<Self>, Comparison, Box<Self>),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

/// The variable of a path: `self` or `oldSelf`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    New,
    Old,
}

/// Comparison operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Expression {
    /// Whether it uses the value before the write.
    pub(super) fn uses_old(&self) -> bool {
        match self {
            Self::Path(root, _) | Self::Has(root, _) => *root == Root::Old,
            Self::Literal(_) => false,
            Self::Size(inner) | Self::Not(inner) => inner.uses_old(),
            Self::Compare(left, _, right) | Self::And(left, right) | Self::Or(left, right) => {
                left.uses_old() || right.uses_old()
            }
        }
    }
}
