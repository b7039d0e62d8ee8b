//! The revisions of a Deployment: one numbered ReplicaSet per template.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{ACTOR, HASH, Rollout, status::PROGRESSING};
use crate::{controllers::claim::controller_of, failure::Failure};

const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MOST: &str = "deployment.kubernetes.io/max-replicas";

/// Annotations that belong to the Deployment only.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MOST,
    "deprecated.deployment.rollback.to",
];

/// Maximum length of a ReplicaSet's revision history.
const LONGEST_HISTORY: usize = 2000;

/// A template without the additions of the Deployment controller.
fn plain(template: &PodTemplateSpec) -> PodTemplateSpec {
    PodTemplateSpec {
        metadata: plain_meta(template),
        spec: template.spec.clone(),
    }
}

fn plain_meta(template: &PodTemplateSpec) -> Option<ObjectMeta> {
    let mut meta = template.metadata.clone()?;
    if let Some(labels) = &mut meta.labels {
        labels.remove(HASH);
    }
    meta.labels = meta.labels.take().filter(|labels| !labels.is_empty());
    meta.annotations = meta.annotations.take().filter(|annotations| !annotations.is_empty());
    meta.creation_timestamp = None;
    Some(meta).filter(|meta| *meta != ObjectMeta::default())
}

/// Whether a ReplicaSet has this template.
pub(super) fn is_of(set: &ReplicaSet, template: &PodTemplateSpec) -> bool {
    let own = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    own.is_some_and(|own| own.spec == template.spec && plain_meta(own) == plain_meta(template))
}

/// The revision in an object's annotation, or 0 if it has none.
pub(super) fn of(meta: &ObjectMeta) -> i64 {
    let text = meta
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(REVISION));
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// A template's hash, in the alphabet of generated names.
fn hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let mut text = serde_json::to_string(&plain(template)).unwrap_or_default();
    if let Some(collisions) = collisions {
        text.push_str(&collisions.to_string());
    }
    // FNV-1a.
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let letters = b"bcdfghjklmnpqrstvwxz2456789";
    let digits = hash.to_string();
    digits
        .bytes()
        .filter_map(|digit| letters.get(usize::from(digit) % letters.len()).copied().map(char::from))
        .collect()
}

/// A ReplicaSet's name. A long Deployment name is truncated.
fn set_name(deployment: &str, hash: &str) -> String {
    let most = 253_usize.saturating_sub(1 + hash.len());
    let name: String = deployment.chars().take(most).collect();
    format!("{name}-{hash}")
}

/// Copies the Deployment's annotations and a revision to a ReplicaSet. Returns whether that changed it.
fn annotate(set: &mut BTreeMap<String, String>, deployment: &Deployment, revision: i64) -> bool {
    let before = set.clone();
    for (name, value) in deployment.metadata.annotations.iter().flatten() {
        if !NOT_COPIED.contains(&name.as_str()) {
            set.insert(name.clone(), value.clone());
        }
    }
    let former = set.get(REVISION).cloned();
    let number: i64 = former
        .as_ref()
        .and_then(|former| former.parse().ok())
        .unwrap_or_default();
    if number < revision {
        set.insert(REVISION.to_owned(), revision.to_string());
        if let Some(former) = former {
            remember(set, former);
        }
    }
    *set != before
}

/// Records an earlier revision of a ReplicaSet that a rollback made current again.
fn remember(set: &mut BTreeMap<String, String>, former: String) {
    let history = set.get(HISTORY).map(String::as_str).unwrap_or_default();
    let mut revisions: Vec<_> = history
        .split(',')
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .collect();
    revisions.push(former);
    while revisions.join(",").len() > LONGEST_HISTORY {
        revisions.remove(0);
    }
    set.insert(HISTORY.to_owned(), revisions.join(","));
}

