//! The kinds that the API server serves.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{schema::Schema, store::ResourceName};

/// Parses an object as a type and drops unknown fields.
pub type Read = fn(&Value) -> Result<Value, serde_json::Error>;

/// A kind in one version.
#[derive(Clone, Debug)]
pub struct Resource {
    /// `deployments.apps`, or `pods` in the core group. All versions of a kind share it.
    pub name: ResourceName,
    /// `apps`, or empty for the core group.
    pub group: String,
    /// `v1`.
    pub version: String,
    /// `Deployment`.
    pub kind: String,
    /// `deployments`.
    pub plural: String,
    /// `deployment`.
    pub singular: String,
    /// `deploy`.
    pub short_names: Vec<String>,
    /// `all`.
    pub categories: Vec<String>,
    /// Whether it is namespaced.
    pub namespaced: bool,
    /// Whether it has a `/status` subresource.
    pub status: bool,
    /// Whether it has a `/scale` subresource.
    pub scale: bool,
    /// Parser of a built-in kind, which drops unknown fields.
    pub typed: Option<Read>,
    /// Definition of a custom resource.
    pub custom: Option<Arc<Custom>>,
}

/// A version of a custom resource.
#[derive(Debug)]
pub struct Custom {
    /// The compiled schema.
    pub schema: Schema,
    /// The schema as written in the CustomResourceDefinition.
    pub open_api: Value,
    /// `additionalPrinterColumns`.
    pub columns: Value,
}

/// Parses through text, as [`Object::parse`](crate::object::Object::parse) does: sharing one deserializer for each type
/// halves the generated code.
fn typed<K: DeserializeOwned + Serialize>(value: &Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(serde_json::from_slice::<K>(&serde_json::to_vec(value)?)?)
}

impl Resource {
    /// `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `Deployment.apps`, the format of messages.
    #[must_use]
    pub fn kind_name(&self) -> String {
        if self.group.is_empty() {
            self.kind.clone()
        } else {
            format!("{}.{}", self.kind, self.group)
        }
    }

    fn built_in<K: DeserializeOwned + Serialize + k8s_openapi::Resource>(plural: &str, short_names: &[&str]) -> Self {
        let name = if K::GROUP.is_empty() || K::GROUP == "events.k8s.io" {
            plural.to_owned()
        } else {
            format!("{plural}.{}", K::GROUP)
        };
        Self {
            name: name.into(),
            group: K::GROUP.to_owned(),
            version: K::VERSION.to_owned(),
            kind: K::KIND.to_owned(),
            plural: plural.to_owned(),
            singular: K::KIND.to_lowercase(),
            short_names: short_names.iter().map(|&name| name.to_owned()).collect(),
            categories: Vec::new(),
            namespaced: true,
            status: false,
            scale: false,
            typed: Some(typed::<K>),
            custom: None,
        }
    }

    /// Whether its objects are stored as another kind: an Event of events.k8s.io is stored as a core Event.
    #[must_use]
    pub fn is_view(&self) -> bool {
        self.group == "events.k8s.io"
    }

    fn in_all(mut self) -> Self {
        self.categories = vec!["all".to_owned()];
        self
    }

    fn with_status(mut self) -> Self {
        self.status = true;
        self
    }

    fn with_scale(mut self) -> Self {
        self.scale = true;
        self
    }

    fn of_cluster(mut self) -> Self {
        self.namespaced = false;
        self
    }
}

