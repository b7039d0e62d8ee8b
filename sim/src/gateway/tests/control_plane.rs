//! The status of routes, and when they come into force.

use super::*;

fn condition<'v>(entry: &'v Value, kind: &str) -> &'v Value {
    let conditions = entry["conditions"].as_array().unwrap();
    conditions.iter().find(|condition| condition["type"] == kind).unwrap()
}

impl World {
    /// Who answers a request now.
    fn answers(&self) -> String {
        match self.gateway().send(&request()).answer {
            Ok(reached) => reached.version,
            Err(lost) => format!("{lost:?}"),
        }
    }

    /// Whether an `EndpointSlice` of a Service has a ready pod.
    fn has_endpoints(&self, service: &str) -> bool {
        let slices = self
            .stack
            .cluster
            .objects("endpointslices.discovery.k8s.io", Some("default"));
        let mut slices = slices.iter().filter(|slice| {
            slice
                .meta
                .labels
                .get("kubernetes.io/service-name")
                .is_some_and(|name| name == service)
        });
        slices.any(|slice| slice.json()["endpoints"][0]["conditions"]["ready"] == true)
    }

    async fn generation(&self) -> Value {
        let route = self.get("HTTPRoute", "app").await;
        condition(&route["status"]["parents"][0], "Accepted")["observedGeneration"].clone()
    }
}

#[tokio::test(start_paused = true)]
async fn the_status_says_that_a_route_was_translated_and_the_proxies_follow_later() {
    let world = world().await;
    world.routed_to(&[("v1", 1)]).await;
    world.take(20, 90);
    let _ = world.gateway().take_enforced();
    world.lead_to(&[("v2", 1)]).await;
    let changed = world.stack.now();
    pass(19).await;
    assert_eq!((world.generation().await, world.answers()), (json!(1), "v1".to_owned()));
    pass(2).await;
    assert_eq!((world.generation().await, world.answers()), (json!(2), "v1".to_owned()));
    pass(90).await;
    assert_eq!(world.answers(), "v2");
    let [enforced] = world.gateway().take_enforced().try_into().unwrap();
    assert_eq!(enforced.at, changed + Duration::from_millis(110));
    assert_eq!(enforced.table.unwrap().generation, 2);
    let route = world.get("HTTPRoute", "app").await;
    let entry = &route["status"]["parents"][0];
    assert_eq!(entry["parentRef"]["name"], "web");
    assert_eq!(entry["controllerName"], "gateway.test/controller");
    assert_eq!(condition(entry, "Accepted")["status"], "True");
    assert_eq!(condition(entry, "ResolvedRefs")["status"], "True");
}

#[tokio::test(start_paused = true)]
async fn a_condition_keeps_the_time_of_its_last_transition() {
    let world = world().await;
    world.routed_to(&[("v1", 1)]).await;
    let since = async || {
        let route = world.get("HTTPRoute", "app").await;
        condition(&route["status"]["parents"][0], "Accepted")["lastTransitionTime"].clone()
    };
    let first = since().await;
    pass(5000).await;
    world
        .edit("HTTPRoute", "app", json!({"hostnames": [HOST, "b.example"]}))
        .await;
    pass(1000).await;
    assert_eq!((world.generation().await, since().await), (json!(2), first));
}

#[tokio::test(start_paused = true)]
async fn changes_of_a_route_come_into_force_in_their_order() {
    let world = world().await;
    world.routed_to(&[("v1", 1)]).await;
    world.take(1, 200);
    world.lead_to(&[("v2", 1)]).await;
    pass(10).await;
    world.take(1, 20);
    world.lead_to(&[("v1", 1)]).await;
    pass(1000).await;
    assert_eq!(world.answers(), "v1");
}

