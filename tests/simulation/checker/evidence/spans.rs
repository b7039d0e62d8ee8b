//! Values and facts over time.

use jiff::{SignedDuration, Timestamp};

/// From a moment on, and until another.
pub(super) type Span = (Timestamp, Timestamp);

/// When something was so.
#[derive(Clone, Debug, Default)]
pub(super) struct Spans(Vec<(Timestamp, Option<Timestamp>)>);

impl Spans {
    /// From `at` on it is so, or not.
    pub(super) fn set(&mut self, at: Timestamp, is_so: bool) {
        match self.0.last_mut() {
            Some((_, until @ None)) if !is_so => *until = Some(at),
            Some((_, None)) => {}
            _ if is_so => self.0.push((at, None)),
            _ => {}
        }
    }

    /// When it was so between two moments.
    pub(super) fn within(&self, from: Timestamp, until: Timestamp) -> Vec<Span> {
        let clipped = self.0.iter().map(|(start, end)| {
            let end = end.unwrap_or(Timestamp::MAX);
            ((*start).max(from), end.min(until))
        });
        clipped.filter(|(start, end)| start < end).collect()
    }

    /// Since when it is so at a moment.
    pub(super) fn since(&self, at: Timestamp) -> Option<Timestamp> {
        let holds =
            |(from, until): &&(Timestamp, Option<Timestamp>)| *from <= at && until.is_none_or(|until| at < until);
        self.0.iter().rev().find(holds).map(|(from, _)| *from)
    }

    /// When it was so for the first time.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.0.first().map(|(from, _)| *from)
    }
}

/// What of some spans is in none of others. Both are in order, and do not overlap among themselves.
pub(super) fn without(spans: &[Span], others: &[Span]) -> Vec<Span> {
    let mut rest = Vec::new();
    for &(mut from, until) in spans {
        for &(start, end) in others {
            if end <= from || start >= until {
                continue;
            }
            if from < start {
                rest.push((from, start));
            }
            from = end;
        }
        if from < until {
            rest.push((from, until));
        }
    }
    rest
}

/// How long a span is.
pub(super) fn length((from, until): Span) -> SignedDuration {
    until.duration_since(from)
}

/// How long spans are together.
pub(super) fn total(spans: &[Span]) -> SignedDuration {
    spans
        .iter()
        .map(|span| length(*span))
        .fold(SignedDuration::ZERO, |sum, long| sum + long)
}

/// The longest of some spans.
pub(super) fn longest(spans: Vec<Span>) -> Option<Span> {
    spans.into_iter().max_by_key(|span| length(*span))
}

/// The values that something had.
#[derive(Clone, Debug)]
pub(super) struct Timeline<T>(Vec<(Timestamp, T)>);

impl<T> Default for Timeline<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq> Timeline<T> {
    /// One that has a value from a moment on.
    pub(super) fn from(at: Timestamp, value: T) -> Self {
        Self(vec![(at, value)])
    }

    /// From `at` on it is `value`.
    pub(super) fn push(&mut self, at: Timestamp, value: T) {
        if self.last() != Some(&value) {
            self.0.push((at, value));
        }
    }

    /// What it is now.
    pub(super) fn last(&self) -> Option<&T> {
        self.0.last().map(|(_, value)| value)
    }

    /// What it was at first.
    pub(super) fn first(&self) -> Option<&T> {
        self.0.first().map(|(_, value)| value)
    }

    /// Since when it is what it is now.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.0.last().map(|(at, _)| *at)
    }

    /// Its values between two moments, and for how long within them.
    pub(super) fn within(&self, from: Timestamp, until: Timestamp) -> impl Iterator<Item = (Span, &T)> {
        self.0.iter().enumerate().filter_map(move |(index, (start, value))| {
            let end = self.0.get(index + 1).map_or(Timestamp::MAX, |(end, _)| *end);
            let span = ((*start).max(from), end.min(until));
            (span.0 < span.1).then_some((span, value))
        })
    }
}
