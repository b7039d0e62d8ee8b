//! Mistakes that the API server refuses because they are visible in the object itself.

use serde_json::{Value, json};

use crate::support::{KANARY, World, kanary, merge};

/// Specs that the schema or one of its rules refuses, and the expected message.
#[allow(clippy::too_many_lines, reason = "a table")]
fn refused() -> Vec<(&'static str, Value, &'static str)> {
    let items = |item: Value| json!({"validation": {"items": [item]}});
    let prom_ql = |more: Value| {
        let mut item = json!({"prometheusService": "prometheus:9090", "query": "up"});
        merge(&mut item, more);
        items(json!({"promQL": item}))
    };
    let traffic = |source: &str| json!({"traffic": {"source": source}});
    vec![
        (
            "two scales",
            json!({"scale": {"static": {"replicas": 1}, "hpa": {"maxReplicas": 2}}}),
            "keep one and remove the others",
        ),
        (
            "an unknown source",
            traffic("telepathy"),
            "supported values: \"service\", \"kanary-service\"",
        ),
        (
            "service without serviceName",
            traffic("service"),
            "needs spec.serviceName",
        ),
        (
            "kanary-service without serviceName",
            traffic("kanary-service"),
            "needs spec.serviceName",
        ),
        ("both without serviceName", traffic("both"), "needs spec.serviceName"),
        (
            "a schedule without a time zone",
            json!({"schedule": "2020-04-12 20:42"}),
            "like 2020-04-12T20:42:00Z",
        ),
        (
            "a schedule in the 13th month",
            json!({"schedule": "2020-13-12T20:42:00Z"}),
            "like 2020-04-12T20:42:00Z",
        ),
        (
            "a duration in words",
            json!({"validation": {"validationPeriod": "15 minutes"}}),
            "write a duration as 500ms, 20s, 15m or 1h30m",
        ),
        (
            "a negative duration",
            json!({"validation": {"initialDelay": "-1s"}}),
            "write a duration as",
        ),
        (
            "a duration without a unit",
            json!({"rollout": {"progressDeadline": "10"}}),
            "write a duration as",
        ),
        (
            "min above max of percent",
            json!({"scale": {"percent": {"value": 5, "min": 3, "max": 2}}}),
            "lower min",
        ),
        (
            "min above max of hpa",
            json!({"scale": {"hpa": {"minReplicas": 3, "maxReplicas": 2}}}),
            "lower minReplicas or raise maxReplicas",
        ),
        (
            "min above max of valueInRange",
            prom_ql(json!({"valueInRange": {"min": 2, "max": 1}})),
            "lower min or raise max",
        ),
        (
            "min above the default max",
            prom_ql(json!({"valueInRange": {"min": 2}})),
            "lower min or raise max",
        ),
        (
            "no replicas",
            json!({"scale": {"static": {"replicas": 0}}}),
            "greater than or equal to 1",
        ),
        (
            "101 percent",
            json!({"scale": {"percent": {"value": 101}}}),
            "less than or equal to 100",
        ),
    ]
}

