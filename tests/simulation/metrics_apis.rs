//! Kanaries with items of the Kubernetes metrics APIs, in storms.

use std::time::Duration;

use kanary_core::{api::AfterDeadline, decide, validation::Item};
use kanary_sim::metrics_apis::{Api, Mood, Reading, Usage};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    case::{Case, End, Maker, failed, merge},
    checker::Invariant,
    kinds::Kind,
    mutants::with_spec,
    run::{self, Outcome},
    scenario::Scenario,
    world::{NAMESPACE, World, Wrong},
};

/// Number of seeds in a plain `cargo test`.
const SEEDS: u64 = 8;

const KINDS: &[Kind] = &[
    usage_good,
    usage_bad,
    utilization_good,
    utilization_without_requests,
    pods_good,
    stale,
    unknown,
    external_good,
    external_bad,
    comes_and_goes,
    beside_a_query,
];

/// What the case with a metric with gaps is called.
const GAPS: &str = "a metric API with gaps";

fn items(item: &Value, more: &Value) -> Value {
    let mut item = item.clone();
    merge(&mut item, more);
    json!([{"metric": item}])
}

fn cpu(target: &Value) -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu", "target": target}})
}

fn at_most(cpu_of_pod: &str) -> Value {
    cpu(&json!({"type": "AverageValue", "averageValue": cpu_of_pod}))
}

fn of_pods(name: &str) -> Value {
    let target = json!({"type": "AverageValue", "averageValue": "500m"});
    json!({"type": "Pods", "pods": {"metric": {"name": name}, "target": target}})
}

fn queue(most: i32) -> Value {
    let target = json!({"type": "Value", "value": most});
    json!({"type": "External", "external": {"metric": {"name": "queue"}, "target": target}})
}

/// A case whose costs are not predicted.
fn case(make: &mut Maker<'_>, what: &'static str, items: Value, spec: Value, end: End) -> Case {
    let case = make.case(what, items, spec, &[end]);
    case.with(|truth| truth.plain = false)
}

fn usage_good(make: &mut Maker<'_>) -> Case {
    let items = items(&at_most("100m"), &json!({"minSamples": 2, "interval": "3s"}));
    let spec = json!({"scale": {"static": {"replicas": 2}}});
    case(make, "usage is within the target", items, spec, End::Updated)
}

fn usage_bad(make: &mut Maker<'_>) -> Case {
    let items = items(&at_most("99m"), &json!({}));
    case(
        make,
        "usage is above the target",
        items,
        json!({}),
        failed("MetricFailed"),
    )
    .bad()
}

fn utilization_good(make: &mut Maker<'_>) -> Case {
    let target = json!({"type": "Utilization", "averageUtilization": 50});
    let items = items(&cpu(&target), &json!({}));
    let mut case = case(make, "utilization is within the target", items, json!({}), End::Updated);
    let containers = &mut case.manifest["spec"]["template"]["spec"]["template"]["spec"]["containers"];
    containers[0]["resources"] = json!({"requests": {"cpu": "200m"}});
    case
}

fn utilization_without_requests(make: &mut Maker<'_>) -> Case {
    let target = json!({"type": "Utilization", "averageUtilization": 50});
    let items = items(&cpu(&target), &json!({}));
    case(make, "pods without requests", items, json!({}), End::Errored).bad()
}

fn pods_good(make: &mut Maker<'_>) -> Case {
    let items = items(&of_pods("good"), &json!({}));
    case(make, "a good metric of pods", items, json!({}), End::Updated)
}

fn stale(make: &mut Maker<'_>) -> Case {
    let items = items(&of_pods("stale"), &json!({}));
    case(make, "a stale metric of pods", items, json!({}), End::Running).bad()
}

fn unknown(make: &mut Maker<'_>) -> Case {
    let items = items(&of_pods("unknown"), &json!({}));
    case(make, "an unknown metric of pods", items, json!({}), End::Running).bad()
}

