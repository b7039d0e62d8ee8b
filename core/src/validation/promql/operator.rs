//! Binary operators.

use super::scan::Token;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Or,
    And,
    Unless,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    Plus,
    Minus,
    Times,
    Over,
    /// `%` and `atan2`.
    Odd,
    Power,
}

impl Op {
    pub(super) fn of(token: &Token<'_>) -> Option<Self> {
        Some(match token.text.to_ascii_lowercase().as_str() {
            "or" => Self::Or,
            "and" => Self::And,
            "unless" => Self::Unless,
            "==" => Self::Equal,
            "!=" => Self::NotEqual,
            ">" => Self::Greater,
            "<" => Self::Less,
            ">=" => Self::GreaterOrEqual,
            "<=" => Self::LessOrEqual,
            "+" => Self::Plus,
            "-" => Self::Minus,
            "*" => Self::Times,
            "/" => Self::Over,
            "%" | "atan2" => Self::Odd,
            "^" => Self::Power,
            _ => return None,
        })
    }

    /// Operator precedence; a higher value binds more tightly.
    pub(super) fn precedence(self) -> usize {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            _ if self.compares() => 3,
            Self::Plus | Self::Minus => 4,
            Self::Power => 6,
            _ => 5,
        }
    }

    /// Whether it is a comparison.
    pub(super) fn compares(self) -> bool {
        matches!(self, Self::Equal | Self::NotEqual) || self.wants_less() || self.wants_more()
    }

    /// `>` or `>=`.
    pub(super) fn wants_more(self) -> bool {
        matches!(self, Self::Greater | Self::GreaterOrEqual)
    }

    /// `<` or `<=`.
    pub(super) fn wants_less(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual)
    }

    /// Whether it is a set operator.
    pub(super) fn is_set(self) -> bool {
        matches!(self, Self::Or | Self::And | Self::Unless)
    }

    /// The operator with its operands swapped: `2 < x` is `x > 2`.
    pub(super) fn flipped(self) -> Self {
        match self {
            Self::Greater => Self::Less,
            Self::Less => Self::Greater,
            Self::GreaterOrEqual => Self::LessOrEqual,
            Self::LessOrEqual => Self::GreaterOrEqual,
            same => same,
        }
    }
}
