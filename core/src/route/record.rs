//! The annotation that records what Kanaries changed in a route.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Desired;
use crate::api::names::SHARES;

/// What Kanaries changed in a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The share of each Kanary, in the order in which they came.
    #[serde(default)]
    pub shares: Vec<Share>,
    /// The rules that were changed, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) rules: Vec<Touched>,
}

/// What one Kanary changed in a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Kind and name of the Kanary, for people.
    pub kanary: String,
    /// Its uid.
    pub uid: String,
    /// Its run.
    pub run: String,
    /// The production Service.
    pub service: String,
    /// The canary's own Service.
    pub canary: String,
    /// Number of the step, from 1, or 0 if nothing is asked for.
    pub step: u32,
    /// What the canary gets.
    #[serde(flatten)]
    pub desired: Desired,
}

/// A rule that was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Touched {
    /// The user's backends, in their order.
    pub(super) backends: Vec<Weight>,
    /// Whether the user wrote an empty list of extras.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) no_extras: bool,
}

/// The weight of a user's backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Weight {
    /// Where the backend leads to.
    pub(super) to: String,
    /// The weight that the user wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) former: Option<u64>,
    /// The weight that was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) now: Option<u64>,
}

impl Record {
    /// The record of a route. One that cannot be read is treated as missing.
    #[must_use]
    pub fn of(route: &Value) -> Self {
        let annotations = route.pointer("/metadata/annotations");
        let text = annotations.and_then(|annotations| annotations.get(SHARES)?.as_str());
        text.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    /// The share of the Kanary with this uid.
    #[must_use]
    pub fn share(&self, uid: &str) -> Option<&Share> {
        self.shares.iter().find(|share| share.uid == uid)
    }

    /// The record with the share of one Kanary set or removed.
    pub(super) fn with(mut self, uid: &str, share: Option<&Share>) -> Self {
        match (self.shares.iter_mut().find(|known| known.uid == uid), share) {
            (Some(known), Some(share)) => *known = share.clone(),
            (None, Some(share)) => self.shares.push(share.clone()),
            (_, None) => self.shares.retain(|known| known.uid != uid),
        }
        self
    }
}
