//! ScaledObjects of KEDA, as far as this program reads them.

use std::borrow::Cow;

use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::core::NamespaceResourceScope as Namespaced;
use serde::Deserialize;

/// A ScaledObject: only whose it is.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ScaledObject {
    /// Its metadata.
    #[serde(default)]
    pub(crate) metadata: ObjectMeta,
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
