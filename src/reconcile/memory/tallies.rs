//! What was measured for the items of a run. Counts belong to what an item asks, wherever it stands and however much of what
//! it finds is tolerated.

use std::time::Duration;

use jiff::Timestamp;
use kanary_core::{
    api::ItemStatus,
    validation::{Item, Sample, Tally, promql::PromQl},
};

/// Items that are remembered when they are no longer in the spec.
const RETIRED: usize = 100;

/// A measurement that was made.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What it came to.
    pub sample: Sample,
    /// The time that it stands for.
    pub at: Timestamp,
    /// The canary's pods that were ready then.
    pub pods: Vec<String>,
    /// The canary was not available as a whole.
    pub is_down: bool,
}

/// The tallies of a run's items.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    /// One for each item of the spec, in their order.
    present: Vec<Known>,
    /// Of items that are no longer in the spec, or cannot be read there: one that comes back goes on where it was.
    retired: Vec<Known>,
}

/// What was measured for an item.
#[derive(Clone, Debug, Default)]
struct Known {
    /// [`PromQl::id`]; empty for an item that is not measured.
    id: String,
    interval: Duration,
    tally: Tally,
}

impl Tallies {
    /// One for each item, in their order.
    pub(super) fn present(&self) -> Vec<Tally> {
        self.present.iter().map(|known| known.tally.clone()).collect()
    }

    /// Puts the tallies into the order of `items`. `stored` is what a status says of a run that is new here.
    pub(super) fn arrange(&mut self, items: &[Item], stored: Option<&[ItemStatus]>) {
        let mut former = std::mem::take(&mut self.present);
        former.append(&mut self.retired);
        let mut stored: Vec<_> = stored.into_iter().flatten().map(Some).collect();
        for (index, item) in items.iter().enumerate() {
            let known = match item {
                Item::PromQl(query) => take(&mut former, &mut stored, index, query),
                _ => Known::default(),
            };
            self.present.push(known);
        }
        former.retain(|known| !known.id.is_empty());
        former.truncate(RETIRED);
        self.retired = former;
    }

    /// A query is under way for the item at `index`.
    pub(super) fn mark_pending(&mut self, index: usize) {
        if let Some(known) = self.present.get_mut(index) {
            known.tally.pending = true;
        }
    }

    /// Records a measurement of the item that stood at `index` when it was asked for.
    pub(super) fn record(&mut self, index: usize, asked: &PromQl, measured: Measured) {
        let Some(tally) = self.asked(index, asked) else { return };
        let Measured {
            sample,
            at,
            pods,
            is_down,
        } = measured;
        if is_down {
            tally.record_down(sample, at, pods);
        } else {
            tally.record(sample, at, pods);
        }
    }

    /// An answer came that counts for nothing: the item that stood at `index` when it was asked for waits for it no longer.
    pub(super) fn discard(&mut self, index: usize, asked: &PromQl) {
        if let Some(tally) = self.asked(index, asked) {
            tally.pending = false;
        }
    }

    /// The tally that waits for an answer to what stood at `index` when it was asked. Of items that ask the same, one that
    /// waits: each query that is under way is answered once.
    fn asked(&mut self, index: usize, asked: &PromQl) -> Option<&mut Tally> {
        let all = self.present.iter_mut().chain(&mut self.retired).enumerate();
        let same = all.filter(|(_, known)| known.id == asked.id);
        let best = same.min_by_key(|(place, known)| (!known.tally.pending, *place != index));
        best.map(|(_, known)| &mut known.tally)
    }

    /// The canary was replaced: nothing is known of its successor. Queries that are under way stay under way.
    pub(super) fn forget(&mut self) {
        for known in self.present.iter_mut().chain(&mut self.retired) {
            let pending = known.tally.pending;
            known.tally = Tally::default();
            known.tally.pending = pending;
        }
    }

    /// The canary has not been available since then.
    pub(super) fn forget_good(&mut self, since: Timestamp) {
        for known in self.present.iter_mut().chain(&mut self.retired) {
            known.tally.forget_good(since);
        }
    }
}

