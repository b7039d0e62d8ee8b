//! Which rule leads a request, and where.

use super::*;

/// Checks which version answers each request.
fn check(world: &World, cases: &[(Request, &str)]) {
    for (request, expected) in cases {
        assert_eq!(version(&world.gateway().send(request)), *expected, "{request:?}");
    }
}

fn to(version: &str) -> Value {
    backends(&[(version, 1)])
}

#[tokio::test(start_paused = true)]
async fn a_header_leads_to_the_rule_that_names_it() {
    let world = world().await;
    let headers =
        |name: &str, kind: &str, value: &str| json!([{"headers": [{"name": name, "type": kind, "value": value}]}]);
    world
        .routed(json!([
            {"matches": headers("X-Canary", "Exact", "always"), "backendRefs": to("v2")},
            {"matches": headers("user-agent", "RegularExpression", "curl/8.*"), "backendRefs": to("v2")},
            {"matches": headers("Cookie", "RegularExpression", "(.*; )?canary=(always|yes)(;.*)?"), "backendRefs": to("v2")},
            {"backendRefs": to("v1")},
        ]))
        .await;
    check(
        &world,
        &[
            (request(), "v1"),
            (request().header("x-canary", "always"), "v2"),
            (request().header("x-canary", "always not"), "v1"),
            (request().header("user-agent", "curl/8.1"), "v2"),
            (request().header("user-agent", "not curl/8.1"), "v1"),
            (
                request().cookie("a", "b").cookie("canary", "yes").cookie("z", "x"),
                "v2",
            ),
            (request().cookie("canary", "no"), "v1"),
            (request().cookie("not-canary", "yes"), "v1"),
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn the_most_specific_match_leads_wherever_its_rule_is() {
    let world = world().await;
    let path = |kind: &str, value: &str| json!({"type": kind, "value": value});
    let header = json!([{"name": "x", "value": "1"}]);
    world
        .routed(json!([
            {"matches": [{"path": path("PathPrefix", "/")}], "backendRefs": to("v1")},
            {"matches": [{"path": path("PathPrefix", "/a")}], "backendRefs": to("v2")},
            {"matches": [{"path": path("PathPrefix", "/a"), "headers": header}], "backendRefs": to("v1")},
            {"matches": [{"path": path("Exact", "/a/b")}], "backendRefs": to("v1")},
            {"matches": [{"path": path("PathPrefix", "/q"), "queryParams": [{"name": "n", "value": "1"}]}],
             "backendRefs": to("v2")},
            {"matches": [{"path": path("PathPrefix", "/m"), "method": "POST"}], "backendRefs": to("v2")},
        ]))
        .await;
    let mut post = request().path("/m");
    "POST".clone_into(&mut post.method);
    check(
        &world,
        &[
            (request(), "v1"),
            (request().path("/a"), "v2"),
            (request().path("/a/c"), "v2"),
            (request().path("/ab"), "v1"),
            (request().path("/a").header("x", "1"), "v1"),
            (request().path("/a/b"), "v1"),
            (request().path("/q?n=1"), "v2"),
            (request().path("/q?n=2"), "v1"),
            (request().path("/m"), "v1"),
            (post, "v2"),
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn of_equal_matches_the_older_route_and_then_the_first_rule_leads() {
    let world = world().await;
    world
        .routed(json!([{"backendRefs": to("v1")}, {"backendRefs": to("v2")}]))
        .await;
    world
        .create("HTTPRoute", "a-later-one", route(json!([{"backendRefs": to("v2")}])))
        .await;
    let mut wild = route(json!([{"backendRefs": to("v2")}]));
    wild["hostnames"] = json!(["*.example"]);
    world.create("HTTPRoute", "wild", wild).await;
    pass(1000).await;
    let outcome = world.gateway().send(&request());
    assert_eq!(outcome.rule, Some(((HTTP.into(), at("app")), 0)));
    check(
        &world,
        &[
            (request(), "v1"),
            (Request::through("default", "web", "b.example"), "v2"),
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn weights_split_the_requests() {
    let world = world().await;
    world.routed_to(&[("v1", 9), ("v2", 1)]).await;
    let versions = (0..5000).map(|_| world.gateway().send(&request()));
    let of_v2 = versions.filter(|outcome| version(outcome) == "v2").count();
    // Four standard deviations.
    assert!((415..=585).contains(&of_v2), "{of_v2}");
    assert!((world.gateway().share(&request(), &at("v2")) - 0.1).abs() < 1e-9);
    world.lead_to(&[("v1", 0), ("v2", 0)]).await;
    pass(1000).await;
    let outcome = world.gateway().send(&request());
    assert_eq!(outcome.answer.unwrap_err().code(), 500);
}

#[tokio::test(start_paused = true)]
async fn a_mirror_gets_its_part_of_the_requests_and_answers_none() {
    let world = world().await;
    let mirror = |part: Value| {
        let mut filter = json!({"backendRef": {"name": "v2", "port": 80}});
        crate::patch::merge(&mut filter, &part);
        json!([{"filters": [{"type": "RequestMirror", "requestMirror": filter}], "backendRefs": to("v1")}])
    };
    world.routed(mirror(json!({}))).await;
    for (part, expected) in [
        (json!({}), 1000..=1000),
        (json!({"percent": 0}), 0..=0),
        (json!({"percent": 40}), 335..=465),
        (json!({"fraction": {"numerator": 2, "denominator": 5}}), 335..=465),
    ] {
        world
            .edit("HTTPRoute", "app", json!({"rules": mirror(part.clone())}))
            .await;
        pass(1000).await;
        let outcomes: Vec<_> = (0..1000).map(|_| world.gateway().send(&request())).collect();
        assert!(outcomes.iter().all(|outcome| version(outcome) == "v1"), "{part}");
        let copies = outcomes.iter().map(|outcome| outcome.mirrored.len()).sum::<usize>();
        assert!(expected.contains(&copies), "{part}: {copies}");
    }
    world.delete("Deployment", "v2").await;
    pass(3000).await;
    let outcome = world.gateway().send(&request());
    assert_eq!(
        (version(&outcome), outcome.mirrored.len()),
        ("v1", 0),
        "a copy that is lost harms nobody"
    );
}

#[tokio::test(start_paused = true)]
async fn the_first_rule_of_a_virtual_service_that_fits_leads() {
    let world = world().await;
    let tagged = json!({"headers": {"x-canary": {"exact": "always"}, "cookie": {"regex": ".*canary=yes.*"}}});
    let spec = virtual_service(json!([
        {"match": [tagged, {"uri": {"prefix": "/v2"}}], "route": destinations(&[("v2", 0)])},
        {"match": [{"withoutHeaders": {"x-user": {}}}], "route": destinations(&[("v1", 100)])},
        {"route": destinations(&[("v1.default.svc.cluster.local", 0), ("v2", 100)]),
         "mirror": {"host": "v1"}, "mirrorPercentage": {"value": 100.0}},
        {"match": [{"uri": {"exact": "/never"}}], "route": destinations(&[("v1", 1)])},
    ]));
    world.create("VirtualService", "app", spec).await;
    pass(1000).await;
    let tagged = request().header("x-canary", "always");
    check(
        &world,
        &[
            (request(), "v1"),
            (tagged.clone(), "v1"),
            (tagged.cookie("canary", "yes"), "v2"),
            (request().path("/v2/x"), "v2"),
            (request().header("x-user", "a"), "v2"),
            (request().header("x-user", "a").path("/never"), "v2"),
        ],
    );
    let outcome = world.gateway().send(&request().header("x-user", "a"));
    assert_eq!(outcome.mirrored[0].version, "v1");
}

#[tokio::test(start_paused = true)]
async fn inside_the_mesh_a_route_of_a_service_leads_its_requests() {
    let world = world().await;
    let inside = Request::inside("v1.default.svc.cluster.local");
    check(&world, &[(inside.clone(), "v1"), (Request::inside("v1.default"), "v1")]);
    let to_v2 = json!([{"route": destinations(&[("v2", 1)])}]);
    world
        .create("VirtualService", "app", json!({"hosts": ["v1"], "http": to_v2}))
        .await;
    pass(1000).await;
    check(&world, &[(inside.clone(), "v2"), (Request::inside("v2.default"), "v2")]);
    world.delete("VirtualService", "app").await;
    let parent = json!([{"group": "", "kind": "Service", "name": "v1"}]);
    let rules = json!([{"backendRefs": to("v2")}]);
    world
        .create("HTTPRoute", "app", json!({"parentRefs": parent, "rules": rules}))
        .await;
    pass(1000).await;
    check(&world, &[(inside, "v2"), (Request::inside("v1.default"), "v2")]);
    let outside = world.gateway().send(&request());
    assert_eq!(outside.answer.unwrap_err().code(), 404);
}

#[tokio::test(start_paused = true)]
async fn a_grpc_method_leads_to_its_rule() {
    let world = world().await;
    let method = |method: Value| json!([{"method": method}]);
    let spec = route(json!([
        {"backendRefs": to("v1")},
        {"matches": method(json!({"service": "shop.Cart"})), "backendRefs": to("v2")},
        {"matches": method(json!({"service": "shop.Cart", "method": "Pay"})), "backendRefs": to("v1")},
        {"matches": method(json!({"method": "Ping"})), "backendRefs": to("v2")},
    ]));
    world.create("GRPCRoute", "app", spec).await;
    pass(1000).await;
    check(
        &world,
        &[
            (request().path("/shop.User/Get"), "v1"),
            (request().path("/shop.Cart/Add"), "v2"),
            (request().path("/shop.Cart/Pay"), "v1"),
            (request().path("/shop.User/Ping"), "v2"),
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn a_rule_in_force_shows_the_filters_that_hold_for_all_its_destinations() {
    let world = world().await;
    let filters = json!([{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x"]}}]);
    world
        .routed(json!([{"filters": filters, "backendRefs": backends(&[("v1", 1), ("v2", 1)])}]))
        .await;
    let table = world.gateway().in_force(HTTP, &at("app")).unwrap();
    assert_eq!(table.rules[0].spec["filters"], filters);
    assert_eq!(table.rules[0].destinations.len(), 2);
}
