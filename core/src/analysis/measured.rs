//! The result of a measured item, from its tally.

use jiff::Timestamp;

use super::{Verdict, waiting};
use crate::{
    api::{OnNoData, Reason},
    counted,
    observation::Pod,
    validation::{Outcome, Tally, Terms, Window},
};

/// The result of an item with this name, before or after its window opens. `failed` is the reason if it is bad. `pods` are the
/// canary's.
pub(super) fn judge(
    (name, failed): (&str, Reason),
    terms: &Terms,
    tally: &Tally,
    open: Option<Window>,
    now: Timestamp,
    pods: &[Pod],
) -> Verdict {
    if tally.bad > terms.failure_limit {
        let is_last = tally.last.as_ref().is_some_and(|last| last.outcome == Outcome::Fail);
        let (bad, limit) = (counted(tally.bad, "bad measurement"), terms.failure_limit);
        let what = match limit {
            _ if !is_last => format!("{bad}, {limit} tolerated; the last measurement: {}", last(tally)),
            0 => last(tally).to_owned(),
            _ => format!("{} ({bad}, {limit} tolerated)", last(tally)),
        };
        return Verdict::Bad {
            reason: failed,
            message: format!("{name}: {what}"),
        };
    }
    if tally
        .last
        .as_ref()
        .is_some_and(|sample| sample.outcome == Outcome::Invalid)
    {
        return waits(Reason::QueryInvalid, name, last(tally));
    }
    if tally.errors >= terms.error_limit {
        let number = match tally.errors {
            1 => "the last query".to_owned(),
            errors => format!("{errors} queries in a row"),
        };
        let message = format!("{number} could not be answered: {}", last(tally));
        return waits(Reason::Inconclusive, name, &message);
    }
    if let Some(window) = open.filter(|window| window.deadline <= now) {
        let is_late = window.deadline.checked_add(waiting::PATIENCE).is_ok_and(|by| by <= now);
        return at_deadline(name, terms, tally, window, pods, is_late);
    }
    // Before the deadline, an item agrees if it has enough good measurements and the last one is good.
    let passed = tally
        .last
        .as_ref()
        .is_some_and(|sample| sample.outcome == Outcome::Pass);
    if passed && tally.good >= terms.min_samples {
        return agrees(name, tally, pods);
    }
    waits(Reason::Measuring, name, "waits for measurements")
}

/// Success needs enough good measurements, including one at or after the deadline.
fn at_deadline(name: &str, terms: &Terms, tally: &Tally, window: Window, pods: &[Pod], is_late: bool) -> Verdict {
    let (good, needed) = (tally.good, terms.min_samples);
    let outcome = tally.outcome_since(window.deadline);
    if let (OnNoData::Fail, Some(outcome)) = (terms.on_no_data, outcome)
        && let Some(message) = fails_without_data(terms, tally, window, outcome)
    {
        return Verdict::Bad {
            reason: Reason::NoData,
            message: format!("{name}: {message}"),
        };
    }
    match outcome {
        Some(Outcome::Pass) if good >= needed => agrees(name, tally, pods),
        Some(Outcome::Pass) => {
            let good = counted(good, "good measurement");
            let message = format!("{good} at the deadline, {needed} needed: goes on measuring");
            waits(Reason::TooFewSamples, name, &message)
        }
        // Neither success nor failure, but it is reported to the user.
        Some(Outcome::NoData) => {
            let message = format!(
                "no data at the deadline: {} ({} so far, {needed} needed)",
                last(tally),
                counted(good, "good measurement")
            );
            waits(Reason::NoData, name, &message)
        }
        Some(Outcome::Fail) => {
            let message = format!("waits for a good measurement after the deadline: {}", last(tally));
            waits(Reason::LastMeasurementBad, name, &message)
        }
        // The next measurement may succeed before a user could read that this one failed.
        Some(Outcome::Error | Outcome::Invalid) if is_late => {
            let message = format!("the measurement after the deadline could not be made: {}", last(tally));
            waits(Reason::NotAnswered, name, &message)
        }
        Some(Outcome::Error | Outcome::Invalid) | None => {
            waits(Reason::Measuring, name, "waits for the measurement at the deadline")
        }
    }
}

/// Why missing data fails the run. Prometheus must have answered without data: a slow or missing answer does not count as
/// a measurement without data.
fn fails_without_data(terms: &Terms, tally: &Tally, window: Window, outcome: Outcome) -> Option<String> {
    let (good, needed) = (tally.good, terms.min_samples);
    let answered = matches!(outcome, Outcome::Pass | Outcome::NoData);
    if answered && tally.lacks_data(terms, window) {
        let why = match outcome {
            Outcome::NoData => last(tally).to_owned(),
            _ => format!("{} had no data", counted(tally.empty, "measurement")),
        };
        let good = counted(good, "good measurement");
        return Some(format!(
            "{why} ({good} at the deadline, {needed} needed, and onNoData is fail)"
        ));
    }
    (outcome == Outcome::NoData && tally.silence >= terms.error_limit).then(|| {
        let (last, silence) = (last(tally), counted(tally.silence, "measurement"));
        format!("{last} ({silence} in a row without data, and onNoData is fail)")
    })
}

/// Whether the measurements cover the pods. A measurement covers the pods that were ready at its time.
fn agrees(name: &str, tally: &Tally, pods: &[Pod]) -> Verdict {
    let is_new = |pod: &&Pod| pod.ready && !tally.pods.contains(&pod.name);
    match pods.iter().find(is_new) {
        None => Verdict::Agrees,
        Some(pod) => {
            let message = format!("pod {} became ready after the last measurement", pod.name);
            waits(Reason::Measuring, name, &message)
        }
    }
}

fn last(tally: &Tally) -> &str {
    tally.last.as_ref().map_or("not measured yet", |sample| &sample.message)
}

fn waits(reason: Reason, name: &str, message: &str) -> Verdict {
    Verdict::Waits {
        reason,
        message: format!("{name}: {message}"),
    }
}
