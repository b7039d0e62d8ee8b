//! What a run is about: the kind of its Kanary and the kind of its target.

use serde_json::{Value, json};

use super::{DEPLOYMENT, KANARY, KANARY_STATEFULSET, Kind, OLD_KANARY, STATEFUL_SET, manifests};

/// What a run is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    pub(crate) kanary: Kind,
    pub(crate) target: Kind,
    /// The field of the Kanary that names the target.
    pub(crate) field: &'static str,
}

/// A `KanaryDeployment` of a Deployment.
pub(crate) const USUAL: Subject = subject(KANARY, DEPLOYMENT, "deploymentName");
/// The same in the group in which the API was published first.
pub(crate) const OF_OLD_GROUP: Subject = subject(OLD_KANARY, DEPLOYMENT, "deploymentName");
/// A `KanaryStatefulset` of a StatefulSet.
pub(crate) const OF_SET: Subject = subject(KANARY_STATEFULSET, STATEFUL_SET, "statefulSetName");

const fn subject(kanary: Kind, target: Kind, field: &'static str) -> Subject {
    Subject { kanary, target, field }
}

impl Subject {
    /// Makes the manifest of a Deployment that of the target.
    pub(crate) fn of_target(&self, mut deployment: Value) -> Value {
        deployment["kind"] = json!(self.target.kind);
        if self.target == STATEFUL_SET {
            deployment["spec"]["serviceName"] = deployment["metadata"]["name"].clone();
        }
        deployment
    }

    /// Makes the manifest of a `KanaryDeployment`, which names a Deployment, that of the Kanary.
    pub(crate) fn of_kanary(&self, mut kanary: Value) -> Value {
        kanary["apiVersion"] = json!(self.kanary.api_version());
        kanary["kind"] = json!(self.kanary.kind);
        let target = kanary["spec"]["deploymentName"].clone();
        let names = json!({"deploymentName": null, self.field: target});
        manifests::merge(&mut kanary["spec"], names);
        if self.target == STATEFUL_SET {
            kanary["spec"]["template"]["spec"]["serviceName"] = target;
        }
        kanary
    }
}
