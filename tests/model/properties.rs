//! Safety properties, which hold in every state, and reachability properties, which hold in some.

use stateright::Property;

use crate::{Protocol, state::State};

pub(crate) const ONE_EFFECT: &str = "no effect follows an effect with a higher epoch";
pub(crate) const STATUS: &str = "no status write follows one with a higher epoch";
pub(crate) const ONCE: &str = "one verdict, followed by one promotion";
pub(crate) const EPOCHS: &str = "no two sessions get the same epoch";
pub(crate) const ONE_OWNER: &str = "at most one session may act on a shard";

pub(crate) fn safety() -> Vec<Property<Protocol>> {
    vec![
        Property::always(ONE_EFFECT, |_, state: &State| !state.late_effect),
        Property::always(STATUS, |_, state: &State| !state.late_status),
        Property::always(ONCE, |_, state: &State| {
            state
                .shards
                .iter()
                .all(|s| s.verdicts <= 1 && s.promotions <= s.verdicts)
        }),
        Property::always(EPOCHS, |_, state: &State| !state.epoch_twice),
        Property::always(ONE_OWNER, |model: &Protocol, state: &State| {
            let owners = |shard| (0..model.replicas).filter(|r| state.acts(*r, shard)).count();
            (0..model.shards).all(|shard| owners(shard) <= 1)
        }),
    ]
}

pub(crate) const SEIZED: &str = "a session is seized";
pub(crate) const HANDED_OVER: &str = "a shard is handed over";
pub(crate) const LATE_WRITE: &str = "the late write of a deposed owner is refused";
pub(crate) const PROMOTED: &str = "an owner promotes after the verdict of a former owner";
pub(crate) const STORY: [&str; 4] = [SEIZED, HANDED_OVER, LATE_WRITE, PROMOTED];

pub(crate) fn story() -> Vec<Property<Protocol>> {
    vec![
        Property::sometimes(SEIZED, |_, state: &State| state.story.seized),
        Property::sometimes(HANDED_OVER, |_, state: &State| state.story.handed_over),
        Property::sometimes(LATE_WRITE, |_, state: &State| state.story.late_write_refused),
        Property::sometimes(PROMOTED, |_, state: &State| state.story.promoted_for_another),
    ]
}
