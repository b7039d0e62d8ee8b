//! The kinds as the API server serves them.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_kind_is_unknown_until_its_definition_is_installed() {
    let world = bare();
    let before = world
        .try_create("HTTPRoute", "app", route(json!([])))
        .await
        .unwrap_err();
    assert_eq!(before.0, 404, "{}", before.1);
    let groups = async || {
        let groups = world.client.list_api_groups().await.unwrap().groups;
        groups.into_iter().map(|group| group.name).collect::<Vec<_>>()
    };
    assert!(!groups().await.contains(&"gateway.networking.k8s.io".to_owned()));
    world.gateway().install_gateway_api().unwrap();
    assert!(groups().await.contains(&"gateway.networking.k8s.io".to_owned()));
    let resources = world
        .client
        .list_api_group_resources("gateway.networking.k8s.io/v1")
        .await;
    let names: Vec<_> = resources.unwrap().resources.into_iter().map(|it| it.name).collect();
    for name in ["httproutes", "httproutes/status", "grpcroutes", "gateways"] {
        assert!(names.contains(&name.to_owned()), "{name} in {names:?}");
    }
    world.routed_to(&[("v1", 1)]).await;
    assert_eq!(
        world
            .try_create("VirtualService", "app", json!({}))
            .await
            .unwrap_err()
            .0,
        404
    );
}

#[tokio::test(start_paused = true)]
async fn a_route_is_defaulted_and_keeps_fields_that_are_not_declared() {
    let world = world().await;
    let rewrite = json!({"type": "URLRewrite", "urlRewrite": {"hostname": "other.example"}});
    let rule = json!({"filters": [rewrite], "timeouts": {"request": "3s"}, "later": {"a": [1]},
                      "backendRefs": [{"name": "v1", "port": 80, "also": true}]});
    let created = world.create("HTTPRoute", "app", route(json!([rule]))).await;
    assert_eq!(
        created["spec"]["rules"],
        json!([{
            "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
            "filters": [rewrite], "timeouts": {"request": "3s"}, "later": {"a": [1]},
            "backendRefs": [{"group": "", "kind": "Service", "name": "v1", "port": 80, "weight": 1, "also": true}],
        }])
    );
    let parent = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "web"});
    assert_eq!(created["spec"]["parentRefs"], json!([parent]));
    let empty = world.create("HTTPRoute", "empty", json!({})).await;
    assert_eq!(empty["spec"]["rules"][0]["matches"][0]["path"]["value"], "/");
    let grpc = world
        .create(
            "GRPCRoute",
            "app",
            json!({"rules": [{"backendRefs": backends(&[("v1", 1)])}]}),
        )
        .await;
    assert!(grpc["spec"]["rules"][0]["matches"].is_null());
}

