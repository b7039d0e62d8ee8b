//! Routes in the form in which the gateway follows them, whatever kind they are.

use std::cmp::Reverse;

use regex::Regex;
use serde_json::Value;

use super::request::{Request, SetCookie};
use crate::store::{Place, ResourceName};

/// Kind of a route, such as `httproutes.gateway.networking.k8s.io`, with its namespace and name.
pub type RouteName = (ResourceName, Place);

/// A route, translated.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Generation of the route.
    pub generation: i64,
    /// Where requests enter.
    pub entrances: Vec<Entrance>,
    /// The rules, in the order of the route.
    pub rules: Vec<Rule>,
    /// Creation time of the route: of two routes, the older one goes first.
    pub(super) created: String,
}

/// Where requests to a route enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrance {
    /// The Gateway, or `None` for requests from inside the mesh.
    pub gateway: Option<Place>,
    /// Host names, perhaps with a wildcard. An empty list stands for all.
    pub hosts: Vec<String>,
}

/// A rule.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// A request fits the rule if it fits one of these matches. A rule without matches fits every request.
    pub(super) matches: Vec<Match>,
    /// Where it leads.
    pub destinations: Vec<Destination>,
    /// Where copies go.
    pub mirrors: Vec<Mirror>,
    /// The cookie of its `sessionPersistence`.
    pub session: Option<String>,
    /// The rule as it is written in the route, with the filters and timeouts that hold for all destinations.
    pub spec: Value,
}

/// A Service that a rule leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The Service, or `None` if the reference cannot be followed.
    pub service: Option<Place>,
    /// The subset of the Service, if it does not lead to all pods.
    pub subset: Option<String>,
    /// Its weight.
    pub weight: u32,
    /// Cookies that its answers set.
    pub(super) cookies: Vec<SetCookie>,
}

/// A Service that gets copies of requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Mirror {
    /// The Service.
    pub service: Place,
    /// Percentage of the requests.
    pub percent: f64,
}

/// Conditions on a request. All of them must hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Match {
    pub(super) path: Option<Text>,
    pub(super) method: Option<Text>,
    pub(super) headers: Vec<(String, Text)>,
    /// Headers that must not have such a value.
    pub(super) without: Vec<(String, Text)>,
    pub(super) params: Vec<(String, Text)>,
    /// Which of several matches goes first.
    pub(super) rank: Rank,
}

/// The order of matches in Gateway API: an exact path, the longer path, a method, more headers, more parameters.
pub(super) type Rank = (bool, usize, bool, usize, usize);

/// A condition on a text.
#[derive(Clone, Debug)]
pub(super) enum Text {
    Exact(String),
    Prefix(String),
    /// A prefix that ends with a whole element of the path.
    Path(String),
    /// An expression for the whole text.
    Regex(Regex),
    /// No text: the expression is invalid.
    Never,
}

impl Text {
    pub(super) fn regex(expression: &str) -> Self {
        Regex::new(&format!("^(?:{expression})$")).map_or(Self::Never, Self::Regex)
    }

    pub(super) fn fits(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => text == exact,
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::Path(path) => {
                let rest = text.strip_prefix(path.trim_end_matches('/'));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::Regex(regex) => regex.is_match(text),
            Self::Never => false,
        }
    }
}

impl Match {
    fn fits(&self, request: &Request) -> bool {
        let (path, query) = request.path_and_query();
        let has = |(name, text): &(String, Text)| request.value(name).is_some_and(|value| text.fits(&value));
        let param = |(name, text): &(String, Text)| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs.any(|(key, value)| key == name.as_str() && text.fits(&value))
        };
        self.path.as_ref().is_none_or(|text| text.fits(path))
            && self.method.as_ref().is_none_or(|text| text.fits(&request.method))
            && self.headers.iter().all(has)
            && !self.without.iter().any(has)
            && self.params.iter().all(param)
    }
}

impl Rule {
    /// The rank of its best match that fits.
    fn rank(&self, request: &Request) -> Option<Rank> {
        if self.matches.is_empty() {
            return Some(Rank::default());
        }
        let fitting = self.matches.iter().filter(|one| one.fits(request));
        fitting.map(|one| one.rank).max()
    }

    /// The share of a Service in the requests without a session, from 0 to 1.
    #[must_use]
    pub fn share(&self, service: &Place) -> f64 {
        let own = |to: &&Destination| to.service.as_ref() == Some(service);
        f64::from(sum(self.destinations.iter().filter(own))) / f64::from(self.total().max(1))
    }

    /// The sum of all weights.
    pub(super) fn total(&self) -> u32 {
        sum(self.destinations.iter())
    }
}

fn sum<'a>(destinations: impl Iterator<Item = &'a Destination>) -> u32 {
    destinations.fold(0, |sum, to| sum.saturating_add(to.weight))
}

impl Entrance {
    /// How specific its host name is for a request, if the request enters here.
    fn admits(&self, request: &Request) -> Option<usize> {
        if self.gateway != request.gateway {
            return None;
        }
        if self.hosts.is_empty() {
            return Some(0);
        }
        let full = service_of(&request.host, "").filter(|_| request.gateway.is_none());
        let host = full.map_or_else(|| request.host.clone(), |service| host_of(&service));
        self.hosts.iter().filter_map(|pattern| specific(pattern, &host)).max()
    }
}

/// How specific a host name is for a host: the length of an exact name counts more than that of a wildcard.
fn specific(pattern: &str, host: &str) -> Option<usize> {
    if pattern == "*" {
        return Some(0);
    }
    if let Some(suffix) = pattern.strip_prefix('*') {
        return (host.len() > suffix.len() && host.ends_with(suffix)).then_some(suffix.len());
    }
    (pattern == host).then_some(1000 + pattern.len())
}

/// The rule of the routes that leads a request: the most specific host, then the best match, then the older route, then the
/// first rule.
pub(super) fn find<'a>(
    routes: impl IntoIterator<Item = (&'a RouteName, &'a Table)>,
    request: &Request,
) -> Option<(&'a RouteName, usize, &'a Rule)> {
    let candidates = routes.into_iter().filter_map(|(name, table)| {
        let host = table
            .entrances
            .iter()
            .filter_map(|entrance| entrance.admits(request))
            .max()?;
        Some((name, table, host))
    });
    let rules = candidates.flat_map(|(name, table, host)| {
        let rules = table.rules.iter().enumerate();
        rules.filter_map(move |(index, rule)| {
            let order = (
                host,
                rule.rank(request)?,
                Reverse(&table.created),
                Reverse(name),
                Reverse(index),
            );
            Some((order, (name, index, rule)))
        })
    });
    rules
        .max_by(|(one, _), (other, _)| one.cmp(other))
        .map(|(_, found)| found)
}

/// The Service of a host name inside the cluster, such as `app`, `app.shop` or `app.shop.svc.cluster.local`.
pub(super) fn service_of(host: &str, namespace: &str) -> Option<Place> {
    let host = host.strip_suffix(".cluster.local").unwrap_or(host);
    let host = host.strip_suffix(".svc").unwrap_or(host);
    match host.split('.').collect::<Vec<_>>().as_slice() {
        [""] => None,
        [name] => Some((namespace.to_owned(), (*name).to_owned())),
        [name, namespace] => Some(((*namespace).to_owned(), (*name).to_owned())),
        _ => None,
    }
}

/// The full host name of a Service.
pub(super) fn host_of(service: &Place) -> String {
    format!("{}.{}.svc.cluster.local", service.1, service.0)
}
