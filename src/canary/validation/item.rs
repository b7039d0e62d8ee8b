//! From items and their tallies to the run's verdict.

use jiff::Timestamp;

use super::{Item, Outcome, Tally, promql::PromQl};
use crate::{
    api::{AfterDeadline, ItemState, ItemStatus, OnNoData, Word},
    canary::{canary::Spec, labels::Selector, observation::Observation},
};

/// Reason of an item whose query Prometheus refuses: the user's to mend, so it counts as an error of the Kanary.
pub const QUERY_INVALID: &str = "QueryInvalid";

/// Reason of an item that waits for a measurement that is under way, or due later.
pub const MEASURING: &str = "Measuring";

/// What one item says.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Nothing against the canary, and all that the item asks for before the deadline is there.
    Agrees,
    /// Nothing against the canary, but not enough for it either.
    Waits {
        /// One CamelCase word.
        reason: &'static str,
        /// A sentence that does not change from check to check, because it goes to a condition.
        message: String,
        /// Whether somebody should look.
        stalled: bool,
    },
    /// The canary is bad.
    Bad {
        /// One CamelCase word.
        reason: &'static str,
        /// A sentence with the number and the object that decided.
        message: String,
    },
}

/// What all items say.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The verdict of each item, in their order.
    pub verdicts: Vec<Verdict>,
    /// What users see of each item.
    pub items: Vec<ItemStatus>,
    /// A manual item says valid and every other item agrees so far.
    pub valid_early: bool,
}

impl Judgement {
    /// The first item that fails the run.
    #[must_use]
    pub fn bad(&self) -> Option<(&'static str, &str)> {
        self.verdicts.iter().find_map(|verdict| match verdict {
            Verdict::Bad { reason, message } => Some((*reason, message.as_str())),
            _ => None,
        })
    }

    /// Whether every item agrees.
    #[must_use]
    pub fn all_agree(&self) -> bool {
        self.verdicts.iter().all(|verdict| *verdict == Verdict::Agrees)
    }
}

/// When the judging starts and ends; `None` while the canary is not available.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Start of the validation.
    pub start: Timestamp,
    /// The deadline.
    pub deadline: Timestamp,
}

/// Judges every item at `now`. Before the window opens only a person's word counts.
#[must_use]
pub fn judge(spec: &Spec, seen: &Observation, window: Option<Window>, now: Timestamp) -> Judgement {
    let open = window.filter(|window| window.start <= now);
    let past = open
        .filter(|window| window.deadline <= now)
        .map(|window| window.deadline);
    let untold = Tally::default();
    let mut judgement = Judgement {
        verdicts: Vec::new(),
        items: Vec::new(),
        valid_early: false,
    };
    let mut word_given = false;
    for (index, item) in spec.validation.items.iter().enumerate() {
        let name = format!("{}[{index}]", item.kind());
        let tally = seen.tallies.get(index).unwrap_or(&untold);
        let verdict = match item {
            Item::Manual { after_deadline, status } => {
                word_given |= *status == Some(Word::Valid);
                manual(&name, *after_deadline, *status, past.is_some())
            }
            Item::LabelWatch { pods, deployment } => {
                let verdict = label_watch(&name, pods.as_ref(), deployment.as_ref(), seen);
                if open.is_some() { verdict } else { not_yet(verdict) }
            }
            Item::PromQl(query) => prom_ql(&name, query, tally, past),
            Item::Unreadable(_) => waits(
                "InvalidSpec",
                format!("{name}: cannot be judged as it is written"),
                false,
            ),
        };
        judgement.items.push(item_status(name, item, tally, &verdict));
        judgement.verdicts.push(verdict);
    }
    judgement.valid_early = word_given && judgement.all_agree();
    judgement
}

fn item_status(name: String, item: &Item, tally: &Tally, verdict: &Verdict) -> ItemStatus {
    let decided = |verdict: &Verdict| match verdict {
        Verdict::Agrees => (ItemState::Good, String::new()),
        Verdict::Waits { message, .. } => (ItemState::Pending, message.clone()),
        Verdict::Bad { message, .. } => (ItemState::Bad, message.clone()),
    };
    let (state, message) = match item {
        Item::PromQl(query) => {
            let message = tally.last.as_ref().map(|sample| sample.message.clone());
            (tally.state(query), message.unwrap_or_default())
        }
        _ => decided(verdict),
    };
    ItemStatus {
        name,
        state,
        last_value: tally.last.as_ref().and_then(|sample| sample.value),
        last_check: tally.last_check,
        good: tally.good,
        bad: tally.bad,
        errors: tally.errors,
        message,
    }
}

