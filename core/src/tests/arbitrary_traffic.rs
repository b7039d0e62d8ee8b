//! Arbitrary Services, and arbitrary failed ways out of production.

use proptest::{collection::vec, option, prelude::*};

use super::arbitrary::time;
use crate::{
    api::names::is_reserved,
    labels::Labels,
    observation::{Attempt, Observation, Service, Ways},
};

/// The part of an observation that concerns traffic.
pub(super) fn traffic() -> impl Strategy<Value = Observation> {
    let others = vec(
        prop_oneof![Just("app"), Just("bad"), Just("zone")].prop_map(|label| Service {
            name: format!("by-{label}"),
            selector: [(
                label.to_owned(),
                if label == "bad" { "true" } else { "myapp" }.to_owned(),
            )]
            .into(),
            ..Service::default()
        }),
        0..2,
    );
    let attempt = || {
        (time(), 1..4_u32, any::<bool>()).prop_map(|(last, times, refused)| Attempt {
            first: last,
            last,
            times,
            refused,
            message: "no".to_owned(),
        })
    };
    let attempts = (option::of(attempt()), option::of(attempt()), option::of(attempt()));
    let attempts = attempts.prop_map(|(labels, deletion, scale)| Ways {
        labels,
        deletion,
        scale,
    });
    (
        others,
        option::weighted(0.2, attempts),
        option::weighted(0.05, Just("KanaryDeployment/robin")),
    )
        .prop_map(|(services, attempts, canary_of)| Observation {
            services,
            ways: attempts.unwrap_or_default(),
            target_is_canary_of: canary_of.map(str::to_owned),
            ..Observation::default()
        })
}

/// Labels without those that are reserved for Kanary.
pub(super) fn unreserved(labels: &Labels) -> Labels {
    let mut labels = labels.clone();
    labels.retain(|name, _| !is_reserved(name));
    labels
}
