//! Checks of runs in place: what each of their writes changes in the target, and that nothing of a run is left there.

use std::collections::{BTreeMap, BTreeSet};

use kanary_core::{
    api::names::{CHANGE_CAUSE, IN_PLACE_FINALIZER, PROMOTED_BY},
    status::Phase,
};
use kanary_sim::cluster::{Cluster, Event};
use serde_json::Value;

use super::{
    Book, Checker, Invariant, Tried,
    evidence::{ordinal, partition},
    last::named,
    targets::essence,
};
use crate::{
    history::{image, text},
    world::NAMESPACE,
};

/// What a run has changed in its target.
#[derive(Clone)]
struct Placed {
    /// The UID of the Kanary and the run.
    marker: String,
    kanary: String,
    template: Value,
    former: Value,
    partition: i64,
    former_partition: i64,
    /// The lowest ordinal of the target, and the partition that it has now.
    start: i64,
    now: i64,
}

/// Runs in place.
#[derive(Default)]
pub(super) struct Places {
    /// Those that are in their target, by its UID.
    there: BTreeMap<String, Placed>,
    /// Runs that have begun, and that were taken back, with the UID of their target.
    begun: BTreeSet<(String, String)>,
    undone: BTreeSet<(String, String)>,
}

fn template(set: &Value) -> &Value {
    &set["spec"]["template"]
}

fn image_of(template: &Value) -> &Value {
    &template["spec"]["containers"][0]["image"]
}

fn marker(set: &Value) -> &str {
    text(&set["metadata"]["annotations"][PROMOTED_BY])
}

/// A target without what a run in place may change.
fn rest(set: &Value) -> Value {
    let mut set = essence(set);
    set["spec"]["template"] = Value::Null;
    set["spec"]["updateStrategy"]["rollingUpdate"] = Value::Null;
    for ours in [PROMOTED_BY, CHANGE_CAUSE] {
        set["metadata"]["annotations"][ours] = Value::Null;
    }
    set
}

/// The number of pods that a Kanary asks for.
fn asked(kanary: &Value) -> Option<i64> {
    let in_place = &kanary["spec"]["scale"]["inPlace"];
    in_place.is_object().then(|| in_place["replicas"].as_i64().unwrap_or(1))
}

impl Checker {
    /// Checks a write of a target if it belongs to a run in place. Returns whether it does.
    pub(super) fn check_in_place(&mut self, event: &Event, old: &Value, new: &Value) -> bool {
        if new["kind"] != "StatefulSet" || essence(old) == essence(new) {
            return false;
        }
        let (uid, written) = (named(new, "uid"), marker(new).to_owned());
        let there = self.places.there.get(&uid).cloned();
        let (run, end) = match written.rsplit_once('/') {
            Some((run, end @ ("in-place" | "rolled-back"))) => (run.to_owned(), end.to_owned()),
            _ => (written, String::new()),
        };
        let is_here = there.as_ref().is_some_and(|placed| placed.marker == run);
        let is_touch = essence(old)["spec"] == essence(new)["spec"];
        if end != "in-place" && !is_here && !(end == "rolled-back" && is_touch) {
            return false;
        }
        let book = run.split('/').next().and_then(|owner| self.books.get(owner));
        let name = book.map_or_else(|| named(new, "name"), |book| book.name.clone());
        if rest(old) != rest(new) {
            let what = "a run in place changed more than the template and the partition";
            self.violated(Invariant::Trespass, event.at, &name, what);
        }
        match (end.as_str(), there.filter(|_| is_here)) {
            ("in-place", _) => self.check_begin(event, &name, &run, (old, new)),
            ("rolled-back", there) => self.check_undo(event, &name, &run, there.as_ref(), (old, new)),
            (_, Some(placed)) => self.check_end(event, &placed, (old, new)),
            _ => {}
        }
        true
    }

