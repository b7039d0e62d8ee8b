//! The servers that wait for a place of the process.

use std::{collections::BTreeMap, sync::Arc};

use crate::queue::seats::Seats;

/// For each namespace that has as many seats as it may have: the servers that it wants to query, the one that waits longest
/// first. A look at them costs as much as there are namespaces, however many servers wait.
#[derive(Debug, Default)]
pub(super) struct Starved(BTreeMap<Arc<str>, BTreeMap<u64, String>>);

/// Where a server waits: its number in the line of each namespace.
pub(super) type Numbers = BTreeMap<Arc<str>, u64>;

impl Starved {
    /// Adds a server to the lines of namespaces.
    pub(super) fn add(&mut self, url: &str, numbers: &Numbers) {
        for (namespace, number) in numbers {
            let line = self.0.entry(namespace.clone()).or_default();
            line.insert(*number, url.to_owned());
        }
    }

    /// Removes a server from the lines of namespaces.
    pub(super) fn remove(&mut self, numbers: &Numbers) {
        for (namespace, number) in numbers {
            if let Some(line) = self.0.get_mut(namespace) {
                line.remove(number);
                if line.is_empty() {
                    self.0.remove(namespace);
                }
            }
        }
    }

    /// The server that has waited longest for a namespace that may have a place now.
    pub(super) fn next(&self, seats: &Seats) -> Option<String> {
        let may = self.0.iter().filter(|(namespace, _)| seats.has(namespace));
        let first = may.filter_map(|(_, line)| line.first_key_value());
        first.min_by_key(|(number, _)| **number).map(|(_, url)| url.clone())
    }
}
