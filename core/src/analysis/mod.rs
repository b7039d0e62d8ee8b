//! Analysis: the verdict of a run from its validation items and their tallies.

mod measured;
mod waiting;

use jiff::Timestamp;

pub(crate) use self::waiting::{PATIENCE, warnings};

use crate::{
    api::{AfterDeadline, ItemState, ItemStatus, ManualVerdict, Reason, names::RUN},
    labels::Selector,
    observation::Observation,
    spec::Spec,
    validation::{Item, Tally, Window},
};

/// The verdict of one item.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Nothing speaks against the canary, and the item's requirements before the deadline are met.
    Agrees,
    /// Nothing speaks against the canary, but the requirements are not met yet.
    Waits {
        /// A CamelCase word.
        reason: Reason,
        /// A sentence.
        message: String,
    },
    /// The canary is bad.
    Bad {
        /// A CamelCase word.
        reason: Reason,
        /// A sentence with the value and the object that decided.
        message: String,
    },
}

/// The verdicts of all items.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judgement {
    /// The verdict of each item, in item order.
    pub(crate) verdicts: Vec<Verdict>,
    /// The current result of each item. [`Judgement::settle`] decides which parts are reported.
    pub(crate) items: Vec<ItemStatus>,
    /// Whether a manual item is valid and every other item agrees so far.
    pub(crate) valid_early: bool,
    /// For each item, the number of consecutive measurements with data.
    pub(super) answers: Vec<u32>,
}

impl Judgement {
    /// The first item that fails the run.
    #[must_use]
    pub(crate) fn bad(&self) -> Option<(Reason, &str)> {
        self.verdicts.iter().find_map(|verdict| match verdict {
            Verdict::Bad { reason, message } => Some((*reason, message.as_str())),
            _ => None,
        })
    }

    /// Whether every measured item agrees, and nothing speaks against the canary.
    #[must_use]
    pub(crate) fn measured_agree(&self, spec: &Spec) -> bool {
        let mut items = spec.validation.items.iter().zip(&self.verdicts);
        items.all(|(item, verdict)| match item {
            Item::PromQl(_) | Item::Metric(_) => *verdict == Verdict::Agrees,
            Item::Unreadable(_) => false,
            Item::Manual { .. } | Item::LabelWatch { .. } => !matches!(verdict, Verdict::Bad { .. }),
        })
    }

    /// Whether every item agrees.
    #[must_use]
    pub(crate) fn all_agree(&self) -> bool {
        self.verdicts.iter().all(|verdict| *verdict == Verdict::Agrees)
    }
}

/// Evaluates every item at `now`. Before the window opens, only manual verdicts count.
#[must_use]
pub(crate) fn judge(spec: &Spec, seen: &Observation, window: Option<Window>, now: Timestamp) -> Judgement {
    judge_step(spec, seen, (window, true), now)
}

/// Evaluates every item at `now`, in the window of one step of the traffic. Manual items wait for the end of the last one.
#[must_use]
pub(crate) fn judge_step(
    spec: &Spec,
    seen: &Observation,
    (window, is_last): (Option<Window>, bool),
    now: Timestamp,
) -> Judgement {
    let open = window.filter(|window| window.start <= now);
    let past = is_last && open.is_some_and(|window| window.deadline <= now);
    let none = Tally::default();
    let mut judgement = Judgement {
        verdicts: Vec::new(),
        items: Vec::new(),
        valid_early: false,
        answers: Vec::new(),
    };
    let fails_unanswered = spec.frame.as_ref().is_some_and(|frame| frame.fails_unanswered);
    let mut verdict_given = false;
    for (index, item) in spec.validation.items.iter().enumerate() {
        let name = format!("{}[{index}]", item.kind());
        let tally = seen.tallies.get(index).unwrap_or(&none).known_at(now);
        let verdict = match item {
            Item::Manual {
                after_deadline,
                status,
                ignored,
            } => {
                verdict_given |= *status == Some(ManualVerdict::Valid);
                let verdict = manual(&name, *after_deadline, *status, past);
                ignored.map_or(verdict.clone(), |given| with_ignored(verdict, given))
            }
            Item::LabelWatch { pods, deployment } => {
                let verdict = label_watch(&name, pods.as_ref(), deployment.as_ref(), seen);
                if open.is_some() { verdict } else { not_yet(verdict) }
            }
            Item::PromQl(query) => {
                let kind = (name.as_str(), Reason::PromQLFailed);
                measured::judge(kind, &query.terms, &tally, open, now, &seen.pods)
            }
            Item::Metric(metric) => {
                let kind = (name.as_str(), Reason::MetricFailed);
                measured::judge(kind, &metric.terms, &tally, open, now, &seen.pods)
            }
            Item::Unreadable(_) => Verdict::Waits {
                reason: Reason::InvalidSpec,
                message: format!("{name}: cannot be judged as it is written"),
            },
        };
        let verdict = if fails_unanswered { unanswered(verdict) } else { verdict };
        let warnings = item.hints(spec.validation.initial_delay);
        judgement.items.push(ItemStatus {
            warnings,
            ..item_status(name, item, &tally, &verdict)
        });
        judgement.verdicts.push(verdict);
        judgement.answers.push(tally.answers);
    }
    judgement.valid_early = verdict_given && judgement.all_agree();
    judgement
}

