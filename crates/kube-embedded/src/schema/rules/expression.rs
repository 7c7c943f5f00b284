//! The syntax tree of a rule.

use serde_json::Value;

/// A part of a rule.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    /// Offset in the source, in characters, where errors are reported.
    pub(super) at: usize,
    pub(super) node: Node,
}

/// What a part of a rule is.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// `self` or `oldSelf`.
    Root(Root),
    /// A variable that does not exist.
    Unknown(String),
    /// A field; `is_test` for `has()`.
    Select {
        owner: Box<Expression>,
        name: String,
        is_test: bool,
    },
    Literal(Value),
    Size(Box<Expression>),
    Compare(Box<Expression>, Comparison, Box<Expression>),
    Not(Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
}

/// The variables of a rule.
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

impl Comparison {
    /// Whether it needs no order.
    pub(super) fn is_equality(self) -> bool {
        matches!(self, Self::Equal | Self::NotEqual)
    }

    /// The name in error messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Equal => "_==_",
            Self::NotEqual => "_!=_",
            Self::Less => "_<_",
            Self::LessOrEqual => "_<=_",
            Self::Greater => "_>_",
            Self::GreaterOrEqual => "_>=_",
        }
    }
}

impl Expression {
    /// Whether it uses the value before the write.
    pub(super) fn uses_old(&self) -> bool {
        match &self.node {
            Node::Root(root) => *root == Root::Old,
            Node::Unknown(_) | Node::Literal(_) => false,
            Node::Select { owner: inner, .. } | Node::Size(inner) | Node::Not(inner) => inner.uses_old(),
            Node::Compare(left, _, right) | Node::And(left, right) | Node::Or(left, right) => {
                left.uses_old() || right.uses_old()
            }
        }
    }
}
