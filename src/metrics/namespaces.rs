//! Kanaries by namespace, for a bounded number of namespaces.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use kanary_core::status::Phase;
use prometheus_client::metrics::{family::Family, gauge::Gauge};

use super::{NamespaceLabels, PHASES};

/// Namespaces with series of their own.
const MOST: usize = 100;

/// All other namespaces. No namespace can have this name.
const OTHERS: &str = "_other";

/// Numbers of Kanaries, in the order of [`PHASES`].
type Counts = [i64; PHASES.len()];

/// How many Kanaries there are, by namespace and phase.
#[derive(Debug, Default)]
pub struct Census(BTreeMap<String, Counts>);

impl Census {
    /// Counts a Kanary.
    pub fn add(&mut self, namespace: &str, phase: Phase) {
        let counts = match self.0.get_mut(namespace) {
            Some(counts) => counts,
            None => self.0.entry(namespace.to_owned()).or_default(),
        };
        for (count, _) in counts.iter_mut().zip(PHASES).filter(|(_, of)| *of == phase) {
            *count += 1;
        }
    }

    /// The numbers of all namespaces together, by phase.
    pub(super) fn by_phase(&self) -> impl Iterator<Item = (Phase, i64)> {
        let all = self.0.values().copied().fold(Counts::default(), sum);
        PHASES.into_iter().zip(all)
    }
}

fn sum(mut left: Counts, right: Counts) -> Counts {
    left.iter_mut().zip(right).for_each(|(left, right)| *left += right);
    left
}

/// The metric, and which namespaces have series of their own.
#[derive(Debug, Default)]
pub struct Namespaces {
    /// Kanaries by namespace and phase.
    pub kanaries: Family<NamespaceLabels, Gauge>,
    shown: Mutex<BTreeSet<String>>,
}

impl Namespaces {
    /// Shows a census. A namespace keeps its series while it has Kanaries, so that graphs do not break off. The places of others
    /// go to the namespaces with the most Kanaries.
    pub(super) fn show(&self, census: &Census) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.retain(|namespace| census.0.contains_key(namespace));
        let mut others: Vec<_> = census
            .0
            .iter()
            .filter(|(namespace, _)| !shown.contains(*namespace))
            .map(|(namespace, counts)| (Reverse(counts.iter().sum::<i64>()), namespace))
            .collect();
        others.sort_unstable();
        let free = MOST.saturating_sub(shown.len());
        shown.extend(others.into_iter().take(free).map(|(_, namespace)| namespace.clone()));
        self.kanaries.clear();
        let mut rest = Counts::default();
        for (namespace, counts) in &census.0 {
            if shown.contains(namespace) {
                self.set(namespace, *counts);
            } else {
                rest = sum(rest, *counts);
            }
        }
        self.set(OTHERS, rest);
    }

    fn set(&self, namespace: &str, counts: Counts) {
        for (phase, count) in PHASES.into_iter().zip(counts) {
            let labels = NamespaceLabels {
                kanary_namespace: namespace.to_owned(),
                phase: phase.as_str(),
            };
            self.kanaries.get_or_create(&labels).set(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of running Kanaries of a namespace, if it has a series.
    fn running(namespaces: &Namespaces, namespace: &str) -> Option<i64> {
        let labels = NamespaceLabels {
            kanary_namespace: namespace.to_owned(),
            phase: Phase::Running.as_str(),
        };
        namespaces.kanaries.get(&labels).map(|gauge| gauge.get())
    }

    /// So many running Kanaries in each of these namespaces.
    fn show(namespaces: &Namespaces, numbers: &[(String, usize)]) {
        let mut census = Census::default();
        for (namespace, number) in numbers {
            (0..*number).for_each(|_| census.add(namespace, Phase::Running));
        }
        namespaces.show(&census);
    }

    #[test]
    fn ten_thousand_namespaces_have_few_series() {
        let namespaces = Namespaces::default();
        let mut numbers: Vec<_> = (0..10_000).map(|number| (format!("n{number}"), 1)).collect();
        numbers[7777].1 = 5;
        show(&namespaces, &numbers);
        assert_eq!(running(&namespaces, "n7777"), Some(5), "the largest one has a place");
        assert_eq!(running(&namespaces, OTHERS), Some(10_000 - 100));
        let shown = numbers.iter().filter(|(name, _)| running(&namespaces, name).is_some());
        assert_eq!(shown.count(), MOST);
    }

    #[test]
    fn a_namespace_keeps_its_series_while_it_has_kanaries() {
        let namespaces = Namespaces::default();
        let first: Vec<_> = (0..MOST).map(|number| (format!("a{number}"), 1)).collect();
        show(&namespaces, &first);
        assert_eq!(running(&namespaces, OTHERS), Some(0));
        let mut larger = first.clone();
        larger.push(("b".to_owned(), 9));
        show(&namespaces, &larger);
        assert_eq!((running(&namespaces, "a7"), running(&namespaces, "b")), (Some(1), None));
        assert_eq!(running(&namespaces, OTHERS), Some(9));
        larger.remove(7);
        show(&namespaces, &larger);
        assert_eq!((running(&namespaces, "a7"), running(&namespaces, "b")), (None, Some(9)));
        show(&namespaces, &[]);
        assert_eq!(
            (running(&namespaces, "b"), running(&namespaces, OTHERS)),
            (None, Some(0))
        );
    }
}
