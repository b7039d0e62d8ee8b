//! Labels in little memory.

use super::Labels;

/// Labels or annotations in two allocations. A [`Labels`] has one of 544 bytes for up to eleven entries, and two for each entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// All names and values, in the order of the names.
    text: Box<str>,
    /// The length of each name and of each value.
    lengths: Box<[u32]>,
}

impl Packed {
    /// Names and values, in the order of the names.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = &*self.text;
        let mut next = move |length: u32| {
            let (text, after) = rest.split_at_checked(length as usize).unwrap_or_default();
            rest = after;
            text
        };
        let (pairs, _) = self.lengths.as_chunks::<2>();
        pairs.iter().map(move |[name, value]| (next(*name), next(*value)))
    }

    /// The value of a label.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The labels as a map.
    #[must_use]
    pub fn unpack(&self) -> Labels {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        self.entries().map(owned).collect()
    }
}

impl From<&Labels> for Packed {
    fn from(labels: &Labels) -> Self {
        let texts = || labels.iter().flat_map(|(name, value)| [name, value]);
        // The API server does not accept objects of 4 GiB.
        let length = |text: &String| u32::try_from(text.len()).unwrap_or(u32::MAX);
        Self {
            text: texts().map(String::as_str).collect(),
            lengths: texts().map(length).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn packed_labels_are_the_same_labels(labels in btree_map(".{0,9}", ".{0,9}", 0..20), other in ".{0,3}") {
            let packed = Packed::from(&labels);
            prop_assert_eq!(&packed.unpack(), &labels);
            for name in labels.keys().chain([&other]) {
                prop_assert_eq!(packed.get(name), labels.get(name).map(String::as_str));
            }
        }
    }
}
