//! Runs in place: the pods of the target from a partition on run the template. Nothing is created. Decisions see these pods as a
//! canary, which no write can reach by its name and uid.

use jiff::{SignedDuration, Timestamp};

use super::{
    decision::{Need, ObjectKind},
    kanary::ParsedKanary,
    observation::{Likeness, Observation, Pod, Promotion, SetView, Stray, Versions, Workload},
    workload,
};
use crate::api::{InPlace, KanaryStatus, names};

/// The labels of the pods are read again after this time: no watch reports them.
const READ_AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// What somebody did to a target that has another template than the run wrote.
pub(super) const ANOTHER_TEMPLATE: &str = "got another pod template";

/// What somebody did to a target that may have nothing of the run any more.
pub(super) const CREATED_AGAIN: &str = "was deleted and created again";

/// End of the uid of what is shown as a canary. No object has such a uid.
const SHOWN: &str = "/in-place";

/// Shows the pods of the target that run the template as the canary, if the spec asks for a run in place. A canary beside the target
/// is then one that nobody asks for, and so is its autoscaler.
pub fn complete(kanary: &ParsedKanary, seen: &mut Observation) {
    let spec = &kanary.spec;
    if spec.scale.in_place().is_none() {
        return;
    }
    let autoscalers = [
        (ObjectKind::HorizontalPodAutoscaler, seen.hpa.take()),
        (ObjectKind::ScaledObject, seen.scaled_object.take()),
    ];
    let former = autoscalers.into_iter().filter_map(|(object, autoscaler)| {
        let autoscaler = autoscaler.filter(|found| found.owner.as_ref() == Some(&kanary.uid) && !found.deleting)?;
        Some(Stray {
            object,
            name: spec.canary.name.clone(),
            uid: autoscaler.uid,
        })
    });
    seen.strays.extend(former);
    let canary = seen.canary.take();
    if !canary.as_ref().is_some_and(|canary| canary.uid.ends_with(SHOWN)) {
        seen.other_pods.append(&mut seen.pods);
        let beside = canary.filter(|canary| kanary.owns(canary, seen.created.as_ref()) && !canary.deleting);
        seen.strays.extend(beside.map(|canary| Stray {
            object: ObjectKind::Workload(spec.canary.kind),
            name: spec.canary.name.clone(),
            uid: canary.uid,
        }));
    }
    let shown = begun(kanary, seen).map(|(record, target)| {
        let pods = of_run(record, target, seen);
        let mut canary = shown(kanary, record, target);
        workload::complete(spec.target.kind, &mut canary, &pods);
        // Pods that ran the same template before are not replaced, so what counts is when the run is known to have begun.
        let is_known = record.template_hash.is_some();
        canary.available_since = canary
            .available_since
            .filter(|_| is_known)
            .map(|since| since.max(record.since));
        (canary, pods)
    });
    (seen.canary, seen.pods) = shown.map_or_else(Default::default, |(canary, pods)| (Some(canary), pods));
}

fn of_run(record: &InPlace, target: &Workload, seen: &Observation) -> Vec<Pod> {
    let first = target
        .set
        .as_ref()
        .map_or(0, |set| set.start)
        .saturating_add(record.partition);
    let pods = seen.revised.iter().flat_map(|known| &known.pods);
    let is_of_run = |pod: &&Pod| ordinal(&pod.name).is_some_and(|ordinal| ordinal >= first);
    pods.filter(is_of_run).cloned().collect()
}

/// The number of a pod of a StatefulSet.
fn ordinal(pod: &str) -> Option<i32> {
    pod.rsplit_once('-')?.1.parse().ok()
}

fn shown(kanary: &ParsedKanary, record: &InPlace, target: &Workload) -> Workload {
    let spec = &kanary.spec;
    let mut labels = target.labels.clone();
    labels.insert(names::RUN.to_owned(), kanary.run(spec));
    let replicas = target.replicas.saturating_sub(record.partition).max(0);
    Workload {
        uid: format!("{}{SHOWN}", target.uid),
        created: record.since,
        owner: Some(kanary.uid.clone()),
        labels,
        pod_labels: target.pod_labels.clone(),
        replicas,
        template_hash: target.template_hash.clone(),
        target_hash: Some(record.former_hash.clone()),
        traffic: kanary.traffic_of_run(spec).map(str::to_owned),
        versions: Versions::One,
        replica_failure: target.replica_failure.clone(),
        set: target.set.as_ref().map(|set| {
            Box::new(SetView {
                replicas,
                whole: true,
                min_ready: set.min_ready,
                ..SetView::default()
            })
        }),
        ..Workload::default()
    }
}

/// The target and what is stored about it, if some of its pods run the template of the present run.
fn begun<'a>(kanary: &'a ParsedKanary, seen: &'a Observation) -> Option<(&'a InPlace, &'a Workload)> {
    let record = of_present_run(kanary)?;
    let target = target(record, seen)?;
    (target.promoted_by.as_ref() == Some(&record.begun())).then_some((record, target))
}

/// What is stored of the present run.
pub(super) fn of_present_run(kanary: &ParsedKanary) -> Option<&InPlace> {
    let record = kanary.status.in_place.as_deref();
    record.filter(|record| record.run == kanary.marker(&kanary.spec))
}

/// The target that the stored run is about, or a copy of it that somebody created in mid-run.
pub(super) fn target<'a>(record: &InPlace, seen: &'a Observation) -> Option<&'a Workload> {
    let target = seen.target.as_ref();
    let is_copy = |target: &Workload| {
        let by = target.promoted_by.as_ref();
        by == Some(&record.begun()) || by == Some(&record.undone())
    };
    target.filter(|target| !target.deleting && (target.uid == record.target_uid || is_copy(target)))
}