/// A query without an answer fails the run, if a front end says so.
fn unanswered(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Waits {
            reason: reason @ Reason::Inconclusive,
            message,
        } => Verdict::Bad { reason, message },
        other => other,
    }
}

fn item_status(name: String, item: &Item, tally: &Tally, verdict: &Verdict) -> ItemStatus {
    let text = match verdict {
        Verdict::Agrees => "",
        Verdict::Waits { message, .. } | Verdict::Bad { message, .. } => message,
    };
    let reason = waiting::reported(verdict);
    let last = tally.last.as_ref();
    let (id, state, message) = match (item.terms(), verdict) {
        (Some(terms), _) => {
            let rest = text.strip_prefix(&name).and_then(|text| text.strip_prefix(": "));
            let message = rest.filter(|_| reason.is_some());
            let message = message.or(last.map(|sample| sample.message.as_str()));
            (Some(terms.id.clone()), tally.state(terms), message.unwrap_or_default())
        }
        (_, Verdict::Agrees) => (None, ItemState::Good, text),
        (_, Verdict::Waits { .. }) => (None, ItemState::Pending, text),
        (_, Verdict::Bad { .. }) => (None, ItemState::Bad, text),
    };
    ItemStatus {
        id,
        state,
        reason: reason.map(|reason| reason.as_str().to_owned()),
        last_value: last.and_then(|sample| sample.value),
        last_check: tally.last_check,
        good: tally.good,
        bad: tally.bad,
        errors: tally.errors,
        message: message.to_owned(),
        warnings: Vec::new(),
        name,
    }
}

fn manual(name: &str, after: AfterDeadline, status: Option<ManualVerdict>, past: bool) -> Verdict {
    let waits = |message: String| Verdict::Waits {
        reason: Reason::WaitingForManual,
        message,
    };
    match (status, after) {
        (Some(ManualVerdict::Valid), _) => Verdict::Agrees,
        (Some(ManualVerdict::Invalid), _) => Verdict::Bad {
            reason: Reason::ManualInvalid,
            message: format!("{name}: status is invalid"),
        },
        (None, AfterDeadline::Valid) if past => Verdict::Agrees,
        (None, AfterDeadline::Invalid) if past => Verdict::Bad {
            reason: Reason::ManualInvalid,
            message: format!("{name}: no status was set before the deadline, and statusAfterDeadline is invalid"),
        },
        (None, AfterDeadline::None) => waits(format!("{name}: waits for a person to set status to valid or invalid")),
        (None, _) => waits(format!("{name}: waits for a status or the deadline")),
    }
}

/// Adds to a waiting manual item why its verdict is ignored.
fn with_ignored(verdict: Verdict, given: ManualVerdict) -> Verdict {
    match verdict {
        Verdict::Waits { reason, message } => Verdict::Waits {
            reason,
            message: format!("{message} (status {given} is from an earlier run and does not count)"),
        },
        other => other,
    }
}

fn label_watch(name: &str, pods: Option<&Selector>, deployment: Option<&Selector>, seen: &Observation) -> Verdict {
    let bad = |object: String, selector: &Selector| Verdict::Bad {
        reason: Reason::LabelMatched,
        message: format!("{name}: {object} has labels that match {selector}"),
    };
    if let (Some(selector), Some(canary)) = (deployment, &seen.canary)
        && selector.matches(&canary.labels)
    {
        return bad("the canary".to_owned(), selector);
    }
    let pod = pods.and_then(|selector| {
        // A pod that a user released from its ReplicaSet for inspection still ran the template.
        let run = seen.canary.as_ref().and_then(|canary| canary.labels.get(RUN));
        let set_aside = seen.other_pods.iter();
        let set_aside = set_aside.filter(|pod| run.is_some() && pod.created_for() == run);
        let pod = seen
            .pods
            .iter()
            .chain(set_aside)
            .find(|pod| selector.matches(&pod.labels))?;
        Some(bad(format!("pod {}", pod.name), selector))
    });
    pod.unwrap_or(Verdict::Agrees)
}

/// Before the window opens, a match does not fail the run, but the item does not agree either.
fn not_yet(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Bad { reason, message } => Verdict::Waits { reason, message },
        other => other,
    }
}
