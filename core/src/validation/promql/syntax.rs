//! Syntax tree of a query, detailed enough to determine the data that must exist for its result to be meaningful.

use super::{operator::Op, scan::Token};

/// Maximum number of nodes, because the analysis is recursive.
const MOST_PARTS: usize = 500;
/// Maximum nesting of brackets.
const DEEPEST: usize = 50;

/// A node of a query, with its text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Expr<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) text: &'a str,
    /// `by (pod)` or `without (pod)` of an aggregation.
    pub(super) grouping: &'a str,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind<'a> {
    /// A number, or a duration used as a number.
    Number(Option<f64>),
    Text,
    /// A selector with a metric name, label matchers, or both.
    Select,
    /// A range of the inner expression.
    Range(Box<Expr<'a>>),
    Paren(Box<Expr<'a>>),
    Minus(Box<Expr<'a>>),
    /// A function call or an aggregation.
    Call(&'a str, Vec<Expr<'a>>),
    Binary(Box<Binary<'a>>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Binary<'a> {
    pub(super) op: Op,
    pub(super) is_bool: bool,
    /// `on (pod)` or `ignoring (code)`.
    pub(super) matching: &'a str,
    pub(super) group: Option<Side>,
    /// `(node)` of `group_left (node)`.
    pub(super) included: &'a str,
    pub(super) left: Expr<'a>,
    pub(super) right: Expr<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

impl<'a> Expr<'a> {
    /// Parses a query. Returns `None` if it is not supported.
    pub(super) fn parse(query: &'a str, tokens: &[Token<'a>]) -> Option<Self> {
        let mut parser = Parser {
            query,
            tokens,
            at: 0,
            depth: 0,
            parts: 0,
        };
        let expr = parser.binary(0)?;
        parser.peek().is_none().then_some(expr)
    }

    /// The expression without enclosing brackets.
    pub(super) fn bare(&self) -> &Self {
        match &self.kind {
            Kind::Paren(inner) => inner.bare(),
            _ => self,
        }
    }

    /// The operands.
    pub(super) fn parts(&self) -> Vec<&Self> {
        match &self.kind {
            Kind::Number(_) | Kind::Text | Kind::Select => Vec::new(),
            Kind::Range(inner) | Kind::Paren(inner) | Kind::Minus(inner) => vec![inner],
            Kind::Call(_, parts) => parts.iter().collect(),
            Kind::Binary(binary) => vec![&binary.left, &binary.right],
        }
    }

    /// Whether this node or a descendant satisfies `wanted`.
    pub(super) fn has(&self, wanted: &dyn Fn(&Self) -> bool) -> bool {
        wanted(self) || self.parts().into_iter().any(|part| part.has(wanted))
    }

    /// The expressions with a range, if they select series.
    pub(super) fn ranges(&self) -> Vec<&Self> {
        match &self.kind {
            Kind::Range(inner) if inner.kind == Kind::Select => vec![inner],
            _ => self.parts().into_iter().flat_map(Self::ranges).collect(),
        }
    }

    /// Whether the expression selects any series.
    pub(super) fn selects(&self) -> bool {
        self.has(&|part| part.kind == Kind::Select)
    }

    /// Whether the expression is a scalar.
    pub(super) fn is_scalar(&self) -> bool {
        match &self.kind {
            Kind::Number(_) => true,
            Kind::Call(name, _) => ["scalar", "time", "pi"].contains(name),
            Kind::Paren(inner) | Kind::Minus(inner) => inner.is_scalar(),
            Kind::Binary(binary) => binary.left.is_scalar() && binary.right.is_scalar(),
            Kind::Text | Kind::Select | Kind::Range(_) => false,
        }
    }

    /// Whether the expression is a number that always exists.
    pub(super) fn is_constant(&self) -> bool {
        self.is_scalar() && !self.selects()
    }

    /// The value of a number literal.
    pub(super) fn number(&self) -> Option<f64> {
        match &self.bare().kind {
            Kind::Number(number) => *number,
            Kind::Minus(inner) => inner.number().map(|number| -number),
            _ => None,
        }
    }
}

struct Parser<'a, 'b> {
    query: &'a str,
    tokens: &'b [Token<'a>],
    at: usize,
    depth: usize,
    parts: usize,
}

impl<'a> Parser<'a, '_> {
    fn peek(&self) -> Option<&Token<'a>> {
        self.tokens.get(self.at)
    }

    fn is(&self, keyword: &str) -> bool {
        self.peek().is_some_and(|token| token.is(keyword))
    }

    fn take(&mut self, keyword: &str) -> Option<()> {
        let is_it = self.is(keyword);
        self.at += usize::from(is_it);
        is_it.then_some(())
    }

    /// Start of the next token, or the end of the query.
    fn start(&self) -> usize {
        self.peek().map_or(self.query.len(), |token| token.at)
    }

    /// End of the last token.
    fn end(&self) -> usize {
        let last = self.at.checked_sub(1).and_then(|last| self.tokens.get(last));
        last.map_or(0, |token| token.at + token.text.len())
    }

    fn text(&self, from: usize) -> &'a str {
        self.query.get(from..self.end()).unwrap_or_default()
    }

    fn make(&mut self, kind: Kind<'a>, from: usize) -> Option<Expr<'a>> {
        self.parts += 1;
        let text = self.text(from);
        (self.parts <= MOST_PARTS).then_some(Expr {
            kind,
            text,
            grouping: "",
        })
    }

    /// Parses operators with at least this precedence.
    fn binary(&mut self, least: usize) -> Option<Expr<'a>> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let from = self.start();
        let mut left = self.unary()?;
        while let Some(op) = self.peek().and_then(Op::of).filter(|op| op.precedence() >= least) {
            self.at += 1;
            let is_bool = self.take("bool").is_some();
            let matched = self.start();
            let mut matching = "";
            if self.is("on") || self.is("ignoring") {
                self.at += 1;
                self.brackets()?;
                matching = self.text(matched);
            }
            let mut group = None;
            let mut included = "";
            for (keyword, side) in [("group_left", Side::Left), ("group_right", Side::Right)] {
                if self.take(keyword).is_some() {
                    group = Some(side);
                    if self.is("(") {
                        let listed = self.start();
                        self.brackets()?;
                        included = self.text(listed);
                    }
                }
            }
            // Only `^` is right-associative.
            let right = self.binary(op.precedence() + usize::from(op != Op::Power))?;
            let binary = Binary {
                op,
                is_bool,
                matching,
                group,
                included,
                left,
                right,
            };
            left = self.make(Kind::Binary(Box::new(binary)), from)?;
        }
        self.depth -= 1;
        Some(left)
    }

    fn unary(&mut self) -> Option<Expr<'a>> {
        let from = self.start();
        let is_minus = self.is("-");
        if !is_minus && !self.is("+") {
            return self.postfix();
        }
        self.at += 1;
        let inner = self.binary(Op::Power.precedence())?;
        if is_minus {
            self.make(Kind::Minus(Box::new(inner)), from)
        } else {
            Some(inner)
        }
    }

    /// An operand with its range and modifiers.
    fn postfix(&mut self) -> Option<Expr<'a>> {
        let from = self.start();
        let mut expr = self.primary()?;
        loop {
            if self.is("[") {
                self.brackets()?;
                expr = self.make(Kind::Range(Box::new(expr)), from)?;
            } else if self.take("offset").is_some() || self.take("@").is_some() {
                let _sign = self.take("-").or_else(|| self.take("+"));
                if !self.is("(") {
                    self.at += 1;
                }
                if self.is("(") {
                    self.brackets()?;
                }
                expr.text = self.text(from);
            } else {
                return Some(expr);
            }
        }
    }

    fn primary(&mut self) -> Option<Expr<'a>> {
        let from = self.start();
        if self.take("(").is_some() {
            let inner = self.binary(0)?;
            self.take(")")?;
            return self.make(Kind::Paren(Box::new(inner)), from);
        }
        if self.is("{") {
            self.brackets()?;
            return self.make(Kind::Select, from);
        }
        let first = *self.peek()?;
        if first.text.starts_with(['"', '\'', '`']) {
            self.at += 1;
            return self.make(Kind::Text, from);
        }
        if first
            .text
            .starts_with(|char: char| char.is_ascii_digit() || char == '.')
        {
            return self.number();
        }
        let is_name = |text: &str| text.starts_with("{{") || text == ":" || text.starts_with(super::scan::is_word);
        // The name of a recording rule contains colons, and a name may contain a variable.
        while self.peek().is_some_and(|next| is_name(next.text)) && (self.start() == from || self.start() == self.end())
        {
            self.at += 1;
        }
        let name = self.text(from);
        let has_arguments = self.is("(") || ["by", "without"].iter().any(|keyword| self.is(keyword));
        match name {
            "" => None,
            _ if has_arguments => self.call(name, from),
            _ if self.is("{") => {
                self.brackets()?;
                self.make(Kind::Select, from)
            }
            _ if first.is("inf") || first.is("nan") => self.make(Kind::Number(name.parse().ok()), from),
            _ => self.make(Kind::Select, from),
        }
    }

    /// `1e-5` consists of three tokens.
    fn number(&mut self) -> Option<Expr<'a>> {
        let from = self.start();
        self.at += 1;
        let is_open = self.text(from).ends_with(['e', 'E']) && !self.text(from).to_ascii_lowercase().starts_with("0x");
        if is_open && self.start() == self.end() && (self.is("-") || self.is("+")) {
            self.at += 2;
        }
        let number = self.text(from).parse().ok();
        self.make(Kind::Number(number), from)
    }

    fn call(&mut self, name: &'a str, from: usize) -> Option<Expr<'a>> {
        let before = self.labels()?;
        self.take("(")?;
        let mut parts = Vec::new();
        while !self.is(")") {
            parts.push(self.binary(0)?);
            if self.take(",").is_none() && !self.is(")") {
                return None;
            }
        }
        self.take(")")?;
        let after = self.labels()?;
        let call = self.make(Kind::Call(name, parts), from)?;
        let grouping = if before.is_empty() { after } else { before };
        Some(Expr { grouping, ..call })
    }

    /// `by (pod)`, or nothing.
    fn labels(&mut self) -> Option<&'a str> {
        let from = self.start();
        if self.take("by").or_else(|| self.take("without")).is_none() {
            return Some("");
        }
        self.brackets()?;
        Some(self.text(from))
    }

    /// Skips a pair of brackets and its content.
    fn brackets(&mut self) -> Option<()> {
        let depth = self.peek().filter(|token| matches!(token.text, "(" | "[" | "{"))?.depth;
        let mut rest = self.tokens.iter().skip(self.at + 1);
        let length = rest.position(|token| token.depth == depth && matches!(token.text, ")" | "]" | "}"))?;
        self.at += length + 2;
        Some(())
    }
}
