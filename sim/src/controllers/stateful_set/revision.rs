//! The revisions of a StatefulSet: one numbered `ControllerRevision` for each template.

use std::sync::Arc;

use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, StatefulSet, StatefulSetSpec},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, runtime::RawExtension},
};
use serde_json::{Value, json};

use super::{ACTOR, HASH};
use crate::{
    cluster::Cluster,
    controllers::claim::{claim, controller_of, unless_gone},
    failure::Failure,
    write::DeleteOptions,
};

/// The revisions that matter to a reconciliation.
pub(super) struct Revisions {
    /// Name of the revision that the rollout started from.
    pub(super) current: String,
    /// Name of the revision of the present template.
    pub(super) update: String,
    current_template: PodTemplateSpec,
}

fn data(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).unwrap_or_default();
    if let Some(fields) = template.as_object_mut() {
        fields.insert("$patch".to_owned(), json!("replace"));
    }
    json!({"spec": {"template": template}})
}

fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.pointer("/spec/template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

fn name(revision: &ControllerRevision) -> String {
    revision.metadata.name.clone().unwrap_or_default()
}

/// FNV-1a, in digits.
fn hash(data: &Value) -> String {
    let hash = data.to_string().bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash.to_string()
}

impl Revisions {
    /// Makes the revision of the present template the newest.
    pub(super) fn of(cluster: &Cluster, set: &StatefulSet, spec: &StatefulSetSpec) -> Result<Self, Failure> {
        let mut all: Vec<Arc<ControllerRevision>> = claim(cluster, ACTOR, set, &spec.selector)?;
        all.sort_by_key(|revision| revision.revision);
        let wanted = data(&spec.template);
        let is_wanted =
            |revision: &&Arc<ControllerRevision>| revision.data.as_ref().is_some_and(|data| data.0 == wanted);
        let newest = all.last().map_or(0, |newest| newest.revision);
        let update = match all.iter().find(is_wanted) {
            Some(equal) if equal.revision < newest => {
                let mut again = ControllerRevision::clone(equal);
                again.revision = newest + 1;
                unless_gone(cluster.update(ACTOR, again))?.map_or_else(|| name(equal), |again| name(&again))
            }
            Some(equal) => name(equal),
            None if set.metadata.deletion_timestamp.is_some() => String::new(),
            None => name(&*cluster.create(ACTOR, &draft(set, spec, wanted, newest + 1))?),
        };
        let stored = set.status.as_ref().and_then(|status| status.current_revision.clone());
        let current = all.iter().find(|revision| Some(name(revision)) == stored);
        let revisions = Self {
            current: current.map_or_else(|| update.clone(), |current| name(current)),
            current_template: current
                .and_then(|current| template(current))
                .unwrap_or_else(|| spec.template.clone()),
            update,
        };
        revisions.clean_up(cluster, spec, &all)?;
        Ok(revisions)
    }

    /// Deletes the oldest revisions beyond `revisionHistoryLimit`.
    fn clean_up(
        &self,
        cluster: &Cluster,
        spec: &StatefulSetSpec,
        all: &[Arc<ControllerRevision>],
    ) -> Result<(), Failure> {
        let limit = usize::try_from(spec.revision_history_limit.unwrap_or(10)).unwrap_or_default();
        let old: Vec<_> = all
            .iter()
            .filter(|revision| ![&self.current, &self.update].contains(&&name(revision)))
            .collect();
        for revision in old.iter().take(old.len().saturating_sub(limit)) {
            let place = (revision.metadata.namespace.clone().unwrap_or_default(), name(revision));
            let deleted = cluster.delete(ACTOR, "controllerrevisions.apps", &place, &DeleteOptions::default());
            unless_gone(deleted)?;
        }
        Ok(())
    }

    /// Template and revision of a new pod: below the partition, it runs the current one.
    pub(super) fn for_new(
        &self,
        ordinal: i32,
        partition: Option<i32>,
        spec: &StatefulSetSpec,
    ) -> (PodTemplateSpec, &str) {
        if partition.is_some_and(|partition| ordinal < partition) {
            return (self.current_template.clone(), &self.current);
        }
        (spec.template.clone(), &self.update)
    }
}

fn draft(set: &StatefulSet, spec: &StatefulSetSpec, data: Value, revision: i64) -> ControllerRevision {
    let hash = hash(&data);
    let mut labels = spec
        .template
        .metadata
        .as_ref()
        .and_then(|meta| meta.labels.clone())
        .unwrap_or_default();
    labels.insert("controller.kubernetes.io/hash".to_owned(), hash.clone());
    labels.remove(HASH);
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", set.metadata.name.as_deref().unwrap_or_default())),
            namespace: set.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: set.metadata.annotations.clone(),
            owner_references: Some(vec![controller_of(set)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(data)),
        revision,
    }
}
