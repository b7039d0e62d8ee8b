//! Requests of clients, and what became of them.

use std::collections::BTreeMap;

use crate::store::Place;

use super::table::RouteName;

/// A request of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The Gateway that it passes, or `None` for a request from inside the mesh.
    pub gateway: Option<Place>,
    /// The host name.
    pub host: String,
    /// The path with the query. A gRPC request has `/service/method`.
    pub path: String,
    /// `GET`.
    pub method: String,
    /// Headers by their names in lower case, without `cookie`.
    pub headers: BTreeMap<String, String>,
    /// Cookies by their names.
    pub cookies: BTreeMap<String, String>,
}

impl Request {
    /// A request to a host behind a Gateway.
    #[must_use]
    pub fn through(namespace: &str, gateway: &str, host: &str) -> Self {
        Self {
            gateway: Some((namespace.to_owned(), gateway.to_owned())),
            ..Self::inside(host)
        }
    }

    /// A request of a pod to a Service, such as `app.shop`.
    #[must_use]
    pub fn inside(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            path: "/".to_owned(),
            method: "GET".to_owned(),
            ..Self::default()
        }
    }

    /// The same request for another path.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// The same request with a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_lowercase(), value.to_owned());
        self
    }

    /// The same request with a cookie.
    #[must_use]
    pub fn cookie(mut self, name: &str, value: &str) -> Self {
        self.cookies.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The value of a header. The cookies are a header, too.
    pub(super) fn value(&self, header: &str) -> Option<String> {
        if header == "cookie" {
            let cookies = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
            let cookies = cookies.collect::<Vec<_>>().join("; ");
            return (!cookies.is_empty()).then_some(cookies);
        }
        self.headers.get(header).cloned()
    }

    /// The path without the query, and the query.
    pub(super) fn path_and_query(&self) -> (&str, &str) {
        self.path.split_once('?').unwrap_or((&self.path, ""))
    }
}

/// A pod that a request reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reached {
    /// The Service that the pod is behind.
    pub service: Place,
    /// Name of the pod.
    pub pod: String,
    /// The tag of its image.
    pub version: String,
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lost {
    /// No route leads anywhere: 404.
    NoRoute,
    /// The rule has no destination with a weight, or the destination is not a Service that exists: 500.
    NoService,
    /// The Service has no ready endpoint: 503.
    NoEndpoint,
    /// The pod accepts no connections any more: 503.
    Refused,
}

impl Lost {
    /// HTTP status of the answer.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::NoRoute => 404,
            Self::NoService => 500,
            Self::NoEndpoint | Self::Refused => 503,
        }
    }
}

/// A cookie that an answer sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetCookie {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// `Max-Age` in seconds.
    pub max_age: Option<i64>,
}

impl SetCookie {
    /// Parses a header `Set-Cookie`.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split(';').map(str::trim);
        let (name, value) = parts.next()?.split_once('=')?;
        let attributes = parts.filter_map(|part| part.split_once('='));
        let mut ages = attributes.filter(|(attribute, _)| attribute.eq_ignore_ascii_case("max-age"));
        Some(Self {
            name: name.to_owned(),
            value: value.to_owned(),
            max_age: ages.find_map(|(_, age)| age.parse().ok()),
        })
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The route and the index of its rule that led it, if any.
    pub rule: Option<(RouteName, usize)>,
    /// The pod that answered.
    pub answer: Result<Reached, Lost>,
    /// The pods that got a copy.
    pub mirrored: Vec<Reached>,
    /// Cookies that the answer sets.
    pub cookies: Vec<SetCookie>,
}
