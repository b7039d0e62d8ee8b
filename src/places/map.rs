//! Requests for the `ConfigMap`. Every write is over the version that was read.

use std::time::Duration;

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kanary_core::api::names::FIELD_MANAGER;
use kube::{Api, Client, api::PostParams};

use super::book::{Book, NAME};
use crate::cluster::{client::within, error::ApiError};

/// Timeout of a request.
const PATIENCE: Duration = Duration::from_secs(5);

/// The `ConfigMap` in a namespace.
#[derive(Clone, Debug)]
pub(super) struct Map {
    api: Api<ConfigMap>,
    namespace: String,
}

impl Map {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
        }
    }

    /// Writes the book over `former`, or creates the `ConfigMap` if there is none.
    pub(super) async fn write(&self, former: Option<&ConfigMap>, book: &Book) -> Result<ConfigMap, ApiError> {
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let mut map = former.cloned().unwrap_or_else(|| ConfigMap {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        });
        map.data = Some(book.encode());
        let (verb, written) = if former.is_some() {
            ("write", within(PATIENCE, self.api.replace(NAME, &params, &map)).await)
        } else {
            ("create", within(PATIENCE, self.api.create(&params, &map)).await)
        };
        written.map_err(|error| self.failed(verb, error))
    }

    /// Reads it.
    pub(super) async fn read(&self) -> Result<Option<ConfigMap>, ApiError> {
        let read = within(PATIENCE, self.api.get_opt(NAME)).await;
        read.map_err(|error| self.failed("get", error))
    }

    fn failed(&self, verb: &'static str, error: kube::Error) -> ApiError {
        ApiError::new(verb, "ConfigMap".into(), &self.namespace, NAME, error)
    }
}
