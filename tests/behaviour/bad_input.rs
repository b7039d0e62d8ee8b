//! Bad input: what the API server refuses, what the controller reports at run time, and that other Kanaries are not
//! affected.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::{
    DEPLOYMENT, Exporter, Fake, HPA, KANARY, SERVICE, Says, World, is_true, kanary, message, phase, reason, service,
};

#[tokio::test]
async fn a_service_that_does_not_exist_is_an_error_that_touches_nothing_and_goes_away() {
    let world = World::new("bad-input").await;
    let target = world.target("app", 1).await;
    let spec = json!({"serviceName": "app", "traffic": {"source": "service"}});
    world.kanary("batman", "app", spec).await;
    let errored = world.phase("batman", "Errored").await;
    assert_eq!(reason(&errored, "Errored"), "ServiceNotFound");
    assert!(
        message(&errored, "Errored").contains("Service app does not exist"),
        "{errored:#}"
    );
    assert!(is_true(&errored, "Stalled"));
    assert_eq!(world.list(&DEPLOYMENT, "").await.len(), 1);
    assert_eq!(world.get(&DEPLOYMENT, "app").await["spec"], target["spec"]);
    world.service("app", "app").await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert!(!is_true(&ended, "Errored") && !is_true(&ended, "Stalled"), "{ended:#}");
}

/// Charts write `verdict: {{ .Values.verdict }}` and leave the value empty.
#[tokio::test]
async fn empty_values_are_absent_ones() {
    let world = World::new("bad-input").await;
    world.target("app", 1).await;
    let mut manifest = kanary("batman", "app", json!({}));
    manifest["spec"]["verdict"] = Value::Null;
    manifest["spec"]["rollout"] = json!({"mode": null, "onFailure": null});
    manifest["spec"]["validation"]["items"][0]["manual"]["status"] = Value::Null;
    let made = world.create(&KANARY, &manifest).await;
    assert_eq!(made["spec"].get("verdict"), None, "{made:#}");
    world.ends("batman", "DeploymentUpdated").await;
}

#[tokio::test]
async fn a_service_without_a_selector_is_an_error() {
    let world = World::new("bad-input").await;
    world.target("app", 1).await;
    let mut manifest = service("app", "app");
    manifest["spec"]["selector"] = Value::Null;
    world.create(&SERVICE, &manifest).await;
    let spec = json!({"serviceName": "app", "traffic": {"source": "both"}});
    world.kanary("batman", "app", spec).await;
    let errored = world.phase("batman", "Errored").await;
    assert_eq!(reason(&errored, "Errored"), "ServiceWithoutSelector");
    assert_eq!(
        world.list(&SERVICE, "kanary.k8s-operators.dev/name=batman").await,
        Vec::<Value>::new()
    );
}

#[tokio::test]
async fn a_template_that_the_api_server_refuses_is_an_error_with_its_words_and_is_retried_with_backoff() {
    let world = World::new("bad-input").await;
    world.target("app", 1).await;
    let container = json!([{"name": "Not A Name", "image": "app:v2"}]);
    let template = json!({"spec": {"template": {"spec": {"containers": container}}}});
    world.kanary("batman", "app", json!({"template": template})).await;
    let errored = world.phase("batman", "Errored").await;
    assert_eq!(reason(&errored, "Errored"), "WriteRefused");
    assert!(message(&errored, "Errored").contains("Not A Name"), "{errored:#}");

    // The controller still serves other Kanaries.
    let dry_run = json!({"rollout": {"mode": "dry-run"}});
    world.kanary("robin", "app", dry_run).await;
    world.ends("robin", "Succeeded").await;
    let tries = crate::support::poll("it was tried three times", async || {
        let mut tries = world.requests().await;
        tries.retain(|request| request.verb == "create" && request.code == 422);
        if tries.len() < 3 { Err(tries.len()) } else { Ok(tries) }
    })
    .await;
    let gaps: Vec<_> = tries
        .windows(2)
        .map(|two| two[1].at.duration_since(two[0].at))
        .collect();
    assert!(gaps[0] >= SignedDuration::from_millis(500), "{gaps:?}");
    // A slow machine lengthens every gap, so the gaps are not compared with each other.
    assert!(gaps[1] >= SignedDuration::from_millis(1500), "with backoff: {gaps:?}");
    assert_eq!(world.get(&DEPLOYMENT, "app").await["metadata"]["generation"], 1);

    let container = json!([{"name": "a-name", "image": "app:v2"}]);
    world
        .edit(
            "batman",
            json!({"template": {"spec": {"template": {"spec": {"containers": container}}}}}),
        )
        .await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert!(!is_true(&ended, "Errored"), "{ended:#}");
}

