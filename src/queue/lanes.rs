//! What waits, first in, first out within a namespace, and the namespaces in turn.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// Items that wait, by namespace.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    waiting: HashMap<Arc<str>, VecDeque<T>>,
    /// The namespaces with an item, in the order in which they are served. Each is in it once.
    ring: VecDeque<Arc<str>>,
    len: usize,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self {
            waiting: HashMap::new(),
            ring: VecDeque::new(),
            len: 0,
        }
    }
}

impl<T> Lanes<T> {
    /// Appends an item to those of its namespace.
    pub(crate) fn push(&mut self, namespace: &str, item: T) {
        self.len += 1;
        if let Some(lane) = self.waiting.get_mut(namespace) {
            lane.push_back(item);
            return;
        }
        let namespace: Arc<str> = namespace.into();
        self.ring.push_back(namespace.clone());
        self.waiting.insert(namespace, VecDeque::from([item]));
    }

    /// Takes the first item of the namespace that was served longest ago, of those that `may` be served.
    pub(crate) fn take(&mut self, may: impl Fn(&str) -> bool) -> Option<(Arc<str>, T)> {
        let next = self.ring.iter().position(|namespace| may(namespace))?;
        let namespace = self.ring.remove(next)?;
        let lane = self.waiting.get_mut(&namespace)?;
        let item = lane.pop_front()?;
        self.len -= 1;
        if lane.is_empty() {
            self.waiting.remove(&namespace);
        } else {
            self.ring.push_back(namespace.clone());
        }
        Some((namespace, item))
    }

    /// Number of items.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_served_in_turn_and_each_in_the_order_of_arrival() {
        let mut lanes = Lanes::default();
        for (namespace, item) in [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("c", 6)] {
            lanes.push(namespace, item);
        }
        let taken: Vec<_> = std::iter::from_fn(|| lanes.take(|_| true))
            .map(|(_, item)| item)
            .collect();
        assert_eq!(taken, [1, 4, 5, 2, 6, 3]);
        assert!(lanes.is_empty() && lanes.waiting.is_empty() && lanes.ring.is_empty());
    }

    #[test]
    fn a_namespace_that_may_not_be_served_keeps_its_turn() {
        let mut lanes = Lanes::default();
        for (namespace, item) in [("a", 1), ("b", 2), ("c", 3)] {
            lanes.push(namespace, item);
        }
        assert_eq!(lanes.take(|namespace| namespace != "a"), Some(("b".into(), 2)));
        assert_eq!(lanes.take(|_| false), None);
        assert_eq!((lanes.take(|_| true), lanes.len()), (Some(("a".into(), 1)), 1));
    }
}