#[tokio::test(start_paused = true)]
async fn a_patch_with_a_test_applies_to_what_was_read_and_to_nothing_else() {
    let world = world().await;
    world
        .create(
            "HTTPRoute",
            "app",
            route(json!([{"backendRefs": backends(&[("v1", 1)])}])),
        )
        .await;
    let backends_at = "/spec/rules/0/backendRefs";
    let read = world.get("HTTPRoute", "app").await["spec"]["rules"][0]["backendRefs"].clone();
    let add =
        json!({"op": "add", "path": format!("{backends_at}/-"), "value": {"name": "v2", "port": 80, "weight": 0}});
    let patch = json!([{"op": "test", "path": backends_at, "value": read}, add]);
    let patched = world.patch("HTTPRoute", "app", patch.clone()).await.unwrap();
    assert_eq!(patched["metadata"]["generation"], 2);
    assert_eq!(patched["spec"]["rules"][0]["backendRefs"][1]["kind"], "Service");
    let (code, message) = world.patch("HTTPRoute", "app", patch).await.unwrap_err();
    assert_eq!(
        (code, message.as_str()),
        (422, "the server rejected our request due to an error in our request")
    );
    pass(1000).await;
    let route = world.get("HTTPRoute", "app").await;
    assert_eq!(route["spec"], patched["spec"]);
    assert_eq!(route["metadata"]["generation"], 2, "a status does not count");
    assert_eq!(route["status"]["parents"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_route_is_refused_as_the_original_definition_demands() {
    let world = world().await;
    let with = |backend: Value| json!([{"backendRefs": [backend]}]);
    let mirror = |filter: Value| json!([{"filters": [{"type": "RequestMirror", "requestMirror": filter}]}]);
    let to = json!({"name": "v2", "port": 80});
    let many = |count: usize, one: Value| Value::Array(vec![one; count]);
    for (rules, why) in [
        (
            with(json!({"name": "v1", "port": 80, "weight": -1})),
            "should be greater than or equal to 0",
        ),
        (
            with(json!({"name": "v1", "port": 80, "weight": 1_000_001})),
            "should be less than or equal to 1000000",
        ),
        (with(json!({"name": "v1"})), "Must have port for Service reference"),
        (many(17, json!({})), "must have at most 16 items"),
        (
            json!([{"backendRefs": many(17, to.clone())}]),
            "must have at most 16 items",
        ),
        (
            json!([{"name": "a"}, {"name": "a"}]),
            "Rule name must be unique within the route",
        ),
        (
            mirror(json!({"backendRef": to, "percent": 1, "fraction": {"numerator": 1}})),
            "Only one of percent or fraction may be specified",
        ),
        (
            mirror(json!({"backendRef": to, "percent": 101})),
            "should be less than or equal to 100",
        ),
        (
            json!([{"filters": [{"type": "RequestMirror"}]}]),
            "filter.requestMirror must be specified",
        ),
    ] {
        let (code, message) = world
            .try_create("HTTPRoute", "bad", route(rules.clone()))
            .await
            .unwrap_err();
        assert_eq!(code, 422, "{rules}");
        assert!(message.contains(why), "{rules}: {message}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_virtual_service_is_refused_as_istio_does() {
    let world = world().await;
    let to = destinations(&[("v1", 1)]);
    for (rule, why) in [
        (
            json!({"route": destinations(&[("v1", 101), ("v2", -1)])}),
            "weight -1 < 0",
        ),
        (
            json!({"route": destinations(&[("v1", 0), ("v2", 0)])}),
            "total destination weight = 0",
        ),
        (
            json!({"route": [{"destination": {"host": "v1"}}, {"destination": {"host": "v2"}}]}),
            "total destination weight = 0",
        ),
        (
            json!({"name": "a"}),
            "HTTP route, redirect or direct_response is required",
        ),
        (
            json!({"route": to, "mirror": {"host": "v2"}, "mirrors": [{"destination": {"host": "v2"}}]}),
            "HTTP route cannot contain both mirror and mirrors",
        ),
        (
            json!({"route": to, "mirror": {"host": "v2"}, "mirrorPercentage": {"value": 101}}),
            "mirror_percentage must have a max value of 100 (it has 101.000000)",
        ),
    ] {
        let spec = virtual_service(json!([rule]));
        let (code, message) = world.try_create("VirtualService", "bad", spec).await.unwrap_err();
        let denied = "admission webhook \"rev.validation.istio.io\" denied the request: configuration is invalid: ";
        assert_eq!((code, message), (400, format!("{denied}{why}")));
    }
    let alone = virtual_service(json!([{"route": [{"destination": {"host": "v1"}}], "later": true}]));
    let created = world.create("VirtualService", "app", alone.clone()).await;
    assert_eq!(created["spec"], alone, "nothing is defaulted or dropped");
    let patch = json!([{"op": "add", "path": "/spec/http/0/route/-", "value": {"destination": {"host": "v2"}}}]);
    assert_eq!(world.patch("VirtualService", "app", patch).await.unwrap_err().0, 400);
    world.delete("VirtualService", "app").await;
}

#[tokio::test(start_paused = true)]
async fn a_subset_has_the_pods_with_its_labels_and_needs_a_destination_rule() {
    let world = world().await;
    let both = json!({"selector": {"part": "app"}, "ports": [{"port": 80}]});
    for version in ["v1", "v2"] {
        let labels = json!({"template": {"metadata": {"labels": {"part": "app", "version": version}}}});
        world.edit("Deployment", version, labels).await;
    }
    world.create("Service", "both", both).await;
    let to = |subset: &str, weight: u32| json!({"destination": {"host": "both", "subset": subset}, "weight": weight});
    let spec = virtual_service(json!([{"route": [to("one", 75), to("two", 25)]}]));
    world.create("VirtualService", "app", spec).await;
    pass(30_000).await;
    let parts = |of: &str| {
        let outcomes = world.gateway().outcomes(&request()).into_iter();
        let named = outcomes.map(|(part, answer)| match answer {
            Ok(reached) => (part, reached.version),
            Err(lost) => (part, format!("{lost:?}")),
        });
        named.filter(|(_, name)| name == of).map(|(part, _)| part).sum::<f64>()
    };
    assert_eq!((parts("NoService"), parts("v1"), parts("v2")), (1.0, 0.0, 0.0));
    let subset = |name: &str, version: &str| json!({"name": name, "labels": {"version": version}});
    let subsets = json!([subset("one", "v1"), subset("two", "v2")]);
    let rule = json!({"host": "both", "subsets": subsets});
    world.create("DestinationRule", "app", rule).await;
    pass(1000).await;
    assert_eq!((parts("NoService"), parts("v1"), parts("v2")), (0.0, 0.75, 0.25));
    world
        .edit("DestinationRule", "app", json!({"subsets": [subset("one", "v1")]}))
        .await;
    pass(1000).await;
    assert_eq!((parts("NoService"), parts("v1"), parts("v2")), (0.25, 0.75, 0.0));
    world.delete("VirtualService", "app").await;
    pass(1000).await;
    assert!((parts("NoRoute") - 1.0).abs() < f64::EPSILON);
}
