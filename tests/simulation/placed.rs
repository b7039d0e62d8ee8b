//! StatefulSets in place: some pods of the target run the template. Storms have what their users, their autoscalers and their tools
//! do in mid-run.

mod matrix;
mod mutants;

use std::time::Duration;

use jiff::SignedDuration;
use kanary_core::api::names::PROMOTED_BY;
use kanary_sim::admission::{Attempt, Effect, Policy};
use kube::api::ListParams;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    asked,
    case::{Act, Case, End, Maker, failed, merge, template},
    history::image,
    kinds::Kind,
    scenario::Scenario,
    sets, storm,
    target_kinds::TargetKind,
    user::any_of,
    world::World,
};

/// Number of seeds in a plain `cargo test`.
const SEEDS: u64 = 2;

/// How long a controller waits until it sends a refused write again.
const REFUSED: Duration = Duration::from_mins(5);

/// Cases that only runs in place have.
pub(crate) const OWN: &[Kind] = &[
    scaled,
    scaled,
    scaled_and_edited,
    resized,
    too_few,
    restarted,
    hotfixed,
    repartitioned,
    partitioned,
    reverted,
    unannotated,
    refused,
    removed,
    deleted,
    never_ready,
    loses_a_pod,
];

/// Whether a Kanary asks for a run in place at first.
pub(crate) fn is_in_place(case: &Case) -> bool {
    case.manifest["spec"]["scale"]["inPlace"].is_object()
}

/// Makes the target a StatefulSet and the run one in place, if the case has a target and nothing that needs a canary beside it.
pub(crate) fn shape(rng: &mut fastrand::Rng, case: &mut Case) {
    sets::shape(rng, case);
    if case.truth.hostile {
        (case.manifest["spec"]["rollout"], case.manifest["spec"]["traffic"]) = (Value::Null, Value::Null);
        case.manifest["spec"]["scale"] = Value::Null;
    }
    let (spec, truth) = (&case.manifest["spec"], &case.truth);
    let has_scale = !spec["scale"].is_null() && !spec["scale"]["static"].is_object();
    let has_traffic = !matches!(spec["traffic"]["source"].as_str(), None | Some("none" | "service"));
    let of_canary = |(_, act): &(Duration, Act)| matches!(act, Act::DeleteCanary | Act::PatchCanary(_));
    let image = image(&spec["template"]["spec"]);
    let sticks = ["-never-ready", "-crash"].iter().any(|suffix| image.ends_with(suffix)) && !truth.hostile;
    let is_kept = truth.retain || truth.dry_run || truth.promote_over;
    if has_scale || has_traffic || sticks || is_kept || !case.has_target || case.acts.iter().any(of_canary) {
        return;
    }
    let pods = rng.u8(1..=2);
    case.truth.ends_whole = !truth.shared && !truth.hostile && !truth.rollback;
    size(case, pods, pods + rng.u8(1..=2));
}

/// Sets the number of pods that run the template, and of all pods.
fn size(case: &mut Case, pods: u8, replicas: u8) {
    case.manifest["spec"]["scale"] = json!({"inPlace": {"replicas": pods}});
    merge(&mut case.target_patch, &json!({"spec": {"replicas": replicas}}));
}

fn placed(make: &mut Maker<'_>, what: &'static str, ends: &[End]) -> Case {
    TargetKind::in_place().case(make, what, ends)
}

/// Its run fails once its time is over.
fn fails(case: &mut Case) {
    let items = json!([{"manual": {"statusAfterDeadline": "invalid"}}]);
    case.manifest["spec"]["validation"]["items"] = items;
    *case = case.clone().bad();
}

fn replicas(number: u8) -> Act {
    Act::PatchTarget(json!({"spec": {"replicas": number}}))
}

