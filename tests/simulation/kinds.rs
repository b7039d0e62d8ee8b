//! The kinds of cases: all ways to validate, scale and route a canary, and to interfere with it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::case::{Act, Case, End, Maker, failed};

pub(crate) type Kind = fn(&mut Maker<'_>) -> Case;

/// Every kind.
pub(crate) const ALL: &[Kind] = &[
    passes,
    passes,
    fails,
    waits_for_a_word,
    labels_good,
    labels_bad,
    metric_good,
    metric_good,
    metric_bad,
    metric_missing,
    metric_missing_fails,
    metric_not_a_number,
    prometheus_dead,
    metric_flaky,
    dry_run,
    scheduled,
    percent,
    autoscaled,
    traffic_passes,
    traffic_passes,
    traffic_fails,
    retained,
    target_missing,
    target_changed,
    target_changed_promotes,
    target_deleted_before,
    rolled_back,
    paused,
    deleted,
    never_ready,
    crashes,
    edited_in_the_midst,
    edited_after_failure,
    retried,
    both_items,
    invalid_word,
    service_missing,
];

fn after_deadline(word: &str) -> Value {
    json!([{"manual": {"statusAfterDeadline": word}}])
}

fn metric(host: &str, case: &str, more: &Value) -> Value {
    let mut item = json!({
        "prometheusService": format!("{host}:9090"),
        "query": format!("quality{{case=\"{case}\"}}"),
        "allPodsQuery": true,
        "valueInRange": {"max": 0.5},
    });
    crate::case::merge(&mut item, more);
    json!([{"promQL": item}])
}

pub(crate) fn passes(make: &mut Maker<'_>) -> Case {
    make.case("passes", after_deadline("valid"), json!({}), &[End::Updated])
}

fn fails(make: &mut Maker<'_>) -> Case {
    make.case(
        "fails",
        after_deadline("invalid"),
        json!({}),
        &[failed("ManualInvalid")],
    )
    .bad()
}

fn waits_for_a_word(make: &mut Maker<'_>) -> Case {
    let case = make.case(
        "waits for a manual verdict",
        after_deadline("none"),
        json!({}),
        &[End::Running],
    );
    let when = make.seconds(20, 120);
    match make.rng.u8(..3) {
        0 => case.bad(),
        1 => case
            .with(|truth| truth.ends = vec![End::Updated])
            .then(when, Act::Patch(json!({"spec": {"verdict": "valid"}}))),
        _ => case
            .with(|truth| truth.ends = vec![failed("VerdictInvalid")])
            .bad()
            .then(when, Act::Patch(json!({"spec": {"verdict": "invalid"}}))),
    }
}

fn label_watch() -> Value {
    json!([{"labelWatch": {"podInvalidationLabels": {"alert": "high-cpu"}}}])
}

fn labels_good(make: &mut Maker<'_>) -> Case {
    make.case("labels stay good", label_watch(), json!({}), &[End::Updated])
}

fn labels_bad(make: &mut Maker<'_>) -> Case {
    let case = make
        .case("a pod is labelled", label_watch(), json!({}), &[failed("LabelMatched")])
        .bad();
    case.then(Duration::ZERO, Act::LabelPod)
}

fn metric_good(make: &mut Maker<'_>) -> Case {
    let items = metric("good", "good", &json!({}));
    make.case("a good metric", items, json!({}), &[End::Updated])
}

fn metric_bad(make: &mut Maker<'_>) -> Case {
    let items = metric("good", "bad", &json!({}));
    make.case("a bad metric", items, json!({}), &[failed("PromQLFailed")])
        .bad()
}

fn metric_missing(make: &mut Maker<'_>) -> Case {
    let items = metric("good", "none", &json!({}));
    make.case("no data", items, json!({}), &[End::Running]).bad()
}

fn metric_missing_fails(make: &mut Maker<'_>) -> Case {
    let items = metric("good", "none", &json!({"onNoData": "fail"}));
    // After a restart the controller does not know whether there was data before, so the run waits.
    let ends = [failed("NoData"), End::Running];
    make.case("no data fails", items, json!({}), &ends).bad()
}

fn metric_not_a_number(make: &mut Maker<'_>) -> Case {
    let items = metric("good", "nan", &json!({}));
    make.case("not a number", items, json!({}), &[End::Running]).bad()
}

fn prometheus_dead(make: &mut Maker<'_>) -> Case {
    let host = if make.rng.bool() { "dead" } else { "html" };
    let items = metric(host, "good", &json!({}));
    make.case("Prometheus does not answer", items, json!({}), &[End::Running])
        .bad()
}

fn metric_flaky(make: &mut Maker<'_>) -> Case {
    let items = metric("good", "flaky", &json!({}));
    let case = make.case("a metric with gaps", items, json!({}), &[End::Updated]);
    case.with(|truth| truth.plain = false)
}

pub(crate) fn dry_run(make: &mut Maker<'_>) -> Case {
    let how = [
        json!({"rollout": {"mode": "dry-run"}}),
        json!({"validation": {"noUpdate": true}}),
    ];
    let how = how[make.rng.usize(..2)].clone();
    let case = make.case("a dry-run", after_deadline("valid"), how, &[End::DryRun]);
    case.with(|truth| truth.dry_run = true)
}

fn scheduled(make: &mut Maker<'_>) -> Case {
    let minute = make.rng.u32(1..3);
    let spec = json!({"schedule": format!("2026-11-22T12:0{minute}:10Z")});
    make.case("scheduled", after_deadline("valid"), spec, &[End::Updated])
}

fn percent(make: &mut Maker<'_>) -> Case {
    let spec = json!({"scale": {"percent": {"value": 40}}});
    let case = make.case(
        "a percentage of the target",
        after_deadline("valid"),
        spec,
        &[End::Updated],
    );
    let (when, replicas) = (make.seconds(5, 60), make.rng.i32(1..8));
    case.then(when, Act::PatchTarget(json!({"spec": {"replicas": replicas}})))
}

pub(crate) fn autoscaled(make: &mut Maker<'_>) -> Case {
    let spec = json!({"scale": {"hpa": {"maxReplicas": 4}}});
    make.case("autoscaled", after_deadline("valid"), spec, &[End::Updated])
}

fn source(make: &mut Maker<'_>) -> Value {
    let sources = ["service", "kanary-service", "both"];
    json!({"traffic": {"source": sources[make.rng.usize(..3)]}})
}

pub(crate) fn traffic_passes(make: &mut Maker<'_>) -> Case {
    let spec = source(make);
    make.case("with traffic", after_deadline("valid"), spec, &[End::Updated])
}

pub(crate) fn traffic_fails(make: &mut Maker<'_>) -> Case {
    let spec = source(make);
    let items = metric("good", "bad", &json!({}));
    make.case("fails with traffic", items, spec, &[failed("PromQLFailed")])
        .bad()
}

fn retained(make: &mut Maker<'_>) -> Case {
    let mut spec = source(make);
    spec["rollout"] = json!({"onFailure": "retain"});
    let case = make.case(
        "fails and is retained",
        after_deadline("invalid"),
        spec,
        &[failed("ManualInvalid")],
    );
    case.bad().with(|truth| truth.retain = true)
}

pub(crate) fn target_missing(make: &mut Maker<'_>) -> Case {
    let mut case = make.case(
        "the target is missing",
        after_deadline("none"),
        json!({}),
        &[End::Updated],
    );
    case.has_target = false;
    case.with(|truth| truth.plain = false)
}

fn other_image(make: &Maker<'_>) -> Act {
    let image = format!("{}:user-{}", make.target, make.name);
    Act::PatchTarget(json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}}))
}