    /// Checks that what a run changes was stored before, and that it changes what its Kanary asks for.
    fn check_begin(&mut self, event: &Event, name: &str, run: &str, (old, new): (&Value, &Value)) {
        let mut wrong = Vec::new();
        let (owner, of_kanary) = run.split_once('/').unwrap_or_default();
        let target = named(new, "uid");
        if let Some(what) = self
            .books
            .get(owner)
            .map_or(Some("no Kanary has"), |book| not_stored(book, run, old, new))
        {
            let what = format!("a target got the template of a run that {what}");
            wrong.push((Invariant::Proof, what));
        }
        let replicas = new["spec"]["replicas"].as_i64().unwrap_or(1);
        let (from, least) = (partition(new), partition(old).max(1));
        let asks = |book: &Book| {
            let mut specs = book.specs.iter();
            specs.any(|kanary| asked(kanary) == Some(replicas - from))
        };
        let is_asked = self.books.get(owner).is_some_and(asks);
        if from < least || from >= replicas || !is_asked {
            let what = format!("pods from ordinal {from} of {replicas} got the template in place");
            wrong.push((Invariant::Sample, what));
        }
        let has_template = |book: &Book| book.ever_tried(&image(&new["spec"]));
        if !self.books.get(owner).is_some_and(has_template) {
            wrong.push((Invariant::Template, "a target got another template in place".to_owned()));
        }
        let key = (run.to_owned(), target.clone());
        self.places.undone.remove(&key);
        let truth = self.truth(name);
        let is_second = !self.places.begun.insert(key) && !truth.edited && !truth.hostile;
        if is_second || self.places.there.contains_key(&target) {
            wrong.push((Invariant::Doubled, "a run began twice in place".to_owned()));
        }
        self.check_subject(event, owner, new);
        let write = self.write(event, name);
        if let Some(object) = &event.change.new {
            wrong.extend(self.evidence.begin_in_place((owner, of_kanary), (object, new), &write));
        }
        let tried = self.tried.entry((owner.to_owned(), of_kanary.to_owned()));
        let tried = tried.or_insert_with(|| Tried {
            image: image(&new["spec"]),
            ..Tried::default()
        });
        tried.started_on.push(image(&old["spec"]));
        let placed = Placed {
            marker: run.to_owned(),
            kanary: name.to_owned(),
            template: template(new).clone(),
            former: template(old).clone(),
            partition: from,
            former_partition: partition(old),
            start: new["spec"]["ordinals"]["start"].as_i64().unwrap_or_default(),
            now: from,
        };
        self.places.there.insert(target, placed);
        for (invariant, what) in wrong {
            self.violated(invariant, event.at, name, &what);
        }
    }

    /// Whether a run of a Kanary began in place.
    pub(super) fn has_begun_in_place(&self, name: &str) -> bool {
        let is_of = |run: &str| {
            let owner = run.split('/').next().and_then(|uid| self.books.get(uid));
            owner.is_some_and(|book| book.name == name)
        };
        self.places.begun.iter().any(|(run, _)| is_of(run))
    }

    /// Notes when the pods of a run in place were first available as a whole.
    pub(super) fn note_whole(&mut self, uid: &str) {
        for ((owner, run), tried) in self.tried.iter_mut().filter(|((owner, _), _)| owner == uid) {
            if tried.available.is_none() {
                tried.available = self.evidence.first_whole(owner, run);
            }
        }
    }

    /// Checks the write after a good verdict: the template stays, and the target gets its partition back.
    fn check_end(&mut self, event: &Event, placed: &Placed, (old, new): (&Value, &Value)) {
        let name = &placed.kanary;
        let is_theirs = *template(old) != placed.template || partition(old) != placed.partition;
        if is_theirs || template(old) != template(new) {
            let what = "a run in place was promoted over a change of its target";
            self.violated(Invariant::Overruled, event.at, name, what);
        }
        if partition(new) != placed.former_partition {
            let what = format!(
                "a promotion left the partition {}, and it was {} before the run",
                partition(new),
                placed.former_partition
            );
            self.violated(Invariant::Trespass, event.at, name, &what);
        }
        let (uid, run) = placed.marker.split_once('/').unwrap_or_default();
        let after = image(&new["spec"]);
        self.check_subject(event, uid, new);
        self.check_proof(event, uid, run, &after);
        let write = self.write(event, name);
        for (invariant, what) in self.evidence.promotion((uid, run), (old, new), &write) {
            self.violated(invariant, event.at, name, &what);
        }
        let former = image(&serde_json::json!({"template": placed.former}));
        self.note_promotion(event, name, &placed.marker, new, (after, former));
        self.close_place(&named(new, "uid"), event);
    }

    /// Checks that a run is taken back once and for a reason, and that the target gets back what nobody else has changed.
    fn check_undo(
        &mut self,
        event: &Event,
        name: &str,
        run: &str,
        placed: Option<&Placed>,
        (old, new): (&Value, &Value),
    ) {
        let target = named(new, "uid");
        let uid = run.split('/').next().unwrap_or_default();
        if !self.books.get(uid).is_some_and(|book| is_ended(book, run)) {
            let what = "a run in place was taken back that had not ended";
            self.violated(Invariant::Trespass, event.at, name, what);
        }
        if !self.places.undone.insert((run.to_owned(), target.clone())) {
            self.violated(
                Invariant::Doubled,
                event.at,
                name,
                "a run in place was taken back twice",
            );
        }
        let wanted = placed.map_or_else(|| template(old).clone(), |placed| restored(placed, template(old)));
        let is_on_delete = new["spec"]["updateStrategy"]["type"] == "OnDelete";
        let from = placed.filter(|_| !is_on_delete);
        let from = from.map_or_else(|| partition(old), |placed| placed.former_partition);
        if *template(new) != wanted {
            let what = format!("a run in place was taken back, and left {}", image(&new["spec"]));
            self.violated(Invariant::Overruled, event.at, name, &what);
        } else if partition(new) != from {
            let what = format!(
                "a run in place was taken back, and left the partition {}, not {from}",
                partition(new)
            );
            self.violated(Invariant::Trespass, event.at, name, &what);
        }
        self.close_place(&target, event);
    }

    fn close_place(&mut self, target: &str, event: &Event) {
        self.places.there.remove(target);
        self.evidence.end_in_place(target, event.at);
    }

