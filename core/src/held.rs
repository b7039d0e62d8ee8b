//! A run without a verdict: its conditions, and its next measurements.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{
    analysis::{Judgement, PATIENCE, Verdict},
    availability::is_available,
    decision::Decision,
    front_ends,
    integrity::canary,
    problem::{Problem, clear_problem, set_problem},
    routing, services,
    status::{Draft, ERRORED, RECONCILING, RUNNING, STALLED, find, traffic_lost_since},
    step::Step,
    validating::{interrupted, report, validating},
    validation::{self, Tally, Window},
};
use crate::api::{ItemStatus, KanaryStatus, Reason};

/// What a verdict waits for.
#[derive(Default)]
struct Waits {
    /// Problems other than the canary's failure.
    problems: Vec<Problem>,
    /// Problems that a user should look into.
    stalled: Vec<Problem>,
    /// Problems that are reported after the deadline.
    others: Vec<Problem>,
    /// When a missing measurement after the deadline is reported, if one is missing.
    measured_by: Option<Timestamp>,
}

impl Waits {
    fn of(
        step: &Step<'_>,
        judgement: &Judgement,
        settled: &[ItemStatus],
        (window, due): (Window, bool),
        (status, problem): (&KanaryStatus, Option<&Problem>),
    ) -> Self {
        let measured_by = window.deadline.checked_add(PATIENCE).ok();
        let is_last = routing::is_last(step, status);
        let mut waits = Self {
            problems: problem.cloned().into_iter().collect(),
            ..Self::default()
        };
        for (item, verdict) in settled.iter().zip(&judgement.verdicts) {
            let Some(Problem { reason, message }) = waits_for(item, verdict) else {
                continue;
            };
            let list = match reason {
                Reason::QueryInvalid => &mut waits.problems,
                Reason::NoData | Reason::Inconclusive => &mut waits.stalled,
                Reason::Measuring if due && measured_by.is_some_and(|by| by > step.now) => {
                    // The measurement is in progress and usually arrives before a user could read that it is missing.
                    waits.measured_by = measured_by;
                    continue;
                }
                Reason::WaitingForManual if !is_last => continue,
                _ if due => &mut waits.others,
                _ => continue,
            };
            list.push(Problem { reason, message });
        }
        // The most severe come first.
        waits
            .stalled
            .sort_by_key(|problem| problem.reason != Reason::Inconclusive);
        if window.deadline <= step.now && !is_available(step) {
            let why = format!(
                "{} is not available, so it cannot pass: the run waits until it is",
                step.spec.canary
            );
            waits.others.push(Problem::new(Reason::WaitingForCanary, why));
        }
        waits
    }

    fn are_none(&self) -> bool {
        self.problems.is_empty() && self.stalled.is_empty() && self.others.is_empty()
    }

    /// Adds the conditions to the draft.
    fn report_in(self, draft: &mut Draft) {
        let problem = Problem::all(self.problems.iter().cloned());
        set_problem(draft, problem.as_ref());
        let is_stalled = problem.is_some() || !self.stalled.is_empty();
        let all = self.problems.into_iter().chain(self.stalled).chain(self.others);
        let Some(Problem { reason, message }) = Problem::all(all) else {
            return;
        };
        if is_stalled {
            draft.clear(RECONCILING, reason, &message);
            draft.set(STALLED, true, reason, message);
        } else {
            draft.set(RECONCILING, true, reason, message);
        }
    }
}

/// What the run waits for because of an item: its stored report, or its current verdict.
fn waits_for(item: &ItemStatus, verdict: &Verdict) -> Option<Problem> {
    match (item.reason.as_deref().and_then(Reason::parse), verdict) {
        (Some(reason), _) => Some(Problem::new(reason, format!("{}: {}", item.name, item.message))),
        (None, Verdict::Waits { reason, message }) => Some(Problem::new(*reason, message)),
        _ => None,
    }
}

