//! Parsing of request paths and parameters.

use std::{collections::BTreeMap, sync::Arc};

use http::Method;

use crate::{cluster::Cluster, failure::Failure, resource::Resource, store::Place};

/// A request for objects.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub(crate) verb: &'static str,
    pub(crate) resource: Arc<Resource>,
    /// `None` for all namespaces, or for cluster-scoped kinds.
    pub(crate) namespace: Option<String>,
    /// Empty for a collection.
    pub(crate) name: String,
    /// `status`, `scale`, or empty.
    pub(crate) subresource: String,
    pub(crate) query: Query,
}

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    fn parse(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// A parameter, or an empty string if it is missing.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub(crate) fn is_true(&self, name: &str) -> bool {
        ["true", "1"].contains(&self.text(name))
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        match self.text(name) {
            "" => Ok(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|_| Failure::bad_request(format!("{name}: Invalid value: \"{text}\": must be a number"))),
        }
    }

    pub(crate) fn is_dry_run(&self) -> bool {
        self.text("dryRun") == "All"
    }
}

impl Call {
    /// Parses a path under `/api` or `/apis`. Returns `None` if it does not belong to a kind.
    pub(crate) fn parse(cluster: &Cluster, method: &Method, uri: &http::Uri) -> Result<Option<Self>, Failure> {
        let path: Vec<String> = uri
            .path()
            .split('/')
            .filter(|part| !part.is_empty())
            .map(decode)
            .collect();
        let mut parts = path.iter().map(String::as_str);
        let group = match parts.next() {
            Some("api") => "",
            Some("apis") => parts.next().unwrap_or_default(),
            _ => return Ok(None),
        };
        let Some(version) = parts.next() else { return Ok(None) };
        let rest: Vec<&str> = parts.collect();
        let find = |plural: &str| cluster.lock().registry.get(group, version, plural).cloned();
        let (namespace, rest) = match rest.as_slice() {
            // `/namespaces/x/pods`, but neither `/namespaces/x` nor `/namespaces/x/status`.
            ["namespaces", namespace, plural, more @ ..] if find(plural).is_some_and(|found| found.namespaced) => {
                (Some((*namespace).to_owned()), [&[*plural], more].concat())
            }
            all => (None, all.to_vec()),
        };
        let Some(resource) = rest.first().and_then(|plural| find(plural)) else {
            return Ok(None);
        };
        let name = rest.get(1).copied().unwrap_or_default().to_owned();
        let subresource = rest.get(2).copied().unwrap_or_default().to_owned();
        let query = Query::parse(uri.query());
        let call = Self {
            verb: verb(method, &name, &query)?,
            resource,
            namespace,
            name,
            subresource,
            query,
        };
        call.check()?;
        Ok(Some(call))
    }

    fn check(&self) -> Result<(), Failure> {
        let known = match self.subresource.as_str() {
            "" => true,
            "status" => self.resource.status,
            "scale" => self.resource.scale,
            _ => false,
        };
        let placed = self.namespace.is_some() || !self.resource.namespaced;
        let needs_place = !self.name.is_empty() || self.verb == "create";
        if known && (placed || !needs_place) {
            return Ok(());
        }
        Err(unknown())
    }

    /// Location of the object.
    pub(crate) fn place(&self) -> Place {
        (self.namespace.clone().unwrap_or_default(), self.name.clone())
    }
}

/// 404 for an unknown path.
pub(crate) fn unknown() -> Failure {
    Failure::new(404, "NotFound", "the server could not find the requested resource")
}

fn verb(method: &Method, name: &str, query: &Query) -> Result<&'static str, Failure> {
    Ok(match (method.as_str(), name.is_empty()) {
        ("GET", _) if query.is_true("watch") => "watch",
        ("GET", false) => "get",
        ("GET", true) => "list",
        ("POST", true) => "create",
        ("PUT", false) => "update",
        ("PATCH", false) => "patch",
        ("DELETE", false) => "delete",
        ("DELETE", true) => "deletecollection",
        _ => {
            let why = "the server does not allow this method on the requested resource";
            return Err(Failure::new(405, "MethodNotAllowed", why));
        }
    })
}

fn decode(part: &str) -> String {
    percent_encoding::percent_decode_str(part)
        .decode_utf8_lossy()
        .into_owned()
}
