//! promQL items without a usable answer, and how many measurements it takes.

use serde_json::{Value, json};

use crate::support::{DEPLOYMENT, EVENT, Fake, POD, SECRET, Says, World, is_true, message, phase, reason, time};

/// A promQL item on a fake Prometheus.
fn item(address: &str, more: Value) -> Value {
    let mut item = json!({"prometheusService": address, "query": "up", "allPodsQuery": true, "valueInRange": {}});
    crate::support::merge(&mut item, more);
    json!({"promQL": item})
}

fn validation(item: Value) -> Value {
    json!({"validation": {"validationPeriod": "1s", "maxIntervalPeriod": "300ms", "items": [item]}})
}

/// Waits until the Kanary says that it does not know, and checks that it did nothing.
async fn undecided(world: &World, name: &str, why: &str, says: &str) {
    let what = format!("is held because of {why}");
    let held = world
        .until(&crate::support::KANARY, name, &what, |kanary| {
            is_true(kanary, "Stalled") && reason(kanary, "Stalled") == why
        })
        .await;
    assert!(!is_true(&held, "Failed") && !is_true(&held, "Succeeded"), "{held:#}");
    let said = held["status"]["items"][0]["message"].as_str().unwrap_or_default();
    assert!(said.contains(says), "{name}: {said}");
    let events = world.list(&EVENT, "").await;
    let told = events
        .iter()
        .any(|event| event["regarding"]["name"] == name && event["reason"] == why);
    if !told {
        world
            .until_all(&EVENT, "", "an event tells it", |events| {
                events
                    .iter()
                    .any(|event| event["regarding"]["name"] == name && event["reason"] == why)
            })
            .await;
    }
}

