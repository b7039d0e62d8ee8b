//! A parsed Kanary: the valid parts of its spec, and the problems with the rest.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use jiff::Timestamp;
use kube_core::ResourceExt;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Key, front_ends,
    labels::Labels,
    observation::{Created, Workload},
    parse::{self, Known},
    spec::Spec,
};
use crate::api::{InPlace, Kanary, KanaryKind, KanaryStatus, OwnFields, RouteRef, Slot, names};

/// A Kanary as it was read: identity, spec and status.
#[derive(Clone, Debug)]
pub struct ParsedKanary {
    /// Kind, namespace and name.
    pub key: Key,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.resourceVersion`, the precondition of the next status write.
    pub resource_version: String,
    /// Determines the shard, and with it the replica that acts on the Kanary.
    pub slot: Slot,
    /// Whether it is being deleted, which lasts until it has no finalizers.
    pub deleting: bool,
    /// `metadata.finalizers`.
    pub finalizers: Vec<String>,
    /// The route that may hold something of a run, as long as the finalizer says so.
    pub held: Option<HeldRoute>,
    /// The status that was read.
    pub status: KanaryStatus,
    /// The valid parts of the spec. Versions of a Kanary that differ in other fields share it.
    pub spec: Arc<Spec>,
    /// Digest of what the spec was parsed from.
    source: u64,
}

/// A route that may hold something of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldRoute {
    /// The run, as [`ParsedKanary::run`] names it.
    pub run: String,
    /// The route. `None` if somebody removed what says which one it is.
    pub route: Option<RouteRef>,
}

impl HeldRoute {
    /// The annotation of the Kanary that says which route it is.
    #[must_use]
    pub fn annotation(run: &str, route: &RouteRef) -> String {
        format!("{run} {}", route.key())
    }
}

impl ParsedKanary {
    /// Parses a Kanary of `kind`. Invalid fields of the spec are not an error; they are listed in [`ParsedKanary::spec`].
    ///
    /// # Errors
    ///
    /// Fails if the object has no name, namespace or uid, or has a status that the API would not have accepted, or that another
    /// operator wrote. Acting on such a status could repeat earlier actions.
    pub fn parse(kind: KanaryKind, object: &Kanary) -> Result<Self, String> {
        Self::parse_after(None, kind, object)
    }

    /// Parses a Kanary as [`ParsedKanary::parse`] does, and takes the spec from `former`, an earlier version of the Kanary, if it
    /// is unchanged: most versions differ only in the status, and most of a Kanary is its template.
    ///
    /// # Errors
    ///
    /// As [`ParsedKanary::parse`].
    pub fn parse_after(former: Option<&Self>, kind: KanaryKind, object: &Kanary) -> Result<Self, String> {
        let (Some(namespace), Some(uid)) = (object.namespace(), object.uid()) else {
            return Err("the object has no namespace or uid".to_owned());
        };
        let key = Key {
            kind,
            namespace,
            name: object.name_any(),
        };
        let mut status = match &object.status {
            None => KanaryStatus::default(),
            Some(status) => read_status(kind, status).map_err(|e| format!("the status cannot be read: {e}"))?,
        };
        // In a copied status, it is about the target of another Kanary.
        let is_own = |record: &InPlace| record.run.split_once('/').is_some_and(|(owner, _)| owner == uid);
        status.in_place = status.in_place.filter(|record| is_own(record));
        if kind.api_group() == names::OLD_GROUP && is_of_the_first_operator(&status) {
            return Err(OF_THE_FIRST_OPERATOR.to_owned());
        }
        let known = Known::of(&status);
        let migrating = object.annotations().contains_key(names::MIGRATES);
        let source = digest(&object.spec, &known, migrating);
        let generation = object.metadata.generation.unwrap_or_default();
        let is_same = |former: &&Self| {
            former.key == key && former.uid == uid && former.generation == generation && former.source == source
        };
        let parsed = || {
            let mut spec = parse::spec(&key, &object.spec, &known);
            spec.migrating = migrating;
            // A GitOps tool may have removed the pause of the migration.
            spec.paused |= migrating;
            Arc::new(spec)
        };
        let spec = former
            .filter(is_same)
            .map_or_else(parsed, |former| Arc::clone(&former.spec));
        Ok(Self {
            uid,
            slot: slot_of(object),
            generation,
            resource_version: object.resource_version().unwrap_or_default(),
            deleting: object.metadata.deletion_timestamp.is_some(),
            finalizers: object.metadata.finalizers.clone().unwrap_or_default(),
            held: held(object, &status),
            key,
            status,
            spec,
            source,
        })
    }

    /// Hash of the pod template of the current run. An unsound spec starts no run, so the hash in the status still
    /// applies.
    #[must_use]
    pub fn template_of_run<'a>(&'a self, spec: &'a Spec) -> &'a str {
        let stored = self.status.current_hash.as_ref().filter(|_| !spec.is_sound());
        stored.unwrap_or(&spec.template_hash)
    }

    /// Traffic source of the current run in the format of [`Spec::traffic_key`], or `None` if it is unknown.
    #[must_use]
    pub fn traffic_of_run<'a>(&'a self, spec: &'a Spec) -> Option<&'a str> {
        let asked = spec.is_sound().then_some(&spec.traffic_key);
        self.status.current_traffic.as_ref().or(asked).map(String::as_str)
    }

    /// Identity of the run, as a label value. The number makes it unique: a template that runs again after others must
    /// not find objects of its former run.
    #[must_use]
    pub fn run(&self, spec: &Spec) -> String {
        format!("{}-{}", self.template_of_run(spec), self.status.run_number())
    }

    /// Whether a Deployment with the canary's name belongs to this Kanary: the Kanary is its controller, or was until the
    /// [ownerReference was removed](Self::is_disowned). `created` is the reply to the creation, if known.
    #[must_use]
    pub fn owns(&self, made: &Workload, created: Option<&Created>) -> bool {
        made.owner.as_ref() == Some(&self.uid) || self.is_disowned(made, created)
    }

    /// Whether this Kanary created a Deployment with the canary's name that has no controller any more. Labels are no
    /// proof, because anyone can copy them: the uid must be known from the creation or from the status.
    #[must_use]
    pub fn is_disowned(&self, made: &Workload, created: Option<&Created>) -> bool {
        let known = [self.status.canary_uid.as_ref(), created.map(|created| &created.uid)];
        made.owner.is_none()
            && made.other_controller.is_none()
            && known.contains(&Some(&made.uid))
            && self.is_named_by(&made.labels)
    }

    /// Whether these labels of a canary or of its pod name this Kanary.
    #[must_use]
    pub fn is_named_by(&self, labels: &Labels) -> bool {
        let labelled = |name: &str, value: &str| labels.get(name).is_some_and(|label| label == value);
        labelled(names::IS_KANARY, "true")
            && labelled(names::KANARY_NAME, &self.key.name)
            && labelled(names::KANARY_KIND, self.key.kind.id())
    }

    /// Whether a Deployment is the canary of the current run. `created` is the reply to the creation, if known.
    #[must_use]
    pub fn has(&self, spec: &Spec, made: &Workload, created: Option<&Created>) -> bool {
        let traffic = self.traffic_of_run(spec).zip(made.traffic.as_deref());
        self.owns(made, created)
            && !made.deleting
            && made.labels.get(names::RUN) == Some(&self.run(spec))
            && traffic.is_none_or(|(asked, made_for)| asked == made_for)
    }

    /// Whether no replica can have written `status.epoch`: epochs start at the API server's time in seconds and increase
    /// by one with each owner.
    #[must_use]
    pub fn has_forged_epoch(&self, now: Timestamp) -> bool {
        self.status
            .epoch
            .is_some_and(|epoch| epoch > now.as_second().saturating_add(60))
    }

    /// The owner reference of an object that belongs to this Kanary.
    #[must_use]
    pub fn owner_reference(&self) -> Value {
        json!({
            "apiVersion": self.key.kind.api_version(),
            "kind": self.key.kind.as_str(),
            "name": self.key.name,
            "uid": self.uid,
            "controller": true,
            "blockOwnerDeletion": true,
        })
    }

    /// Value of the annotation on a target that this run promoted or created.
    #[must_use]
    pub fn marker(&self, spec: &Spec) -> String {
        format!("{}/{}", self.uid, self.run(spec))
    }
}

/// Reads the status of a Kanary of `kind`.
///
/// # Errors
///
/// It is not one that the API would have accepted.
pub fn read_status(kind: KanaryKind, status: &Value) -> serde_json::Result<KanaryStatus> {
    let mut read = KanaryStatus::deserialize(status)?;
    if let Some(front) = front_ends::of(kind) {
        read.own = OwnFields::of(status, front.own_fields());
    }
    Ok(read)
}

/// Why an object that the first published operator has served is left alone.
pub const OF_THE_FIRST_OPERATOR: &str =
    "the status is that of the operator of 2019, whose runs are not taken over: see docs/migrating.md";

/// Whether the first published operator wrote a status. Every status of a run of ours has an observed generation.
#[must_use]
pub fn is_of_the_first_operator(status: &KanaryStatus) -> bool {
    status.observed_generation.is_none() && (status.current_hash.is_some() || !status.conditions.is_empty())
}

/// The route of the finalizer: from the annotation or, if somebody removed that, from the status.
fn held(object: &Kanary, status: &KanaryStatus) -> Option<HeldRoute> {
    let finalizers = object.metadata.finalizers.as_ref()?;
    if !finalizers.iter().any(|finalizer| finalizer == names::ROUTE_FINALIZER) {
        return None;
    }
    let annotation = object.annotations().get(names::ROUTE);
    let known = annotation.and_then(|text| {
        let (run, route) = text.split_once(' ')?;
        Some(HeldRoute {
            run: run.to_owned(),
            route: Some(route.parse().ok()?),
        })
    });
    Some(known.unwrap_or_else(|| HeldRoute {
        run: String::new(),
        route: status.traffic.as_ref().map(|traffic| traffic.route.clone()),
    }))
}

/// Digest of all that a spec is parsed from, beside the Kanary's name. The generation changes with the spec, so it is only for
/// what the status adds, and for objects that were not read from an API server.
fn digest(raw: &Value, known: &Known<'_>, migrating: bool) -> u64 {
    let mut hasher = DefaultHasher::new();
    (raw, known, migrating).hash(&mut hasher);
    hasher.finish()
}

/// The slot of a Kanary, regardless of its label and of the validity of its spec.
#[must_use]
pub fn slot_of(object: &Kanary) -> Slot {
    let text = |path: &str| {
        let text = object.spec.pointer(path).and_then(Value::as_str);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let named = [
        "/targetRef/name",
        "/statefulSetName",
        "/deploymentName",
        "/template/metadata/name",
    ];
    let target = named.into_iter().find_map(text);
    let target = target.unwrap_or_else(|| object.name_any());
    Slot::of(&object.namespace().unwrap_or_default(), &target)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(kind: KanaryKind, status: &Value) -> Result<ParsedKanary, String> {
        let object = json!({
            "metadata": {"name": "batman", "namespace": "shop", "uid": "u"}, "spec": {"template": {}}, "status": status,
        });
        ParsedKanary::parse(kind, &serde_json::from_value(object).unwrap())
    }

    #[test]
    fn a_run_of_the_first_operator_is_not_taken_over() {
        let activated = json!({
            "type": "Activated", "status": "True",
            "lastTransitionTime": "2019-09-01T16:42:00Z", "lastUpdateTime": "2019-09-01T16:42:00Z",
        });
        let theirs = json!({"currentHash": "9e107d9d372bb6826bd81d3542a419d6", "conditions": [activated]});
        let error = parsed(KanaryKind::OldDeployment, &theirs).unwrap_err();
        assert_eq!(error, OF_THE_FIRST_OPERATOR);
        for ours in [
            json!({"observedGeneration": -1, "report": {"status": "Scheduled"}}),
            json!({"observedGeneration": 1, "currentHash": "x"}),
        ] {
            parsed(KanaryKind::OldDeployment, &ours).unwrap();
        }
        parsed(KanaryKind::Deployment, &theirs).unwrap();
    }

    #[test]
    fn a_kanary_is_held_until_the_migration_to_it_has_ended() {
        let mut object =
            json!({"metadata": {"name": "batman", "namespace": "shop", "uid": "u"}, "spec": {"template": {}}});
        let parse = |former: Option<&ParsedKanary>, object: &Value| {
            let object = serde_json::from_value(object.clone()).unwrap();
            ParsedKanary::parse_after(former, KanaryKind::Deployment, &object).unwrap()
        };
        let free = parse(None, &object);
        assert!(!free.spec.paused);
        object["metadata"]["annotations"] = json!({names::MIGRATES: "another uid"});
        let held = parse(Some(&free), &object);
        assert!(
            held.spec.paused && held.spec.migrating,
            "although spec.paused is not set"
        );
        object["metadata"]["annotations"] = json!({});
        assert!(!parse(Some(&held), &object).spec.paused);
    }
}
