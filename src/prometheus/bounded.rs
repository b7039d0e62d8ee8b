//! A bounded map of shared values that evicts idle ones.

use std::{collections::HashMap, hash::Hash, sync::Arc};

/// At most `capacity` values. Values that nobody holds may be evicted, the least recently used first. Values in use are never
/// evicted, so two holders of a key always share one value.
pub(crate) struct Bounded<K, V> {
    entries: HashMap<K, (u64, Arc<V>)>,
    capacity: usize,
    uses: u64,
}

impl<K: Clone + Eq + Hash, V> Bounded<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            entries: HashMap::new(),
            capacity,
            uses: 0,
        }
    }

    /// The value of `key`, created with `new` if there is none. `None` if the map is full of values in use.
    pub(crate) fn get(&mut self, key: &K, new: impl FnOnce() -> V) -> Option<Arc<V>> {
        self.uses += 1;
        if let Some((used, value)) = self.entries.get_mut(key) {
            *used = self.uses;
            return Some(Arc::clone(value));
        }
        if self.entries.len() >= self.capacity {
            let (idle, _) = self
                .entries
                .iter()
                .filter(|(_, (_, value))| Arc::strong_count(value) == 1)
                .min_by_key(|(_, (used, _))| *used)?;
            let idle = idle.clone();
            self.entries.remove(&idle);
        }
        let value = Arc::new(new());
        self.entries.insert(key.clone(), (self.uses, Arc::clone(&value)));
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Bounded;

    #[test]
    fn holders_of_a_key_share_a_value_and_the_longest_idle_one_makes_room() {
        let mut map = Bounded::new(2);
        let first = map.get(&1, || 'a').unwrap();
        assert!(Arc::ptr_eq(&first, &map.get(&1, || 'b').unwrap()));
        drop(map.get(&2, || 'c').unwrap());
        drop(map.get(&3, || 'd').unwrap());
        assert_eq!(map.entries.len(), 2);
        assert_eq!(*map.get(&1, || 'e').unwrap(), 'a');
        let _second = map.get(&2, || 'f').unwrap();
        assert_eq!(map.get(&4, || 'g'), None);
        drop(first);
        assert_eq!(map.get(&4, || 'h').as_deref(), Some(&'h'));
    }
}