#[tokio::test]
async fn a_template_without_a_container_is_an_error() {
    let world = World::new("bad-input").await;
    world.target("app", 1).await;
    let mut manifest = kanary("batman", "app", json!({}));
    manifest["spec"]["template"] = json!({"spec": {"containers": [{"name": "main", "image": "app:v2"}]}});
    world.create(&KANARY, &manifest).await;
    let errored = world.phase("batman", "Errored").await;
    assert!(
        message(&errored, "Errored").contains("spec.template is a whole Deployment"),
        "{errored:#}"
    );
}

#[tokio::test]
async fn a_template_that_does_not_match_the_targets_selector_is_an_error() {
    let world = World::new("bad-input").await;
    world.target("app", 1).await;
    let template = json!({"spec": {"template": {"metadata": {"labels": {"app": "another"}}}}});
    world.kanary("batman", "app", json!({"template": template})).await;
    let errored = world.phase("batman", "Errored").await;
    assert_eq!(reason(&errored, "Errored"), "TemplateMismatch");
    assert!(message(&errored, "Errored").contains("app=app"), "{errored:#}");
    assert_eq!(world.find(&DEPLOYMENT, "app-kanary-batman").await, None);
}

#[tokio::test]
async fn foreign_objects_are_left_alone() {
    let world = World::new("bad-input").await;
    world.target("app", 1).await;
    world.service("app", "app").await;
    let deployment = world.target("app-kanary-one", 1).await;
    let service = world.service("app-kanary-two", "app").await;
    let hpa = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "app-kanary-three"},
        "spec": {
            "maxReplicas": 2,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
        },
    });
    let hpa = world.create(&HPA, &hpa).await;
    let taken = [
        ("one", json!({}), DEPLOYMENT, deployment),
        (
            "two",
            json!({"serviceName": "app", "traffic": {"source": "both"}}),
            SERVICE,
            service,
        ),
        ("three", json!({"scale": {"hpa": {"maxReplicas": 2}}}), HPA, hpa),
    ];
    for (name, spec, ..) in &taken {
        world.kanary(name, "app", spec.clone()).await;
    }
    for (name, _, kind, before) in &taken {
        let errored = world
            .until(&KANARY, name, "is Errored because of the name", |kanary| {
                phase(kanary) == "Errored" && reason(kanary, "Errored") == "NameTaken"
            })
            .await;
        assert!(message(&errored, "Errored").contains(kind.kind), "{errored:#}");
        let after = world.get(kind, &format!("app-kanary-{name}")).await;
        assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
        assert_eq!(after["spec"], before["spec"]);
    }
    // The same holds after the Kanary ends.
    for (name, ..) in &taken {
        world.edit(name, json!({"verdict": "invalid"})).await;
        world.ends(name, "Failed").await;
    }
    for (name, _, kind, before) in &taken {
        let after = world.get(kind, &format!("app-kanary-{name}")).await;
        assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
        assert_eq!(after["metadata"]["deletionTimestamp"], Value::Null);
    }
}

#[tokio::test]
async fn an_unparsable_query_is_an_error_with_the_reason_and_neither_fails_nor_promotes() {
    let world = World::new("bad-input").await;
    world.target("app", 1).await;
    let exporter = Exporter::start(&world).await;
    let series = format!("quality{{ns=\"{}\"}}", world.ns);
    exporter.set(&series, 1.0);
    exporter.answers(&series).await;
    // If Prometheus does not answer, an inconclusive item would keep that message.
    let validation = |query: &str| {
        json!({"validationPeriod": "2s", "maxIntervalPeriod": "500ms", "items": [{"promQL": {
            "prometheusURL": world.plane.prometheus(), "query": query, "allPodsQuery": true, "boolean": {},
            "consecutiveErrorLimit": 1000,
        }}]})
    };
    world
        .kanary("batman", "app", json!({"validation": validation("up up")}))
        .await;
    let errored = world
        .until(
            &KANARY,
            "batman",
            "the status reports the problem with the query",
            |kanary| {
                is_true(kanary, "Stalled")
                    && kanary["status"]["items"][0]["message"]
                        .to_string()
                        .contains("parse error")
            },
        )
        .await;
    assert_eq!(phase(&errored), "Errored", "{errored:#}");
    assert_eq!(world.get(&DEPLOYMENT, "app").await["metadata"]["generation"], 1);
    world.edit("batman", json!({"validation": validation(&series)})).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert!(!is_true(&ended, "Errored") && !is_true(&ended, "Stalled"), "{ended:#}");
}

