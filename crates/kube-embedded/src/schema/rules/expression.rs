//! What a rule says.

use serde_json::Value;

/// A rule as it is understood.
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

/// Where a path begins: `self` or `oldSelf`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    New,
    Old,
}

/// `==` and its kin.
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
    /// Whether it asks for the value before the write.
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
