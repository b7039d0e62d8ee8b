//! The revisions of a workload: one numbered `ControllerRevision` for each template.

use std::sync::Arc;

use k8s_openapi::{
    api::{apps::v1::ControllerRevision, core::v1::PodTemplateSpec},
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        runtime::RawExtension,
    },
};
use serde_json::{Value, json};

use super::claim::{claim, controller_of, unless_gone};
use crate::{
    cluster::{Cluster, Typed},
    failure::Failure,
    write::DeleteOptions,
};

/// Label with the revision that a pod was made from.
pub(super) const HASH: &str = "controller-revision-hash";

/// The revisions of a workload, the oldest first, without one that was just made.
pub(super) struct History {
    pub(super) all: Vec<Arc<ControllerRevision>>,
    /// The revision of the present template. `None` if the workload is being deleted and has none.
    pub(super) update: Option<Arc<ControllerRevision>>,
}

/// How a controller keeps revisions.
pub(super) struct Keeper {
    pub(super) actor: &'static str,
    /// Label of a revision with the hash of its template.
    pub(super) label: &'static str,
}

fn data(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).unwrap_or_default();
    if let Some(fields) = template.as_object_mut() {
        fields.insert("$patch".to_owned(), json!("replace"));
    }
    json!({"spec": {"template": template}})
}

/// The template of a revision.
pub(super) fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.pointer("/spec/template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

/// The name of a revision.
pub(super) fn name(revision: &ControllerRevision) -> String {
    revision.metadata.name.clone().unwrap_or_default()
}

/// FNV-1a, in digits.
fn hash(data: &Value) -> String {
    let hash = data.to_string().bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash.to_string()
}

impl Keeper {
    /// Makes the revision of the present template the newest.
    pub(super) fn history<K: Typed>(
        &self,
        cluster: &Cluster,
        owner: &K,
        selector: &LabelSelector,
        present: &PodTemplateSpec,
    ) -> Result<History, Failure> {
        let mut all: Vec<Arc<ControllerRevision>> = claim(cluster, self.actor, owner, selector)?;
        all.sort_by_key(|revision| revision.revision);
        let wanted = data(present);
        let is_wanted =
            |revision: &&Arc<ControllerRevision>| revision.data.as_ref().is_some_and(|data| data.0 == wanted);
        let newest = all.last().map_or(0, |newest| newest.revision);
        let update = match all.iter().find(is_wanted) {
            Some(equal) if equal.revision < newest => {
                let mut again = ControllerRevision::clone(equal);
                again.revision = newest + 1;
                unless_gone(cluster.update(self.actor, again))?.or_else(|| Some(equal.clone()))
            }
            Some(equal) => Some(equal.clone()),
            None if owner.meta().deletion_timestamp.is_some() => None,
            None => Some(cluster.create(self.actor, &self.draft(owner, present, wanted, newest + 1))?),
        };
        Ok(History { all, update })
    }

    /// Deletes the oldest revisions beyond `revisionHistoryLimit`.
    pub(super) fn clean_up(
        &self,
        cluster: &Cluster,
        all: &[Arc<ControllerRevision>],
        live: &[&String],
        limit: Option<i32>,
    ) -> Result<(), Failure> {
        let limit = usize::try_from(limit.unwrap_or(10)).unwrap_or_default();
        let old: Vec<_> = all.iter().filter(|revision| !live.contains(&&name(revision))).collect();
        for revision in old.iter().take(old.len().saturating_sub(limit)) {
            let place = (revision.metadata.namespace.clone().unwrap_or_default(), name(revision));
            let deleted = cluster.delete(
                self.actor,
                "controllerrevisions.apps",
                &place,
                &DeleteOptions::default(),
            );
            unless_gone(deleted)?;
        }
        Ok(())
    }

    fn draft<K: Typed>(&self, owner: &K, present: &PodTemplateSpec, data: Value, revision: i64) -> ControllerRevision {
        let hash = hash(&data);
        let labels = present.metadata.as_ref().and_then(|meta| meta.labels.clone());
        let mut labels = labels.unwrap_or_default();
        labels.remove(HASH);
        labels.insert(self.label.to_owned(), hash.clone());
        let meta = owner.meta();
        ControllerRevision {
            metadata: ObjectMeta {
                name: Some(format!("{}-{hash}", meta.name.as_deref().unwrap_or_default())),
                namespace: meta.namespace.clone(),
                labels: Some(labels),
                annotations: meta.annotations.clone(),
                owner_references: Some(vec![controller_of(owner)]),
                ..ObjectMeta::default()
            },
            data: Some(RawExtension(data)),
            revision,
        }
    }
}
