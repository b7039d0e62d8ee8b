//! The volumes of a StatefulSet's pods, and when they go.

use std::sync::Arc;

use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetSpec},
        core::v1::{PersistentVolumeClaim, Pod},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

use super::{ACTOR, identity::claim_name};
use crate::{
    cluster::Cluster,
    controllers::claim::{controller_of, unless_gone},
    failure::Failure,
};

/// Creates the claims of a pod, and makes those that end with the StatefulSet or with the pod belong to it.
pub(super) fn ensure(
    cluster: &Cluster,
    set: &StatefulSet,
    spec: &StatefulSetSpec,
    ordinal: i32,
    pod: Option<&Arc<Pod>>,
    condemned: bool,
) -> Result<(), Failure> {
    let namespace = set.metadata.namespace.clone().unwrap_or_default();
    for template in spec.volume_claim_templates.iter().flatten() {
        let name = claim_name(set, &template.metadata, ordinal);
        let owners = owners(set, spec, pod, condemned);
        let Some(known) = cluster.get::<PersistentVolumeClaim>(&namespace, &name) else {
            let mut labels = template.metadata.labels.clone().unwrap_or_default();
            labels.extend(spec.selector.match_labels.clone().unwrap_or_default());
            let claim = PersistentVolumeClaim {
                metadata: ObjectMeta {
                    name: Some(name),
                    namespace: Some(namespace.clone()),
                    labels: Some(labels),
                    annotations: template.metadata.annotations.clone(),
                    owner_references: owners,
                    ..ObjectMeta::default()
                },
                spec: template.spec.clone(),
                status: None,
            };
            cluster.create(ACTOR, &claim)?;
            continue;
        };
        if known.metadata.deletion_timestamp.is_some() {
            let why = format!("pvc {name} is being deleted");
            return Err(Failure::bad_request(why));
        }
        if owners.is_some() && known.metadata.owner_references != owners {
            let mut claim = Arc::unwrap_or_clone(known);
            claim.metadata.owner_references = owners;
            unless_gone(cluster.update(ACTOR, claim))?;
        }
    }
    Ok(())
}

/// `persistentVolumeClaimRetentionPolicy`.
fn owners(
    set: &StatefulSet,
    spec: &StatefulSetSpec,
    pod: Option<&Arc<Pod>>,
    condemned: bool,
) -> Option<Vec<OwnerReference>> {
    let policy = spec.persistent_volume_claim_retention_policy.as_ref()?;
    let deletes = |when: &Option<String>| when.as_deref() == Some("Delete");
    if let Some(pod) = pod.filter(|_| condemned && deletes(&policy.when_scaled)) {
        return Some(vec![controller_of(&**pod)]);
    }
    deletes(&policy.when_deleted).then(|| vec![controller_of(set)])
}
