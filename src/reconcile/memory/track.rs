//! Objects of tracks after the last write.

use jiff::Timestamp;
use kanary_core::{Key, api::Written, observation::Created};

use super::Memory;

impl Memory {
    /// Records an object of a track as returned by the API server after a write, which changed it at `at`.
    pub fn set_track(&self, key: &Key, is_canary: bool, made: Created, at: Option<Timestamp>) {
        let mut memory = self.lock();
        let Some(known) = memory.get_mut(key) else { return };
        let tracks = known.tracks.get_or_insert_default();
        let written = Some(Written {
            uid: made.uid,
            generation: made.generation,
            at,
        });
        if is_canary {
            tracks.canary = written;
        } else {
            tracks.target = written;
        }
    }
}
