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

/// Reads the objects of a front end.
///
/// # Errors
///
/// A read failed. An answer of the API server that there is no such object, or that the controller may not read it, is a result.
pub(super) async fn read(
    client: &Client,
    kanary: &ParsedKanary,
    spec: &Spec,
    now: Timestamp,
) -> Result<KeptSeen, ApiError> {
    let kept = spec.frame.iter().flat_map(|frame| &frame.kept);
    let reads = kept.map(|kept| async move {
        let found = find(client, &kanary.key.namespace, &kept.resource, &kept.name).await?;
        Ok::<_, ApiError>((kept.key(), found))
    });
    let objects: BTreeMap<_, _> = try_join_all(reads).await?.into_iter().collect();
    Ok(KeptSeen {
        at: now,
        live: true,
        generation: kanary.generation,
        objects,
    })
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