/// Same for `validation` and the fields after it.
#[allow(clippy::too_many_lines, reason = "a table")]
fn refused_validations() -> Vec<(&'static str, Value, &'static str)> {
    let items = |item: Value| json!({"validation": {"items": [item]}});
    let prom_ql = |more: Value| {
        let mut item = json!({"prometheusService": "prometheus:9090", "query": "up"});
        merge(&mut item, more);
        items(json!({"promQL": item}))
    };
    vec![
        (
            "both names of the validation",
            json!({"validations": {"validationPeriod": "1s"}}),
            "two names of one block: keep one",
        ),
        (
            "items beside validation",
            json!({"items": [{"manual": {}}]}),
            "belongs under spec.validation",
        ),
        (
            "promQL directly under validation",
            json!({"validation": {"promQL": {"query": "up"}}}),
            "write them under `items:`",
        ),
        (
            "an item of two kinds",
            items(json!({"manual": {}, "labelWatch": {"podInvalidationLabels": {"a": "b"}}})),
            "exactly one of manual, labelWatch, promQL and metric",
        ),
        (
            "an item of no kind",
            items(json!({})),
            "exactly one of manual, labelWatch, promQL and metric",
        ),
        (
            "labelWatch without labels",
            items(json!({"labelWatch": {}})),
            "labelWatch needs",
        ),
        (
            "an empty map of labels",
            items(json!({"labelWatch": {"podInvalidationLabels": {}}})),
            "at least 1 properties",
        ),
        (
            "a word that is none",
            items(json!({"manual": {"status": "maybe"}})),
            "supported values: \"valid\", \"invalid\"",
        ),
        ("no criterion", prom_ql(json!({})), "exactly one criterion"),
        (
            "two criteria",
            prom_ql(json!({"boolean": {}, "noResult": {}})),
            "exactly one criterion",
        ),
        (
            "no Prometheus",
            items(json!({"promQL": {"query": "up", "boolean": {}}})),
            "needs prometheusService (like prometheus.monitoring:9090)",
        ),
        (
            "good and bad values",
            prom_ql(json!({"discreteValueOutOfList": {"key": "code", "goodValues": ["1"], "badValues": ["2"]}})),
            "needs goodValues or badValues, and not both",
        ),
        (
            "an empty query",
            prom_ql(json!({"query": "", "boolean": {}})),
            "at least 1 chars",
        ),
        (
            "an interval that is no duration",
            prom_ql(json!({"interval": "soon", "boolean": {}})),
            "write a duration as",
        ),
        (
            "an interval that is too short",
            prom_ql(json!({"interval": "1ms", "boolean": {}})),
            "shorter than 100ms",
        ),
        (
            "a mode that is none",
            json!({"rollout": {"mode": "maybe"}}),
            "supported values: \"auto\", \"dry-run\"",
        ),
    ]
}

#[tokio::test]
async fn what_can_be_seen_in_the_object_is_refused_with_a_message_that_says_how_to_mend_it() {
    let world = World::unserved("bad-input").await;
    let mut wrong = Vec::new();
    for (number, (case, spec, expected)) in refused().into_iter().chain(refused_validations()).enumerate() {
        match world
            .try_create(&KANARY, &kanary(&format!("bad-{number}"), "app", spec))
            .await
        {
            Err(said) if said.contains(expected) => {}
            other => wrong.push(format!("{case}: expected `{expected}`, got {other:?}")),
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test]
async fn a_kanary_belongs_to_one_target_for_its_whole_life() {
    let world = World::new("bad-input").await;
    world.target("app", 1).await;
    world.target("other", 1).await;
    world
        .kanary("batman", "app", json!({"schedule": "2999-01-01T00:00:00Z"}))
        .await;
    for name in [json!("other"), Value::Null] {
        let edit = json!({"spec": {"deploymentName": name}});
        let refused = world
            .try_patch(&KANARY, "batman", &edit)
            .await
            .expect_err("it is refused");
        assert!(
            refused.contains("create another Kanary for another target"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_name_that_is_no_label_value_is_refused() {
    let world = World::unserved("bad-input").await;
    let refused = world
        .try_create(&KANARY, &kanary(&"k".repeat(64), "app", json!({})))
        .await;
    assert!(
        refused
            .expect_err("it is refused")
            .contains("use 63 characters at most")
    );
}

#[tokio::test]
async fn a_name_from_which_no_service_can_be_named_is_refused() {
    let world = World::unserved("bad-input").await;
    let dotted = |traffic: Value| kanary("bat.man", "app", json!({"serviceName": "app", "traffic": traffic}));
    for source in ["kanary-service", "both"] {
        let refused = world.try_create(&KANARY, &dotted(json!({"source": source}))).await;
        let said = refused.expect_err("it is refused");
        assert!(
            said.contains("set spec.traffic.kanaryService, or rename the Kanary"),
            "{said}"
        );
    }
    let named = dotted(json!({"source": "both", "kanaryService": "batcave"}));
    world.create(&KANARY, &named).await;
}
