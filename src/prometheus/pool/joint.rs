//! The queries of one request, and their common evaluation time.

use jiff::{SignedDuration, Timestamp};

use super::{Answered, Operand, Query, Waiting, When, schedule::Asker};

/// Maximum size of the queries in one request, in bytes.
const MOST_TEXT: usize = 32 << 10;

/// Maximum distance between the evaluation times that queries ask for and the one that they get.
const MOST_SHIFT: SignedDuration = SignedDuration::from_secs(1);

/// The queries that one request asks.
pub(super) struct Joint<R: Answered> {
    /// The common evaluation time.
    pub(super) time: Timestamp,
    /// It must stay before this time.
    before: Timestamp,
    /// The earliest evaluation time that was asked for.
    first: Timestamp,
    bytes: usize,
    pub(super) operands: Vec<Operand>,
    /// Who waits for each operand, besides the one who sends the request.
    pub(super) askers: Vec<Vec<Asker<R>>>,
}

impl<R: Answered> Joint<R> {
    pub(super) fn new(leader: &Waiting<R>) -> Self {
        let Query { text, shape, when, .. } = &leader.query;
        Self {
            time: when.at,
            before: when.before,
            first: when.at,
            bytes: text.len(),
            operands: vec![Operand {
                text: text.clone(),
                shape: *shape,
            }],
            askers: vec![Vec::new()],
        }
    }

    pub(super) fn position(&self, text: &str) -> Option<usize> {
        self.operands.iter().position(|operand| *operand.text == *text)
    }

    pub(super) fn has_room(&self, text: &str) -> bool {
        self.bytes + text.len() <= MOST_TEXT
    }

    /// Whether there is an evaluation time for these queries and another one.
    pub(super) fn fits(&self, when: &When) -> bool {
        let (time, before, first) = (
            self.time.max(when.at),
            self.before.min(when.before),
            self.first.min(when.at),
        );
        time < before && time.duration_since(first) <= MOST_SHIFT
    }

    /// Adds a query that fits: to an operand with the same text, or as another operand.
    pub(super) fn add(&mut self, same: Option<usize>, waiting: Waiting<R>) {
        let Query {
            text,
            shape,
            when,
            namespace,
            ..
        } = waiting.query;
        self.time = self.time.max(when.at);
        self.before = self.before.min(when.before);
        self.first = self.first.min(when.at);
        let asker = Asker {
            namespace,
            turn: waiting.turn,
        };
        if let Some(askers) = same.and_then(|same| self.askers.get_mut(same)) {
            askers.push(asker);
            return;
        }
        self.bytes += text.len();
        self.operands.push(Operand { text, shape });
        self.askers.push(vec![asker]);
    }
}