fn manual(name: &str, after: AfterDeadline, status: Option<Word>, past: bool) -> Verdict {
    let waits = |message: String| Verdict::Waits {
        reason: "WaitingForManual",
        message,
        stalled: false,
    };
    match (status, after) {
        (Some(Word::Valid), _) => Verdict::Agrees,
        (Some(Word::Invalid), _) => Verdict::Bad {
            reason: "ManualInvalid",
            message: format!("{name}: status is invalid"),
        },
        (None, AfterDeadline::Valid) if past => Verdict::Agrees,
        (None, AfterDeadline::Invalid) if past => Verdict::Bad {
            reason: "ManualInvalid",
            message: format!("{name}: no status was set before the deadline, and statusAfterDeadline is invalid"),
        },
        (None, AfterDeadline::None) => waits(format!("{name}: waits for a person to set status to valid or invalid")),
        (None, _) => waits(format!("{name}: waits for a status or the deadline")),
    }
}

fn label_watch(name: &str, pods: Option<&Selector>, deployment: Option<&Selector>, seen: &Observation) -> Verdict {
    let bad = |object: String, selector: &Selector| Verdict::Bad {
        reason: "LabelMatched",
        message: format!("{name}: {object} has labels that match {selector}"),
    };
    if let (Some(selector), Some(canary)) = (deployment, &seen.canary)
        && selector.matches(&canary.labels)
    {
        return bad("the canary Deployment".to_owned(), selector);
    }
    let pod = pods.and_then(|selector| {
        let pod = seen.pods.iter().find(|pod| selector.matches(&pod.labels))?;
        Some(bad(format!("pod {}", pod.name), selector))
    });
    pod.unwrap_or(Verdict::Agrees)
}

/// Before the window opens a match does not fail the run, but it does not speak for the canary either.
fn not_yet(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Bad { reason, message } => Verdict::Waits {
            reason,
            message,
            stalled: false,
        },
        other => other,
    }
}

fn waits(reason: &'static str, message: String, stalled: bool) -> Verdict {
    Verdict::Waits {
        reason,
        message,
        stalled,
    }
}

fn prom_ql(name: &str, query: &PromQl, tally: &Tally, past: Option<Timestamp>) -> Verdict {
    let last = tally.last.as_ref().map_or("not measured yet", |sample| &sample.message);
    let outcome = tally.last.as_ref().map(|sample| sample.outcome);
    if tally.bad > query.failure_limit {
        let tolerated = match query.failure_limit {
            0 => String::new(),
            limit => format!(" ({} bad measurements, {limit} tolerated)", tally.bad),
        };
        return Verdict::Bad {
            reason: "PromQLFailed",
            message: format!("{name}: {last}{tolerated}"),
        };
    }
    if outcome == Some(Outcome::Invalid) {
        return waits(QUERY_INVALID, format!("{name}: {last}"), true);
    }
    if tally.errors >= query.error_limit {
        let message = format!("{name}: the last queries could not be answered; see status.items");
        return waits("Inconclusive", message, true);
    }
    match past {
        Some(deadline) => at_deadline(name, query, tally, deadline),
        // Before the deadline "agrees so far" is the last measurement and enough of them.
        None if outcome == Some(Outcome::Pass) && tally.good >= query.min_samples => Verdict::Agrees,
        None => waits(MEASURING, format!("{name}: waits for measurements"), false),
    }
}

/// Success needs enough good measurements, and one at or after the deadline among them.
fn at_deadline(name: &str, query: &PromQl, tally: &Tally, deadline: Timestamp) -> Verdict {
    let enough = tally.good >= query.min_samples;
    match tally.outcome_since(deadline) {
        Some(Outcome::Pass) if enough => Verdict::Agrees,
        Some(Outcome::Pass | Outcome::NoData) if !enough => too_few(name, query, tally),
        // Enough measurements, and silence when it counts: neither success nor failure, but somebody should know.
        Some(Outcome::NoData) => {
            let message = format!("{name}: no data at the deadline; see status.items");
            waits("NoData", message, true)
        }
        Some(Outcome::Fail) => {
            let message = format!("{name}: waits for a good measurement");
            waits("LastMeasurementBad", message, false)
        }
        _ => {
            let message = format!("{name}: waits for a measurement after the deadline");
            waits(MEASURING, message, false)
        }
    }
}

fn too_few(name: &str, query: &PromQl, tally: &Tally) -> Verdict {
    if query.on_no_data == OnNoData::Fail && !tally.gaps {
        let last = tally.last.as_ref().map_or("", |sample| &sample.message);
        return Verdict::Bad {
            reason: "NoData",
            message: format!(
                "{name}: {last} ({} good measurements at the deadline, {} needed, and onNoData is fail)",
                tally.good, query.min_samples
            ),
        };
    }
    let message = format!("{name}: too few measurements at the deadline; see status.items");
    waits("NoData", message, true)
}
