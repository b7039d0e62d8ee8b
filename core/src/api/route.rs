//! Routes: objects of Gateway API and Istio that send requests to Services.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The route that leads to the production Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteSpec {
    /// `HTTPRoute` or `GRPCRoute` of Gateway API, or `VirtualService` of Istio.
    pub kind: RouteKind,
    /// Its name. Default: the only one of this kind that leads to the production Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,
}

/// Kinds of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[allow(
    missing_docs,
    reason = "described at RouteSpec::kind; docs here would make the schema a oneOf"
)]
pub enum RouteKind {
    #[serde(rename = "HTTPRoute")]
    Http,
    #[serde(rename = "GRPCRoute")]
    Grpc,
    #[serde(rename = "VirtualService")]
    Virtual,
}

impl RouteKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Http, Self::Grpc, Self::Virtual];

    /// The kind's name in Kubernetes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTPRoute",
            Self::Grpc => "GRPCRoute",
            Self::Virtual => "VirtualService",
        }
    }

    /// Its API group.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::Http | Self::Grpc => "gateway.networking.k8s.io",
            Self::Virtual => "networking.istio.io",
        }
    }

    /// Name of its CRD.
    #[must_use]
    pub fn crd(self) -> String {
        format!("{}.{}", self.plural(), self.group())
    }

    /// The version in which it is read and written.
    #[must_use]
    pub const fn version(self) -> &'static str {
        "v1"
    }

    /// Its name in URLs and in roles.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Http => "httproutes",
            Self::Grpc => "grpcroutes",
            Self::Virtual => "virtualservices",
        }
    }
}

impl fmt::Display for RouteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A route, in the namespace of the Kanary.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct RouteRef {
    /// `HTTPRoute`, `GRPCRoute` or `VirtualService`.
    pub kind: RouteKind,
    /// Its name.
    pub name: String,
}

impl RouteRef {
    /// `HTTPRoute/myapp`, as the annotation of a Kanary has it.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

impl fmt::Display for RouteRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// Reads [`RouteRef::key`].
impl FromStr for RouteRef {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (kind, name) = text.split_once('/').ok_or(())?;
        let kind = RouteKind::ALL.into_iter().find(|one| one.as_str() == kind).ok_or(())?;
        Ok(Self {
            kind,
            name: name.to_owned(),
        })
    }
}
