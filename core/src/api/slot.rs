//! Slots and shards: how Kanaries are divided among replicas.
//!
//! A slot is a hash of the target and never changes, so objects are not relabelled when the number of replicas changes. A shard
//! is a range of slots. A replica owns and watches whole shards.

use std::{collections::BTreeSet, fmt, ops::RangeInclusive, str::FromStr};

use crate::api::names::SLOT;

/// The number of slots. A slot is one byte.
const SLOTS: u16 = 256;

/// Why a slot or a layout is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The slots cannot be divided into this many shards of equal size.
    Shards(u16),
    /// The text is not a valid slot.
    Slot(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shards(shards) => {
                write!(
                    f,
                    "--shards {shards}: must be a power of two between 1 and {SLOTS}, such as 32"
                )
            }
            Self::Slot(text) => write!(f, "slot {text:?}: must be two lowercase hexadecimal digits, such as 0a"),
        }
    }
}

impl std::error::Error for Error {}

/// One of 256 groups of Kanaries, by target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u8);

impl Slot {
    /// The slot of a target. Two Kanaries with the same target are in one slot, so that their owner detects the conflict.
    #[must_use]
    pub fn of(namespace: &str, target: &str) -> Self {
        // Neither name may contain a slash, so different targets never produce the same input to the hash.
        let hash = stable_hash(namespace.bytes().chain([b'/']).chain(target.bytes()));
        let [highest, ..] = hash.to_be_bytes();
        Self(highest)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.0)
    }
}

impl FromStr for Slot {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // `from_str_radix` also parses "+f", "A0" and "7", but a label selector compares text and does not match them.
        u8::from_str_radix(text, 16)
            .map(Self)
            .ok()
            .filter(|slot| slot.to_string() == text)
            .ok_or_else(|| Error::Slot(text.to_owned()))
    }
}

/// How slots are divided into shards: contiguous ranges of equal size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    shards: u16,
}

impl Layout {
    /// 32 shards of 8 slots, which is enough to balance up to 8 replicas.
    pub const DEFAULT: Self = Self { shards: 32 };

    /// Divides the slots into this many shards.
    ///
    /// # Errors
    ///
    /// The number is not a power of two between 1 and 256, so the shards would differ in size.
    pub fn new(shards: u16) -> Result<Self, Error> {
        if shards.is_power_of_two() && shards <= SLOTS {
            Ok(Self { shards })
        } else {
            Err(Error::Shards(shards))
        }
    }

    /// The number of shards. Shards are numbered from 0.
    #[must_use]
    pub fn shards(self) -> u16 {
        self.shards
    }

    /// The shard that a slot is in.
    #[must_use]
    pub fn shard_of(self, slot: Slot) -> u16 {
        u16::from(slot.0) / self.width()
    }

    /// The slots of a shard, from the first to the last.
    ///
    /// A shard that does not exist has no slots. Otherwise two replicas could act on the slots of another shard.
    #[must_use]
    pub fn slots(self, shard: u16) -> RangeInclusive<Slot> {
        let range = self.bytes(shard);
        Slot(*range.start())..=Slot(*range.end())
    }

    /// The label selector of the objects of these shards. For all shards, it only requires the label, and thus also selects
    /// objects whose label value is not a slot.
    #[must_use]
    pub fn selector(self, shards: impl IntoIterator<Item = u16>) -> String {
        let shards: BTreeSet<u16> = shards.into_iter().collect();
        if shards.len() == usize::from(self.shards) {
            return SLOT.to_owned();
        }
        selector("in", shards.into_iter().flat_map(|shard| self.bytes(shard)))
    }

    /// The label selector of the objects that are in no shard: those without the label (`notin` matches these too), and those
    /// whose label value is not a slot.
    #[must_use]
    pub fn rest_selector() -> String {
        selector("notin", 0..=u8::MAX)
    }

    /// Number of slots in a shard.
    fn width(self) -> u16 {
        SLOTS / self.shards
    }

    fn bytes(self, shard: u16) -> RangeInclusive<u8> {
        let first = shard
            .checked_mul(self.width())
            .and_then(|first| u8::try_from(first).ok());
        let last = first.and_then(|first| u8::try_from(u16::from(first) + (self.width() - 1)).ok());
        let (first, last) = first.zip(last).unwrap_or((1, 0));
        first..=last
    }
}

fn selector(operator: &str, slots: impl Iterator<Item = u8>) -> String {
    let slots: Vec<String> = slots.map(|slot| Slot(slot).to_string()).collect();
    format!("{SLOT} {operator} ({})", slots.join(","))
}

/// FNV-1a, then the finalizer of `MurmurHash3`. Names that differ only in their last digits differ only in the low bits of
/// FNV-1a, but a slot is taken from the high bits.
pub fn stable_hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let mut hash = bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests;