/// The partition of a target, if it has one.
pub(super) fn partition(target: &Workload) -> Option<i32> {
    let set = target.set.as_ref().filter(|set| !set.on_delete)?;
    Some(set.partition)
}

/// Whether the template of a target is the one that the run wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ours {
    Yes,
    No,
    Unclear(Need),
}

/// Hash of the template that the stored run wrote, as the API server stored it, if it is known.
#[must_use]
pub fn written<'a>(kanary: &'a ParsedKanary, seen: &'a Observation) -> Option<&'a String> {
    let record = kanary.status.in_place.as_deref()?;
    let remembered = match &seen.promotion {
        Promotion::Done { template_hash, .. } => of_present_run(kanary).map(|_| template_hash),
        _ => None,
    };
    record.template_hash.as_ref().or(remembered)
}

/// Whether the template of the target is the one of the stored run, whose annotation it has.
pub(super) fn ours(kanary: &ParsedKanary, seen: &Observation, (record, target): (&InPlace, &Workload)) -> Ours {
    let is_present = of_present_run(kanary).is_some();
    if let Some(hash) = written(kanary, seen) {
        return if *hash == target.template_hash {
            Ours::Yes
        } else {
            Ours::No
        };
    }
    if target.generation == record.generation.saturating_add(1) {
        // The write was the only change of the spec.
        return Ours::Yes;
    }
    if !is_present || !kanary.spec.is_sound() {
        // Nothing says how the API server stored the template of a former run.
        return Ours::No;
    }
    let Some(live) = &seen.live_target else {
        return Ours::Unclear(Need::LiveTarget);
    };
    match seen.likeness {
        Likeness::Unasked => Ours::Unclear(Need::SameTemplate),
        Likeness::Same | Likeness::Unknown if live.template_hash == target.template_hash => Ours::Yes,
        _ => Ours::No,
    }
}

/// Brings what is stored up to date with the target.
pub(super) fn follow(kanary: &ParsedKanary, seen: &Observation, now: Timestamp, status: &mut KanaryStatus) {
    let Some(record) = status.in_place.as_mut() else { return };
    let Some(target) = target(record, seen) else { return };
    let by = target.promoted_by.as_ref();
    if by == Some(&record.begun()) && ours(kanary, seen, (&**record, target)) == Ours::Yes {
        if record.template_hash.is_none() {
            record.since = now;
        }
        record.template_hash = Some(target.template_hash.clone());
        status.promoted_hash.clone_from(&record.template_hash);
    } else if by == Some(&record.run) {
        status.in_place = None;
    } else if by == Some(&record.undone()) {
        (status.in_place, status.promoted_hash) = (None, None);
    }
}

/// What somebody else changed in the target, so that the run can neither go on nor be promoted.
///
/// # Errors
///
/// A read is needed first.
pub(super) fn changed(kanary: &ParsedKanary, seen: &Observation) -> Result<Option<&'static str>, Need> {
    let Some(record) = of_present_run(kanary) else {
        return Ok(None);
    };
    let Some(target) = seen.target.as_ref().filter(|target| !target.deleting) else {
        return Ok(None);
    };
    let by = target.promoted_by.as_ref();
    let was_begun = record.template_hash.is_some() || by == Some(&record.begun());
    let what = if target.uid != record.target_uid {
        was_begun.then_some(CREATED_AGAIN)
    } else if by == Some(&record.begun()) {
        match ours(kanary, seen, (record, target)) {
            Ours::Unclear(need) => return Err(need),
            Ours::No => Some(ANOTHER_TEMPLATE),
            Ours::Yes => interfered(record, target),
        }
    } else if by == Some(&record.run) || by == Some(&record.undone()) {
        None
    } else {
        was_begun.then_some("lost the annotation of this run")
    };
    if what.is_some() && !seen.target_confirmed {
        return Err(Need::Target);
    }
    Ok(what)
}

/// What somebody did to the pods, without another template.
fn interfered(record: &InPlace, target: &Workload) -> Option<&'static str> {
    let set = target.set.as_ref()?;
    let is_another = record
        .template_hash
        .as_ref()
        .is_some_and(|hash| *hash != record.former_hash);
    if set.on_delete {
        Some("got the updateStrategy OnDelete")
    } else if set.partition != record.partition {
        Some("got another partition")
    } else if set.forgets {
        Some("got revisionHistoryLimit 0")
    } else {
        // Kubernetes then calls the template of the run the current one, and gives it to all pods that it creates.
        (set.at_rest && is_another).then_some("was scaled to 0")
    }
}

/// The read of the pods that run the template, if they may have changed since the last one. A spec that asks for no run in place
/// asks for none of its pods.
pub(super) fn unread(kanary: &ParsedKanary, seen: &Observation, now: Timestamp) -> Option<Need> {
    kanary.spec.scale.in_place()?;
    let (_, target) = begun(kanary, seen)?;
    let revision = target.set.as_ref()?.revision.as_ref()?;
    let known = seen.revised.as_ref().map(|known| &known.revision);
    let is_old = look_again(kanary, seen).is_some_and(|at| at <= now);
    (known != Some(revision) || is_old).then_some(Need::RevisedPods)
}

/// When the labels of the pods are read again, if they are judged.
pub(super) fn look_again(kanary: &ParsedKanary, seen: &Observation) -> Option<Timestamp> {
    if !kanary.spec.validation.judges_pods() {
        return None;
    }
    let read = seen.revised.as_ref()?.at;
    read.checked_add(READ_AGAIN).ok()
}