/// What is known of an item: here, or by the status, or nothing.
fn take(former: &mut Vec<Known>, stored: &mut [Option<&ItemStatus>], index: usize, query: &PromQl) -> Known {
    let Some(place) = former.iter().position(|known| known.id == query.id) else {
        let tally = stored_of(stored, index, query).map(|status| Tally::resume(&query.id, status));
        return Known {
            id: query.id.clone(),
            interval: query.interval,
            tally: tally.unwrap_or_default(),
        };
    };
    let mut known = former.remove(place);
    if known.interval != query.interval {
        // Counts of another grid do not say how many measurements are missing in this one.
        (known.interval, known.tally.resumed) = (query.interval, true);
    }
    known
}

/// What a status says of an item: by what it asks or, if the status is too old to say that, by its place. Each entry is
/// taken once, for there may be two of a kind.
fn stored_of<'a>(stored: &mut [Option<&'a ItemStatus>], index: usize, query: &PromQl) -> Option<&'a ItemStatus> {
    let is_it = |status: Option<&ItemStatus>| status.is_some_and(|status| status.id.as_ref() == Some(&query.id));
    if let Some(place) = stored.iter().position(|status| is_it(*status)) {
        return stored.get_mut(place)?.take();
    }
    let by_place = stored.get_mut(index)?;
    by_place.take_if(|status| status.id.is_none() && status.name.starts_with("promQL["))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kanary_core::{
        api::ValidationSpec,
        validation::{Outcome, Validation},
    };
    use serde_json::json;

    use super::*;

    /// Items with these queries; `a!` is `a` that tolerates one more.
    fn items(queries: &[&str]) -> Vec<Item> {
        let items: Vec<_> = queries
            .iter()
            .map(|query| match *query {
                "manual" => json!({"manual": {}}),
                query => json!({"promQL": {
                    "prometheusService": "p:9090", "query": query.trim_end_matches('!'), "boolean": {},
                    "failureLimit": query.matches('!').count(),
                }}),
            })
            .collect();
        let spec: ValidationSpec = serde_json::from_value(json!({"items": items})).unwrap();
        Validation::parse(spec, &BTreeSet::new(), &mut Vec::new()).items
    }

    fn query(item: &Item) -> &PromQl {
        match item {
            Item::PromQl(query) => query,
            _ => panic!("it is not measured"),
        }
    }

    fn measured(outcome: Outcome) -> Measured {
        Measured {
            sample: Sample {
                outcome,
                value: None,
                message: String::new(),
            },
            at: Timestamp::UNIX_EPOCH,
            pods: Vec::new(),
            is_down: false,
        }
    }

    fn bad(tallies: &Tallies) -> Vec<u32> {
        tallies.present().iter().map(|tally| tally.bad).collect()
    }

    #[test]
    fn counts_go_with_what_an_item_asks_wherever_it_stands() {
        let mut tallies = Tallies::default();
        let first = items(&["a", "manual", "b", "a"]);
        tallies.arrange(&first, None);
        for (index, times) in [(0, 1), (2, 2), (3, 4)] {
            for _ in 0..times {
                tallies.record(index, query(&first[index]), measured(Outcome::Fail));
            }
        }
        assert_eq!(bad(&tallies), [1, 0, 2, 4]);
        // More tolerance forgives nothing, another query starts anew, and one that comes back is remembered.
        tallies.arrange(&items(&["b!", "c", "a!!", "a"]), None);
        assert_eq!(bad(&tallies), [2, 0, 1, 4]);
        tallies.arrange(&items(&["c"]), None);
        assert_eq!(bad(&tallies), [0]);
        tallies.arrange(&items(&["c", "b"]), None);
        assert_eq!(bad(&tallies), [0, 2]);
    }

    #[test]
    fn an_answer_finds_its_item_at_another_place() {
        let mut tallies = Tallies::default();
        let first = items(&["a", "b"]);
        tallies.arrange(&first, None);
        tallies.mark_pending(0);
        let pending =
            |tallies: &Tallies| -> Vec<bool> { tallies.present().iter().map(|tally| tally.pending).collect() };
        tallies.arrange(&items(&["b", "a!"]), None);
        assert_eq!(pending(&tallies), [false, true]);
        tallies.record(0, query(&first[0]), measured(Outcome::Fail));
        assert_eq!((bad(&tallies), pending(&tallies)), (vec![0, 1], vec![false, false]));
        // Even if the item is gone meanwhile, and comes back.
        tallies.mark_pending(1);
        tallies.arrange(&items(&["b"]), None);
        tallies.record(1, query(&first[0]), measured(Outcome::Fail));
        tallies.arrange(&first, None);
        assert_eq!(bad(&tallies), [2, 0]);
    }

    #[test]
    fn each_answer_finds_an_item_that_waits_for_one() {
        let mut tallies = Tallies::default();
        let twice = items(&["a", "a!"]);
        tallies.arrange(&twice, None);
        let waiting = |tallies: &Tallies| tallies.present().iter().filter(|tally| tally.pending).count();
        tallies.mark_pending(0);
        tallies.mark_pending(1);
        // Another item comes before them while both queries are under way.
        tallies.arrange(&items(&["b", "a", "a!"]), None);
        tallies.record(0, query(&twice[0]), measured(Outcome::Fail));
        tallies.record(1, query(&twice[1]), measured(Outcome::Fail));
        assert_eq!((bad(&tallies), waiting(&tallies)), (vec![0, 1, 1], 0));
    }

    #[test]
    fn a_query_that_is_under_way_stays_so_until_it_is_answered() {
        let mut tallies = Tallies::default();
        let items = items(&["a"]);
        tallies.arrange(&items, None);
        tallies.record(0, query(&items[0]), measured(Outcome::Fail));
        tallies.mark_pending(0);
        tallies.forget();
        assert!(
            bad(&tallies) == [0] && tallies.present()[0].pending,
            "of the former canary"
        );
        tallies.discard(0, query(&items[0]));
        assert_eq!(tallies.present(), [Tally::default()]);
    }

    fn stored(id: Option<&str>, name: &str, good: u32, bad: u32) -> ItemStatus {
        ItemStatus {
            id: id.map(str::to_owned),
            name: name.to_owned(),
            good,
            bad,
            ..ItemStatus::default()
        }
    }

    fn resumed(queries: &[&str], stored: &[ItemStatus]) -> Vec<(u32, u32)> {
        let mut tallies = Tallies::default();
        tallies.arrange(&items(queries), Some(stored));
        tallies.present().iter().map(|tally| (tally.good, tally.bad)).collect()
    }

    #[test]
    fn a_new_owner_takes_counts_by_what_they_are_about() {
        let [a, b] = ["a", "b"].map(|text| query(&items(&[text])[0]).id.clone());
        let status = [
            stored(Some(&a), "promQL[0]", 3, 1),
            stored(Some(&b), "promQL[1]", 5, 2),
            stored(Some(&a), "promQL[2]", 7, 4),
        ];
        assert_eq!(
            resumed(&["b", "c", "a!", "a"], &status),
            [(5, 2), (0, 0), (3, 1), (7, 4)]
        );
        // Of an older status, which does not say what it is about, only what is bad is believed.
        let old = [stored(None, "promQL[0]", 3, 1), stored(None, "manual[1]", 0, 0)];
        assert_eq!(resumed(&["a", "b"], &old), [(0, 1), (0, 0)]);
    }

    #[test]
    fn another_interval_forgives_nothing_and_counts_no_gaps() {
        let mut tallies = Tallies::default();
        let first = items(&["a"]);
        tallies.arrange(&first, None);
        tallies.record(0, query(&first[0]), measured(Outcome::Fail));
        let mut faster = query(&first[0]).clone();
        faster.interval = Duration::from_secs(1);
        tallies.arrange(&[Item::PromQl(Box::new(faster))], None);
        assert!(bad(&tallies) == [1] && tallies.present()[0].resumed);
    }
}
