//! Checks of the controller's writes to targets, canaries and other objects.

use jiff::Timestamp;
use kanary_core::{
    api::names::{CHANGE_CAUSE, CREATED_BY, IS_KANARY, KANARY_NAME, PROMOTED_BY, RUN},
    status::Phase,
};
use kanary_sim::cluster::Event;
use serde_json::Value;

use super::{
    Checker, Invariant, Promoted, Tried,
    evidence::{is_whole, target},
    is_ours,
    last::named,
};
use crate::{
    case::Truth,
    history::{image, text},
    hostile::CHECKED,
};

/// Maximum age of the target's state that a canary is created from, in seconds.
const BEHIND: i64 = 120;

fn label<'a>(object: &'a Value, name: &str) -> &'a str {
    text(&object["metadata"]["labels"][name])
}

fn owner(object: &Value) -> String {
    text(&object["metadata"]["ownerReferences"][0]["uid"]).to_owned()
}

/// An object without the fields that the API server or a policy sets.
pub(super) fn essence(object: &Value) -> Value {
    let mut object = object.clone();
    for field in ["resourceVersion", "generation", "managedFields"] {
        object["metadata"][field] = Value::Null;
    }
    let annotations = &mut object["spec"]["template"]["metadata"]["annotations"];
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.remove(CHECKED);
    }
    if annotations.as_object().is_some_and(serde_json::Map::is_empty) {
        *annotations = Value::Null;
    }
    object
}

impl Checker {
    pub(super) fn look_at_workload(&mut self, event: &Event) {
        let change = &event.change;
        let Some(new) = change.new.as_ref().or(change.last.as_ref()) else {
            return;
        };
        let value = new.json();
        self.claims.note(event);
        if label(&value, IS_KANARY) == "true" {
            let key = (owner(&value), label(&value, RUN).to_owned());
            let goes = change.new.as_ref().is_none_or(|new| new.meta.deleting);
            if let Some(tried) = self.tried.get_mut(&key).filter(|_| goes) {
                tried.lost |= !is_ours(event);
            }
            if change.new.is_some() {
                self.look_at_canary(event, &value);
            } else {
                self.look_at_end(event, &value);
            }
            return;
        }
        let name = new.meta.name.clone();
        self.follow_place(event, &value);
        if change.new.is_none() {
            if is_ours(event) {
                self.violated(Invariant::Trespass, event.at, &name, "a target was deleted");
            }
            return;
        }
        let now = image(&value["spec"]);
        let place = (text(&value["kind"]).to_owned(), name.clone());
        let images = self.targets.entry(place).or_default();
        if images.last().is_none_or(|(_, last)| *last != now) {
            images.push((event.at, now));
        }
        match &change.old {
            Some(old) if is_ours(event) => {
                let old = old.json();
                if !self.check_in_place(event, &old, &value) {
                    self.check_promotion(event, &name, &old, &value);
                }
            }
            None if is_ours(event) => self.check_bootstrap(event, &value),
            _ => {}
        }
    }

    /// Checks the end of a canary. If another client deletes it, the controller creates it again. The controller itself
    /// deletes it only if the run has ended, except for a user who breaks a spec and fixes it.
    fn look_at_end(&mut self, event: &Event, canary: &Value) {
        let hostile = self.truth(label(canary, KANARY_NAME)).hostile;
        let key = (owner(canary), label(canary, RUN).to_owned());
        let Some(tried) = self.tried.get_mut(&key) else {
            return;
        };
        if is_ours(event) {
            tried.deleted = Some(event.at);
        }
        if hostile || !is_ours(event) {
            tried.created = 0;
        }
    }

    fn look_at_new_canary(&mut self, event: &Event, canary: &Value, key: (String, String)) {
        let name = label(canary, KANARY_NAME).to_owned();
        self.check_kind(event, &name, canary);
        self.check_volumes(event, &name, canary);
        let truth = self.truth(&name);
        let target = (truth.kind.name.to_owned(), truth.target);
        let since = event.at.as_second() - BEHIND;
        let images = self.targets.get(&target).map(Vec::as_slice).unwrap_or_default();
        let shown = images.iter().enumerate().filter(|(index, _)| {
            // Changed after that time, or not at all.
            images
                .get(index + 1)
                .is_none_or(|(until, _)| until.as_second() >= since)
        });
        let started_on: Vec<_> = shown.map(|(_, (_, image))| image.clone()).collect();
        // Until the status contains the start of the run, a canary that is created again restarts it.
        let book = self.books.get(&key.0);
        let has_begun = book.is_some_and(|book| book.status.target_hash.is_some());
        let over = book.is_none_or(|book| {
            let number = book.status.run.unwrap_or(1).to_string();
            let former = key.1.rsplit('-').next() != Some(&number);
            book.deleted || former || book.status.completed_at.is_some() || Phase::of(&book.status) > Phase::Running
        });
        let sent = self.write(event, &name).sent;
        let tried = self.tried.entry(key).or_insert_with(|| Tried {
            image: image(&canary["spec"]),
            ..Tried::default()
        });
        if tried.started_on.is_empty() || !has_begun {
            tried.started_on.extend(started_on);
        }
        // The API server may execute a request after its client has stopped waiting, retried and deleted the canary
        // of an edited spec.
        let is_overtaken = tried.deleted.is_some_and(|deleted| sent < deleted);
        tried.created += u32::from(!is_overtaken);
        let replaces = std::mem::take(&mut tried.lost);
        if tried.created > 1 && !over && !replaces && !is_overtaken {
            self.violated(
                Invariant::Doubled,
                event.at,
                &name,
                "a second canary of one run was created",
            );
        }
    }

