//! promQL items without a usable answer, and the number of measurements that they need.

use serde_json::{Value, json};

use crate::support::{
    DEPLOYMENT, EVENT, Fake, KANARY, POD, SECRET, Says, World, is_true, message, phase, poll, reason, time,
};

/// A promQL item on a fake Prometheus.
pub(crate) fn item(address: &str, more: Value) -> Value {
    let mut item = json!({"prometheusService": address, "query": "up", "allPodsQuery": true, "valueInRange": {}});
    crate::support::merge(&mut item, more);
    json!({"promQL": item})
}

pub(crate) fn validation(item: Value) -> Value {
    json!({"validation": {"validationPeriod": "1s", "maxIntervalPeriod": "300ms", "items": [item]}})
}

/// Waits until the Kanary reports that it is undecided, and checks that it took no action.
async fn undecided(world: &World, name: &str, why: &str, says: &str) {
    let what = format!("is held because of {why}");
    let held = world
        .until(&KANARY, name, &what, |kanary| {
            is_true(kanary, "Stalled") && reason(kanary, "Stalled") == why
        })
        .await;
    assert!(!is_true(&held, "Failed") && !is_true(&held, "Succeeded"), "{held:#}");
    let said = held["status"]["items"][0]["message"].as_str().unwrap_or_default();
    assert!(said.contains(says), "{name}: {said}");
    let events = world.list(&EVENT, "").await;
    let reported = events
        .iter()
        .any(|event| event["regarding"]["name"] == name && event["reason"] == why);
    if !reported {
        world
            .until_all(&EVENT, "", "an Event reports it", |events| {
                events
                    .iter()
                    .any(|event| event["regarding"]["name"] == name && event["reason"] == why)
            })
            .await;
    }
}

/// A Prometheus that answers with `says`. The run is held with the reason `why`, and resumes when usable answers arrive.
async fn held_by(says: Says, more: Value, why: &str, text: &str) {
    let world = World::new("no-data").await;
    world.target("app", 1).await;
    let fake = Fake::start(says).await;
    let mut limits = json!({"consecutiveErrorLimit": 2});
    crate::support::merge(&mut limits, more);
    world
        .kanary("batman", "app", validation(item(&fake.address, limits)))
        .await;
    undecided(&world, "batman", why, text).await;
    assert_eq!(world.get(&DEPLOYMENT, "app").await["metadata"]["generation"], 1);
    let pods = world.list(&POD, "kanary.k8s-operators.dev/name=batman").await;
    fake.now_says(Says::Vector(vec![(
        json!({"pod": pods[0]["metadata"]["name"]}),
        "0.5".to_owned(),
    )]));
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert!(!is_true(&ended, "Stalled"), "{ended:#}");
}

#[tokio::test]
async fn html_neither_fails_nor_promotes() {
    held_by(Says::Html, json!({}), "Inconclusive", "HTML").await;
}

#[tokio::test]
async fn an_error_of_the_server_neither_fails_nor_promotes() {
    let body = json!({"status": "error", "error": "out of memory"}).to_string();
    held_by(Says::Body(503, body), json!({}), "Inconclusive", "out of memory").await;
}

#[tokio::test]
async fn a_huge_body_neither_fails_nor_promotes() {
    held_by(Says::Much(9 << 20), json!({}), "Inconclusive", "larger than").await;
}

#[tokio::test]
async fn a_server_that_hangs_neither_fails_nor_promotes() {
    held_by(
        Says::Nothing,
        json!({"consecutiveErrorLimit": 1}),
        "Inconclusive",
        "no answer",
    )
    .await;
}

#[tokio::test]
async fn nan_neither_fails_nor_promotes() {
    held_by(Says::one("NaN"), json!({}), "NoData", "NaN").await;
}

#[tokio::test]
async fn infinity_is_outside_of_every_range() {
    let world = World::new("no-data").await;
    world.target("app", 1).await;
    let fake = Fake::value("+Inf").await;
    world
        .kanary("batman", "app", validation(item(&fake.address, json!({}))))
        .await;
    let ended = world.ends("batman", "Failed").await;
    assert!(message(&ended, "Failed").contains("+Inf outside [0, 1]"), "{ended:#}");
}

