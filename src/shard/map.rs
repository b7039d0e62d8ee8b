//! How many shards there are: agreed on once for the whole cluster, because replicas that count differently would act on the
//! same Kanaries.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, api::PostParams};
use tokio::time::{sleep, timeout};

use super::slot::Layout;
use crate::error::{retry_after, words};

/// Name of the `ConfigMap` that holds the number.
pub const NAME: &str = "kanary-shardmap";

/// Its key.
const SHARDS: &str = "shards";

/// Why the number cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The call failed.
    #[error("ConfigMap {NAME} in namespace {0}: {why}", why = words(.1))]
    Call(String, Box<kube::Error>),
    /// What is stored is no number of shards.
    #[error(
        "ConfigMap {NAME} has no valid number of `{SHARDS}` ({0}): stop all replicas, delete it, and start them again"
    )]
    Unreadable(String),
}

/// The number of shards that is agreed on; `wanted` if nobody said one before.
///
/// # Errors
///
/// See [`Error`].
pub async fn agree(client: Client, namespace: &str, wanted: Layout) -> Result<Layout, Error> {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let failed = |error| Error::Call(namespace.to_owned(), Box::new(error));
    if let Some(stored) = api.get_opt(NAME).await.map_err(failed)? {
        return read(&stored);
    }
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(SHARDS.to_owned(), wanted.shards().to_string())])),
        ..ConfigMap::default()
    };
    match api.create(&PostParams::default(), &map).await {
        Ok(created) => read(&created),
        // Another replica was faster.
        Err(kube::Error::Api(status)) if status.code == 409 => read(&api.get(NAME).await.map_err(failed)?),
        Err(error) => Err(failed(error)),
    }
}

/// The number that is agreed on, if there is one.
///
/// # Errors
///
/// The call failed.
pub async fn stored(client: Client, namespace: &str) -> kube::Result<Option<Layout>> {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let stored = api.get_opt(NAME).await?;
    Ok(stored.and_then(|stored| read(&stored).ok()))
}

/// What [`agree`] says, tried until it is known. A number that nobody can read is for people to mend, and said again and again.
pub(crate) async fn known(client: &Client, namespace: &str, wanted: Layout) -> Layout {
    let mut attempts = 0;
    loop {
        let agreed = timeout(Duration::from_secs(5), agree(client.clone(), namespace, wanted)).await;
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
    fn a_number_that_is_none_is_told_with_what_to_do() {
        assert_eq!(read(&map("64")).unwrap().shards(), 64);
        for wrong in ["", "33", "many"] {
            let error = read(&map(wrong)).unwrap_err().to_string();
            assert!(error.contains("delete it"), "{error}");
        }
        assert!(read(&ConfigMap::default()).is_err());
    }
}
