//! Kanaries whose users, pods and metrics test the evidence: a controller with a bug would promote them.

use std::time::Duration;

use kanary_sim::prometheus::Labels;
use serde_json::{Value, json};

use crate::{
    case::{Act, Case, End, Maker, failed, merge},
    history::text,
    kinds::{self, Kind},
    run,
    scenario::Scenario,
    world::{NAMESPACE, World, Wrong},
};

/// Every kind.
pub(crate) const ALL: &[Kind] = &[
    each_pod_good,
    each_pod_good,
    one_pod_bad,
    bad_for_a_while,
    bad_once,
    few_samples,
    refused_in_the_midst,
    refused_while_paused,
    labelled_while_judged,
    leaves_its_word,
    takes_its_verdict_along,
    loses_a_pod,
    loses_its_canary,
    retitled,
    more_labels,
    no_alert,
    nothing_is_measured,
    kinds::traffic_passes,
    kinds::traffic_fails,
];

/// One of the pods with this image suffix fails most requests.
const ONE_BAD: &str = "-one-bad";
/// All pods with this image suffix do for a while.
const BAD_FOR_A_WHILE: &str = "-dips";

/// Provides the metrics of each pod.
pub(crate) fn measure(world: &World) {
    let cluster = world.stack.cluster.clone();
    world.stack.prometheus.script("errors_of_pods", move |_, at| {
        let pods = cluster.objects("pods", Some(NAMESPACE));
        let mut first = std::collections::BTreeSet::new();
        let measured = pods.iter().filter_map(|pod| {
            let value = pod.json();
            let image = text(&value["spec"]["containers"][0]["image"]).to_owned();
            let started = text(&value["status"]["startTime"]).parse::<jiff::Timestamp>().ok()?;
            let age = at.duration_since(started).as_secs();
            let is_first = first.insert(image.clone());
            let is_bad =
                (image.ends_with(ONE_BAD) && is_first) || (image.ends_with(BAD_FOR_A_WHILE) && (5..8).contains(&age));
            let labels = [("pod", pod.meta.name.clone()), ("image", image)];
            let labels: Labels = labels
                .map(|(name, value)| (name.to_owned(), value))
                .into_iter()
                .collect();
            Some((labels, if is_bad { 0.9 } else { 0.1 }))
        });
        measured.collect()
    });
}

fn valid() -> Value {
    json!([{"manual": {"statusAfterDeadline": "valid"}}])
}

/// An item that queries each pod every second.
fn of_pods(more: &Value) -> Value {
    let mut item = json!({
        "prometheusService": "good:9090",
        // The name of the canary identifies its measurement.
        "query": "errors_of_pods{pod=~\"{{ pods }}\", canary!=\"{{ canary.name }}\"}",
        "valueInRange": {"max": 0.5},
        "interval": "1s",
    });
    merge(&mut item, more);
    json!([{"promQL": item}])
}

fn several() -> Value {
    json!({"scale": {"static": {"replicas": 3}}})
}

fn each_pod_good(make: &mut Maker<'_>) -> Case {
    make.case("every pod is good", of_pods(&json!({})), several(), &[End::Updated])
}

pub(crate) fn one_pod_bad(make: &mut Maker<'_>) -> Case {
    make.suffix = ONE_BAD;
    let ends = [failed("PromQLFailed")];
    make.case("one pod of three is bad", of_pods(&json!({})), several(), &ends)
        .bad()
}

pub(crate) fn bad_for_a_while(make: &mut Maker<'_>) -> Case {
    make.suffix = BAD_FOR_A_WHILE;
    // A replica that is down at that time does not observe it.
    let ends = [failed("PromQLFailed"), End::Updated];
    let spec = json!({"validation": {"validationPeriod": "15s", "initialDelay": null}});
    make.case("bad for a while", of_pods(&json!({})), spec, &ends)
}

fn bad_once(make: &mut Maker<'_>) -> Case {
    make.suffix = BAD_FOR_A_WHILE;
    let items = of_pods(&json!({"failureLimit": 10}));
    let spec = json!({"validation": {"validationPeriod": "60s", "initialDelay": null}});
    let case = make.case("bad for a while, which is tolerated", items, spec, &[End::Updated]);
    case.with(|truth| truth.plain = false)
}

pub(crate) fn few_samples(make: &mut Maker<'_>) -> Case {
    let items = of_pods(&json!({"minSamples": 6}));
    make.case("six samples are needed", items, json!({}), &[End::Updated])
}

/// The verdict arrives before the run can be over.
fn refused(make: &mut Maker<'_>, what: &'static str, items: Value) -> Case {
    let spec = json!({"validation": {"validationPeriod": "25s"}});
    make.case(what, items, spec, &[failed("VerdictInvalid")]).bad()
}

fn refused_in_the_midst(make: &mut Maker<'_>) -> Case {
    let when = make.seconds(8, 20);
    let case = refused(make, "is refused during the validation", valid());
    case.then(when, Act::Patch(json!({"spec": {"verdict": "invalid"}})))
}

fn refused_while_paused(make: &mut Maker<'_>) -> Case {
    let spec = json!({"validation": {"validationPeriod": "25s"}, "traffic": {"source": "service"}});
    let case = make.case(
        "is refused while it is paused",
        valid(),
        spec,
        &[failed("VerdictInvalid")],
    );
    let case = case
        .bad()
        .then(Duration::from_secs(8), Act::Patch(json!({"spec": {"paused": true}})));
    let case = case.then(
        Duration::from_secs(10),
        Act::Patch(json!({"spec": {"verdict": "invalid"}})),
    );
    case.then(Duration::from_mins(1), Act::Patch(json!({"spec": {"paused": false}})))
}

