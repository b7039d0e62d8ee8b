//! `prometheusAuth`: how Kanary authenticates to Prometheus, and which certificates it trusts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Credentials, CA certificate and headers for queries to Prometheus. Secrets are read from the Kanary's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!(has(self.bearerTokenSecret) && has(self.basicAuthSecret))",
    "message": "prometheusAuth takes bearerTokenSecret or basicAuthSecret: remove one",
}]))]
pub struct PrometheusAuth {
    /// The key of a Secret that contains a bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token_secret: Option<SecretKey>,
    /// Name of a Secret with the keys `username` and `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub basic_auth_secret: Option<String>,
    /// The key of a Secret that contains PEM certificates: the CA that signed the certificate of Prometheus, or the self-signed
    /// certificate of Prometheus itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<SecretKey>,
    /// Headers that are sent with every query, like `X-Scope-OrgID` for the tenant of a multi-tenant API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub headers: Option<Vec<QueryHeader>>,
}

/// A header for every query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.value) != has(self.valueFromSecret)",
    "message": "a header takes value or valueFromSecret: write exactly one of them",
}]))]
pub struct QueryHeader {
    /// Name of the header, like `X-Scope-OrgID`. Headers that the client sets itself, like `Host`, are refused;
    /// `Authorization` is taken from a Secret only.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Value of the header, visible to everyone who can read the Kanary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub value: Option<String>,
    /// The key of a Secret that contains the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from_secret: Option<SecretKey>,
}

/// One key of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct SecretKey {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in the Secret's data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}
