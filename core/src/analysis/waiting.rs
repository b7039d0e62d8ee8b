//! What the status says about items that the run waits for: all of them at once, in words that stay as they are until there
//! is something new. A measurement that comes to the same, or to less, is nothing new, and is not written.

use jiff::SignedDuration;

use super::{Judgement, Verdict};
use crate::{
    api::{ItemStatus, Reason},
    validation::Item,
};

/// How long after the deadline a measurement may take before it is said that the run waits for it: longer than a query may.
pub const PATIENCE: SignedDuration = SignedDuration::from_secs(15);

/// Reasons that somebody should know of, from the least to the most.
const TOLD: [Reason; 6] = [
    Reason::LastMeasurementBad,
    Reason::TooFewSamples,
    Reason::NotAnswered,
    Reason::NoData,
    Reason::Inconclusive,
    Reason::QueryInvalid,
];

/// Measurements with data in a row that end what is told of an item: where every other query fails, one says little.
const ENDS: u32 = 2;

fn weight(reason: Reason) -> Option<usize> {
    TOLD.iter().position(|told| *told == reason)
}

/// The reason of a verdict, if somebody should know of it.
pub(super) fn told(verdict: &Verdict) -> Option<Reason> {
    match verdict {
        Verdict::Waits { reason, .. } if weight(*reason).is_some() => Some(*reason),
        _ => None,
    }
}

/// The items as the status is to show them, and whether that is worth a write of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// One for each item.
    pub items: Vec<ItemStatus>,
    /// Something happened that must be told, or must outlive a restart.
    pub is_news: bool,
}

impl Judgement {
    /// Lays what was found over what is `stored`. What is told of an item stays until it has data again, or something graver
    /// happens.
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

/// The stored entry of an item: by what it asks or, where nothing is asked, by its place. Each is taken once.
fn take<'a>(former: &mut [Option<&'a ItemStatus>], index: usize, item: &ItemStatus) -> Option<&'a ItemStatus> {
    let is_it = |old: Option<&ItemStatus>| old.is_some_and(|old| old.id.is_some() && old.id == item.id);
    let place = former.iter().position(|old| is_it(*old)).unwrap_or(index);
    let is_alike = |old: &mut &ItemStatus| {
        // An item that cannot be read any more keeps its name and place, and what was counted.
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
    if is_over && item.reason.as_deref() != Some(former) {
        return item.clone();
    }
    ItemStatus {
        reason: old.reason.clone(),
        message: old.message.clone(),
        ..item.clone()
    }
}

/// What the queries themselves show that their authors may not have meant, each with the name of its item.
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