pub(crate) fn target_changed(make: &mut Maker<'_>) -> Case {
    let ends = [failed("TargetChanged"), End::Updated];
    let case = make.case("the target is changed", after_deadline("valid"), json!({}), &ends);
    let when = make.seconds(1, 80);
    case.with(|truth| truth.shared = true).then(when, other_image(make))
}

fn target_changed_promotes(make: &mut Maker<'_>) -> Case {
    let spec = json!({"rollout": {"onTargetChange": "promote"}});
    let ends = [End::Updated, failed("TargetChanged")];
    let case = make.case(
        "the target is changed, with promote",
        after_deadline("valid"),
        spec,
        &ends,
    );
    let when = make.seconds(1, 80);
    let case = case.with(|truth| (truth.shared, truth.promote_over) = (true, true));
    case.then(when, other_image(make))
}

fn target_deleted_before(make: &mut Maker<'_>) -> Case {
    let ends = [End::Updated, failed("TargetChanged")];
    let case = make.case("the target is replaced", after_deadline("valid"), json!({}), &ends);
    let when = make.seconds(1, 40);
    let case = case.with(|truth| (truth.shared, truth.edited) = (true, true));
    case.then(when, Act::ReplaceTarget)
}

pub(crate) fn rolled_back(make: &mut Maker<'_>) -> Case {
    let spec = json!({"rollout": {"rollbackOnFailure": true, "progressDeadline": "30s"}});
    let ends = [failed("TargetNotAvailable")];
    let mut case = make.case("is rolled back", after_deadline("valid"), spec, &ends);
    case.spoils = true;
    case.with(|truth| (truth.plain, truth.rollback, truth.shared) = (false, true, true))
}

