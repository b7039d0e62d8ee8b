//! Scripted load, and what is known about it.

use futures::FutureExt;

use super::{
    super::{Counts, Load, Lost},
    *,
};

fn split(weights: &[(&str, u32)]) -> Value {
    json!([{"backendRefs": backends(weights)}])
}

fn load() -> Load {
    Load::new("plain", request()).per_second(200.0).seed(7)
}

impl World {
    fn all(&self) -> Counts {
        self.gateway().counts("plain", ..)
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_is_split_as_the_route_is_at_the_time_of_each_request() {
    let world = world().await;
    world.take(20, 90);
    world.routed(split(&[("v1", 3), ("v2", 1)])).await;
    let start = world.stack.now();
    world.gateway().start(load());
    pass(50_000).await;
    world
        .edit("HTTPRoute", "app", json!({"rules": split(&[("v1", 1), ("v2", 1)])}))
        .await;
    let changed = world.stack.now() + Duration::from_millis(110);
    pass(50_000).await;
    world.gateway().stop("plain");
    pass(10_000).await;
    let counts = world.all();
    assert_eq!((counts.total(), counts.failed()), (20_000, 0));
    let before = world.gateway().counts("plain", start..changed);
    assert_eq!(before.total(), 10_022);
    assert!(before.deviation("v2", 25.0) < 4.0, "{before:?}");
    let after = world.gateway().counts("plain", changed..);
    assert!(after.deviation("v2", 50.0) < 4.0, "{after:?}");
    assert!(after.deviation("v2", 25.0) > 4.0);
    assert_eq!(before.of("v2") + after.of("v2"), counts.of("v2"));
    assert!((0.45..0.55).contains(&after.share("v2")));
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_counts_whenever_somebody_looks() {
    let mut seen = Vec::new();
    for looks in [1, 100] {
        let world = world().await;
        world.routed(split(&[("v1", 3), ("v2", 1)])).await;
        world.gateway().start(load());
        for _ in 0..looks {
            pass(10_000 / looks).await;
            let _ = world.all();
        }
        seen.push(world.all());
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].total(), 2000);
}

#[tokio::test(start_paused = true)]
async fn requests_to_a_service_without_ready_pods_fail() {
    let world = world().await;
    world.routed(split(&[("v1", 1), ("v2", 1)])).await;
    world.gateway().start(load());
    pass(10_000).await;
    world.edit("Deployment", "v2", json!({"replicas": 0})).await;
    pass(1000).await;
    assert_eq!(world.gateway().endpoints(&at("v2")), 0);
    let gone = world.stack.now();
    pass(10_000).await;
    let after = world.gateway().counts("plain", gone..);
    assert_eq!(after.of("v2"), 0);
    let lost = after.lost[&Lost::NoEndpoint];
    assert!((870..=1130).contains(&lost), "{lost}");
    let lost: Vec<_> = world.all().lost.into_keys().collect();
    assert_eq!(lost, [Lost::NoEndpoint], "pods linger until the proxies know");
}

#[tokio::test(start_paused = true)]
async fn requests_to_pods_that_are_gone_fail_if_the_proxies_follow_too_late() {
    let world = world().await;
    world.routed(split(&[("v2", 1)])).await;
    world.take(1, 4000);
    world.gateway().start(load());
    world.delete("Deployment", "v2").await;
    pass(10_000).await;
    let counts = world.all();
    assert!(counts.lost.contains_key(&Lost::Refused) && counts.lost.contains_key(&Lost::NoEndpoint));
    // About two seconds until the pods close, two until the proxies know, and six afterwards.
    assert!((390..=440).contains(&counts.of("v2")), "{counts:?}");
    assert!((360..=410).contains(&counts.lost[&Lost::Refused]), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn users_keep_cookies_and_a_user_who_comes_to_another_version_is_counted() {
    let world = world().await;
    let sticky = |weights: &[(&str, u32)]| json!([{"backendRefs": backends(weights), "sessionPersistence": {"cookie": {"name": "kept"}}}]);
    world.routed(sticky(&[("v1", 1), ("v2", 1)])).await;
    world.gateway().start(load().users(100));
    pass(10_000).await;
    let counts = world.all();
    assert_eq!((counts.total(), counts.moved), (2000, 0));
    world
        .edit("HTTPRoute", "app", json!({"rules": sticky(&[("v1", 1)])}))
        .await;
    pass(10_000).await;
    let moved = world.all().moved;
    assert_eq!(
        moved,
        counts.of("v2") / 20,
        "each user sent 20 requests, and those of v2 moved once"
    );
    world
        .edit("HTTPRoute", "app", json!({"rules": split(&[("v1", 1), ("v2", 1)])}))
        .await;
    pass(10_000).await;
    assert!(world.all().moved > moved + 500, "no session, no version");
}

#[tokio::test(start_paused = true)]
async fn a_cookie_ends_with_its_age() {
    let world = world().await;
    let cookie = json!([{"name": "set-cookie", "value": "canary=yes; max-age=60"}]);
    let filter = json!([{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": cookie}}]);
    let has = json!([{"headers": [{"name": "cookie", "value": "canary=yes"}]}]);
    let mut to_v2 = split(&[("v2", 1)]);
    to_v2[0]["filters"] = filter;
    let to_v1 = json!({"matches": has, "backendRefs": backends(&[("v1", 1)])});
    world.routed(json!([to_v2[0], to_v1])).await;
    world.gateway().start(load().per_second(1.0).users(1));
    pass(130_000).await;
    let counts = world.all();
    assert_eq!((counts.of("v2"), counts.total()), (3, 130), "at 0, 60 and 120 seconds");
}

#[tokio::test(start_paused = true)]
async fn a_prometheus_has_the_requests_by_version() {
    let world = world().await;
    world.routed(split(&[("v1", 1), ("v2", 1)])).await;
    world.gateway().set_errors("v2", 0.1);
    world.gateway().measure(&world.stack.prometheus);
    world.gateway().start(load());
    pass(60_000).await;
    let counts = world.all();
    let errors = counts.errors["v2"];
    assert!(!counts.errors.contains_key("v1"));
    assert!((530..=690).contains(&errors), "{counts:?}");
    let value = |query: &str| {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("query", query)
            .finish();
        let reply = world.stack.prometheus.answer("/api/v1/query", &form, world.stack.now());
        let reply: Value = serde_json::from_slice(&reply.now_or_never().unwrap().unwrap().body).unwrap();
        let value = reply["data"]["result"][0]["value"][1]
            .as_str()
            .unwrap_or("0")
            .to_owned();
        value.parse::<f64>().unwrap()
    };
    let same = |query: &str, expected: f64| {
        let found = value(query);
        assert!((found - expected).abs() < 1e-6, "{query}: {found} and not {expected}");
    };
    same("sum(istio_requests_total)", 12_000.0);
    same(
        "sum(istio_requests_total{destination_version=\"v2\"})",
        counts.of("v2").into(),
    );
    same(
        "sum(istio_requests_total{destination_version=\"v2\", response_code=\"500\"})",
        errors.into(),
    );
    same(
        "sum(http_requests_total{service=\"v1\", namespace=\"default\"})",
        counts.of("v1").into(),
    );
    same("count(count by (pod) (http_requests_total))", 4.0);
    let rate = value("sum(rate(istio_requests_total[30s]))");
    assert!((195.0..=205.0).contains(&rate), "{rate}");
}
