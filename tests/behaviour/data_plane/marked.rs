//! Who gets the canary: requests with tags, copies, and users with a cookie.

use kanary_dataplane::load::Running;
use serde_json::{Value, json};

use super::{
    assert_served,
    site::{Dialect, GATEWAY_API, ISTIO, SESSIONS, Site, until_answered},
};
use crate::{
    routes::{assert_untouched, held, reject},
    support::{CANARY, DEPLOYMENT, KANARY, poll},
};

/// Starts a canary that waits for a verdict, behind a route.
async fn started(dialect: Dialect, traffic: Value) -> Option<(Site, Value)> {
    let mut site = Site::new().await?;
    let original = site.route(dialect, json!([(dialect.split)(&[("app", 1)])])).await;
    site.start().await;
    site.world.kanary("batman", "app", held(traffic)).await;
    Some((site, original))
}

/// Waits until the step with this number is in force.
async fn in_force(site: &Site, step: u64) {
    let what = format!("step {step} is in force");
    let is = |kanary: &Value| {
        let traffic = &kanary["status"]["traffic"];
        traffic["step"] == step && !traffic["since"].is_null()
    };
    site.world.until(&KANARY, "batman", &what, is).await;
}

/// Rejects the canary, and waits until it is gone.
async fn rejected(site: &Site, dialect: Dialect, original: &Value) {
    reject(&site.world, "batman").await;
    site.world.gone(&DEPLOYMENT, CANARY).await;
    assert_untouched(&site.world.get(&dialect.kind, "app").await, original);
}

async fn tagged(dialect: Dialect) {
    let tags = json!({
        "headers": [{"name": "x-canary", "value": "always"}], "cookies": [{"name": "canary", "regex": "yes|always"}],
    });
    let traffic = json!({"source": "tagged", "tagged": tags});
    let Some((site, original)) = started(dialect, traffic).await else {
        return;
    };
    let start = |headers: &[(&str, &str)]| -> Running {
        let load = site.requests(dialect).per_second(100.0);
        let load = headers
            .iter()
            .fold(load, |load, (name, value)| load.header(name, value));
        load.start().unwrap()
    };
    // From before the tags are in force: these reach the canary at no time.
    let others = [
        start(&[]),
        start(&[("x-canary", "sometimes"), ("cookie", "canary=no; a=always")]),
    ];
    in_force(&site, 1).await;
    let marked = [
        start(&[("x-canary", "always")]),
        start(&[("cookie", "a=b; canary=yes")]),
        start(&[("cookie", "canary=always")]),
    ];
    for load in &marked {
        until_answered(load, 1000).await;
    }
    for load in marked {
        let answers = load.stop().await;
        println!("tagged: {answers}");
        assert_eq!(answers.of("v2"), answers.total(), "{answers}");
    }
    // It leaves while requests with its tag go on.
    let leaving = start(&[("x-canary", "always")]);
    rejected(&site, dialect, &original).await;
    assert_served(&leaving.stop().await);
    for load in others {
        let answers = load.stop().await;
        println!("without the tag: {answers}");
        assert_eq!(answers.of("v1"), answers.total(), "{answers}");
    }
}

#[tokio::test]
async fn tagged_requests_and_no_others_reach_the_canary_of_an_http_route() {
    tagged(GATEWAY_API).await;
}

#[tokio::test]
async fn tagged_requests_and_no_others_reach_the_canary_of_a_virtual_service() {
    tagged(ISTIO).await;
}

async fn mirrored(dialect: Dialect) {
    let traffic = json!({"source": "mirror", "mirror": {"percent": 100}});
    let Some((site, original)) = started(dialect, traffic).await else {
        return;
    };
    let load = site.requests(dialect).start().unwrap();
    in_force(&site, 1).await;
    let (copies, requests) = (site.received("v2").await, load.answers().total());
    until_answered(&load, requests + 2000).await;
    poll("the canary gets copies", async || {
        match site.received("v2").await - copies {
            found if found >= 2000 => Ok(()),
            found => Err(format!("{found} copies")),
        }
    })
    .await;
    rejected(&site, dialect, &original).await;
    let answers = load.stop().await;
    println!("mirrored: {answers}, {} copies", site.received("v2").await);
    assert_eq!(answers.of("v1"), answers.total(), "{answers}");
}

#[tokio::test]
async fn a_mirrored_canary_of_an_http_route_gets_copies_and_answers_nobody() {
    mirrored(GATEWAY_API).await;
}

#[tokio::test]
async fn a_mirrored_canary_of_a_virtual_service_gets_copies_and_answers_nobody() {
    mirrored(ISTIO).await;
}

/// By Envoy Gateway.
#[tokio::test]
async fn users_with_the_cookie_stay_on_their_version() {
    let traffic = json!({
        "source": "weighted", "weighted": {"steps": [20, 50], "interval": "10s"},
        "sessionAffinity": {"cookieName": "kanary"},
    });
    let Some((site, original)) = started(SESSIONS, traffic).await else {
        return;
    };
    in_force(&site, 1).await;
    let load = site.requests(SESSIONS).users(200).start().unwrap();
    until_answered(&load, 400).await;
    in_force(&site, 2).await;
    until_answered(&load, load.answers().total() + 2000).await;
    let answers = load.answers();
    println!("users with a cookie: {answers}, {} changed", answers.moved());
    assert_eq!(answers.moved(), 0, "{answers}");
    assert!(answers.of("v1") > 0 && answers.of("v2") > 0, "{answers}");
    rejected(&site, SESSIONS, &original).await;
    until_answered(&load, load.answers().total() + 400).await;
    assert_served(&load.stop().await);
}