fn labelled_while_judged(make: &mut Maker<'_>) -> Case {
    let items = json!([{"labelWatch": {"podInvalidationLabels": {"alert": "high-cpu"}}}]);
    let spec = json!({"validation": {"validationPeriod": "25s", "initialDelay": null}});
    let case = make.case(
        "a pod is labelled during the validation",
        items,
        spec,
        &[failed("LabelMatched")],
    );
    case.bad().then(Duration::from_secs(9), Act::LabelPod)
}

fn second_version(make: &Maker<'_>, more: &Value) -> Act {
    let (target, image) = (make.target.clone(), make.image(2));
    let mut spec = json!({"template": {"spec": {"template": crate::case::template(&target, &image)}}});
    merge(&mut spec, more);
    Act::Patch(json!({"spec": spec}))
}

fn leaves_its_word(make: &mut Maker<'_>) -> Case {
    let items = json!([{"manual": {"statusAfterDeadline": "none"}}]);
    let spec = json!({"validation": {"validationPeriod": "8s", "initialDelay": null}, "verdict": "valid"});
    let mut case = make.case("its former verdict stays", items, spec, &[End::Running]);
    let image = make.image(2);
    let when = make.seconds(60, 90);
    case.truth.bad_images.insert(image);
    // A verdict that no controller has observed before is equivalent to one that arrives with the template.
    case.with(|truth| truth.edited = true)
        .then(when, Act::AwaitEnd)
        .then(when, second_version(make, &json!({})))
}

fn takes_its_verdict_along(make: &mut Maker<'_>) -> Case {
    let items = json!([{"manual": {"statusAfterDeadline": "none"}}]);
    let spec = json!({"validation": {"validationPeriod": "8s", "initialDelay": null}});
    let case = make.case("a verdict arrives with the template", items, spec, &[End::Updated]);
    let when = make.seconds(30, 60);
    let edit = second_version(make, &json!({"verdict": "valid"}));
    case.with(|truth| truth.edited = true).then(when, edit)
}

fn loses_a_pod(make: &mut Maker<'_>) -> Case {
    let case = make.case("loses a pod", valid(), several(), &[End::Updated]);
    let when = make.seconds(5, 20);
    case.then(when, Act::DeletePod)
}

fn loses_its_canary(make: &mut Maker<'_>) -> Case {
    let case = make.case("loses its canary", valid(), json!({}), &[End::Updated]);
    let when = make.seconds(5, 20);
    case.then(when, Act::DeleteCanary)
}

fn retitled(make: &mut Maker<'_>) -> Case {
    let spec = json!({"validation": {"validationPeriod": "25s"}});
    let case = make.case(
        "its canary gets another image",
        valid(),
        spec,
        &[failed("CanaryChanged")],
    );
    let image = format!("{}:other-{}", make.target, make.name);
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}});
    case.bad().then(Duration::from_secs(9), Act::PatchCanary(patch))
}

/// The production Service selects more labels than the target's selector, and the template has them.
fn more_labels(make: &mut Maker<'_>) -> Case {
    let spec = json!({"traffic": {"source": "service"}});
    let mut case = make.case("more labels than the selector needs", valid(), spec, &[End::Updated]);
    let tier = json!({"tier": "web"});
    let labels = json!({"metadata": {"labels": tier}});
    merge(&mut case.manifest["spec"]["template"]["spec"]["template"], &labels);
    case.target_patch = json!({"spec": {"template": labels}});
    case.service_patch = json!({"spec": {"selector": tier}});
    case
}

/// There is one alert for each bad pod, and no pod is bad.
fn no_alert(make: &mut Maker<'_>) -> Case {
    let mut items = of_pods(&json!({"valueInRange": null, "noResult": {}}));
    let query = items[0]["promQL"]["query"].as_str().unwrap_or_default();
    items[0]["promQL"]["query"] = json!(format!("{query} > 0.5"));
    make.case("there is no alert", items, several(), &[End::Updated])
}

/// There are no alerts either, because there are no metrics.
pub(crate) fn nothing_is_measured(make: &mut Maker<'_>) -> Case {
    let items = of_pods(&json!({
        "query": "unknown{pod=~\"{{ pods }}\", canary!=\"{{ canary.name }}\"}",
        "evidenceQuery": "unknown_as_well{pod=~\"{{ pods }}\"}",
        "valueInRange": null,
        "noResult": {},
    }));
    make.case("there are no metrics", items, json!({}), &[End::Running])
        .bad()
}

/// Number of seeds in a plain `cargo test`.
const SEEDS: u64 = 12;

#[test]
fn nothing_is_promoted_without_proof() {
    let first = crate::asked("KANARY_SEED").unwrap_or(0);
    let seeds = crate::asked("KANARY_SEEDS").unwrap_or(SEEDS);
    for seed in first..first + seeds {
        let outcome = run::run(Scenario::trial(seed), &Wrong::default());
        let stories: Vec<_> = outcome.violations.iter().map(ToString::to_string).collect();
        assert!(stories.is_empty(), "seed {seed}: {}", stories.join("\n"));
    }
}