/// There is no verdict yet: reports the reasons that users should know, and requests the measurements that are due.
pub(super) fn hold(
    step: &Step<'_>,
    mut draft: Draft,
    window: Window,
    (judgement, due): (&Judgement, bool),
    problem: Option<&Problem>,
) -> Decision {
    // The counts belong to the replaced canary.
    let replaced = draft.status.canary_uid != step.kanary.status.canary_uid;
    if replaced {
        draft.status.items.clear();
    }
    // The traffic is restored once the canary can receive it. A full period then starts when the canary is available.
    if is_available(step) || traffic_lost_since(&step.kanary.status).is_none() {
        services::show_again(step, &mut draft);
    }
    let settled = judgement.settle(&draft.status.items);
    set_problem(&mut draft, problem);
    let report = report(step, &mut draft, problem);
    // The part of the window that is about the present step of the traffic.
    let part = routing::of_step(step, &draft.status, window);
    let waits = Waits::of(step, judgement, &settled.items, (part, due), (&draft.status, problem));
    let (checks, next) = if routing::is_in_force(step, &draft.status) {
        checks(step, part)
    } else {
        (Vec::new(), None)
    };
    let (start, end) = (
        Some(part.start),
        Some(part.deadline).filter(|end| *end < Timestamp::MAX),
    );
    let times = [next, start, end, waits.measured_by, report.wake].into_iter().flatten();
    let wake = times.filter(|time| *time > step.now).min();
    if report.reported {
        // The canary has to become available first.
        interrupted(step, &mut draft, window);
    } else if waits.are_none() {
        clear_problem(&mut draft);
        validating(step, &mut draft, window);
    } else {
        waits.report_in(&mut draft);
        if due {
            let over = if routing::is_last(step, &draft.status) {
                let canary = &step.spec.canary;
                format!("the validation period of {canary} ended at {}", window.deadline)
            } else {
                format!("the time of the present step of the traffic ended at {}", part.deadline)
            };
            draft.set(RUNNING, true, Reason::Validating, over);
        }
    }
    // Items are written with other news. On their own they are written only if a change must survive a restart.
    let shifted = draft.status.traffic != step.kanary.status.traffic;
    if settled.is_news || replaced || shifted || told(step, &draft.status) != shown(&step.kanary.status) {
        draft.status.items = settled.items;
    }
    Decision {
        checks,
        wake,
        ..step.write(draft)
    }
}

/// The conditions about a pending verdict.
fn shown(status: &KanaryStatus) -> Vec<(&str, &str, String)> {
    let of = |condition: &'static str| {
        let Condition {
            status,
            reason,
            message,
            ..
        } = find(status, condition)?;
        Some((status.as_str(), reason.as_str(), message.clone()))
    };
    [RUNNING, ERRORED, STALLED, RECONCILING]
        .into_iter()
        .filter_map(of)
        .collect()
}

/// The same of a draft, in the words in which they are going to be stored.
fn told<'a>(step: &Step<'_>, draft: &'a KanaryStatus) -> Vec<(&'a str, &'a str, String)> {
    let mut shown = shown(draft);
    for (_, _, message) in &mut shown {
        *message = front_ends::in_words_of(step.kanary.key.kind, std::mem::take(message));
    }
    shown
}

/// The queries that are due, and the time of the next one. There are none without a canary to measure.
fn checks(step: &Step<'_>, window: Window) -> (Vec<usize>, Option<Timestamp>) {
    if canary(step).is_none() {
        return (Vec::new(), None);
    }
    let none = Tally::default();
    let mut due = Vec::new();
    let mut next = None;
    for (index, item) in step.spec.validation.items.iter().enumerate() {
        let Some(terms) = item.terms() else { continue };
        let tally = step.seen.tallies.get(index).unwrap_or(&none);
        if validation::due(tally, terms, window, step.now) {
            due.push(index);
        }
        next = [next, validation::next_check(terms, window, step.now)]
            .into_iter()
            .flatten()
            .min();
    }
    (due, next)
}