    /// Follows the partition of a target.
    pub(super) fn follow_place(&mut self, event: &Event, target: &Value) {
        let uid = named(target, "uid");
        if event.change.new.is_none() {
            self.places.there.remove(&uid);
        } else if let Some(placed) = self.places.there.get_mut(&uid) {
            placed.now = partition(target);
        }
    }

    /// Checks that no pod below the partition of a run gets its template before a good verdict.
    pub(super) fn look_at_pod(&mut self, event: &Event) {
        let Some(pod) = event.change.new.as_ref().filter(|_| event.change.old.is_none()) else {
            return;
        };
        let Some(owner) = pod.meta.controller() else { return };
        let Some(placed) = self.places.there.get(&*owner.uid) else {
            return;
        };
        let value = pod.json();
        // A pod has the form of a template.
        let is_its = image_of(&value) == image_of(&placed.template);
        let first = placed.start + placed.partition;
        let is_below = placed.now == placed.partition && ordinal(&pod.meta.name).is_some_and(|ordinal| ordinal < first);
        if is_its && is_below {
            let what = format!("pod {} got the template before a verdict", pod.meta.name);
            let name = placed.kanary.clone();
            self.violated(Invariant::Exposed, event.at, &name, &what);
        }
    }

    /// What runs in place that have ended have left, by the name of their Kanary.
    pub(super) fn left_in_place(&self, cluster: &Cluster) -> Vec<(String, String)> {
        let mut left = Vec::new();
        for placed in self.places.there.values() {
            let uid = placed.marker.split('/').next().unwrap_or_default();
            let hostile = self.truth(&placed.kanary).hostile;
            let is_over = |book: &Book| {
                // A spec that is not valid keeps the canary, whatever it asks for.
                let fails = Phase::of(&book.status) == Phase::Failed;
                goes(book) || fails || !hostile && is_ended(book, &placed.marker)
            };
            if self.books.get(uid).is_none_or(is_over) {
                left.push((placed.kanary.clone(), "its target still runs it in place".to_owned()));
            }
        }
        for book in self.books.values().filter(|book| !book.deleted) {
            let finalizers = book.object["metadata"]["finalizers"].as_array();
            let is_held = finalizers
                .into_iter()
                .flatten()
                .any(|finalizer| finalizer == IN_PLACE_FINALIZER);
            if is_held && self.is_over(&book.name) {
                left.push((book.name.clone(), "it is still held".to_owned()));
            }
        }
        for (name, truth) in self.truths.iter().filter(|(_, truth)| truth.ends_whole) {
            let target = cluster.objects("statefulsets.apps", Some(NAMESPACE));
            let target = target.iter().find(|set| set.meta.name == truth.target);
            let Some(target) = target.filter(|_| self.is_over(name)) else {
                continue;
            };
            let wanted = image(&target.json()["spec"]);
            for pod in cluster.objects("pods", Some(NAMESPACE)) {
                let is_its = pod.meta.controller().is_some_and(|owner| owner.uid == target.meta.uid);
                let runs = image_of(&pod.json()) == wanted.as_str();
                if is_its && !runs {
                    left.push((name.clone(), format!("pod {} does not run {wanted}", pod.meta.name)));
                }
            }
        }
        left
    }
}

/// The template that a target gets back: the former one, with the annotations that somebody has added since.
fn restored(placed: &Placed, live: &Value) -> Value {
    let mut wanted = placed.former.clone();
    let tried = &placed.template["metadata"]["annotations"];
    let annotations = live["metadata"]["annotations"].as_object();
    for (name, value) in annotations
        .into_iter()
        .flatten()
        .filter(|(name, value)| tried[name] != **value)
    {
        wanted["metadata"]["annotations"][name] = value.clone();
    }
    wanted
}

/// What of a run is not stored, as it has to be before the target is written.
fn not_stored(book: &Book, run: &str, old: &Value, new: &Value) -> Option<&'static str> {
    let Some(stored) = book.status.in_place.as_deref().filter(|stored| stored.run == run) else {
        return Some("is not stored in its status");
    };
    let finalizers = book.object["metadata"]["finalizers"].as_array();
    let mut finalizers = finalizers.into_iter().flatten();
    if book.deleted || !finalizers.any(|finalizer| finalizer == IN_PLACE_FINALIZER) {
        return Some("nothing holds");
    }
    let is_true = stored.target_uid == named(old, "uid")
        && old["metadata"]["generation"] == stored.generation
        && partition(old) == i64::from(stored.former_partition)
        && partition(new) == i64::from(stored.partition);
    (!is_true).then_some("has something else in its status")
}

fn goes(book: &Book) -> bool {
    book.deleted || book.object["metadata"]["deletionTimestamp"].is_string()
}

/// Whether a run has failed, or its Kanary no longer asks for it.
fn is_ended(book: &Book, run: &str) -> bool {
    let number = run.rsplit('-').next().and_then(|number| number.parse().ok());
    let is_present = number == Some(book.status.run.unwrap_or(1));
    let elsewhere = asked(&book.object).is_none();
    goes(book) || elsewhere || !is_present || Phase::of(&book.status) == Phase::Failed
}
