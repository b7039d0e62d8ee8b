//! Measurements of a run's items. Counts belong to an item's check, independent of its index and its tolerances.

use std::time::Duration;

use jiff::Timestamp;
use kanary_core::{
    api::ItemStatus,
    validation::{Item, Sample, Tally, Terms},
};

/// How many items are remembered after they were removed from the spec.
const RETIRED: usize = 100;

/// A completed measurement.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Its result.
    pub sample: Sample,
    /// Its evaluation time.
    pub at: Timestamp,
    /// The canary's ready pods at that time.
    pub pods: Vec<String>,
    /// The canary was not fully available.
    pub is_down: bool,
}

/// The tallies of a run's items.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    /// One for each item of the spec, in their order.
    present: Vec<Known>,
    /// Items that were removed from the spec or cannot be parsed: an item that returns continues with its counts.
    retired: Vec<Known>,
}

/// The measurements of an item.
#[derive(Clone, Debug, Default)]
struct Known {
    /// [`Terms::id`]; empty for an item that is not measured.
    id: String,
    interval: Duration,
    tally: Tally,
}

impl Tallies {
    /// One for each item, in their order.
    pub(super) fn present(&self) -> Vec<Tally> {
        self.present.iter().map(|known| known.tally.clone()).collect()
    }

    /// Reorders the tallies like `items`. `stored` is the status of a run that is new to this controller.
    pub(super) fn arrange(&mut self, items: &[Item], stored: Option<&[ItemStatus]>) {
        let mut former = std::mem::take(&mut self.present);
        former.append(&mut self.retired);
        let mut stored: Vec<_> = stored.into_iter().flatten().map(Some).collect();
        self.present.reserve_exact(items.len());
        for (index, item) in items.iter().enumerate() {
            let known = match item.terms() {
                Some(terms) => take(&mut former, &mut stored, index, terms),
                None => Known::default(),
            };
            self.present.push(known);
        }
        former.retain(|known| !known.id.is_empty());
        former.truncate(RETIRED);
        self.retired = former;
    }

    /// Records that a query for the item at `index` is in flight.
    pub(super) fn mark_pending(&mut self, index: usize) {
        if let Some(known) = self.present.get_mut(index) {
            known.tally.pending = true;
        }
    }