#[tokio::test]
async fn a_partial_answer_neither_fails_nor_promotes() {
    let result = json!([{"metric": {}, "value": [1, "7"]}]);
    let body = json!({"status": "success", "isPartial": true, "data": {"resultType": "vector", "result": result}});
    held_by(
        Says::Body(200, body.to_string()),
        json!({}),
        "Inconclusive",
        "the answer is partial",
    )
    .await;
}

#[tokio::test]
async fn the_words_of_a_gateway_are_reported() {
    held_by(
        Says::Body(401, "no org id\n".to_owned()),
        json!({}),
        "Inconclusive",
        "401 Unauthorized: no org id",
    )
    .await;
}

#[tokio::test]
async fn a_clock_that_is_far_off_neither_fails_nor_promotes() {
    let says = Says::Skewed(-180, Box::new(Says::one("0.5")));
    held_by(
        says,
        json!({}),
        "Inconclusive",
        "behind the cluster's, and 30s are tolerated",
    )
    .await;
}

#[tokio::test]
async fn an_empty_result_neither_fails_nor_promotes() {
    held_by(Says::Vector(vec![]), json!({}), "NoData", "no series").await;
}

#[tokio::test]
async fn series_of_other_pods_are_neither_proof_nor_failure() {
    let says = Says::Vector(vec![(json!({"pod": "another"}), "99".to_owned())]);
    held_by(
        says,
        json!({"allPodsQuery": false}),
        "NoData",
        "no series of a ready canary pod",
    )
    .await;
}

#[tokio::test]
async fn series_without_the_pods_name_neither_fail_nor_promote() {
    let says = Says::Vector(vec![(json!({"instance": "a"}), "99".to_owned())]);
    held_by(
        says,
        json!({"allPodsQuery": false}),
        "Inconclusive",
        "no series has the label `pod`",
    )
    .await;
}

#[tokio::test]
async fn counts_that_add_up_to_0_are_no_data() {
    let says = Says::Vector(vec![(json!({"code": "500"}), "0".to_owned())]);
    let world = World::new("no-data").await;
    world.target("app", 1).await;
    let fake = Fake::start(says).await;
    let list = json!({"key": "code", "badValues": ["500"]});
    let item = item(
        &fake.address,
        json!({"valueInRange": null, "discreteValueOutOfList": list}),
    );
    world.kanary("batman", "app", validation(item)).await;
    undecided(&world, "batman", "NoData", "add up to 0").await;
}

#[tokio::test]
async fn a_refused_connection_neither_fails_nor_promotes() {
    let world = World::new("no-data").await;
    world.target("app", 1).await;
    let (_bound, address) = Fake::refused();
    let item = item(&address, json!({"consecutiveErrorLimit": 2}));
    world.kanary("batman", "app", validation(item)).await;
    undecided(&world, "batman", "Inconclusive", "").await;
    // A manual verdict still decides.
    world.edit("batman", json!({"verdict": "valid"})).await;
    world.ends("batman", "DeploymentUpdated").await;
}

#[tokio::test]
async fn errors_below_the_limit_are_waited_out() {
    let world = World::new("no-data").await;
    world.target("app", 1).await;
    let fake = Fake::start(Says::Html).await;
    let mut spec = validation(item(&fake.address, json!({"consecutiveErrorLimit": 1000})));
    spec["validation"]["validationPeriod"] = json!("2s");
    world.kanary("batman", "app", spec).await;
    fake.asked_times(3).await;
    fake.now_says(Says::one("0.5"));
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert!(!is_true(&ended, "Stalled"));
    let events = world.list(&EVENT, "").await;
    assert!(
        events.iter().all(|event| event["reason"] != "Inconclusive"),
        "{events:#?}"
    );
}

#[tokio::test]
async fn on_no_data_fail_fails_at_the_deadline() {
    let world = World::new("no-data").await;
    world.target("app", 1).await;
    let fake = Fake::start(Says::Vector(vec![])).await;
    let item = item(&fake.address, json!({"onNoData": "fail"}));
    world.kanary("batman", "app", validation(item)).await;
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "NoData");
    assert!(message(&ended, "Failed").contains("onNoData is fail"), "{ended:#}");
    assert!(time(&ended, "/status/completedAt") >= time(&ended, "/status/deadline"));
}

