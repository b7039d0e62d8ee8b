//! Sets of related objects, by what relates them.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

/// Sets of members by key. A set without members takes no memory.
#[derive(Debug)]
pub(super) struct Index<K, V>(HashMap<K, Members<V>>);

/// Nearly every set has one member, for which a tree would allocate a node for eleven.
#[derive(Debug)]
enum Members<V> {
    One(V),
    Many(BTreeSet<V>),
}

impl<V: Ord> Members<V> {
    fn with(self, member: V) -> Self {
        match self {
            Self::One(known) if known == member => Self::One(known),
            Self::One(known) => Self::Many([known, member].into()),
            Self::Many(mut members) => {
                members.insert(member);
                Self::Many(members)
            }
        }
    }

    fn without(self, member: &V) -> Option<Self> {
        match self {
            Self::One(known) => (known != *member).then_some(Self::One(known)),
            Self::Many(mut members) => {
                members.remove(member);
                if members.len() > 1 {
                    return Some(Self::Many(members));
                }
                members.pop_first().map(Self::One)
            }
        }
    }
}

impl<K, V> Default for Index<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash, V: Ord> Index<K, V> {
    /// Adds a member to a set, or removes it.
    pub(super) fn enlist(&mut self, set: K, member: V, there: bool) {
        let members = match self.0.remove(&set) {
            Some(members) if there => Some(members.with(member)),
            Some(members) => members.without(&member),
            None => there.then_some(Members::One(member)),
        };
        if let Some(members) = members {
            self.0.insert(set, members);
        }
    }

    /// The members of a set, in order.
    pub(super) fn of(&self, set: &K) -> impl Iterator<Item = &V> + use<'_, K, V> {
        let (one, many) = match self.0.get(set) {
            Some(Members::One(member)) => (Some(member), None),
            Some(Members::Many(members)) => (None, Some(members)),
            None => (None, None),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn an_index_holds_what_a_map_of_sets_holds(changes in vec((0..3_u8, 0..4_u8, any::<bool>()), 0..60)) {
            let mut index = Index::default();
            let mut sets = HashMap::<u8, BTreeSet<u8>>::new();
            for (set, member, there) in changes {
                index.enlist(set, member, there);
                let members = sets.entry(set).or_default();
                if there {
                    members.insert(member);
                } else {
                    members.remove(&member);
                }
                prop_assert!(index.of(&set).eq(members.iter()));
                sets.retain(|_, members| !members.is_empty());
                prop_assert_eq!(index.0.len(), sets.len());
            }
        }
    }
}