#[tokio::test]
async fn an_unknown_template_variable_is_refused() {
    let world = World::new("bad-input").await;
    world.target("app", 1).await;
    let fake = Fake::start(Says::one("1")).await;
    let validation = json!({"items": [{"promQL": {
        "prometheusService": fake.address, "query": "up{d=\"{{ deployment.nam }}\"}", "allPodsQuery": true,
        "boolean": {},
    }}]});
    world.kanary("batman", "app", json!({"validation": validation})).await;
    let errored = world.phase("batman", "Errored").await;
    let said = message(&errored, "Errored");
    assert!(said.contains("items[0]") && said.contains("deployment.nam"), "{said}");
    assert_eq!(world.find(&DEPLOYMENT, "app-kanary-batman").await, None);
}

#[tokio::test]
async fn an_object_that_cannot_be_parsed_never_stops_the_others() {
    let world = World::unserved("bad-input").await;
    world.target("app", 1).await;
    // The schema allows these: labels that are not strings, and a quantity that is none.
    let watch = json!({"labelWatch": {"podInvalidationLabels": {"alert": {"high": 1}}}});
    let nonsense = json!({"validation": {"items": [watch]}});
    let target = json!({"type": "AverageValue", "averageValue": "much"});
    let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
    world.kanary("nonsense", "app", nonsense).await;
    world
        .kanary("metric", "app", json!({"validation": {"items": [{"metric": metric}]}}))
        .await;
    world.kanary("good", "app", json!({})).await;
    world.start_controller();
    world.ends("good", "DeploymentUpdated").await;
    let errored = world.phase("nonsense", "Errored").await;
    assert_eq!(reason(&errored, "Errored"), "InvalidSpec");
    let errored = world.phase("metric", "Errored").await;
    assert_eq!(reason(&errored, "Errored"), "InvalidSpec");

    // Also a Kanary that is created while the controller runs, and one that is fixed.
    let watch = json!({"labelWatch": {"podInvalidationLabels": ["alert"]}});
    let list = kanary("list", "app", json!({"validation": {"items": [watch]}}));
    let refused = world.try_create(&KANARY, &list).await;
    assert!(refused.is_err(), "the schema refuses a list in place of a map");
    world
        .edit(
            "nonsense",
            json!({"validation": {"items": [{"manual": {"status": "valid"}}]}}),
        )
        .await;
    let ended = world
        .until(&KANARY, "nonsense", "runs after it is fixed", |kanary| {
            !kanary["status"]["completedAt"].is_null()
        })
        .await;
    assert_ne!(phase(&ended), "Errored");
}

#[tokio::test]
async fn what_could_never_fail_a_canary_is_refused() {
    let world = World::new("bad-input").await;
    world.target("app", 1).await;
    let fake = Fake::start(Says::one("1")).await;
    let query = |more: Value| {
        let mut item = json!({"prometheusService": fake.address, "query": "up"});
        crate::support::merge(&mut item, more);
        json!({"validationPeriod": "50s", "items": [{"promQL": item}]})
    };
    let watch = |labels: Value, period: &str| json!({"validationPeriod": period, "items": [{"labelWatch": {"podInvalidationLabels": labels}}]});
    let shares = json!({"key": "code", "badValues": ["500"], "tolerance": 100});
    for (name, validation, why) in [
        (
            "timeless",
            watch(json!({"a": "b"}), "0s"),
            "validationPeriod is 0s, so nothing could fail the canary",
        ),
        (
            "tolerant",
            query(json!({"discreteValueOutOfList": shares})),
            "lower it to 99 or less",
        ),
        (
            "patient",
            query(json!({"valueInRange": {}, "failureLimit": 3})),
            "lower failureLimit to 2",
        ),
        (
            "incomplete",
            watch(json!({"matchExpressions": [{"key": "a"}]}), "50s"),
            "items[0].labelWatch.podInvalidationLabels: matchExpressions[0]: operator is missing",
        ),
        (
            "beside",
            watch(json!({"a": "b", "matchLabels": {"c": "d"}}), "50s"),
            "items[0]: labels that can't be read",
        ),
    ] {
        world.kanary(name, "app", json!({"validation": validation})).await;
        let errored = world.phase(name, "Errored").await;
        let said = message(&errored, "Errored");
        assert!(said.contains(why), "{name}: {said}");
        assert_eq!(
            world.find(&DEPLOYMENT, &format!("app-kanary-{name}")).await,
            None,
            "{name}"
        );
    }
    assert_eq!(world.get(&DEPLOYMENT, "app").await["metadata"]["generation"], 1);
}