impl Rollout<'_> {
    fn next_revision(&self) -> i64 {
        self.old.iter().map(|set| of(&set.metadata)).max().unwrap_or_default() + 1
    }

    /// Makes the current template's ReplicaSet, if it exists, the newest revision.
    pub(super) fn sync_revision(&mut self) -> Result<(), Failure> {
        let revision = self.next_revision();
        let Some(new) = &mut self.new else { return Ok(()) };
        let mut annotations = new.metadata.annotations.clone().unwrap_or_default();
        let annotated = annotate(&mut annotations, &self.deployment, revision);
        let least = |seconds: Option<i32>| seconds.unwrap_or_default();
        let spec = new.spec.as_ref();
        let timed = spec.is_some_and(|spec| least(spec.min_ready_seconds) != least(self.spec.min_ready_seconds));
        if annotated || timed {
            let mut written = ReplicaSet::clone(new);
            written.metadata.annotations = Some(annotations);
            if let Some(spec) = written.spec.as_mut().filter(|_| timed) {
                spec.min_ready_seconds = self.spec.min_ready_seconds;
            }
            *new = self.cluster.update(ACTOR, written)?;
        }
        let (number, name) = (of(&new.metadata), new.metadata.name.clone().unwrap_or_default());
        self.set_revision(number)?;
        if self.spec.progress_deadline_seconds.is_some() && self.condition(PROGRESSING).is_none() {
            let message = format!("Found new replica set \"{name}\"");
            self.set_condition(PROGRESSING, "True", "FoundNewReplicaSet", message);
        }
        Ok(())
    }

    fn set_revision(&mut self, revision: i64) -> Result<(), Failure> {
        if of(&self.deployment.metadata) == revision {
            return Ok(());
        }
        let mut written = Deployment::clone(&self.deployment);
        let annotations = written.metadata.annotations.get_or_insert_default();
        annotations.insert(REVISION.to_owned(), revision.to_string());
        let mut written = self.cluster.update(ACTOR, written)?;
        // The status in memory may be newer than the stored one.
        if written.status != self.deployment.status {
            Arc::make_mut(&mut written).status.clone_from(&self.deployment.status);
        }
        self.deployment = written;
        Ok(())
    }

    /// Creates a ReplicaSet for the current template.
    pub(super) fn create_new(&mut self) -> Result<(), Failure> {
        let collisions = self
            .deployment
            .status
            .as_ref()
            .and_then(|status| status.collision_count);
        let hash = hash(&self.spec.template, collisions);
        let mut set = self.draft(&hash);
        let revision = self.next_revision();
        let annotations = set.metadata.annotations.get_or_insert_default();
        annotate(annotations, &self.deployment, revision);
        annotations.insert(DESIRED.to_owned(), self.wanted().to_string());
        annotations.insert(MOST.to_owned(), self.most().to_string());
        let name = set.metadata.name.clone().unwrap_or_default();
        match self.cluster.create(ACTOR, &set) {
            Ok(created) => self.new = Some(created),
            Err(failure) => {
                self.note_refusal(&name, &failure)?;
                return Err(failure);
            }
        }
        self.set_revision(revision)?;
        if self.spec.progress_deadline_seconds.is_some() {
            let message = format!("Created new replica set \"{name}\"");
            self.set_condition(PROGRESSING, "True", "NewReplicaSetCreated", message);
        }
        Ok(())
    }

    /// The ReplicaSet of the current template.
    fn draft(&self, hash: &str) -> ReplicaSet {
        let (meta, spec) = (&self.deployment.metadata, &self.spec);
        let mut template = spec.template.clone();
        let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
        labels.insert(HASH.to_owned(), hash.to_owned());
        let labels = labels.clone();
        let mut selector = spec.selector.clone();
        let selected = selector.match_labels.get_or_insert_default();
        selected.insert(HASH.to_owned(), hash.to_owned());
        ReplicaSet {
            metadata: ObjectMeta {
                name: Some(set_name(meta.name.as_deref().unwrap_or_default(), hash)),
                namespace: meta.namespace.clone(),
                labels: Some(labels),
                owner_references: Some(vec![controller_of(&*self.deployment)]),
                ..ObjectMeta::default()
            },
            spec: Some(ReplicaSetSpec {
                replicas: Some(self.size_of_new(0)),
                min_ready_seconds: spec.min_ready_seconds,
                selector,
                template: Some(template),
            }),
            status: None,
        }
    }

    /// Handles a refused creation: if the name is taken, another hash is used; any other refusal is reported in the
    /// status.
    fn note_refusal(&mut self, name: &str, failure: &Failure) -> Result<(), Failure> {
        if failure.reason == "AlreadyExists" {
            let status = Arc::make_mut(&mut self.deployment).status.get_or_insert_default();
            status.collision_count = Some(status.collision_count.unwrap_or_default() + 1);
        } else if self.spec.progress_deadline_seconds.is_some() {
            let message = format!("Failed to create new replica set \"{name}\": {failure}");
            self.set_condition(PROGRESSING, "False", "ReplicaSetCreateError", message);
        }
        let written = Deployment::clone(&self.deployment);
        self.cluster.update_status(ACTOR, written).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn template(value: Value) -> PodTemplateSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_hash_label_does_not_tell_templates_apart() {
        let bare = template(json!({"metadata": {"labels": {"app": "a"}}}));
        let hashed = template(json!({"metadata": {"labels": {"app": "a", HASH: "x"}}}));
        let other = template(json!({"metadata": {"labels": {"app": "b"}}}));
        assert_eq!(plain(&bare), plain(&hashed));
        assert_ne!(plain(&bare), plain(&other));
        assert_eq!(hash(&bare, None), hash(&hashed, None));
        assert_ne!(hash(&bare, None), hash(&other, None));
        assert_ne!(hash(&bare, None), hash(&bare, Some(1)));
        assert_eq!(
            plain(&template(json!({}))),
            plain(&template(json!({"metadata": {"labels": {HASH: "x"}}})))
        );
    }

    #[test]
    fn a_long_name_is_cut() {
        assert_eq!(set_name("app", "hash"), "app-hash");
        assert_eq!(set_name(&"a".repeat(253), "hash").len(), 253);
    }

    #[test]
    fn annotations_are_copied_but_for_the_deployments_own() {
        let deployment = serde_json::from_value(json!({"metadata": {"annotations": {
            "note": "mine", REVISION: "7", "kubectl.kubernetes.io/last-applied-configuration": "{}",
        }}}));
        let deployment: Deployment = deployment.unwrap();
        let mut annotations = BTreeMap::new();
        assert!(annotate(&mut annotations, &deployment, 2));
        let expected = [("note", "mine"), (REVISION, "2")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(annotations, BTreeMap::from(expected));
        assert!(!annotate(&mut annotations, &deployment, 1), "revisions only increase");
    }

    #[test]
    fn a_version_that_is_used_again_remembers_its_revisions() {
        let mut annotations = BTreeMap::new();
        for revision in [1, 3, 5] {
            annotate(&mut annotations, &Deployment::default(), revision);
        }
        assert_eq!(annotations.get(HISTORY).map(String::as_str), Some("1,3"));
    }
}
