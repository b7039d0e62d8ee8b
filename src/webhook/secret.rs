//! The Secret with the certificate. Every write is over the version that was read.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kanary_core::api::names::FIELD_MANAGER;
use kube::{Api, Client, api::PostParams};

use super::certificate::Material;
use crate::cluster::{client::within, error::ApiError};

/// Timeout of a request.
const PATIENCE: Duration = Duration::from_secs(5);

const BUNDLE: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// The Secret in a namespace.
pub(super) struct Store {
    api: Api<Secret>,
    namespace: String,
    name: String,
}

impl Store {
    pub(super) fn new(client: Client, namespace: String, name: String) -> Self {
        Self {
            api: Api::namespaced(client, &namespace),
            namespace,
            name,
        }
    }

    pub(super) async fn read(&self) -> Result<Option<Secret>, ApiError> {
        let read = within(PATIENCE, self.api.get_opt(&self.name)).await;
        read.map_err(|error| self.failed("get", error))
    }

    /// Writes the material over `former`, or creates the Secret if there is none.
    pub(super) async fn write(&self, former: Option<Secret>, material: &Material) -> Result<Secret, ApiError> {
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let is_new = former.is_none();
        let mut secret = former.unwrap_or_else(|| Secret {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            ..Secret::default()
        });
        secret.data = Some(data(material));
        let (verb, written) = if is_new {
            ("create", within(PATIENCE, self.api.create(&params, &secret)).await)
        } else {
            (
                "write",
                within(PATIENCE, self.api.replace(&self.name, &params, &secret)).await,
            )
        };
        written.map_err(|error| self.failed(verb, error))
    }

    fn failed(&self, verb: &'static str, error: kube::Error) -> ApiError {
        ApiError::new(verb, "Secret".into(), &self.namespace, &self.name, error)
    }
}

fn data(material: &Material) -> BTreeMap<String, ByteString> {
    let fields = [
        (BUNDLE, &material.bundle),
        (AUTHORITY_KEY, &material.authority_key),
        (CERTIFICATE, &material.certificate),
        (KEY, &material.key),
    ];
    let fields = fields.map(|(name, text)| (name.to_owned(), ByteString(text.clone().into_bytes())));
    fields.into()
}

/// What a Secret contains. Missing keys, and what is no text, are empty.
pub(super) fn material(secret: &Secret) -> Material {
    let data = secret.data.as_ref();
    let text = |name: &str| {
        let bytes = data.and_then(|data| data.get(name)).map(|bytes| bytes.0.clone());
        String::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
    };
    Material {
        bundle: text(BUNDLE),
        authority_key: text(AUTHORITY_KEY),
        certificate: text(CERTIFICATE),
        key: text(KEY),
    }
}
