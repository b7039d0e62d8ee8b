//! Shares a fixed number of seats between namespaces, so that one namespace never holds them all.

use std::{collections::BTreeMap, sync::Arc};

/// Seats that are given to namespaces. Each namespace may hold at most a part of what is free, as switches share their
/// buffers ("dynamic threshold"): the more namespaces want seats, the fewer each one gets, and one that comes later still
/// finds one.
#[derive(Debug)]
pub(crate) struct Seats {
    free: usize,
    /// A namespace may hold a seat more while it holds fewer than the free seats divided by this number.
    divisor: usize,
    held: BTreeMap<Arc<str>, usize>,
}

impl Seats {
    pub(crate) fn new(total: usize, divisor: usize) -> Self {
        Self {
            free: total,
            divisor,
            held: BTreeMap::new(),
        }
    }

    /// Whether a namespace may have another seat.
    pub(crate) fn has(&self, namespace: &str) -> bool {
        let held = self.held.get(namespace).copied().unwrap_or_default();
        self.free > 0 && held < (self.free / self.divisor).max(1)
    }

    /// Takes a seat for a namespace that [may have](Self::has) one.
    pub(crate) fn take(&mut self, namespace: &Arc<str>) {
        self.free = self.free.saturating_sub(1);
        *self.held.entry(Arc::clone(namespace)).or_default() += 1;
    }

    /// Gives a seat back.
    pub(crate) fn give(&mut self, namespace: &str) {
        self.free += 1;
        if let Some(held) = self.held.get_mut(namespace) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(namespace);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes all seats that a namespace may have.
    fn fill(seats: &mut Seats, namespace: &str) -> usize {
        let (namespace, mut taken) = (Arc::from(namespace), 0);
        while seats.has(&namespace) {
            seats.take(&namespace);
            taken += 1;
        }
        taken
    }

    #[test]
    fn one_that_takes_all_it_can_leaves_most_places_to_others() {
        let mut seats = Seats::new(256, 4);
        assert_eq!(fill(&mut seats, "greedy"), 51);
        assert_eq!(fill(&mut seats, "late"), 41);
        for _ in 0..51 {
            seats.give("greedy");
        }
        assert_eq!(fill(&mut seats, "late"), 10, "what is free again is shared again");
    }

    #[test]
    fn a_namespace_that_holds_nothing_finds_a_place_beside_forty_greedy_ones() {
        let mut seats = Seats::new(256, 8);
        let taken: Vec<_> = (0..40).map(|number| fill(&mut seats, &number.to_string())).collect();
        assert!(taken.iter().all(|taken| *taken > 0), "{taken:?}");
    }

    #[test]
    fn a_namespace_never_gets_more_places_than_there_are() {
        let mut seats = Seats::new(2, 4);
        let taken = ["a", "b", "c"].map(|namespace| fill(&mut seats, namespace));
        assert_eq!(taken, [1, 1, 0]);
        seats.give("a");
        assert!(seats.has("c") && seats.has("a") && !seats.has("b"));
    }
}