fn paused(make: &mut Maker<'_>) -> Case {
    let case = make.case("is paused", after_deadline("valid"), json!({}), &[End::Updated]);
    let (from, long) = (make.seconds(1, 40), make.seconds(2, 60));
    let case = case.then(from, Act::Patch(json!({"spec": {"paused": true}})));
    case.then(from + long, Act::Patch(json!({"spec": {"paused": false}})))
}

fn deleted(make: &mut Maker<'_>) -> Case {
    let spec = source(make);
    let case = make.case("is deleted", after_deadline("valid"), spec, &[End::Deleted]);
    let when = make.seconds(0, 90);
    case.then(when, Act::Delete)
}

fn never_ready(make: &mut Maker<'_>) -> Case {
    make.suffix = "-never-ready";
    let spec = json!({"rollout": {"progressDeadline": "25s"}});
    let ends = [failed("ProgressDeadlineExceeded")];
    make.case("is never ready", after_deadline("valid"), spec, &ends).bad()
}

fn crashes(make: &mut Maker<'_>) -> Case {
    make.suffix = "-crash";
    let spec = json!({"rollout": {"progressDeadline": "25s"}});
    let ends = [
        failed("ProgressDeadlineExceeded"),
        End::Running,
        End::Updated,
        End::Promoting,
        End::Errored,
    ];
    let case = make.case("crashes", after_deadline("valid"), spec, &ends);
    case.with(|truth| (truth.plain, truth.shared) = (false, true))
}

fn next_version(make: &Maker<'_>, more: &Value) -> Act {
    let (target, image) = (make.target.clone(), make.image(2));
    let mut spec = json!({"template": {"spec": {"template": crate::case::template(&target, &image)}}});
    crate::case::merge(&mut spec, more);
    Act::Patch(json!({"spec": spec}))
}

fn edited_in_the_midst(make: &mut Maker<'_>) -> Case {
    let ends = [End::Updated, failed("TargetChanged")];
    let case = make.case("is edited", after_deadline("valid"), json!({}), &ends);
    let when = make.seconds(1, 90);
    let case = case.with(|truth| (truth.edited, truth.shared) = (true, true));
    case.then(when, next_version(make, &json!({})))
}

pub(crate) fn edited_after_failure(make: &mut Maker<'_>) -> Case {
    let case = make
        .case("is fixed", after_deadline("invalid"), json!({}), &[End::Updated])
        .bad();
    let when = make.seconds(60, 120);
    let better = json!({"validation": {"items": after_deadline("valid")}});
    case.with(|truth| truth.edited = true)
        .then(when, next_version(make, &better))
}

fn retried(make: &mut Maker<'_>) -> Case {
    let case = make.case("is retried", after_deadline("invalid"), json!({}), &[End::Updated]);
    let when = make.seconds(60, 120);
    let again = json!({"spec": {"retry": 1, "validation": {"items": after_deadline("valid")}}});
    case.with(|truth| truth.edited = true).then(when, Act::Patch(again))
}

fn both_items(make: &mut Maker<'_>) -> Case {
    let items = json!([
        {"manual": {"statusAfterDeadline": "valid"}},
        label_watch()[0],
        metric("good", "bad", &json!({"failureLimit": 1}))[0],
    ]);
    let case = make.case("one bad item of three", items, json!({}), &[failed("PromQLFailed")]);
    // A tolerated bad measurement is still written to the status.
    case.bad().with(|truth| truth.plain = false)
}

fn invalid_word(make: &mut Maker<'_>) -> Case {
    let items = after_deadline("none");
    let case = make
        .case("is refused by its user", items, json!({}), &[failed("ManualInvalid")])
        .bad();
    let when = make.seconds(1, 60);
    let word = json!({"spec": {"validation": {"items": [{"manual": {"status": "invalid"}}]}}});
    case.then(when, Act::Patch(word))
}

fn service_missing(make: &mut Maker<'_>) -> Case {
    let spec = json!({"serviceName": "nowhere", "traffic": {"source": "service"}});
    let case = make.case("its Service is missing", after_deadline("valid"), spec, &[End::Errored]);
    case.bad().with(|truth| truth.plain = false)
}