    fn look_at_canary(&mut self, event: &Event, canary: &Value) {
        let key = (owner(canary), label(canary, RUN).to_owned());
        self.check_sample(event, canary);
        if event.change.old.is_none() {
            self.look_at_new_canary(event, canary, key);
            return;
        }
        let since = self.evidence.whole_since(&named(canary, "uid"), event.at);
        if let Some(tried) = self.tried.get_mut(&key)
            && is_whole(canary)
        {
            tried.available.get_or_insert(since.unwrap_or(event.at));
        }
    }

    /// Checks that a missing target is created from the template, once.
    fn check_bootstrap(&mut self, event: &Event, created: &Value) {
        let marker = text(&created["metadata"]["annotations"][CREATED_BY]).to_owned();
        self.bootstrapped.insert(image(&created["spec"]));
        let uid = marker.split('/').next().unwrap_or_default();
        self.check_subject(event, uid, created);
        let book = self.books.get(uid);
        let name = book.map(|book| book.name.clone()).unwrap_or_default();
        // The spec may have been edited while the creation was in flight.
        let tries = |book: &super::Book| book.ever_tried(&image(&created["spec"])) || book.runs > 1;
        if !book.is_some_and(tries) {
            self.violated(
                Invariant::Proof,
                event.at,
                &name,
                "a target was created from a template that no Kanary has",
            );
        }
    }

    /// Checks the only write to a target.
    fn check_promotion(&mut self, event: &Event, target: &str, old: &Value, new: &Value) {
        let former = essence(old);
        if essence(new) == former {
            // The ownership of fields was transferred, or a promotion was repeated late without an effect. A policy may
            // add to either.
            return;
        }
        let marker = text(&new["metadata"]["annotations"][PROMOTED_BY]).to_owned();
        let (uid, run) = marker.split_once('/').unwrap_or_default();
        let name = self.books.get(uid).map_or(target.to_owned(), |book| book.name.clone());
        let mut left = essence(new);
        left["spec"]["template"] = former["spec"]["template"].clone();
        left["metadata"]["annotations"] = old["metadata"]["annotations"].clone();
        let mut annotations = new["metadata"]["annotations"].clone();
        for ours in [PROMOTED_BY, CHANGE_CAUSE] {
            annotations[ours] = old["metadata"]["annotations"][ours].clone();
        }
        let kept = old["metadata"]["annotations"].as_object().into_iter().flatten();
        let kept = kept.into_iter().all(|(name, value)| annotations[name] == *value);
        if left != former || !kept {
            self.violated(
                Invariant::Trespass,
                event.at,
                &name,
                "fields of a target other than its template were changed",
            );
        }
        let (before, after) = (image(&old["spec"]), image(&new["spec"]));
        self.check_subject(event, uid, new);
        if let Some(run) = run.strip_suffix("/rolled-back") {
            self.check_roll_back(event, &name, &format!("{uid}/{run}"), &after);
            return;
        }
        self.check_proof(event, uid, run, &after);
        let write = self.write(event, &name);
        for (invariant, what) in self.evidence.promotion((uid, run), (old, new), &write) {
            self.violated(invariant, event.at, &name, &what);
        }
        self.check_overruled(event, &name, uid, run, &before);
        self.note_promotion(event, &name, &marker, new, (after, before));
    }

    /// Checks that a target is promoted once by a run. Of the images, the second is the former one.
    pub(super) fn note_promotion(
        &mut self,
        event: &Event,
        name: &str,
        marker: &str,
        target: &Value,
        (image, former): (String, String),
    ) {
        let at = event.at;
        let promoted = Promoted { at, image, former };
        if let Some(first) = self
            .promoted
            .insert(format!("{marker}@{}", named(target, "uid")), promoted)
        {
            let what = format!(
                "{} was already promoted at {}",
                first.image,
                self.history.time(first.at)
            );
            self.violated(Invariant::Doubled, event.at, name, &what);
        }
    }

