//! A Kanary that was read: all of its spec that can be run, and everything in it that cannot.

use jiff::Timestamp;
use kube_core::ResourceExt;
use serde_json::Value;

use super::{
    Key,
    observation::{Created, Deployment},
    parse,
    spec::Spec,
};
use crate::api::{Kanary, KanaryKind, KanaryStatus, Slot, names};

/// A Kanary as it was read: who it is, what it says, and what was written about it.
#[derive(Clone, Debug)]
pub struct ParsedKanary {
    /// Which one.
    pub key: Key,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.resourceVersion`, the precondition of the next status write.
    pub resource_version: String,
    /// Which replica acts on it follows from this.
    pub slot: Slot,
    /// Being deleted, which takes as long as there are finalizers.
    pub deleting: bool,
    /// `metadata.finalizers`.
    pub finalizers: Vec<String>,
    /// The status that was read.
    pub status: KanaryStatus,
    /// The spec, as far as it can be read.
    pub spec: Spec,
}

impl ParsedKanary {
    /// Reads a Kanary of `kind`. Never fails on what the user wrote: that is in [`ParsedKanary::spec`].
    ///
    /// # Errors
    ///
    /// The object has no name, namespace or uid, or a status that nobody could have written through the API: acting on it
    /// could repeat what was already done.
    pub fn parse(kind: KanaryKind, object: &Kanary) -> Result<Self, String> {
        let (Some(namespace), Some(uid)) = (object.namespace(), object.uid()) else {
            return Err("the object has no namespace or uid".to_owned());
        };
        let key = Key {
            kind,
            namespace,
            name: object.name_any(),
        };
        let status = match &object.status {
            None => KanaryStatus::default(),
            Some(status) => {
                serde_json::from_value(status.clone()).map_err(|e| format!("the status cannot be read: {e}"))?
            }
        };
        let spec = parse::spec(&key, &object.spec, &status);
        Ok(Self {
            uid,
            slot: slot_of(object),
            generation: object.metadata.generation.unwrap_or_default(),
            resource_version: object.resource_version().unwrap_or_default(),
            deleting: object.metadata.deletion_timestamp.is_some(),
            finalizers: object.metadata.finalizers.clone().unwrap_or_default(),
            key,
            status,
            spec,
        })
    }

    /// Hash of the pod template that the present run is about. A spec that is not sound starts no run, so under it that is
    /// still the one in the status.
    #[must_use]
    pub fn template_of_run<'a>(&'a self, spec: &'a Spec) -> &'a str {
        let stored = self.status.current_hash.as_ref().filter(|_| !spec.is_sound());
        stored.unwrap_or(&spec.template_hash)
    }

    /// Where the traffic of the present run comes from, as [`Spec::traffic_key`] says it; `None` if nobody knows.
    #[must_use]
    pub fn traffic_of_run<'a>(&'a self, spec: &'a Spec) -> Option<&'a str> {
        let asked = spec.is_sound().then_some(&spec.traffic_key);
        self.status.current_traffic.as_ref().or(asked).map(String::as_str)
    }

    /// Identity of the run, a label value. The number makes it unique: a template that is run again, after others, must
    /// not find what its former run left.
    #[must_use]
    pub fn run(&self, spec: &Spec) -> String {
        format!("{}-{}", self.template_of_run(spec), self.status.run.unwrap_or(1))
    }

    /// Whether a Deployment with the canary's name is this Kanary's own: this Kanary is its controller, or was until somebody
    /// [removed the ownerReference](Self::is_disowned). `created` is the reply to the creation, if there was one.
    #[must_use]
    pub fn owns(&self, made: &Deployment, created: Option<&Created>) -> bool {
        made.owner.as_ref() == Some(&self.uid) || self.is_disowned(made, created)
    }

    /// Whether a Deployment with the canary's name is one that this Kanary made and nobody controls any more. Labels alone do
    /// not tell, because anybody can copy them: its uid has to be known from its creation, or from the status.
    #[must_use]
    pub fn is_disowned(&self, made: &Deployment, created: Option<&Created>) -> bool {
        let known = [self.status.canary_uid.as_ref(), created.map(|created| &created.uid)];
        let labelled = |name: &str, value: &str| made.labels.get(name).is_some_and(|label| label == value);
        made.owner.is_none()
            && made.other_controller.is_none()
            && known.contains(&Some(&made.uid))
            && labelled(names::IS_KANARY, "true")
            && labelled(names::KANARY_NAME, &self.key.name)
            && labelled(names::KANARY_KIND, self.key.kind.as_str())
    }

    /// Whether a Deployment is the canary of the present run. `created` is the reply to the creation, if there was one.
    #[must_use]
    pub fn has(&self, spec: &Spec, made: &Deployment, created: Option<&Created>) -> bool {
        let traffic = self.traffic_of_run(spec).zip(made.traffic.as_deref());
        self.owns(made, created)
            && !made.deleting
            && made.labels.get(names::RUN) == Some(&self.run(spec))
            && traffic.is_none_or(|(asked, made_for)| asked == made_for)
    }

    /// Whether `status.epoch` is one that no replica can have had: epochs begin with the API server's time in seconds, and grow
    /// by one with each owner.
    #[must_use]
    pub fn has_forged_epoch(&self, now: Timestamp) -> bool {
        self.status
            .epoch
            .is_some_and(|epoch| epoch > now.as_second().saturating_add(60))
    }

    /// Who promoted, or created, a target: written on it as an annotation.
    #[must_use]
    pub fn marker(&self, spec: &Spec) -> String {
        format!("{}/{}", self.uid, self.run(spec))
    }
}

/// The slot that a Kanary belongs to, whatever its label says and whether or not its spec can be run.
#[must_use]
pub fn slot_of(object: &Kanary) -> Slot {
    let text = |path: &str| {
        let text = object.spec.pointer(path).and_then(Value::as_str);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let target = text("/deploymentName").or_else(|| text("/template/metadata/name"));
    let target = target.unwrap_or_else(|| object.name_any());
    Slot::of(&object.namespace().unwrap_or_default(), &target)
}