#[tokio::test]
async fn a_query_is_a_template_of_the_runs_names() {
    let world = World::new("no-data").await;
    world.target("app", 1).await;
    world.service("app-svc", "app").await;
    let fake = Fake::value("0.5").await;
    let query = "x{d=\"{{ deployment.name }}\",c=\"{{canary.name}}\",s=\"{{ service.name }}\",n=\"{{ namespace }}\",\
                 k=\"{{ kanary.name }}\",p=~\"{{ pods }}\"}";
    let mut spec = validation(item(&fake.address, json!({"query": query})));
    spec["serviceName"] = json!("app-svc");
    spec["scale"] = json!({"static": {"replicas": 2}});
    spec["validation"]["validationPeriod"] = json!("1h");
    world.kanary("batman", "app", spec).await;
    world.phase("batman", "Running").await;
    let mut pods: Vec<_> = world
        .list(&POD, "kanary.k8s-operators.dev/name=batman")
        .await
        .iter()
        .map(|pod| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned())
        .collect();
    let expected = |pods: &[String]| {
        format!(
            "x{{d=\"app\",c=\"app-kanary-batman\",s=\"app-svc\",n=\"{}\",k=\"batman\",p=~\"(?:{})\"}}",
            world.ns,
            pods.join("|")
        )
    };
    let one = expected(&pods);
    pods.reverse();
    let expected = [one, expected(&pods)];
    // The controller may observe the pods one after the other.
    poll("a query names both pods", async || {
        let asked = fake.asked();
        let reported = asked.iter().any(|asked| expected.contains(&asked.query));
        if reported { Ok(()) } else { Err(format!("{asked:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_bearer_token_comes_from_a_secret_of_the_namespace() {
    let world = World::new("no-data").await;
    world.target("app", 1).await;
    let secret = json!({"metadata": {"name": "prometheus"}, "stringData": {"token": "s3cr3t"}});
    world.create(&SECRET, &secret).await;
    let fake = Fake::value("0.5").await;
    let auth = json!({"prometheusAuth": {"bearerTokenSecret": {"name": "prometheus", "key": "token"}}});
    world
        .kanary("batman", "app", validation(item(&fake.address, auth)))
        .await;
    world.ends("batman", "DeploymentUpdated").await;
    for asked in fake.asked() {
        assert_eq!(asked.authorization, "Bearer s3cr3t");
    }
}

#[tokio::test]
async fn headers_name_the_tenant() {
    let world = World::new("no-data").await;
    world.target("app", 1).await;
    let secret = json!({"metadata": {"name": "prometheus"}, "stringData": {"key": "s3cr3t"}});
    world.create(&SECRET, &secret).await;
    let fake = Fake::value("0.5").await;
    let headers = json!([
        {"name": "X-Scope-OrgID", "value": "team-a"},
        {"name": "X-Key", "valueFromSecret": {"name": "prometheus", "key": "key"}},
    ]);
    let auth = json!({"prometheusAuth": {"headers": headers}});
    world
        .kanary("batman", "app", validation(item(&fake.address, auth)))
        .await;
    world.ends("batman", "DeploymentUpdated").await;
    for asked in fake.asked() {
        assert_eq!(asked.headers["x-scope-orgid"], "team-a");
        assert_eq!(asked.headers["x-key"], "s3cr3t");
    }
}

#[tokio::test]
async fn a_secret_that_is_missing_neither_fails_nor_promotes() {
    let world = World::new("no-data").await;
    world.target("app", 1).await;
    let fake = Fake::value("0.5").await;
    let auth = json!({"prometheusAuth": {"basicAuthSecret": "nowhere"}, "consecutiveErrorLimit": 2});
    world
        .kanary("batman", "app", validation(item(&fake.address, auth)))
        .await;
    undecided(&world, "batman", "Inconclusive", "nowhere").await;
    assert!(fake.asked().is_empty(), "no query is sent without credentials");
    let held = world.get(&KANARY, "batman").await;
    assert_ne!(phase(&held), "Failed");
}
