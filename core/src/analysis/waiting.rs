//! Status entries of the items that the run waits for. All of them are reported together, and the text changes only when
//! there is news. A measurement with the same or a less severe result is no news and causes no write, unless its cause is
//! another one.

use jiff::{SignedDuration, Timestamp};

use super::{Judgement, Verdict};
use crate::{
    api::{ItemStatus, Reason},
    validation::Item,
};

/// How long after the deadline a missing measurement is reported. This is longer than a query's timeout.
pub(crate) const PATIENCE: SignedDuration = SignedDuration::from_secs(15);

/// Reasons that users see, from the least to the most serious.
const REPORTED: [Reason; 6] = [
    Reason::LastMeasurementBad,
    Reason::TooFewSamples,
    Reason::NotAnswered,
    Reason::NoData,
    Reason::Inconclusive,
    Reason::QueryInvalid,
];

/// Number of consecutive measurements with data that end a report. One is not enough, because every other query may fail.
const ENDS: u32 = 2;

/// How long a cause stays reported at least: two that alternate cause a write in each of these periods, and not one for each
/// measurement.
const PERIOD: SignedDuration = SignedDuration::from_mins(1);

fn weight(reason: Reason) -> Option<usize> {
    REPORTED.iter().position(|reported| *reported == reason)
}

/// The reason of a verdict, if it is reported to the user.
pub(super) fn reported(verdict: &Verdict) -> Option<Reason> {
    match verdict {
        Verdict::Waits { reason, .. } if weight(*reason).is_some() => Some(*reason),
        _ => None,
    }
}

/// The items for the status, and whether they are worth a write of their own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settled {
    /// One entry for each item.
    pub(crate) items: Vec<ItemStatus>,
    /// Whether there is news that must be reported or must survive a restart.
    pub(crate) is_news: bool,
}

impl Judgement {
    /// Merges the current result into the `stored` items. A report stays until the item has data again, or until a more
    /// severe reason replaces it.
    #[must_use]
    pub(crate) fn settle(&self, stored: &[ItemStatus]) -> Settled {
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
                    || (old.reason.is_some() && old.message != settled.message)
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
    let weight_of = |reason: &str| Reason::parse(reason).and_then(weight);
    let (was, is) = (weight_of(former), item.reason.as_deref().and_then(weight_of));
    let is_over = answers >= ENDS || was.is_none() || is > was;
    let is_same = item.reason.as_deref() == Some(former);
    if is_over && !is_same || is_same && has_new_cause(item, old) {
        return item.clone();
    }
    ItemStatus {
        reason: old.reason.clone(),
        message: old.message.clone(),
        ..item.clone()
    }
}

/// Whether an item has another cause than the one that was reported, and that was reported long enough ago.
fn has_new_cause(item: &ItemStatus, old: &ItemStatus) -> bool {
    let is_due = |(was, is): (Timestamp, Timestamp)| is.duration_since(was) >= PERIOD;
    let is_due = old.last_check.zip(item.last_check).is_none_or(is_due);
    is_due && !cause(&item.message).eq(cause(&old.message))
}

/// The words of a message that are about its cause: without numbers and without the names of pods, which always change.
fn cause(message: &str) -> impl Iterator<Item = &str> {
    let mut is_name = false;
    message.split_whitespace().filter_map(move |word| {
        let follows = is_name;
        let bare = word.trim_matches(|char: char| !char.is_alphanumeric());
        let is_more = matches!(bare, "and" | "more");
        is_name = matches!(word, "pod" | "pods") || follows && (word.ends_with(',') || is_more);
        let is_number = bare.contains(|char: char| char.is_ascii_digit());
        (!follows && !is_more && !is_number && !bare.is_empty()).then(|| bare.trim_end_matches('s'))
    })
}

/// Warnings about queries that may not mean what the author intended, each with the name of its item.
#[must_use]
pub(crate) fn warnings(items: &[Item], initial_delay: std::time::Duration) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let hints = item.hints(initial_delay).into_iter();
        warnings.extend(hints.map(|hint| format!("{}[{index}]: {hint}", item.kind())));
    }
    warnings
}