/// The built-in kinds.
#[must_use]
pub fn built_in() -> Vec<Resource> {
    use api::admissionregistration::v1 as admission;
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    let definitions = Resource::built_in::<CustomResourceDefinition>("customresourcedefinitions", &["crd", "crds"]);
    vec![
        Resource::built_in::<api::core::v1::Namespace>("namespaces", &["ns"])
            .of_cluster()
            .with_status(),
        Resource::built_in::<api::core::v1::Node>("nodes", &["no"])
            .of_cluster()
            .with_status(),
        Resource::built_in::<api::core::v1::Pod>("pods", &["po"])
            .in_all()
            .with_status(),
        Resource::built_in::<api::core::v1::Service>("services", &["svc"])
            .in_all()
            .with_status(),
        Resource::built_in::<api::core::v1::ConfigMap>("configmaps", &["cm"]),
        Resource::built_in::<api::core::v1::Secret>("secrets", &[]),
        Resource::built_in::<api::core::v1::ServiceAccount>("serviceaccounts", &["sa"]),
        Resource::built_in::<api::core::v1::ResourceQuota>("resourcequotas", &["quota"]).with_status(),
        Resource::built_in::<api::core::v1::Event>("events", &["ev"]),
        Resource::built_in::<api::events::v1::Event>("events", &["ev"]),
        Resource::built_in::<api::apps::v1::Deployment>("deployments", &["deploy"])
            .in_all()
            .with_status()
            .with_scale(),
        Resource::built_in::<api::apps::v1::ReplicaSet>("replicasets", &["rs"])
            .in_all()
            .with_status()
            .with_scale(),
        Resource::built_in::<api::apps::v1::StatefulSet>("statefulsets", &["sts"])
            .in_all()
            .with_status()
            .with_scale(),
        Resource::built_in::<api::apps::v1::DaemonSet>("daemonsets", &["ds"])
            .in_all()
            .with_status(),
        Resource::built_in::<api::apps::v1::ControllerRevision>("controllerrevisions", &[]),
        Resource::built_in::<api::core::v1::PersistentVolumeClaim>("persistentvolumeclaims", &["pvc"]).with_status(),
        Resource::built_in::<api::autoscaling::v2::HorizontalPodAutoscaler>("horizontalpodautoscalers", &["hpa"])
            .in_all()
            .with_status(),
        Resource::built_in::<api::discovery::v1::EndpointSlice>("endpointslices", &[]),
        Resource::built_in::<api::coordination::v1::Lease>("leases", &[]),
        Resource::built_in::<api::rbac::v1::Role>("roles", &[]),
        Resource::built_in::<api::rbac::v1::RoleBinding>("rolebindings", &[]),
        Resource::built_in::<api::rbac::v1::ClusterRole>("clusterroles", &[]).of_cluster(),
        Resource::built_in::<api::rbac::v1::ClusterRoleBinding>("clusterrolebindings", &[]).of_cluster(),
        definitions.of_cluster().with_status(),
        Resource::built_in::<admission::ValidatingAdmissionPolicy>("validatingadmissionpolicies", &[])
            .of_cluster()
            .with_status(),
        Resource::built_in::<admission::ValidatingAdmissionPolicyBinding>("validatingadmissionpolicybindings", &[])
            .of_cluster(),
    ]
}

/// All kinds by group, version and plural.
#[derive(Clone, Debug, Default)]
pub struct Registry(BTreeMap<(String, String, String), Arc<Resource>>);

impl Registry {
    /// A registry of the built-in kinds.
    #[must_use]
    pub fn built_in() -> Self {
        let mut registry = Self::default();
        for resource in built_in() {
            registry.add(resource);
        }
        registry
    }

    /// Adds a kind, or replaces the one with the same group, version and plural.
    pub fn add(&mut self, resource: Resource) {
        let key = (
            resource.group.clone(),
            resource.version.clone(),
            resource.plural.clone(),
        );
        self.0.insert(key, Arc::new(resource));
    }

    /// Removes all versions of a kind.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|_, resource| &*resource.name != name);
    }

    /// Finds a kind by group, version and plural.
    #[must_use]
    pub fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.0.get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    /// Finds a version of a kind by its name, such as `deployments.apps`.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Resource>> {
        self.0.values().find(|resource| &*resource.name == name)
    }

    /// Iterates over all kinds.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.0.values()
    }
}
