//! `spec.traffic`: which requests reach the canary.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{GoDuration, RouteSpec, duration::at_least_1s};

/// Which requests reach the canary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.weighted) || (has(self.source) && self.source == 'weighted')",
        "message": "spec.traffic.weighted is for source weighted: set source to weighted, or remove the block",
    },
    {
        "rule": "!has(self.source) || self.source != 'weighted' || has(self.weighted)",
        "message": "spec.traffic.source weighted needs spec.traffic.weighted.steps, like [5, 25, 50]",
    },
    {
        "rule": "!has(self.tagged) || (has(self.source) && self.source in ['tagged', 'weighted'])",
        "message": "spec.traffic.tagged is for the sources tagged and weighted: set source to one of them, or remove the block",
    },
    {
        "rule": "!has(self.source) || self.source != 'tagged' || has(self.tagged)",
        "message": "spec.traffic.source tagged needs spec.traffic.tagged with a header or a cookie",
    },
    {
        "rule": "!has(self.mirror) || !has(self.mirror.activate) || !self.mirror.activate || !has(self.source) || \
                 self.source in ['none', 'mirror']",
        "message": "spec.traffic.mirror.activate means source mirror: remove it, or set source to mirror",
    },
    {
        "rule": "!has(self.mirror) || !has(self.mirror.percent) || (has(self.source) && self.source == 'mirror') || \
                 (has(self.mirror.activate) && self.mirror.activate)",
        "message": "spec.traffic.mirror.percent is for source mirror: set source to mirror, or remove it",
    },
    {
        "rule": "!has(self.sessionAffinity) || (has(self.source) && self.source == 'weighted')",
        "message": "spec.traffic.sessionAffinity is for source weighted: set source to weighted, or remove the block",
    },
    {
        "rule": "!has(self.route) || (has(self.source) && self.source in ['weighted', 'tagged', 'mirror']) || \
                 (has(self.mirror) && has(self.mirror.activate) && self.mirror.activate)",
        "message": "spec.traffic.route is for the sources weighted, tagged and mirror: set source to one of them, or remove it",
    },
    {
        "rule": "!has(self.sessionAffinity) || !has(self.route) || self.route.kind != 'VirtualService'",
        "message": "spec.traffic.sessionAffinity needs an HTTPRoute or a GRPCRoute, because Istio keeps a user on a pod and not on a \
                    version: remove the block, or name another route",
    },
]))]
pub struct TrafficSpec {
    /// Where the canary's traffic comes from. `service`: the production Service selects the canary pods together with the
    /// target's pods. `kanary-service`: a separate Service selects them, and they get no production traffic. `both`: both
    /// Services select them. `none`: no Service selects them. `weighted`, `tagged` and `mirror` work through a route in front of
    /// the production Service: a share of its requests, requests with a header or a cookie, or copies of its requests. Default
    /// `none`. Changing the source while a canary is judged starts a new run.
    #[serde(default)]
    pub source: TrafficSource,
    /// Name of the canary's Service. Default `<serviceName>-kanary-<name of the Kanary>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub kanary_service: Option<String>,
    /// The route that leads to the production Service, in the namespace of the Kanary. Default: the only one that does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteSpec>,
    /// The canary gets a share of the requests, which grows in steps. For source `weighted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weighted: Option<WeightedSpec>,
    /// Requests with one of these headers or cookies always reach the canary. For the sources `tagged` and `weighted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tagged: Option<TaggedSpec>,
    /// The canary gets copies of requests, and its answers are discarded. For source `mirror`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorSpec>,
    /// A user stays on one version during a run. For source `weighted`, with an implementation of the Gateway API that supports
    /// `sessionPersistence`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<SessionAffinitySpec>,
}

/// A share of the requests that grows in steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.promoteAbove) || self.steps.exists(step, step >= self.promoteAbove)",
    "message": "no step reaches promoteAbove: lower it, or add a step",
}]))]
pub struct WeightedSpec {
    /// The canary's share of the requests in percent, one number for each step, in ascending order. The canary is analysed at each
    /// step.
    #[schemars(length(min = 1, max = 20), inner(range(min = 1, max = 100)), extend("x-kubernetes-validations" = [{
        "rule": "self.isSorted() && self.all(step, self.exists_one(other, other == step))",
        "message": "write the steps in ascending order, each once, like [5, 25, 50]",
    }]))]
    pub steps: Vec<u8>,
    /// How long the canary is analysed at each step, from the time when the share is in force. Default 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = at_least_1s("spec.traffic.weighted.interval")))]
    pub interval: Option<GoDuration>,
    /// The last step is the first one with at least this share. Later steps are left out. Default: all steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub promote_above: Option<u8>,
}

/// Requests that always reach the canary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "(has(self.headers) && size(self.headers) > 0) || (has(self.cookies) && size(self.cookies) > 0)",
    "message": "spec.traffic.tagged needs a header or a cookie",
}]))]
pub struct TaggedSpec {
    /// Headers. A request with one of them reaches the canary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub headers: Vec<TagSpec>,
    /// Cookies. A request with one of them reaches the canary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub cookies: Vec<TagSpec>,
}

/// A header or a cookie, with its value or a regular expression for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.value) != has(self.regex)",
    "message": "set one of value and regex",
}]))]
pub struct TagSpec {
    /// Name of the header, in any case, or of the cookie.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$"))]
    pub name: String,
    /// The exact value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub value: Option<String>,
    /// A regular expression (RE2) that the whole value matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub regex: Option<String>,
}

/// Copies of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MirrorSpec {
    /// Percent of the requests that are copied. Default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub percent: Option<u8>,
    /// `true` is another way to write `source: mirror`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activate: Option<bool>,
}

/// A cookie that keeps a user on one version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionAffinitySpec {
    /// Name of the cookie. Default `kanary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_\-]+$"))]
    pub cookie_name: Option<String>,
    /// How long the cookie lasts. Default: as long as the browser is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = at_least_1s("spec.traffic.sessionAffinity.maxAge")))]
    pub max_age: Option<GoDuration>,
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

impl TrafficSource {
    /// Whether a route sends the canary its requests.
    #[must_use]
    pub const fn needs_route(self) -> bool {
        matches!(self, Self::Mirror | Self::Weighted | Self::Tagged)
    }
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