fn external_good(make: &mut Maker<'_>) -> Case {
    let items = items(&queue(7), &json!({}));
    case(make, "a good external metric", items, json!({}), End::Updated)
}

fn external_bad(make: &mut Maker<'_>) -> Case {
    let items = items(&queue(6), &json!({}));
    case(make, "a bad external metric", items, json!({}), failed("MetricFailed")).bad()
}

/// There are values in two of three seconds only.
fn comes_and_goes(make: &mut Maker<'_>) -> Case {
    let items = items(&of_pods("gaps"), &json!({"minSamples": 2, "interval": "2s"}));
    case(make, GAPS, items, json!({}), End::Updated)
}

fn beside_a_query(make: &mut Maker<'_>) -> Case {
    let query = json!({"promQL": {
        "prometheusService": "good:9090", "query": "quality{case=\"good\"}", "allPodsQuery": true,
        "valueInRange": {"max": 0.5},
    }});
    let items = json!([query, items(&of_pods("stale"), &json!({}))[0]]);
    case(
        make,
        "a good query beside a stale metric",
        items,
        json!({}),
        End::Running,
    )
    .bad()
}

/// Provides the metrics of each kind of canary. The values of the target's pods are the same, so only names tell them apart.
pub(crate) fn measure(world: &World) {
    let apis = world.stack.server.metrics_apis().clone();
    apis.record();
    for api in [Api::Resource, Api::Custom, Api::External] {
        apis.set_mood(NAMESPACE, api, Mood::Serves);
    }
    let usage = Usage {
        cpu: Reading::new("100m"),
        memory: "64Mi".to_owned(),
    };
    apis.set_usage(NAMESPACE, "", usage);
    apis.set_custom(NAMESPACE, "pods", "", "good", Reading::new("400m"));
    let stale = Reading::new("400m").aged(Duration::from_mins(3));
    apis.set_custom(NAMESPACE, "pods", "", "stale", stale);
    for (name, length) in [("a", "3"), ("b", "4")] {
        apis.set_external(NAMESPACE, "queue", Reading::new(length).labelled("name", name));
    }
}

/// Provides the metric with gaps, if one of the cases needs it.
pub(crate) fn come_and_go(world: &World, cases: &[Case]) {
    if !cases.iter().any(|case| case.truth.what == GAPS) {
        return;
    }
    let apis = world.stack.server.metrics_apis().clone();
    tokio::spawn(async move {
        loop {
            apis.set_custom(NAMESPACE, "pods", "", "gaps", Reading::new("1m"));
            sleep(Duration::from_secs(2)).await;
            apis.remove_custom(NAMESPACE, "gaps");
            sleep(Duration::from_secs(1)).await;
        }
    });
}

fn outcome_of(seed: u64, wrong: &Wrong) -> Outcome {
    run::run(Scenario::of_kinds(seed, KINDS), wrong)
}

#[test]
fn nothing_is_promoted_without_values_of_the_metrics_apis() {
    let first = crate::asked("KANARY_SEED").unwrap_or(0);
    let seeds = crate::asked("KANARY_SEEDS").unwrap_or(SEEDS);
    for seed in first..first + seeds {
        let outcome = outcome_of(seed, &Wrong::default());
        let stories: Vec<_> = outcome.violations.iter().map(ToString::to_string).collect();
        assert!(stories.is_empty(), "seed {seed}: {}", stories.join("\n"));
    }
}

#[test]
fn success_without_values_is_caught() {
    let wrong = Wrong {
        decide: |canary, seen, now| {
            let canary = with_spec(canary, |spec| {
                for item in &mut spec.validation.items {
                    if matches!(item, Item::Metric(_)) {
                        *item = Item::Manual {
                            status: None,
                            after_deadline: AfterDeadline::Valid,
                            ignored: None,
                        };
                    }
                }
            });
            decide(&canary, seen, now)
        },
        ..Wrong::default()
    };
    let is_caught = |seed| outcome_of(seed, &wrong).broken().contains(&Invariant::Measured);
    assert!((0..20).any(is_caught), "nobody noticed");
}
