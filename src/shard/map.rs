//! The number of shards and the namespace that all replicas with the same Leases agree on. Replicas with different numbers would
//! act on the same Kanaries. Replicas with different namespaces would take shards whose Kanaries they cannot see.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kanary_core::api::Layout;
use kube::{Api, Client, api::PostParams};
use tokio::time::{sleep, timeout};

use crate::cluster::error::{describe, retry_after};

/// Name of the `ConfigMap` that stores the number.
pub const NAME: &str = "kanary-shardmap";

/// Key of the number of shards.
const SHARDS: &str = "shards";

/// Key of the namespace that is served; empty for all namespaces.
const SCOPE: &str = "namespace";

/// Why the number of shards is unknown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request failed.
    #[error("ConfigMap {NAME} in namespace {0}: {why}", why = describe(.1))]
    Call(String, Box<kube::Error>),
    /// The stored value is not a valid number of shards.
    #[error(
        "ConfigMap {NAME} has no valid number of `{SHARDS}` ({0}): stop all replicas, delete it, and start them again"
    )]
    Unreadable(String),
    /// The Leases belong to replicas that serve another namespace.
    #[error(
        "ConfigMap {NAME} belongs to replicas that serve {theirs}, and this one serves {ours}: give it another \
         --lease-namespace, or stop those, delete the ConfigMap, and start this one again",
        theirs = scope_of(.0), ours = scope_of(.1)
    )]
    Scope(String, String),
}

fn scope_of(namespace: &str) -> String {
    match namespace {
        "" => "all namespaces".to_owned(),
        namespace => format!("namespace {namespace} only"),
    }
}

/// The stored number of shards for the Kanaries of namespace `scope`, or of all namespaces if it is empty. Stores `wanted` if no
/// number is stored yet.
///
/// # Errors
///
/// See [`Error`].
async fn agree(client: Client, namespace: &str, wanted: Layout, scope: &str) -> Result<Layout, Error> {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let failed = |error| Error::Call(namespace.to_owned(), Box::new(error));
    if let Some(stored) = api.get_opt(NAME).await.map_err(failed)? {
        return read_for(&stored, scope);
    }
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([
            (SHARDS.to_owned(), wanted.shards().to_string()),
            (SCOPE.to_owned(), scope.to_owned()),
        ])),
        ..ConfigMap::default()
    };
    match api.create(&PostParams::default(), &map).await {
        Ok(created) => read_for(&created, scope),
        // Another replica created it first.
        Err(kube::Error::Api(status)) if status.code == 409 => read_for(&api.get(NAME).await.map_err(failed)?, scope),
        Err(error) => Err(failed(error)),
    }
}

/// The stored number, if any, and the namespace that is served; empty for all namespaces.
///
/// # Errors
///
/// See [`Error`].
pub async fn stored(client: Client, namespace: &str) -> Result<Option<(Layout, String)>, Error> {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let failed = |error| Error::Call(namespace.to_owned(), Box::new(error));
    let Some(stored) = api.get_opt(NAME).await.map_err(failed)? else {
        return Ok(None);
    };
    let scope = scope(&stored).cloned().unwrap_or_default();
    Ok(Some((read(&stored)?, scope)))
}

/// Calls [`agree`] until it succeeds. An invalid stored number needs manual action, so the error is logged on each attempt.
pub(crate) async fn known(client: &Client, namespace: &str, wanted: Layout, scope: &str) -> Layout {
    let mut attempts = 0;
    loop {
        let agreed = timeout(Duration::from_secs(5), agree(client.clone(), namespace, wanted, scope)).await;
        match agreed {
            Ok(Ok(layout)) => {
                if layout != wanted {
                    let (stored, wanted) = (layout.shards(), wanted.shards());
                    tracing::warn!(
                        stored,
                        wanted,
                        "the number of shards is the stored one: to change it, stop all replicas, delete ConfigMap \
                         {NAME}, and start them again"
                    );
                }
                return layout;
            }
            Ok(Err(error)) => tracing::warn!(%error, "the number of shards is not known yet"),
            Err(_) => tracing::warn!("the number of shards is not known yet: no answer"),
        }
        attempts += 1;
        sleep(retry_after(attempts, Duration::from_secs(5))).await;
    }
}

fn read_for(map: &ConfigMap, wanted: &str) -> Result<Layout, Error> {
    match scope(map).filter(|stored| *stored != wanted) {
        Some(other) => Err(Error::Scope(other.clone(), wanted.to_owned())),
        None => read(map),
    }
}

fn scope(map: &ConfigMap) -> Option<&String> {
    map.data.as_ref().and_then(|data| data.get(SCOPE))
}

fn read(map: &ConfigMap) -> Result<Layout, Error> {
    let stored = map.data.as_ref().and_then(|data| data.get(SHARDS));
    let stored = stored.cloned().unwrap_or_default();
    let shards = stored.parse().ok().and_then(|shards| Layout::new(shards).ok());
    shards.ok_or(Error::Unreadable(stored))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(shards: &str) -> ConfigMap {
        ConfigMap {
            data: Some(BTreeMap::from([("shards".to_owned(), shards.to_owned())])),
            ..ConfigMap::default()
        }
    }

    #[test]
    fn a_value_that_is_not_a_number_is_reported_with_the_remedy() {
        assert_eq!(read(&map("64")).unwrap().shards(), 64);
        for wrong in ["", "33", "many"] {
            let error = read(&map(wrong)).unwrap_err().to_string();
            assert!(error.contains("delete it"), "{error}");
        }
        assert!(read(&ConfigMap::default()).is_err());
    }

    #[test]
    fn replicas_of_one_namespace_and_of_another_share_no_leases() {
        let mut of_shop = map("64");
        assert_eq!(
            read_for(&of_shop, "shop").unwrap().shards(),
            64,
            "it does not say of which"
        );
        of_shop
            .data
            .as_mut()
            .unwrap()
            .insert(SCOPE.to_owned(), "shop".to_owned());
        assert_eq!(read_for(&of_shop, "shop").unwrap().shards(), 64);
        let error = read_for(&of_shop, "").unwrap_err().to_string();
        assert!(
            error.contains("belongs to replicas that serve namespace shop only"),
            "{error}"
        );
        assert!(
            error.contains("this one serves all namespaces: give it another --lease-namespace"),
            "{error}"
        );
    }
}
