//! Values and conditions over time.

use jiff::{SignedDuration, Timestamp};

/// A start time and an end time.
pub(super) type Span = (Timestamp, Timestamp);

/// The periods in which a condition held.
#[derive(Clone, Debug, Default)]
pub(super) struct Spans(Vec<(Timestamp, Option<Timestamp>)>);

impl Spans {
    /// Sets the condition from `at` on, or from its last change on if that is later.
    pub(super) fn set(&mut self, at: Timestamp, is_so: bool) {
        let last = self.0.last().map(|(from, until)| until.unwrap_or(*from));
        let at = last.map_or(at, |last| last.max(at));
        match self.0.last_mut() {
            Some((_, until @ None)) if !is_so => *until = Some(at),
            Some((_, None)) => {}
            _ if is_so => self.0.push((at, None)),
            _ => {}
        }
    }

    /// The periods between two times in which the condition held.
    pub(super) fn within(&self, from: Timestamp, until: Timestamp) -> Vec<Span> {
        let clipped = self.0.iter().map(|(start, end)| {
            let end = end.unwrap_or(Timestamp::MAX);
            ((*start).max(from), end.min(until))
        });
        clipped.filter(|(start, end)| start < end).collect()
    }

    /// Since when the condition has held at a time.
    pub(super) fn since(&self, at: Timestamp) -> Option<Timestamp> {
        let holds =
            |(from, until): &&(Timestamp, Option<Timestamp>)| *from <= at && until.is_none_or(|until| at < until);
        self.0.iter().rev().find(holds).map(|(from, _)| *from)
    }

    /// When the condition held first.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.0.first().map(|(from, _)| *from)
    }
}

/// The parts of `spans` that are not in `others`. Both are sorted and without overlaps.
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

/// Length of a span.
pub(super) fn length((from, until): Span) -> SignedDuration {
    until.duration_since(from)
}

/// Total length of spans.
pub(super) fn total(spans: &[Span]) -> SignedDuration {
    spans
        .iter()
        .map(|span| length(*span))
        .fold(SignedDuration::ZERO, |sum, long| sum + long)
}

/// The longest span.
pub(super) fn longest(spans: Vec<Span>) -> Option<Span> {
    spans.into_iter().max_by_key(|span| length(*span))
}

/// The values of a variable over time.
#[derive(Clone, Debug)]
pub(super) struct Timeline<T>(Vec<(Timestamp, T)>);

impl<T> Default for Timeline<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq> Timeline<T> {
    /// A timeline with an initial value.
    pub(super) fn from(at: Timestamp, value: T) -> Self {
        Self(vec![(at, value)])
    }

    /// Sets the value from `at` on.
    pub(super) fn push(&mut self, at: Timestamp, value: T) {
        if self.last() != Some(&value) {
            self.0.push((at, value));
        }
    }

    /// The current value.
    pub(super) fn last(&self) -> Option<&T> {
        self.0.last().map(|(_, value)| value)
    }

    /// The initial value.
    pub(super) fn first(&self) -> Option<&T> {
        self.0.first().map(|(_, value)| value)
    }

    /// Since when it has had its current value.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.0.last().map(|(at, _)| *at)
    }

    /// Its values between two times, with the span of each.
    pub(super) fn within(&self, from: Timestamp, until: Timestamp) -> impl Iterator<Item = (Span, &T)> {
        self.0.iter().enumerate().filter_map(move |(index, (start, value))| {
            let end = self.0.get(index + 1).map_or(Timestamp::MAX, |(end, _)| *end);
            let span = ((*start).max(from), end.min(until));
            (span.0 < span.1).then_some((span, value))
        })
    }
}
