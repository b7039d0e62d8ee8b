//! The authorities that API servers trust: `caBundle` in the CRDs that refer to this webhook. No other field is written.

use std::time::Duration;

use k8s_openapi::{
    ByteString,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, WebhookClientConfig},
};
use kanary_core::api::{
    KanaryKind,
    names::{FIELD_MANAGER, GROUP},
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::cluster::{client::within, error::ApiError};

/// Timeout of a request.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a CRD stands to the webhook.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// It has the bundle.
    Told,
    /// It has another one.
    Outdated,
    /// It does not refer to this webhook; how it is instead.
    Foreign(&'static str),
}

/// Writes the bundle into the CRDs of these kinds. Returns what keeps API servers from using the webhook, if anything.
pub(super) async fn publish(client: &Client, kinds: &[KanaryKind], names: &[String], bundle: &str) -> Option<String> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let bundle = ByteString(bundle.as_bytes().to_vec());
    let mut problem = None;
    for kind in kinds.iter().filter(|kind| kind.api_group() == GROUP) {
        let name = format!("{}.{GROUP}", kind.plural());
        match tell(&api, &name, names, &bundle).await {
            Ok(Standing::Told | Standing::Outdated) => {}
            Ok(Standing::Foreign(how)) => problem = Some(format!("CustomResourceDefinition {name} {how}")),
            Err(error) => problem = Some(error.message()),
        }
    }
    problem
}

async fn tell(
    api: &Api<CustomResourceDefinition>,
    name: &str,
    names: &[String],
    bundle: &ByteString,
) -> Result<Standing, ApiError> {
    let failed = |verb, error| ApiError::new(verb, "CustomResourceDefinition".into(), "", name, error);
    let read = within(PATIENCE, api.get(name)).await;
    let crd = read.map_err(|error| failed("get", error))?;
    let standing = standing(&crd, names, bundle);
    if standing != Standing::Outdated {
        return Ok(standing);
    }
    let operations = json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": crd.resource_version()},
        {"op": "add", "path": "/spec/conversion/webhook/clientConfig/caBundle", "value": bundle},
    ]);
    let read = serde_json::from_value(operations);
    let patch: Patch<()> = Patch::Json(read.map_err(|error| failed("patch", kube::Error::SerdeError(error)))?);
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    match within(PATIENCE, api.patch(name, &params, &patch)).await {
        Ok(_) => {
            tracing::info!(name, "wrote the certificate authorities of the conversion webhook");
            Ok(Standing::Outdated)
        }
        Err(error) => Err(failed("patch", error)),
    }
}

fn standing(crd: &CustomResourceDefinition, names: &[String], bundle: &ByteString) -> Standing {
    let conversion = crd.spec.conversion.as_ref();
    let webhook = conversion.and_then(|conversion| conversion.webhook.as_ref());
    let Some(client) = webhook.and_then(|webhook| webhook.client_config.as_ref()) else {
        return Standing::Foreign(
            "has no conversion webhook: apply it as `kanary crds --conversion` prints it, with --kinds for an optional kind",
        );
    };
    if !host(client).is_some_and(|host| names.contains(&host)) {
        return Standing::Foreign("refers to another conversion webhook");
    }
    if client.ca_bundle.as_ref() == Some(bundle) {
        Standing::Told
    } else {
        Standing::Outdated
    }
}

/// The name by which API servers reach a webhook.
fn host(client: &WebhookClientConfig) -> Option<String> {
    if let Some(service) = &client.service {
        return Some(format!("{}.{}.svc", service.name, service.namespace));
    }
    let url = client.url.as_ref()?.parse::<http::Uri>().ok()?;
    Some(url.host()?.trim_matches(['[', ']']).to_owned())
}