/// An autoscaler scales the target up and down. Some of the time, no pod may run the template.
fn scaled(make: &mut Maker<'_>) -> Case {
    let is_bad = make.rng.u8(..3) == 0;
    let ends = if is_bad { failed("ManualInvalid") } else { End::Updated };
    let mut case = placed(make, "is scaled", &[ends]);
    if is_bad {
        fails(&mut case);
    }
    let mut after = Duration::ZERO;
    for _ in 0..make.rng.u8(1..=3) {
        after += make.seconds(1, 20);
        case = case.clone().then(after, replicas(make.rng.u8(1..=4)));
    }
    // More than at any time before, so that some pods are above any partition.
    case.then(after + make.seconds(2, 30), replicas(5))
}

/// The target is scaled just before its Kanary gets another template or is deleted, so that a controller may see both at once.
fn scaled_and_edited(make: &mut Maker<'_>) -> Case {
    let deletes = make.rng.bool();
    let end = if deletes { End::Deleted } else { End::Updated };
    let mut case = placed(make, "is scaled and edited", &[end]);
    size(&mut case, 1, 3);
    let when = make.seconds(1, 30);
    let next = template(&case.app, &make.image(2));
    let edit = if deletes {
        Act::Delete
    } else {
        Act::Patch(json!({"spec": {"template": {"spec": {"template": next}}}}))
    };
    let case = case.with(|truth| truth.edited = true).then(when, replicas(4));
    case.then(when + Duration::from_millis(make.rng.u64(5..500)), edit)
}

/// The Kanary asks for another number of pods.
fn resized(make: &mut Maker<'_>) -> Case {
    let mut case = placed(make, "asks for another number of pods", &[End::Updated]);
    size(&mut case, make.rng.u8(1..=3), 4);
    let other = json!({"spec": {"scale": {"inPlace": {"replicas": make.rng.u8(1..=3)}}}});
    case.then(make.seconds(1, 40), Act::Patch(other))
}

/// The target has too few pods at first.
fn too_few(make: &mut Maker<'_>) -> Case {
    let mut case = placed(make, "has too few pods at first", &[End::Updated]);
    size(&mut case, 2, 2);
    let when = make.seconds(5, 60);
    case.then(when, replicas(make.rng.u8(3..=4)))
}

fn strategy(strategy: &Value) -> Act {
    Act::PatchTarget(json!({"spec": {"updateStrategy": strategy}}))
}

/// Somebody changes the partition or the strategy in mid-run.
fn repartitioned(make: &mut Maker<'_>) -> Case {
    let ends = [failed("TargetChanged"), End::Updated, End::Promoting, End::Errored];
    let case = placed(make, "gets another partition", &ends);
    let other = match make.rng.u8(..4) {
        3 => json!({"type": "OnDelete", "rollingUpdate": null}),
        partition => json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}),
    };
    let case = case.with(|truth| (truth.shared, truth.ends_whole) = (true, false));
    case.then(make.seconds(1, 60), strategy(&other))
}

/// Somebody restarts the target in mid-run, as `kubectl rollout restart` does, which adds to its template.
fn restarted(make: &mut Maker<'_>) -> Case {
    let ends = [failed("TargetChanged"), End::Updated];
    let case = placed(make, "is restarted", &ends);
    let now = json!({"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}});
    let case = case.with(|truth| (truth.shared, truth.ends_whole) = (true, true));
    case.then(
        make.seconds(1, 60),
        Act::PatchTarget(json!({"spec": {"template": now}})),
    )
}

/// Somebody writes another image, or a variable beside the image of the run. What the target has then is wholly theirs or wholly former.
fn hotfixed(make: &mut Maker<'_>) -> Case {
    let ends = [failed("TargetChanged"), End::Updated];
    let mut case = placed(make, "is hotfixed", &ends);
    let deletes = make.rng.u8(..4) == 0;
    if deletes {
        case.truth.ends = vec![End::Deleted];
    }
    let hotfix = format!("{}:hotfix", case.app);
    let pinned = format!("{}@sha256", image(&case.manifest["spec"]["template"]["spec"]));
    let change = match make.rng.u8(..3) {
        0 => json!([{"name": "main", "image": hotfix}]),
        1 => json!([{"name": "main", "image": pinned}]),
        _ => json!([{"name": "main", "image": pinned}, {"name": "sidecar", "image": hotfix}]),
    };
    let when = make.seconds(1, 60);
    let theirs = json!({"spec": {"template": {"spec": {"containers": change}}}});
    let case = case.with(|truth| (truth.shared, truth.ends_whole) = (true, true));
    let case = case.then(when, Act::PatchTarget(theirs));
    if deletes {
        return case.then(when + Duration::from_millis(make.rng.u64(5..2000)), Act::Delete);
    }
    case
}

/// The partition that the target has before the run is there again after it.
fn partitioned(make: &mut Maker<'_>) -> Case {
    let is_over = make.rng.bool();
    let end = if is_over { End::Updated } else { End::Promoting };
    let mut case = placed(make, "has a partition of its own", &[end]);
    size(&mut case, make.rng.u8(1..=2), 4);
    let own = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}});
    sets::strategy(&mut case, &own);
    case.truth.ends_whole = false;
    if is_over {
        return case.then(make.seconds(20, 60), Act::RollOut);
    }
    case
}

