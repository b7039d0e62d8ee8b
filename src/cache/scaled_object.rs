//! ScaledObjects of KEDA, as far as this program reads them.

use std::borrow::Cow;

use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::core::NamespaceResourceScope as Namespaced;
use serde::Deserialize;

use super::view;

/// A ScaledObject: whose it is, and what it scales.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ScaledObject {
    /// Its metadata.
    #[serde(default)]
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    scale_target_ref: Option<Scaled>,
}

/// KEDA scales a Deployment by default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Scaled {
    api_version: Option<String>,
    kind: Option<String>,
    #[serde(default)]
    name: String,
}

impl ScaledObject {
    /// What it scales: `Deployment/batman`.
    pub(super) fn scales(&self) -> Option<Box<str>> {
        let scaled = self.spec.scale_target_ref.as_ref()?;
        let given = |field: &'_ Option<String>, default: &str| {
            let given = field.clone().filter(|text| !text.is_empty());
            given.unwrap_or_else(|| default.to_owned())
        };
        let (api_version, kind) = (given(&scaled.api_version, "apps/v1"), given(&scaled.kind, "Deployment"));
        Some(view::scales(&api_version, &kind, &scaled.name))
    }
}

impl k8s_openapi::Resource for ScaledObject {
    const API_VERSION: &'static str = "keda.sh/v1alpha1";
    const GROUP: &'static str = "keda.sh";
    const KIND: &'static str = "ScaledObject";
    const VERSION: &'static str = "v1alpha1";
    const URL_PATH_SEGMENT: &'static str = "scaledobjects";
    type Scope = NamespaceResourceScope;
}

impl kube::Resource for ScaledObject {
    type DynamicType = ();
    type Scope = Namespaced;

    fn kind((): &()) -> Cow<'_, str> {
        <Self as k8s_openapi::Resource>::KIND.into()
    }

    fn group((): &()) -> Cow<'_, str> {
        <Self as k8s_openapi::Resource>::GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        <Self as k8s_openapi::Resource>::VERSION.into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        <Self as k8s_openapi::Resource>::URL_PATH_SEGMENT.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_it_scales_is_a_deployment_by_default() {
        for (reference, scales) in [
            (json!({"name": "app"}), Some("Deployment/app")),
            (
                json!({"name": "app", "kind": "", "apiVersion": ""}),
                Some("Deployment/app"),
            ),
            (json!({"name": "app", "kind": "StatefulSet"}), Some("StatefulSet/app")),
            (
                json!({"name": "app", "kind": "Other", "apiVersion": "example.com/v1"}),
                Some("example.com/v1 Other/app"),
            ),
            (json!(null), None),
        ] {
            let object = json!({"metadata": {"name": "app"}, "spec": {"scaleTargetRef": reference}});
            let object: ScaledObject = serde_json::from_value(object).unwrap();
            assert_eq!(object.scales().as_deref(), scales);
        }
    }
}
