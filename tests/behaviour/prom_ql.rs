//! promQL items with results of a real Prometheus: every criterion, per pod and for all pods.

use serde_json::{Value, json};

use crate::support::{Exporter, POD, World, message, reason};

/// A Kanary: the series of each canary pod, and the expected result.
struct Case {
    name: &'static str,
    all_pods: bool,
    /// Additional labels, and the value.
    series: Vec<(&'static str, f64)>,
    /// Series of a pod other than the canary's.
    others: Vec<(&'static str, f64)>,
    ends: &'static str,
    says: &'static str,
}

fn good(name: &'static str, all_pods: bool, series: &[(&'static str, f64)]) -> Case {
    Case {
        name,
        all_pods,
        series: series.to_vec(),
        others: Vec::new(),
        ends: "Succeeded",
        says: "",
    }
}

fn bad(name: &'static str, all_pods: bool, series: &[(&'static str, f64)], says: &'static str) -> Case {
    Case {
        ends: "Failed",
        says,
        ..good(name, all_pods, series)
    }
}

/// Name of the only canary pod of a Kanary, once it is ready.
pub(crate) async fn pod_of(world: &World, kanary: &str) -> String {
    let selector = format!("kanary.k8s-operators.dev/name={kanary}");
    let pods = world
        .until_all(&POD, &selector, "the canary pod is there", |pods| !pods.is_empty())
        .await;
    pods[0]["metadata"]["name"]
        .as_str()
        .expect("a pod has a name")
        .to_owned()
}

/// Runs all cases in parallel as dry-runs that end as soon as the item has a result.
async fn judge(criterion: Value, cases: Vec<Case>) {
    let world = World::new("prom-ql").await;
    let exporter = Exporter::start(&world).await;
    world.target("app", 1).await;
    let selected = |case: &Case| format!("ns=\"{}\",case=\"{}\"", world.ns, case.name);
    for case in &cases {
        let mut item = json!({
            "prometheusURL": world.plane.prometheus(),
            "query": format!("measure{{{}}}", selected(case)),
            "allPodsQuery": case.all_pods,
        });
        crate::support::merge(&mut item, criterion.clone());
        let mut items = vec![json!({"promQL": item})];
        if case.ends == "Succeeded" {
            items.push(json!({"manual": {"status": "valid"}}));
        }
        let validation = json!({"validationPeriod": "1h", "maxIntervalPeriod": "300ms", "items": items});
        let spec = json!({"validation": validation, "rollout": {"mode": "dry-run"}});
        world.kanary(case.name, "app", spec).await;
    }
    for case in &cases {
        let pod = pod_of(&world, case.name).await;
        for (on, series) in [(pod.as_str(), &case.series), ("another", &case.others)] {
            for (labels, value) in series {
                let more = if labels.is_empty() {
                    String::new()
                } else {
                    format!(",{labels}")
                };
                exporter.set(&format!("measure{{{},pod=\"{on}\"{more}}}", selected(case)), *value);
            }
        }
    }
    for case in &cases {
        let ended = world.ends(case.name, case.ends).await;
        let said = message(&ended, "Failed");
        assert!(said.contains(case.says), "{}: {said}", case.name);
        if case.ends == "Failed" {
            assert_eq!(reason(&ended, "Failed"), "PromQLFailed");
            assert!(said.contains("promQL[0]"), "{said}");
        }
    }
}

#[tokio::test]
async fn value_in_range_includes_its_bounds() {
    let cases = vec![
        good("all-good", true, &[("", 0.3)]),
        good("lower-bound", true, &[("", 0.1)]),
        good("upper-bound", true, &[("", 0.5)]),
        bad("all-bad", true, &[("", 0.51)], "0.51 outside [0.1, 0.5]"),
        bad("below", true, &[("", 0.05)], "0.05 outside"),
        good("pod-good", false, &[("", 0.3)]),
        bad(
            "pod-bad",
            false,
            &[("", 7.0)],
            "7 outside [0.1, 0.5] on pod app-kanary-pod-bad-",
        ),
        Case {
            others: vec![("", 99.0)],
            ..good("other-pods-bad", false, &[("", 0.3)])
        },
    ];
    judge(json!({"valueInRange": {"min": 0.1, "max": 0.5}}), cases).await;
}