    /// Checks that a canary is of the kind of its target.
    fn check_kind(&mut self, event: &Event, name: &str, canary: &Value) {
        let (is, wanted) = (text(&canary["kind"]).to_owned(), self.truth(name).kind.name);
        if is != wanted && self.truths.contains_key(name) {
            let what = format!("the canary is a {is}, and its target a {wanted}");
            self.violated(Invariant::Template, event.at, name, &what);
        }
    }

    /// Checks that a workload is the target that its user named. The API server lets nobody name another one.
    pub(super) fn check_subject(&mut self, event: &Event, uid: &str, written: &Value) {
        let Some(book) = self.books.get(uid) else { return };
        let (name, wanted) = (
            book.name.clone(),
            target(&book.object["spec"], &book.object["kind"], &book.name),
        );
        let is = (text(&written["kind"]).to_owned(), named(written, "name"));
        if is != wanted {
            let what = format!("the template of {is:?} was written, and the target is {wanted:?}");
            self.violated(Invariant::Proof, event.at, &name, &what);
        }
    }

    pub(super) fn check_proof(&mut self, event: &Event, uid: &str, run: &str, image: &str) {
        let number = run
            .rsplit('-')
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or_default();
        let Some(book) = self.books.get(uid) else {
            self.violated(
                Invariant::Proof,
                event.at,
                uid,
                "a template that no Kanary has was promoted",
            );
            return;
        };
        let name = book.name.clone();
        let truth = self.truth(&name);
        let phase = Phase::of(&book.status);
        // An edit or a deletion does not stop a promotion that is in flight.
        let present = truth.edited || book.deleted || phase == Phase::Succeeded;
        let passed = book.passed(number).is_some_and(|passed| passed == image);
        if !passed || !present {
            let what = format!("{image} was promoted, but the stored status is {phase:?}");
            self.violated(Invariant::Proof, event.at, &name, &what);
        } else if truth.bad_images.contains(image) || truth.dry_run {
            self.violated(
                Invariant::Proof,
                event.at,
                &name,
                &format!("{image} was promoted, but must not pass"),
            );
        }
    }

    fn check_overruled(&mut self, event: &Event, name: &str, uid: &str, run: &str, before: &str) {
        let truth = self.truth(name);
        let tried = self.tried.get(&(uid.to_owned(), run.to_owned()));
        let known = tried.is_none_or(|tried| tried.started_on.iter().any(|image| image == before));
        let over = self.books.get(uid).is_some_and(|book| {
            let promotes = serde_json::json!("promote");
            truth.hostile && book.ever("/spec/rollout/onTargetChange", &promotes)
        });
        if !known && !truth.promote_over && !over {
            let what = format!("{before}, which was set after the run started, was overwritten");
            self.violated(Invariant::Overruled, event.at, name, &what);
        }
    }

    fn check_roll_back(&mut self, event: &Event, name: &str, marker: &str, after: &str) {
        let uid = marker.split('/').next().unwrap_or_default();
        let asked = self.truth(name).rollback
            || self
                .books
                .get(uid)
                .is_some_and(|book| book.ever("/spec/rollout/rollbackOnFailure", &Value::Bool(true)));
        let mut promoted = self.promoted.iter().filter(|(key, _)| key.starts_with(marker));
        let former = promoted.next().map(|(_, promoted)| promoted.former.clone());
        if !asked || former.as_deref() != Some(after) {
            let what = format!("{after} was restored, but the previous image was {former:?}");
            self.violated(Invariant::Trespass, event.at, name, &what);
        }
    }

    /// Checks writes to Services, autoscalers and pods: they belong to the controller, or the write removes labels from a
    /// pod.
    pub(super) fn look_at_other(&mut self, event: &Event) {
        if !is_ours(event) {
            return;
        }
        let change = &event.change;
        let Some(object) = change.new.as_ref().or(change.last.as_ref()) else {
            return;
        };
        let value = object.json();
        let name = label(&value, KANARY_NAME).to_owned();
        let allowed = match &*event.resource {
            "services" | "horizontalpodautoscalers.autoscaling" | "scaledobjects.keda.sh" => {
                change.old.is_none() || change.new.is_none()
            }
            "pods" => change.new.is_some(),
            _ => false,
        };
        if !allowed || label(&value, IS_KANARY) != "true" {
            let what = format!("{} {} does not belong to Kanary", event.resource, object.meta.name);
            self.violated(Invariant::Trespass, event.at, &name, &what);
        }
    }

    /// Number of promotions of a Kanary.
    pub(super) fn promotions(&self, uid: &str) -> usize {
        self.promoted.keys().filter(|marker| marker.starts_with(uid)).count()
    }

    /// The image of a Kanary's target.
    pub(super) fn image_of(&self, truth: &Truth) -> Option<&(Timestamp, String)> {
        self.targets
            .get(&(truth.kind.name.to_owned(), truth.target.clone()))?
            .last()
    }
}
