//! Runs in place: the pods of a target from an ordinal on, as the canary of a run.

use jiff::Timestamp;
use kanary_sim::{cluster::Event, object::Object};
use serde_json::Value;

use super::{
    Evidence,
    canaries::{Canary, Pod},
    kanaries::Kanary,
    rough::ROUGH,
    spans::{Spans, Timeline},
    template::runs,
    verdict::{Finding, Write},
};
use crate::checker::Invariant;

/// The pods of a target that run the template of a Kanary.
pub(super) struct Placed {
    /// The canary that they are.
    canary: String,
    /// The lowest ordinal.
    first: i64,
    /// The number of pods that run the template, once all do.
    wanted: i64,
    partition: i64,
}

/// A number in the spec of a StatefulSet, or 0.
fn number(set: &Value, pointer: &str) -> i64 {
    set.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// The lowest ordinal that runs the newest template.
pub(in crate::checker) fn partition(set: &Value) -> i64 {
    number(set, "/spec/updateStrategy/rollingUpdate/partition")
}

/// The ordinal of a pod.
pub(in crate::checker) fn ordinal(pod: &str) -> Option<i64> {
    pod.rsplit_once('-')?.1.parse().ok()
}

impl Evidence {
    /// Records that a run of a Kanary gave some pods of a target its template. Returns what speaks against that.
    pub(in crate::checker) fn begin_in_place(
        &mut self,
        (uid, run): (&str, &str),
        target: (&Object, &Value),
        write: &Write,
    ) -> Vec<Finding> {
        let (object, set) = target;
        let canary = format!("{}/{uid}/{run}", object.meta.uid);
        let partition = partition(set);
        self.canaries.insert(
            canary.clone(),
            Canary {
                owner: uid.to_owned(),
                name: object.meta.name.clone(),
                run: run.to_owned(),
                created: write.at,
                templates: Timeline::from(write.at, set["spec"]["template"].clone()),
                labels: Timeline::from(write.at, object.meta.labels.clone()),
                whole: Spans::default(),
                gone: None,
                pods: Vec::new(),
                in_place: true,
            },
        );
        let placed = Placed {
            canary,
            first: number(set, "/spec/ordinals/start") + partition,
            wanted: number(set, "/spec/replicas") - partition,
            partition,
        };
        self.placed.insert(object.meta.uid.clone(), placed);
        // Pods that run the same template already are not replaced.
        let there: Vec<_> = self.set_pods.values().cloned().collect();
        for pod in there {
            let owner = pod.meta.controller().filter(|owner| owner.uid == object.meta.uid);
            if let Some(canary) = owner.and_then(|owner| self.placed(&pod, &owner.uid)).cloned() {
                self.note_pod(&pod, Some(canary), true, write.at);
            }
        }
        self.count_placed(&object.meta.uid, write.at);
        let known = write.sent - self.rough.lag(write.at);
        let gone = self.kanaries.get(uid).and_then(|kanary| kanary.gone);
        let is_gone = gone.is_some_and(|gone| gone < known);
        let late = || (Invariant::Verdict, "it began after its Kanary was deleted".to_owned());
        is_gone.then(late).into_iter().collect()
    }

    /// Records that the run of a target is over.
    pub(in crate::checker) fn end_in_place(&mut self, target: &str, at: Timestamp) {
        let placed = self.placed.remove(target);
        if let Some(canary) = placed.and_then(|placed| self.canaries.get_mut(&placed.canary)) {
            canary.gone.get_or_insert(at);
            canary.whole.set(at, false);
        }
    }

    /// Since when all pods of a run first ran its template and were ready.
    pub(in crate::checker) fn first_whole(&self, uid: &str, run: &str) -> Option<Timestamp> {
        let canaries = self.canaries.values();
        let mut of_run = canaries.filter(|canary| canary.in_place && canary.owner == uid && canary.run == run);
        of_run.next_back()?.whole.first()
    }

    /// Records a change of a target with pods that run the template of a Kanary.
    pub(super) fn look_at_placed(&mut self, event: &Event, object: &Object) {
        let Some(placed) = self.placed.get_mut(&object.meta.uid) else {
            return;
        };
        let (set, at) = (object.json(), event.at);
        placed.wanted = number(&set, "/spec/replicas") - placed.partition;
        if let Some(canary) = self.canaries.get_mut(&placed.canary) {
            canary.templates.push(at, set["spec"]["template"].clone());
            canary.labels.push(at, object.meta.labels.clone());
        }
        self.count_placed(&object.meta.uid, at);
    }

    /// The canary that a pod of a workload belongs to because it runs the template of a run in place.
    pub(super) fn placed(&self, pod: &Object, workload: &str) -> Option<&String> {
        let placed = self.placed.get(workload)?;
        let template = self.canaries.get(&placed.canary)?.templates.first()?;
        let typed = pod.typed::<k8s_openapi::api::core::v1::Pod>()?;
        let containers = &typed.spec.as_ref()?.containers;
        let is_of_run = ordinal(&pod.meta.name)? >= placed.first && runs(containers, template);
        is_of_run.then_some(&placed.canary)
    }

    /// Records whether all pods of a run in place are ready.
    pub(super) fn count_placed(&mut self, target: &str, at: Timestamp) {
        let Some(placed) = self.placed.get(target) else { return };
        let Some(canary) = self.canaries.get(&placed.canary) else {
            return;
        };
        let is_there = |pod: &&Pod| pod.there.since(at).is_some();
        let ready: Vec<_> = self
            .pods_of(canary)
            .filter(is_there)
            .filter_map(|pod| pod.ready.since(at))
            .collect();
        let is_whole = placed.wanted > 0 && i64::try_from(ready.len()) == Ok(placed.wanted);
        let since = ready.into_iter().max().filter(|_| is_whole).unwrap_or(at);
        let canary = placed.canary.clone();
        if let Some(canary) = self.canaries.get_mut(&canary) {
            canary.whole.set(since, is_whole);
        }
    }

    /// When a run in place that is over or no longer wanted kept its template in the target.
    pub(super) fn kept_in_place(
        &self,
        canary: &Canary,
        since: Timestamp,
        now: Timestamp,
    ) -> Option<(Timestamp, Timestamp)> {
        let first = canary.templates.first()?;
        let kept = canary.templates.within(since, canary.gone.unwrap_or(now));
        let kept: Vec<_> = kept
            .filter(|(_, template)| *template == first)
            .map(|(span, _)| span)
            .collect();
        let fair = self.rough.fair(&kept).into_iter();
        fair.max_by_key(|(from, until)| until.duration_since(*from))
    }
}

impl Kanary {
    /// Since when a run in place is no longer wanted, because of an edit that began another run or asks for another scale.
    pub(super) fn given_up_since(&self, run: i64, now: Timestamp) -> Option<Timestamp> {
        let next = self.runs.contains_key(&(run + 1));
        let next = next.then(|| self.written(self.first_of(run + 1).1));
        let first = self.runs.get(&run)?.first;
        let elsewhere = |spec: &Value| !spec["scale"]["inPlace"].is_object();
        let mut others = self.when((self.written(first), now), elsewhere).into_iter();
        let others = others.find(|(from, until)| until.duration_since(*from) > ROUGH);
        [next, others.map(|(from, _)| from)].into_iter().flatten().min()
    }
}