#[tokio::test(start_paused = true)]
async fn a_route_does_not_come_into_force_before_endpoints_that_were_known_earlier() {
    let world = world().await;
    world.routed_to(&[("v1", 1)]).await;
    world.take(1, 300);
    world.app("v3", 1).await;
    while !world.has_endpoints("v3") {
        pass(1).await;
    }
    world.take(1, 20);
    world.lead_to(&[("v3", 1)]).await;
    let mut answers = std::collections::BTreeSet::new();
    for _ in 0..1000 {
        pass(1).await;
        answers.insert(world.answers());
    }
    assert_eq!(Vec::from_iter(answers), ["v1", "v3"]);
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_hangs_leaves_the_status_and_the_traffic_as_they_are() {
    let world = world().await;
    world.routed_to(&[("v1", 1)]).await;
    world.take(20, 90);
    world.lead_to(&[("v2", 1)]).await;
    pass(30).await;
    world.gateway().hang(true);
    world.lead_to(&[("v1", 1), ("v2", 1)]).await;
    world.delete("Deployment", "v2").await;
    pass(60_000).await;
    assert_eq!((world.generation().await, world.answers()), (json!(2), "v1".to_owned()));
    assert_eq!(
        world.gateway().endpoints(&at("v2")),
        2,
        "the proxies know neither that they are gone"
    );
    world.gateway().hang(false);
    pass(1000).await;
    assert_eq!(
        (world.generation().await, world.gateway().endpoints(&at("v2"))),
        (json!(3), 0)
    );
    assert!((world.gateway().share(&request(), &at("v2")) - 0.5).abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn a_write_of_a_virtual_service_fails_while_the_control_plane_hangs() {
    let world = world().await;
    world.gateway().hang(true);
    let spec = virtual_service(json!([{"route": destinations(&[("v1", 1)])}]));
    let before = world.stack.now();
    let (code, message) = world
        .try_create("VirtualService", "app", spec.clone())
        .await
        .unwrap_err();
    assert_eq!(code, 500, "{message}");
    assert!(
        message.contains("failed calling webhook \"rev.validation.istio.io\""),
        "{message}"
    );
    assert_eq!(world.stack.now(), before + Duration::from_secs(10));
    world.gateway().hang(false);
    world.create("VirtualService", "app", spec).await;
    pass(1000).await;
    assert_eq!(world.answers(), "v1");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_does_not_exist_is_reported_and_its_share_fails() {
    let world = world().await;
    world.routed_to(&[("v3", 1)]).await;
    let route = world.get("HTTPRoute", "app").await;
    let resolved = condition(&route["status"]["parents"][0], "ResolvedRefs");
    assert_eq!(
        (&resolved["status"], &resolved["reason"]),
        (&json!("False"), &json!("BackendNotFound"))
    );
    assert_eq!(world.answers(), "NoService");
    world.app("v3", 0).await;
    pass(1000).await;
    let route = world.get("HTTPRoute", "app").await;
    assert_eq!(
        condition(&route["status"]["parents"][0], "ResolvedRefs")["status"],
        "True"
    );
    assert_eq!(world.answers(), "NoEndpoint");
}

#[tokio::test(start_paused = true)]
async fn a_service_of_another_namespace_is_not_permitted() {
    let world = world().await;
    let backend = json!({"name": "v1", "namespace": "kube-system", "port": 80});
    world.routed(json!([{"backendRefs": [backend]}])).await;
    let route = world.get("HTTPRoute", "app").await;
    assert_eq!(
        condition(&route["status"]["parents"][0], "ResolvedRefs")["reason"],
        "RefNotPermitted"
    );
    assert_eq!(world.answers(), "NoService");
}

#[tokio::test(start_paused = true)]
async fn a_route_waits_for_its_gateway() {
    let world = world().await;
    let mut spec = route(json!([{"backendRefs": backends(&[("v1", 1)])}]));
    spec["parentRefs"] = json!([{"name": "later"}]);
    world.create("HTTPRoute", "app", spec).await;
    pass(1000).await;
    assert_eq!(world.get("HTTPRoute", "app").await["status"], json!({"parents": []}));
    let listener = json!({"name": "http", "port": 80, "protocol": "HTTP"});
    let spec = json!({"gatewayClassName": "test", "listeners": [listener]});
    world.create("Gateway", "later", spec).await;
    pass(1000).await;
    assert_eq!(world.generation().await, 1);
    assert_eq!(
        version(&world.gateway().send(&Request::through("default", "later", HOST))),
        "v1"
    );
    assert_eq!(world.answers(), "NoRoute");
    let gateway = world.get("Gateway", "later").await;
    assert_eq!(condition(&gateway["status"], "Programmed")["status"], "True");
}

#[tokio::test(start_paused = true)]
async fn the_status_of_other_controllers_stays() {
    let world = world().await;
    world.routed_to(&[("v1", 1)]).await;
    let mut entry = world.get("HTTPRoute", "app").await["status"]["parents"][0].clone();
    entry["controllerName"] = json!("other.example/controller");
    let patch = json!([{"op": "add", "path": "/status/parents/0", "value": entry}]);
    let patch: Patch<()> = Patch::Json(serde_json::from_value(patch).unwrap());
    world
        .api("HTTPRoute")
        .patch_status("app", &PatchParams::default(), &patch)
        .await
        .unwrap();
    world
        .edit("HTTPRoute", "app", json!({"hostnames": [HOST, "b.example"]}))
        .await;
    pass(1000).await;
    let route = world.get("HTTPRoute", "app").await;
    let parents = route["status"]["parents"].as_array().unwrap();
    assert_eq!(parents.len(), 2);
    assert_eq!(parents[0], entry);
    assert_eq!(condition(&parents[1], "Accepted")["observedGeneration"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_route_leads_nowhere() {
    let world = world().await;
    world.routed_to(&[("v1", 1)]).await;
    world.delete("HTTPRoute", "app").await;
    assert_eq!(world.answers(), "v1", "the proxies follow later");
    pass(1000).await;
    assert_eq!(world.answers(), "NoRoute");
    assert!(world.gateway().in_force(HTTP, &at("app")).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_gateway_whose_listeners_do_not_allow_the_kind_refuses_a_route_that_others_serve() {
    let world = world().await;
    let listener = json!({"name": "http", "port": 80, "protocol": "HTTP"});
    let edge = json!({"gatewayClassName": "test", "listeners": [listener]});
    world.create("Gateway", "edge", edge).await;
    let mut spec = route(json!([{"backendRefs": backends(&[("v1", 1)])}]));
    spec["parentRefs"] = json!([{"name": "web"}, {"name": "edge"}]);
    world.create("HTTPRoute", "app", spec).await;
    pass(1000).await;
    let mut limited = listener.clone();
    limited["allowedRoutes"] = json!({"kinds": [{"kind": "GRPCRoute"}]});
    world
        .edit("Gateway", "edge", json!({"listeners": [limited.clone()]}))
        .await;
    pass(1000).await;
    let reports = async || {
        let route = world.get("HTTPRoute", "app").await;
        let parents = route["status"]["parents"].as_array().unwrap().clone();
        let accepted = parents.iter().map(|parent| condition(parent, "Accepted"));
        let accepted = accepted.map(|accepted| accepted["reason"].as_str().unwrap().to_owned());
        accepted.collect::<Vec<_>>()
    };
    let through = |gateway: &str| {
        let outcome = world.gateway().send(&Request::through("default", gateway, HOST)).answer;
        outcome.map(|reached| reached.version)
    };
    assert_eq!(reports().await, ["Accepted", "NotAllowedByListeners"]);
    assert_eq!(
        (through("web"), through("edge")),
        (Ok("v1".to_owned()), Err(Lost::NoRoute))
    );
    limited["allowedRoutes"] = json!({"kinds": [{"kind": "HTTPRoute"}]});
    world.edit("Gateway", "edge", json!({"listeners": [limited]})).await;
    pass(1000).await;
    assert_eq!(reports().await, ["Accepted", "Accepted"]);
    assert_eq!(through("edge"), Ok("v1".to_owned()));
}
