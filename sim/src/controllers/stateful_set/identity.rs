//! The pods of a StatefulSet: their names, labels and volumes.

use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetSpec},
        core::v1::{PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::controllers::{claim::controller_of, history::HASH};

/// The ordinal in a pod's name.
pub(super) fn ordinal(set: &str, pod: &Pod) -> Option<i32> {
    let name = pod.metadata.name.as_deref()?;
    name.strip_prefix(set)?.strip_prefix('-')?.parse().ok()
}

/// The revision that a pod was made from.
pub(super) fn revision(pod: &Pod) -> Option<&String> {
    pod.metadata.labels.as_ref()?.get(HASH)
}

/// Name of the claim of a pod for a template of claims.
pub(super) fn claim_name(set: &StatefulSet, template: &ObjectMeta, ordinal: i32) -> String {
    let of = |meta: &ObjectMeta| meta.name.clone().unwrap_or_default();
    format!("{}-{}-{ordinal}", of(template), of(&set.metadata))
}

/// The pod with this ordinal.
pub(super) fn draft(
    set: &StatefulSet,
    spec: &StatefulSetSpec,
    template: PodTemplateSpec,
    revision: &str,
    ordinal: i32,
) -> Pod {
    let name = format!("{}-{ordinal}", set.metadata.name.as_deref().unwrap_or_default());
    let meta = template.metadata.unwrap_or_default();
    let mut labels = meta.labels.unwrap_or_default();
    labels.insert("statefulset.kubernetes.io/pod-name".to_owned(), name.clone());
    labels.insert("apps.kubernetes.io/pod-index".to_owned(), ordinal.to_string());
    labels.insert(HASH.to_owned(), revision.to_owned());
    let mut pod = template.spec.unwrap_or_default();
    pod.hostname = Some(name.clone());
    pod.subdomain.clone_from(&spec.service_name);
    for template in spec.volume_claim_templates.iter().flatten() {
        let volumes = pod.volumes.get_or_insert_default();
        let volume = template.metadata.name.clone().unwrap_or_default();
        volumes.retain(|known| known.name != volume);
        volumes.push(Volume {
            name: volume,
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim_name(set, &template.metadata, ordinal),
                ..PersistentVolumeClaimVolumeSource::default()
            }),
            ..Volume::default()
        });
    }
    Pod {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: set.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![controller_of(set)]),
            ..ObjectMeta::default()
        },
        spec: Some(pod),
        status: None,
    }
}