    /// Records a measurement of the item that was at `index` when the query was sent.
    pub(super) fn record(&mut self, index: usize, asked: &Terms, measured: Measured) {
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

    /// Discards a result: the item that was at `index` when the query was sent no longer waits for it.
    pub(super) fn discard(&mut self, index: usize, asked: &Terms) {
        if let Some(tally) = self.asked(index, asked) {
            tally.pending = false;
        }
    }

    /// The tally that waits for a result of the item that was at `index`. Among items with the same check, one that waits,
    /// because each query in flight completes once.
    fn asked(&mut self, index: usize, asked: &Terms) -> Option<&mut Tally> {
        let all = self.present.iter_mut().chain(&mut self.retired).enumerate();
        let same = all.filter(|(_, known)| known.id == asked.id);
        let best = same.min_by_key(|(place, known)| (!known.tally.pending, *place != index));
        best.map(|(_, known)| &mut known.tally)
    }

    /// Drops all counts after the canary was replaced. Queries in flight stay in flight.
    pub(super) fn forget(&mut self) {
        for known in self.present.iter_mut().chain(&mut self.retired) {
            let pending = known.tally.pending;
            known.tally = Tally::default();
            known.tally.pending = pending;
        }
    }

    /// Begins a step of the traffic. `continues` says that the counts are from a status of this step.
    pub(super) fn begin(&mut self, since: Timestamp, continues: bool) {
        for known in self.present.iter_mut().chain(&mut self.retired) {
            known.tally.begin(since, continues);
        }
    }

    /// Drops good measurements after the canary has been unavailable since `since`.
    pub(super) fn forget_good(&mut self, since: Timestamp) {
        for known in self.present.iter_mut().chain(&mut self.retired) {
            known.tally.forget_good(since);
        }
    }
}

/// The counts of an item: from memory, else from the status, else none.
fn take(former: &mut Vec<Known>, stored: &mut [Option<&ItemStatus>], index: usize, terms: &Terms) -> Known {
    let Some(place) = former.iter().position(|known| known.id == terms.id) else {
        let tally = stored_of(stored, index, terms).map(|status| Tally::resume(&terms.id, status));
        return Known {
            id: terms.id.clone(),
            interval: terms.interval,
            tally: tally.unwrap_or_default(),
        };
    };
    let mut known = former.remove(place);
    if known.interval != terms.interval {
        // Counts with another interval do not show how many measurements are missing with this one.
        (known.interval, known.tally.resumed) = (terms.interval, true);
    }
    known
}

/// The status of an item, by its hash or, in an old status without a hash, by its index. Each entry is taken only once, because
/// two items may have the same check.
fn stored_of<'a>(stored: &mut [Option<&'a ItemStatus>], index: usize, terms: &Terms) -> Option<&'a ItemStatus> {
    let is_it = |status: Option<&ItemStatus>| status.is_some_and(|status| status.id.as_ref() == Some(&terms.id));
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

    /// Items with these queries; `a!` is `a` with its tolerance raised by one.
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

    fn terms(item: &Item) -> &Terms {
        item.terms().expect("the item is measured")
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
                tallies.record(index, terms(&first[index]), measured(Outcome::Fail));
            }
        }
        assert_eq!(bad(&tallies), [1, 0, 2, 4]);
        // More tolerance keeps the counts, another query starts from zero, and an item that returns keeps its counts.
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
        tallies.record(0, terms(&first[0]), measured(Outcome::Fail));
        assert_eq!((bad(&tallies), pending(&tallies)), (vec![0, 1], vec![false, false]));
        // This also holds if the item is removed meanwhile and returns.
        tallies.mark_pending(1);
        tallies.arrange(&items(&["b"]), None);
        tallies.record(1, terms(&first[0]), measured(Outcome::Fail));
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
        // Another item is inserted before them while both queries are in flight.
        tallies.arrange(&items(&["b", "a", "a!"]), None);
        tallies.record(0, terms(&twice[0]), measured(Outcome::Fail));
        tallies.record(1, terms(&twice[1]), measured(Outcome::Fail));
        assert_eq!((bad(&tallies), waiting(&tallies)), (vec![0, 1, 1], 0));
    }

    #[test]
    fn a_query_that_is_under_way_stays_so_until_it_is_answered() {
        let mut tallies = Tallies::default();
        let items = items(&["a"]);
        tallies.arrange(&items, None);
        tallies.record(0, terms(&items[0]), measured(Outcome::Fail));
        tallies.mark_pending(0);
        tallies.forget();
        assert!(
            bad(&tallies) == [0] && tallies.present()[0].pending,
            "a measurement of the previous canary"
        );
        tallies.discard(0, terms(&items[0]));
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
        let [a, b] = ["a", "b"].map(|text| terms(&items(&[text])[0]).id.clone());
        let status = [
            stored(Some(&a), "promQL[0]", 3, 1),
            stored(Some(&b), "promQL[1]", 5, 2),
            stored(Some(&a), "promQL[2]", 7, 4),
        ];
        assert_eq!(
            resumed(&["b", "c", "a!", "a"], &status),
            [(5, 2), (0, 0), (3, 1), (7, 4)]
        );
        // An old status has no hashes, so only its bad counts are used.
        let old = [stored(None, "promQL[0]", 3, 1), stored(None, "manual[1]", 0, 0)];
        assert_eq!(resumed(&["a", "b"], &old), [(0, 1), (0, 0)]);
    }

    #[test]
    fn another_interval_forgives_nothing_and_counts_no_gaps() {
        let mut tallies = Tallies::default();
        let first = items(&["a"]);
        tallies.arrange(&first, None);
        tallies.record(0, terms(&first[0]), measured(Outcome::Fail));
        let mut faster = first;
        let Item::PromQl(query) = &mut faster[0] else {
            panic!("the item is measured")
        };
        query.terms.interval = Duration::from_secs(1);
        tallies.arrange(&faster, None);
        assert!(bad(&tallies) == [1] && tallies.present()[0].resumed);
    }
}
