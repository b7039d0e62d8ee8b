//! The result of a query.

use jiff::Timestamp;
use kanary_core::{trace::TraceParent, validation::Answer};

use super::{
    brief,
    pool::{Answered, Batch},
    request::{Failed, Received},
};

/// The result of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The server's answer.
    pub answer: Answer,
    /// A note about the server that may explain an unexpected answer.
    pub note: Option<String>,
    /// The evaluation time.
    pub at: Timestamp,
    /// On whose behalf the request was sent that brought the answer, if that is known: see [`Prometheus::query`](super::Prometheus::query).
    pub sent_by: Option<TraceParent>,
}

impl Answered for Reply {
    fn held_back(why: String, at: Timestamp) -> Self {
        Self {
            answer: Answer::Unanswered(why),
            note: None,
            at,
            sent_by: None,
        }
    }
}

/// The reply to a query of a batch.
pub(super) fn reply(batch: &Batch<Reply>, received: Result<Received, Failed>, sent_by: Option<TraceParent>) -> Reply {
    let (answer, note) = received.unwrap_or_else(|failed| {
        let why = brief(&failed.why);
        let answer = if failed.rejected {
            Answer::Rejected(why)
        } else {
            Answer::Unanswered(why)
        };
        (answer, None)
    });
    Reply {
        answer,
        note,
        at: batch.time,
        sent_by,
    }
}