/// A Prometheus that answers with `says`: the run is held because of `why`, and goes on when answers come.
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
async fn infinity_neither_fails_nor_promotes() {
    held_by(Says::one("+Inf"), json!({}), "NoData", "Inf").await;
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
    let item = item(&Fake::refused().await, json!({"consecutiveErrorLimit": 2}));
    world.kanary("batman", "app", validation(item)).await;
    undecided(&world, "batman", "Inconclusive", "").await;
    // A person can still decide.
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
async fn as_many_bad_measurements_as_the_failure_limit_are_tolerated() {
    let world = World::new("no-data").await;
    world.target("app", 1).await;
    let fake = Fake::value("5").await;
    let mut spec = validation(item(&fake.address, json!({"failureLimit": 2})));
    spec["validation"]["validationPeriod"] = json!("1h");
    world.kanary("batman", "app", spec).await;
    let ended = world.ends("batman", "Failed").await;
    assert!(
        message(&ended, "Failed").contains("3 bad measurements, 2 tolerated"),
        "{ended:#}"
    );
    assert_eq!(fake.asked().len(), 3);
    assert_eq!(ended["status"]["items"][0]["bad"], 3);
}

#[tokio::test]
async fn tolerated_measurements_do_not_keep_a_good_canary_from_its_promotion() {
    let world = World::new("no-data").await;
    world.target("app", 1).await;
    let fake = Fake::value("5").await;
    let mut spec = validation(item(&fake.address, json!({"failureLimit": 50})));
    spec["validation"]["validationPeriod"] = json!("2s");
    world.kanary("batman", "app", spec).await;
    fake.asked_times(2).await;
    fake.now_says(Says::one("0.5"));
    let ended = world.ends("batman", "DeploymentUpdated").await;
    let bad = ended["status"]["items"][0]["bad"].as_u64().unwrap_or_default();
    assert!((2..50).contains(&bad), "{ended:#}");
}

#[tokio::test]
async fn bad_measurements_are_remembered_over_a_restart() {
    let world = World::new("no-data").await;
    world.target("app", 1).await;
    let fake = Fake::value("5").await;
    let mut spec = validation(item(&fake.address, json!({"failureLimit": 1, "interval": "1s"})));
    spec["validation"]["validationPeriod"] = json!("1h");
    spec["validation"]["maxIntervalPeriod"] = json!("1s");
    world.kanary("batman", "app", spec).await;
    world
        .until(
            &crate::support::KANARY,
            "batman",
            "one bad measurement is written down",
            |kanary| kanary["status"]["items"][0]["bad"] == 1,
        )
        .await;
    world.kill_controller();
    fake.now_says(Says::one("0.5"));
    let asked = fake.asked().len();
    world.start_controller();
    fake.asked_times(asked + 1).await;
    fake.now_says(Says::one("5"));
    let ended = world.ends("batman", "Failed").await;
    assert_eq!(ended["status"]["items"][0]["bad"], 2);
}

#[tokio::test]
async fn a_promotion_takes_min_samples_good_measurements() {
    let world = World::new("no-data").await;
    world.target("app", 1).await;
    let fake = Fake::value("0.5").await;
    let mut spec = validation(item(&fake.address, json!({"minSamples": 4, "interval": "200ms"})));
    spec["validation"]["validationPeriod"] = json!("1h");
    let items = spec["validation"]["items"].as_array_mut().expect("it is a list");
    items.push(json!({"manual": {"status": "valid"}}));
    world.kanary("batman", "app", spec).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert_eq!(ended["status"]["items"][0]["good"], 4);
    assert!(fake.asked().len() >= 4);
}

#[tokio::test]
async fn a_query_is_put_when_it_is_due_and_never_before() {
    let world = World::new("no-data").await;
    world.target("app", 1).await;
    let fake = Fake::value("0.5").await;
    let mut spec = validation(item(&fake.address, json!({"interval": "1s"})));
    spec["validation"]["initialDelay"] = json!("2s");
    spec["validation"]["validationPeriod"] = json!("3500ms");
    spec["validation"]["maxIntervalPeriod"] = json!("20s");
    world.kanary("batman", "app", spec).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    let start = time(&ended, "/status/validationStartTime");
    let offsets: Vec<_> = fake
        .asked()
        .iter()
        .map(|asked| asked.at.duration_since(start).as_millis())
        .collect();
    assert_eq!(offsets.len(), 4, "every second, and at the deadline: {offsets:?}");
    for (offset, due) in offsets.iter().zip([1000, 2000, 3000, 3500]) {
        assert!((due..due + 900).contains(offset), "{offsets:?}");
    }
}

#[tokio::test]
async fn a_metric_is_checked_at_least_every_max_interval_period() {
    let world = World::new("no-data").await;
    world.target("app", 1).await;
    let fake = Fake::value("0.5").await;
    let mut spec = validation(item(&fake.address, json!({"interval": "1h"})));
    spec["validation"]["validationPeriod"] = json!("4s");
    spec["validation"]["maxIntervalPeriod"] = json!("500ms");
    world.kanary("batman", "app", spec).await;
    world.ends("batman", "DeploymentUpdated").await;
    // Kubernetes says to the second when the canary became available, so the window may be a second shorter.
    assert!(fake.asked().len() >= 5, "{:?}", fake.asked());
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
    let asked = fake.asked_times(1).await;
    let mut pods: Vec<_> = world
        .list(&POD, "kanary.k8s-operators.dev/name=batman")
        .await
        .iter()
        .map(|pod| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned())
        .collect();
    let expected = |pods: &[String]| {
        format!(
            "x{{d=\"app\",c=\"app-kanary-batman\",s=\"app-svc\",n=\"{}\",k=\"batman\",p=~\"{}\"}}",
            world.ns,
            pods.join("|")
        )
    };
    let one = expected(&pods);
    pods.reverse();
    assert!([one, expected(&pods)].contains(&asked[0].query), "{}", asked[0].query);
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
async fn a_secret_that_is_missing_neither_fails_nor_promotes() {
    let world = World::new("no-data").await;
    world.target("app", 1).await;
    let fake = Fake::value("0.5").await;
    let auth = json!({"prometheusAuth": {"basicAuthSecret": "nowhere"}, "consecutiveErrorLimit": 2});
    world
        .kanary("batman", "app", validation(item(&fake.address, auth)))
        .await;
    undecided(&world, "batman", "Inconclusive", "nowhere").await;
    assert!(fake.asked().is_empty(), "no query without its credentials");
    let held = world.get(&crate::support::KANARY, "batman").await;
    assert_ne!(phase(&held), "Failed");
}