#[tokio::test]
async fn value_in_range_is_between_0_and_1_by_default() {
    let cases = vec![
        good("one", true, &[("", 1.0)]),
        bad("more", true, &[("", 1.1)], "1.1 outside [0, 1]"),
    ];
    judge(json!({"valueInRange": {}}), cases).await;
}

#[tokio::test]
async fn discrete_values_out_of_the_good_list_are_tolerated_up_to_their_share() {
    let cases = vec![
        good("within", true, &[("code=\"200\"", 96.0), ("code=\"500\"", 4.0)]),
        good("at", true, &[("code=\"200\"", 95.0), ("code=\"500\"", 5.0)]),
        bad(
            "above",
            true,
            &[("code=\"200\"", 94.0), ("code=\"500\"", 6.0)],
            "6 % bad, above 5 %",
        ),
        good("pod-within", false, &[("code=\"204\"", 99.0), ("code=\"500\"", 1.0)]),
        bad(
            "pod-above",
            false,
            &[("code=\"200\"", 1.0), ("code=\"404\"", 1.0)],
            "50 % bad, above 5 % on pod app-",
        ),
        Case {
            others: vec![("code=\"500\"", 999.0)],
            ..good("other-pods-bad", false, &[("code=\"200\"", 10.0)])
        },
    ];
    let list = json!({"key": "code", "goodValues": ["200", "204"], "tolerance": 5});
    judge(json!({"discreteValueOutOfList": list}), cases).await;
}

#[tokio::test]
async fn discrete_values_in_the_bad_list_are_not_tolerated_by_default() {
    let cases = vec![
        good(
            "none",
            true,
            &[("code=\"200\"", 10.0), ("code=\"418\"", 3.0), ("code=\"500\"", 0.0)],
        ),
        bad(
            "one",
            true,
            &[("code=\"200\"", 999.0), ("code=\"500\"", 1.0)],
            "0.1 % bad, above 0 %",
        ),
    ];
    let list = json!({"key": "code", "badValues": ["500", "503"]});
    judge(json!({"discreteValueOutOfList": list}), cases).await;
}

#[tokio::test]
async fn a_deviation_is_measured_from_1_when_the_query_divides_by_the_mean() {
    let cases = vec![
        good("none", true, &[("", 1.0)]),
        good("up", false, &[("", 1.1)]),
        good("down", true, &[("", 0.9)]),
        bad(
            "far-up",
            false,
            &[("", 1.7)],
            "70 % off, above 10 % on pod app-kanary-far-up-",
        ),
        bad("far-down", true, &[("", 0.5)], "50 % off, above 10 %"),
    ];
    judge(json!({"continuousValueDeviation": {"maxDeviationPercent": 10}}), cases).await;
}

#[tokio::test]
async fn a_deviation_of_values_is_measured_from_the_mean_over_the_result() {
    let cases = vec![
        Case {
            others: vec![("", 100.0)],
            ..good("near", false, &[("", 110.0)])
        },
        Case {
            others: vec![("", 100.0)],
            ..bad("far", false, &[("", 300.0)], "1.5 times the mean: 50 % off, above 10 %")
        },
    ];
    judge(
        json!({"continuousValueDeviation": {"maxDeviationPercent": 10, "of": "value"}}),
        cases,
    )
    .await;
}

#[tokio::test]
async fn a_boolean_is_good_at_1_and_bad_at_0() {
    let cases = vec![
        good("all-good", true, &[("", 1.0)]),
        bad("all-bad", true, &[("", 0.0)], "0, which is bad"),
        good("pod-good", false, &[("", 1.0)]),
        bad("pod-bad", false, &[("", 0.0)], "on pod app-kanary-pod-bad-"),
        Case {
            others: vec![("", 0.0)],
            ..good("other-pods-bad", false, &[("", 1.0)])
        },
    ];
    judge(json!({"boolean": {}}), cases).await;
}

