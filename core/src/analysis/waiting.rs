//! Status entries of the items that the run waits for. All of them are reported together, and the text changes only when
//! there is news. A measurement with the same or a less severe result is no news and causes no write.

use jiff::SignedDuration;

use super::{Judgement, Verdict};
use crate::{api::ItemStatus, validation::Item};

/// How long after the deadline a missing measurement is reported. This is longer than a query's timeout.
pub const PATIENCE: SignedDuration = SignedDuration::from_secs(15);

/// Reason of an item that is being measured without problems.
pub const MEASURING: &str = "Measuring";
/// Reason of an item that waits for a manual verdict.
pub(super) const WAITING_FOR_MANUAL: &str = "WaitingForManual";
/// Reason of an item whose last measurement at or after the deadline was bad and tolerated.
pub(super) const LAST_MEASUREMENT_BAD: &str = "LastMeasurementBad";
/// Reason of an item that has data but too few measurements.
pub(super) const TOO_FEW_SAMPLES: &str = "TooFewSamples";
/// Reason of an item whose query at the deadline had no usable answer.
pub(super) const NOT_ANSWERED: &str = "NotAnswered";
/// Reason of an item without data at the deadline.
pub const NO_DATA: &str = "NoData";
/// Reason of an item whose queries have had no usable answer for a while.
pub const INCONCLUSIVE: &str = "Inconclusive";
/// Reason of an item whose query Prometheus refuses. The user has to fix it, so it is an error of the Kanary.
pub const QUERY_INVALID: &str = "QueryInvalid";

/// Reasons that are reported to the user, from the least to the most severe.
const TOLD: [&str; 6] = [
    LAST_MEASUREMENT_BAD,
    TOO_FEW_SAMPLES,
    NOT_ANSWERED,
    NO_DATA,
    INCONCLUSIVE,
    QUERY_INVALID,
];

/// Number of consecutive measurements with data that end a report. One is not enough, because every other query may fail.
const ENDS: u32 = 2;

fn weight(reason: &str) -> Option<usize> {
    TOLD.iter().position(|told| *told == reason)
}

/// The reason of a verdict, if it is reported to the user.
pub(super) fn told(verdict: &Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Waits { reason, .. } if weight(reason).is_some() => Some(reason),
        _ => None,
    }
}

/// The items for the status, and whether they are worth a write of their own.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// One entry for each item.
    pub items: Vec<ItemStatus>,
    /// Whether there is news that must be reported or must survive a restart.
    pub is_news: bool,
}

impl Judgement {
    /// Merges the current result into the `stored` items. A report stays until the item has data again, or until a more
    /// severe reason replaces it.
    #[must_use]
    pub fn settle(&self, stored: &[ItemStatus]) -> Settled {
        let mut former: Vec<_> = stored.iter().map(Some).collect();
        let mut is_news = stored.len() != self.items.len();
        let items = self.items.iter().enumerate().map(|(index, item)| {
            let old = take(&mut former, index, item);
            let answers = self.answers.get(index).copied().unwrap_or_default();
            let settled = settle(item, old, answers);
            is_news |= old.is_none_or(|old| {
                old.name != settled.name
                    || (old.id.is_some() && old.id != settled.id)
                    || old.reason != settled.reason
                    || old.bad < settled.bad
            });
            settled
        });
        let items = items.collect();
        Settled { items, is_news }
    }
}

/// The stored entry of an item, by its id, or by its place if it has none. Each entry is used once.
fn take<'a>(former: &mut [Option<&'a ItemStatus>], index: usize, item: &ItemStatus) -> Option<&'a ItemStatus> {
    let is_it = |old: Option<&ItemStatus>| old.is_some_and(|old| old.id.is_some() && old.id == item.id);
    let place = former.iter().position(|old| is_it(*old)).unwrap_or(index);
    let is_alike = |old: &mut &ItemStatus| {
        // An item that can no longer be parsed keeps its name, its place and its counts.
        let is_unreadable = item.id.is_none() && old.name == item.name;
        old.id.is_none() || old.id == item.id || is_unreadable
    };
    former.get_mut(place)?.take_if(is_alike)
}

fn settle(item: &ItemStatus, old: Option<&ItemStatus>, answers: u32) -> ItemStatus {
    let Some(old) = old else { return item.clone() };
    if item.id.is_none() && old.id.is_some() {
        return ItemStatus {
            id: old.id.clone(),
            good: old.good,
            bad: old.bad,
            ..item.clone()
        };
    }
    let Some(former) = old.reason.as_deref() else {
        return item.clone();
    };
    let (was, is) = (weight(former), item.reason.as_deref().and_then(weight));
    let is_over = answers >= ENDS || was.is_none() || is > was;
    if is_over && item.reason.as_deref() != Some(former) {
        return item.clone();
    }
    ItemStatus {
        reason: old.reason.clone(),
        message: old.message.clone(),
        ..item.clone()
    }
}

/// Warnings about queries that may not mean what the author intended, each with the name of its item.
#[must_use]
pub fn warnings(items: &[Item], initial_delay: std::time::Duration) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, item) in items.iter().enumerate() {
        if let Item::PromQl(query) = item {
            let hints = query.hints(initial_delay).into_iter();
            warnings.extend(hints.map(|hint| format!("{}[{index}]: {hint}", item.kind())));
        }
    }
    warnings
}
