//! Reads and writes of the objects that a front end keeps beyond its runs. Their CRDs need not exist.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kanary_core::{
    ParsedKanary,
    decision::{Keep, Resource},
    observation::{KeptFound, KeptSeen},
    spec::Spec,
};
use kube::{Client, api::GetParams, core::Request};
use serde_json::Value;

use super::routes::{Absent, ask};
use crate::{
    cache::{Cache, Cached},
    cluster::error::ApiError,
};

/// Reads the objects of a front end. Those that it does not want any more are read until they are known to be gone: without an edit of
/// the spec, none comes back.
///
/// # Errors
///
/// A read failed. An answer of the API server that there is no such object, or that the controller may not read it, is a result.
pub(super) async fn read(
    client: &Client,
    kanary: &ParsedKanary,
    spec: &Spec,
    (former, now): (Option<&KeptSeen>, Timestamp),
) -> Result<KeptSeen, ApiError> {
    let known = former.filter(|former| former.generation == kanary.generation);
    let is_absent = |key: &String| {
        let found = known.and_then(|known| known.objects.get(key));
        found.filter(|found| !matches!(found, KeptFound::There(_))).cloned()
    };
    let frame = spec.frame.as_deref();
    let kept = frame.into_iter().flat_map(|frame| &frame.kept);
    let kept = kept.map(|kept| (kept.resource, &kept.name, None));
    let unwanted = frame.into_iter().flat_map(|frame| &frame.unwanted);
    let unwanted = unwanted.map(|(resource, name)| (*resource, name, is_absent(&resource.key(name))));
    let reads = kept.chain(unwanted).map(|(resource, name, absent)| async move {
        let found = match absent {
            Some(absent) => absent,
            None => find(client, &kanary.key.namespace, &resource, name).await?,
        };
        Ok::<_, ApiError>((resource.key(name), found))
    });
    let objects: BTreeMap<_, _> = try_join_all(reads).await?.into_iter().collect();
    let read = KeptSeen {
        at: now,
        live: true,
        generation: kanary.generation,
        since: now,
        gone: now,
        objects,
    };
    Ok(read.after(former))
}

async fn find(client: &Client, namespace: &str, resource: &Resource, name: &str) -> Result<KeptFound, ApiError> {
    let request = Request::new(resource.path(namespace)).get(name, &GetParams::default());
    match ask(client, request).await {
        Ok(Ok(object)) => Ok(KeptFound::There(Arc::new(trimmed(object)))),
        Ok(Err(Absent::Object)) => Ok(KeptFound::Missing),
        Ok(Err(Absent::Kind)) => Ok(KeptFound::NoKind),
        Ok(Err(Absent::Forbidden(message))) => Ok(KeptFound::Forbidden(message)),
        Err(error) => Err(ApiError::new("get", resource.kind.into(), namespace, name, error)),
    }
}

/// An object without what nothing here reads.
pub(super) fn trimmed(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}

/// Puts an object into the cache, if it is of a kind that is watched: the watch may be late.
pub(super) fn store(cache: &Cache, keep: &Keep, object: &Value) {
    match keep.resource {
        Resource::SERVICE => put::<Service>(cache, object),
        Resource::DEPLOYMENT => put::<Deployment>(cache, object),
        _ => {}
    }
}

fn put<K: Cached + serde::de::DeserializeOwned>(cache: &Cache, object: &Value) {
    if let Ok(object) = serde_json::from_value::<K>(object.clone()) {
        K::put(cache, &object);
    }
}