/// A GitOps tool applies the former template every few seconds.
fn reverted(make: &mut Maker<'_>) -> Case {
    let ends = [failed("TargetChanged"), End::Updated];
    let mut case = placed(make, "gets its former template from a tool", &ends);
    let former = template(&case.app, &format!("{}:v1", case.app));
    let mut after = make.seconds(1, 20);
    for _ in 0..6 {
        let apply = Act::PatchTarget(json!({"spec": {"template": former}}));
        case = case.clone().then(after, apply);
        after += make.seconds(4, 12);
    }
    case.with(|truth| (truth.shared, truth.ends_whole) = (true, false))
}

/// Somebody removes the annotation by which a controller knows its run.
fn unannotated(make: &mut Maker<'_>) -> Case {
    let ends = [failed("TargetChanged"), failed("ManualInvalid")];
    let mut case = placed(make, "loses its annotation", &ends);
    fails(&mut case);
    case.then(make.seconds(3, 30), Act::Unannotate)
}

/// A policy refuses writes of the target for a while.
fn refused(make: &mut Maker<'_>) -> Case {
    let is_bad = make.rng.u8(..4) > 0;
    let end = if is_bad { failed("ManualInvalid") } else { End::Updated };
    let mut case = placed(make, "its target may not be written for a while", &[end]);
    if is_bad {
        fails(&mut case);
    }
    let long = make.seconds(5, 60);
    case.truth.obstructed = SignedDuration::try_from(long + REFUSED).unwrap();
    let code = [403, 409, 422, 500][make.rng.usize(..4)];
    case.then(make.seconds(1, 60), Act::Refuse(long, code))
}

/// The Kanary asks for a canary beside the target from some time on.
fn removed(make: &mut Maker<'_>) -> Case {
    let case = placed(make, "no longer runs in place", &[End::Updated]);
    let beside = json!({"spec": {"scale": {"inPlace": null, "static": {"replicas": 1}}}});
    case.then(make.seconds(1, 40), Act::Patch(beside))
}

/// The Kanary is deleted in mid-run.
fn deleted(make: &mut Maker<'_>) -> Case {
    let case = placed(make, "is deleted in place", &[End::Deleted]);
    case.then(make.seconds(1, 60), Act::Delete)
}

/// A pod that never becomes ready stays, also with the former template, until its user deletes it.
fn never_ready(make: &mut Maker<'_>) -> Case {
    make.suffix = "-never-ready";
    let is_deleted = make.rng.bool();
    let end = if is_deleted {
        End::Deleted
    } else {
        failed("ProgressDeadlineExceeded")
    };
    let mut case = placed(make, "is never ready in place", &[end]).bad();
    size(&mut case, 1, 2);
    case.manifest["spec"]["rollout"] = json!({"progressDeadline": "25s"});
    case.truth.ends_whole = true;
    if is_deleted {
        case = case.then(make.seconds(3, 20), Act::Delete);
    }
    case.then(Duration::from_secs(30), Act::DeleteStuck)
}

