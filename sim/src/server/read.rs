//! Get and list.

use std::sync::Arc;

use http::Response;
use serde_json::{Value, json};

use super::{
    Body, Request,
    call::{Call, Query, unknown},
    respond::{View, json as respond},
};
use crate::{
    cluster::Cluster,
    failure::Failure,
    object::Object,
    selector::{FieldSelector, LabelSelector},
    store::Store,
};

pub(crate) fn get(cluster: &Cluster, call: &Call, request: &Request<'_>) -> Result<Response<Body>, Failure> {
    let found = cluster.transact("", |txn| txn.live(&call.resource, &call.place()))?;
    if call.subresource == "scale" {
        return Ok(respond(200, scale_of(&found)?.to_string()));
    }
    Ok(View::of(call, request).object(cluster, 200, &found))
}

/// The `/scale` subresource of an object.
pub(crate) fn scale_of(object: &Object) -> Result<Value, Failure> {
    let value = object.json();
    let selector = LabelSelector::from_object(&value["spec"]["selector"]).map_err(Failure::bad_request)?;
    let metadata = &value["metadata"];
    Ok(json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {"replicas": value["spec"]["replicas"]},
        "status": {
            "replicas": value["status"]["replicas"].as_i64().unwrap_or_default(),
            "selector": selector.to_string(),
        },
    }))
}

/// The selectors of a list or a watch.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    name: Option<String>,
    pub(crate) namespace: Option<String>,
}

impl Selection {
    pub(crate) fn of(call: &Call) -> Result<Self, Failure> {
        let bad = |why: String| Failure::bad_request(why);
        Ok(Self {
            labels: LabelSelector::parse(call.query.text("labelSelector")).map_err(bad)?,
            fields: FieldSelector::parse(call.query.text("fieldSelector"), &call.resource.name).map_err(bad)?,
            name: Some(call.name.clone()).filter(|name| !name.is_empty()),
            namespace: call.namespace.clone(),
        })
    }

    pub(crate) fn picks(&self, object: &Object) -> bool {
        let meta = &object.meta;
        self.namespace
            .as_ref()
            .is_none_or(|namespace| *namespace == meta.namespace)
            && self.name.as_ref().is_none_or(|name| *name == meta.name)
            && self.labels.matches(&meta.labels)
            && self.fields.matches(object)
    }
}

/// A page of a list.
pub(crate) struct Page {
    pub(crate) version: u64,
    pub(crate) items: Vec<Arc<Object>>,
    pub(crate) next: Option<String>,
    pub(crate) remaining: usize,
}

/// The remaining pages of a list, all at one resource version.
#[derive(Clone, Debug)]
pub(crate) struct Rest {
    version: u64,
    items: Vec<Arc<Object>>,
}

/// Maximum number of paginated lists in progress. Older ones expire.
const MAX_RESTS: usize = 200;

pub(crate) fn list(cluster: &Cluster, call: &Call, request: &Request<'_>) -> Result<Response<Body>, Failure> {
    if !call.subresource.is_empty() {
        return Err(unknown());
    }
    let selection = Selection::of(call)?;
    let page = page(cluster, call, &selection)?;
    Ok(View::of(call, request).list(cluster, &page))
}

fn page(cluster: &Cluster, call: &Call, selection: &Selection) -> Result<Page, Failure> {
    let limit = call.query.number("limit")?.filter(|limit| *limit > 0);
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let token = call.query.text("continue");
    let mut state = cluster.lock();
    let (version, mut items) = if token.is_empty() {
        check_version(&call.query, state.store.version())?;
        (state.store.version(), pick(&mut state.store, call, selection))
    } else {
        let rest = token.parse().ok().and_then(|token: u64| state.rests.remove(&token));
        let rest = rest.ok_or_else(|| {
            Failure::expired("The provided continue parameter is too old to display a consistent list result.")
        })?;
        (rest.version, rest.items)
    };
    let mut page = Page {
        version,
        items: Vec::new(),
        next: None,
        remaining: 0,
    };
    if items.len() > limit {
        let rest = items.split_off(limit);
        page.remaining = rest.len();
        state.last_rest += 1;
        let token = state.last_rest;
        state.rests.insert(token, Rest { version, items: rest });
        while state.rests.len() > MAX_RESTS {
            state.rests.pop_first();
        }
        page.next = Some(token.to_string());
    }
    page.items = items;
    Ok(page)
}

fn pick(store: &mut Store, call: &Call, selection: &Selection) -> Vec<Arc<Object>> {
    let labels = selection.labels.equalities();
    if labels.is_empty() {
        let listed = store.list(&call.resource.name, selection.namespace.as_deref());
        return listed.filter(|object| selection.picks(object)).cloned().collect();
    }
    let labelled = store.labelled(&call.resource.name, &labels).into_iter();
    labelled.filter(|object| selection.picks(object)).collect()
}

/// Fails if the requested resource version is in the future.
pub(crate) fn check_version(query: &Query, latest: u64) -> Result<(), Failure> {
    let wanted = query.number("resourceVersion")?.unwrap_or_default();
    if query.text("resourceVersionMatch") == "Exact" && wanted != latest && wanted != 0 {
        return Err(Failure::expired(format!(
            "The resourceVersion for the provided list is too old: {wanted}"
        )));
    }
    if wanted > latest {
        let why = format!("Too large resource version: {wanted}, current: {latest}");
        let mut failure = Failure::new(504, "Timeout", why);
        failure.details = json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        });
        return Err(failure);
    }
    Ok(())
}
