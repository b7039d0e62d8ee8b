//! Users who keep their cookies.

use super::{super::Sessions, *};

/// A HTTPRoute with a session cookie and these weights.
fn sticky(weights: &[(&str, u32)]) -> Value {
    json!([{"backendRefs": backends(weights), "sessionPersistence": {"cookie": {"name": "kept"}}}])
}

/// A user: a request with the cookies that the last answer set.
struct User(Request);

impl User {
    fn new() -> Self {
        Self(request())
    }

    /// Asks and returns the version that answers.
    fn ask(&mut self, world: &World) -> String {
        let outcome = world.gateway().send(&self.0);
        for cookie in &outcome.cookies {
            self.0.cookies.insert(cookie.name.clone(), cookie.value.clone());
        }
        version(&outcome).to_owned()
    }
}

/// Ten users of `v1` and ten of `v2`.
fn users(world: &World) -> Vec<(String, User)> {
    let mut found = Vec::new();
    while found.len() < 20 {
        let mut user = User::new();
        let version = user.ask(world);
        if found.iter().filter(|(known, _)| *known == version).count() < 10 {
            found.push((version, user));
        }
    }
    found
}

async fn change(world: &World, rules: Value) {
    world.edit("HTTPRoute", "app", json!({"rules": rules})).await;
    pass(1000).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_stays_with_its_version_even_at_weight_0_and_leaves_when_the_reference_is_removed() {
    let world = world().await;
    world.routed(sticky(&[("v1", 1), ("v2", 1)])).await;
    let mut users = users(&world);
    for weights in [[("v1", 9), ("v2", 1)], [("v1", 100), ("v2", 0)]] {
        change(&world, sticky(&weights)).await;
        for (version, user) in &mut users {
            assert_eq!(user.ask(&world), *version, "{weights:?}");
        }
    }
    assert_eq!(User::new().ask(&world), "v1");
    change(&world, sticky(&[("v1", 1)])).await;
    assert!(users.iter_mut().all(|(_, user)| user.ask(&world) == "v1"));
}

#[tokio::test(start_paused = true)]
async fn a_session_stays_with_its_pod_and_then_with_its_version() {
    let world = world().await;
    world.routed(sticky(&[("v1", 1), ("v2", 1)])).await;
    let mut user = User::new();
    while user.ask(&world) != "v2" {
        user = User::new();
    }
    let pod = |user: &User| user.0.cookies["kept"].clone();
    let first = pod(&user);
    for _ in 0..20 {
        assert_eq!(user.ask(&world), "v2");
        assert_eq!(pod(&user), first);
    }
    let pods: Api<DynamicObject> = Api::namespaced_with(
        world.client.clone(),
        "default",
        &ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Pod")),
    );
    let (_, name) = first.split_once('/').unwrap();
    pods.delete(name, &DeleteParams::default()).await.unwrap();
    pass(5000).await;
    for _ in 0..20 {
        assert_eq!(user.ask(&world), "v2");
    }
    assert_ne!(pod(&user), first);
}

#[tokio::test(start_paused = true)]
async fn other_gateways_let_sessions_leave_at_weight_0_or_ignore_them() {
    let world = world().await;
    world.routed(sticky(&[("v1", 1), ("v2", 1)])).await;
    world.gateway().set(Settings {
        sessions: Sessions::LeaveAtZero,
        ..world.gateway().settings()
    });
    let mut known = users(&world);
    change(&world, sticky(&[("v1", 99), ("v2", 1)])).await;
    assert!(known.iter_mut().all(|(version, user)| user.ask(&world) == *version));
    change(&world, sticky(&[("v1", 100), ("v2", 0)])).await;
    assert!(known.iter_mut().all(|(_, user)| user.ask(&world) == "v1"));

    world.gateway().set(Settings {
        sessions: Sessions::Ignored,
        ..world.gateway().settings()
    });
    change(&world, sticky(&[("v1", 1), ("v2", 1)])).await;
    let mut user = User::new();
    let versions: std::collections::BTreeSet<_> = (0..50).map(|_| user.ask(&world)).collect();
    assert_eq!(versions.len(), 2);
    assert!(user.0.cookies.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_answer_sets_the_cookies_that_a_filter_adds() {
    let world = world().await;
    let cookie = json!([{"name": "Set-Cookie", "value": "canary=yes; Path=/; Max-Age=3600"}]);
    let filter = json!([{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": cookie}}]);
    let has =
        json!([{"headers": [{"name": "cookie", "type": "RegularExpression", "value": "(.*; )?canary=yes(;.*)?"}]}]);
    let mut split = backends(&[("v1", 1), ("v2", 1)]);
    split[1]["filters"] = filter;
    world
        .routed(json!([{"backendRefs": split}, {"matches": has, "backendRefs": backends(&[("v2", 1)])}]))
        .await;
    for (version, mut user) in users(&world) {
        assert_eq!(user.0.cookies.contains_key("canary"), version == "v2");
        if version == "v2" {
            assert!((0..10).all(|_| user.ask(&world) == "v2"));
        }
    }
    let spec = virtual_service(json!([{
        "route": [{"destination": {"host": "v2"}, "headers": {"response": {"add": {"Set-Cookie": "a=b; Max-Age=60"}}}}],
    }]));
    world.delete("HTTPRoute", "app").await;
    world.create("VirtualService", "app", spec).await;
    pass(1000).await;
    let [cookie] = world.gateway().send(&request()).cookies.try_into().unwrap();
    assert_eq!(
        (cookie.name.as_str(), cookie.value.as_str(), cookie.max_age),
        ("a", "b", Some(60))
    );
}