/// A pod that runs the template is deleted in mid-run.
fn loses_a_pod(make: &mut Maker<'_>) -> Case {
    let case = placed(make, "loses a pod in place", &[End::Updated]);
    case.then(make.seconds(3, 40), Act::DeletePod)
}

/// The pods of the target whose image has this beginning and end.
async fn pods_with(world: &World, case: &Case, (begin, end): (&str, &str)) -> Vec<String> {
    let of_target = ListParams::default().labels(&format!("app={}", case.app));
    let pods = world.api("Pod").list(&of_target).await.unwrap().items.into_iter();
    let there = pods.filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let runs = there.filter(|pod| {
        let image = pod.data["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
        image.starts_with(begin) && image.ends_with(end)
    });
    runs.filter_map(|pod| pod.metadata.name).collect()
}

/// A pod of the canary of a case.
pub(crate) async fn canary_pod(world: &World, case: &Case) -> Option<String> {
    if !is_in_place(case) {
        return any_of(world, "Pod", &case.name).await;
    }
    let begin = format!("{}:{}-", case.app, case.name);
    pods_with(world, case, (&begin, "")).await.into_iter().next()
}

/// Removes the annotation of a run from its target. Returns whether the run had begun, as its status says.
pub(crate) async fn unannotates(world: &World, case: &Case) -> bool {
    let kanary = world.api(&case.kind()).get_opt(&case.name).await.unwrap();
    let begun = kanary.is_some_and(|kanary| kanary.data["status"]["inPlace"]["templateHash"].is_string());
    let none = json!({"metadata": {"annotations": {PROMOTED_BY: null}}});
    begun && world.patch(case.truth.kind.name, &case.truth.target, &none).await
}

/// Deletes the pods that never become ready, once the target has its former template. Returns whether that is done.
pub(crate) async fn deletes_stuck(world: &World, case: &Case) -> bool {
    let (kind, name) = (case.truth.kind.name, &case.truth.target);
    let target = world.api(kind).get_opt(name).await.unwrap();
    let by = target.and_then(|target| target.metadata.annotations?.remove(PROMOTED_BY));
    let by = by.unwrap_or_default();
    let is_restored = by.ends_with("/rolled-back");
    let kanary = world.api(&case.kind()).get_opt(&case.name).await.unwrap();
    if is_restored {
        for pod in pods_with(world, case, ("", "-never-ready")).await {
            world.delete("Pod", &pod).await;
        }
    }
    // A Kanary that was created again may run once more.
    let uid = kanary.and_then(|kanary| kanary.metadata.uid).unwrap_or_default();
    is_restored && by.starts_with(&uid)
}

/// Refuses writes of the target by controllers for a while.
pub(crate) fn refuse(world: &World, case: &Case, long: Duration, code: u16) {
    let (target, name) = (case.truth.target.clone(), format!("freeze-{}", case.name));
    let applies = move |attempt: &Attempt<'_>| {
        let is_write = attempt.resource == "statefulsets.apps" && attempt.verb == "update";
        is_write && attempt.name == target && attempt.user.starts_with("kanary-")
    };
    let effect = match code {
        500 => Effect::Deny(Effect::unreachable("freeze.example.com")),
        409 => Effect::Deny(Effect::denied("freeze.example.com", code, "Conflict", "not today")),
        422 => Effect::Deny(Effect::denied("freeze.example.com", code, "Invalid", "not today")),
        _ => Effect::Deny(Effect::denied("freeze.example.com", code, "Forbidden", "not today")),
    };
    let cluster = world.stack.cluster.clone();
    cluster.set_policy(Policy::new(&name, applies, effect));
    tokio::spawn(async move {
        sleep(long).await;
        cluster.remove_policy(&name);
    });
}

#[test]
fn nothing_goes_wrong_in_place() {
    let first = asked("KANARY_SEED").unwrap_or(0);
    let seeds = asked("KANARY_SEEDS").unwrap_or(SEEDS);
    let (ran, failed) = storm(Scenario::in_place, first, seeds, Duration::from_hours(1));
    assert!(failed.is_empty() && ran == seeds, "{ran} seeds: {}", failed.join("\n"));
}
