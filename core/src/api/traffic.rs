//! `spec.traffic`: which requests reach the canary.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which requests reach the canary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficSpec {
    /// Where the canary's traffic comes from. `service`: the production Service selects the canary pods together with the
    /// target's pods. `kanary-service`: a separate Service selects them, and they get no production traffic. `both`: both
    /// Services select them. `none`: no Service selects them. `mirror`, `weighted` and `tagged` are reserved and refused for
    /// now. Default `none`. Changing the source while a canary is judged starts a new run.
    #[serde(default)]
    pub source: TrafficSource,
    /// Name of the canary's Service. Default `<serviceName>-kanary-<name of the Kanary>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub kanary_service: Option<String>,
    /// Reserved for mirrored traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::crd::free_object")]
    pub mirror: Option<Value>,
}

/// Where the canary's traffic comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum TrafficSource {
    #[allow(
        missing_docs,
        reason = "described at TrafficSpec::source; docs here would make the schema a oneOf"
    )]
    Service,
    #[allow(missing_docs, reason = "see Service")]
    KanaryService,
    #[allow(missing_docs, reason = "see Service")]
    Both,
    #[allow(missing_docs, reason = "see Service")]
    #[default]
    None,
    #[allow(missing_docs, reason = "see Service")]
    Mirror,
    #[allow(missing_docs, reason = "see Service")]
    Weighted,
    #[allow(missing_docs, reason = "see Service")]
    Tagged,
}

impl fmt::Display for TrafficSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Service => "service",
            Self::KanaryService => "kanary-service",
            Self::Both => "both",
            Self::None => "none",
            Self::Mirror => "mirror",
            Self::Weighted => "weighted",
            Self::Tagged => "tagged",
        })
    }
}