#[tokio::test]
async fn no_result_fails_on_any_series() {
    let cases = vec![
        bad("all-bad", true, &[("", 0.0)], "a series where none is due"),
        bad(
            "pod-bad",
            false,
            &[("alertname=\"HighCpu\"", 1.0)],
            "a series where none is due",
        ),
    ];
    judge(json!({"noResult": {}}), cases).await;
}

#[tokio::test]
async fn the_label_that_names_the_pod_can_be_another() {
    let world = World::new("prom-ql").await;
    let exporter = Exporter::start(&world).await;
    world.target("app", 1).await;
    let series = format!("ns=\"{}\"", world.ns);
    let item = json!({"promQL": {
        "prometheusService": world.plane.prometheus().trim_start_matches("http://"),
        "query": format!("measure{{{series}}}"), "podNamekey": "instance_pod", "valueInRange": {},
    }});
    let validation = json!({"validationPeriod": "1h", "maxIntervalPeriod": "300ms", "items": [item]});
    world.kanary("batman", "app", json!({"validation": validation})).await;
    let pod = pod_of(&world, "batman").await;
    exporter.set(
        &format!("measure{{{series},instance_pod=\"{pod}\",pod=\"exporter\"}}"),
        3.0,
    );
    let ended = world.ends("batman", "Failed").await;
    assert!(
        message(&ended, "Failed").contains(&format!("on pod {pod}")),
        "{ended:#}"
    );
}

#[tokio::test]
async fn a_good_metric_alone_promotes_at_the_deadline() {
    let world = World::new("prom-ql").await;
    let exporter = Exporter::start(&world).await;
    let series = format!("measure{{ns=\"{}\"}}", world.ns);
    exporter.set(&series, 0.2);
    exporter.answers(&series).await;
    world.target("app", 1).await;
    let item = json!({"promQL": {
        "prometheusURL": world.plane.prometheus(), "query": series, "allPodsQuery": true, "valueInRange": {},
        "minSamples": 2,
    }});
    let validation = json!({"validationPeriod": "6s", "maxIntervalPeriod": "1s", "items": [item]});
    world.kanary("batman", "app", json!({"validation": validation})).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert_eq!(reason(&ended, "Succeeded"), "AllItemsGood");
    let item = &ended["status"]["items"][0];
    assert_eq!(
        (&item["state"], &item["lastValue"], &item["bad"]),
        (&json!("Good"), &json!(0.2), &json!(0))
    );
    assert!(item["good"].as_u64().is_some_and(|good| good >= 2), "{item}");
    assert_eq!(ended["status"]["report"]["validation"], "promQL");
}

#[tokio::test]
async fn the_istio_quantile_fails_a_slow_canary() {
    let world = World::new("prom-ql").await;
    let exporter = Exporter::start(&world).await;
    world.target("myapp", 1).await;
    let query = "histogram_quantile(0.99, sum(rate(istio_request_duration_seconds_bucket\
                 {reporter=\"destination\",destination_workload=\"myapp-kanary-hulk\"}[1m])) by (le))";
    let buckets = [
        ("0.1", 10.0),
        ("0.25", 20.0),
        ("0.5", 90.0),
        ("1", 100.0),
        ("+Inf", 100.0),
    ];
    exporter.grow(&buckets.map(|(le, per_second)| {
        let labels = format!("reporter=\"destination\",destination_workload=\"myapp-kanary-hulk\",le=\"{le}\"");
        (format!("istio_request_duration_seconds_bucket{{{labels}}}"), per_second)
    }));
    exporter.answers(&format!("{query} > 0.31")).await;
    let item = json!({"promQL": {
        "allPodsQuery": true, "podNamekey": "pod", "prometheusURL": world.plane.prometheus(), "query": query,
        "valueInRange": {"min": 0, "max": 0.31},
    }});
    let validation = json!({"validationPeriod": "1h", "maxIntervalPeriod": "1s", "items": [item]});
    world.kanary("hulk", "myapp", json!({"validation": validation})).await;
    let ended = world.ends("hulk", "Failed").await;
    assert!(message(&ended, "Failed").contains("outside [0, 0.31]"), "{ended:#}");
}
