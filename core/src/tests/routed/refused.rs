//! Specs and routes with which a gateway would answer nothing.

use super::{
    cases::{LONG, weighted},
    *,
};

#[test]
fn a_regex_that_is_no_regex_is_never_written_and_a_running_one_can_be_taken_out() {
    let tagged = |regex: &str| {
        json!({
            "source": "tagged", "route": {"kind": "HTTPRoute", "name": "shop"},
            "tagged": {"cookies": [{"name": "canary", "regex": regex}]},
        })
    };
    let mut world = World::new(&tagged("(("));
    world.run(LONG);
    assert!(
        !world.writes.iter().any(|write| write.starts_with("route")),
        "{:#?}",
        world.writes
    );
    world.is_restored();
    // As another version left it: the expression is in the spec and in the route.
    for fixed in [false, true] {
        let mut world = World::new(&tagged("yes"));
        world.run(SignedDuration::from_secs(30));
        assert!(world.routed() > 0, "{:#?}", world.writes);
        world.spec["traffic"] = tagged("((");
        let route = world.route.as_mut().unwrap();
        *route = serde_json::from_str(&route.to_string().replace("yes", "((")).unwrap();
        world.run(SignedDuration::from_secs(30));
        assert!(world.routed() > 0, "{:#?}", world.writes);
        if fixed {
            world.spec["traffic"] = tagged("no");
        } else {
            world.metadata["deletionTimestamp"] = json!(world.now.to_string());
        }
        raise(&mut world.metadata);
        world.run(LONG);
        world.is_restored();
    }
}

#[test]
fn production_never_ends_with_nothing_because_of_a_run() {
    for (steps, edited) in [(json!([100]), false), (json!([10, 100]), true)] {
        for deleted in [false, true] {
            let mut world = World::new(&json!({
                "source": "weighted", "route": {"kind": "HTTPRoute", "name": "shop"},
                "weighted": {"steps": steps, "interval": "60s"},
            }));
            world.run(SignedDuration::from_secs(40));
            assert!(world.routed() > 0, "{:#?}", world.writes);
            let route = world.route.as_mut().unwrap();
            if edited {
                route["spec"]["rules"][0]["backendRefs"][0]["weight"] = json!(0);
                route["spec"]["rules"][0]["backendRefs"][1]["weight"] = json!(100);
            } else {
                route["metadata"].as_object_mut().unwrap().remove("annotations");
            }
            raise(&mut route["metadata"]);
            if deleted {
                world.metadata["deletionTimestamp"] = json!(world.now.to_string());
            } else {
                world.spec["verdict"] = json!("invalid");
            }
            raise(&mut world.metadata);
            world.run(LONG);
            assert_eq!(world.phase() == Phase::Failed, !deleted, "{:#?}", world.writes);
            let backends = world.route.as_ref().unwrap()["spec"]["rules"][0]["backendRefs"].clone();
            let backends = backends.as_array().unwrap().iter();
            let left: Vec<_> = backends
                .map(|one| (one["name"].as_str().unwrap(), one["weight"].as_u64().unwrap_or(100)))
                .collect();
            assert_eq!(left, [("svc", 100)], "{:#?}", world.writes);
        }
    }
}

#[test]
fn a_port_that_production_lacks_holds_the_run_before_anything_is_written() {
    let mut world = World::new(&weighted());
    world.route.as_mut().unwrap()["spec"]["rules"][0]["backendRefs"][0]["port"] = json!(81);
    world.run(LONG);
    assert_eq!(world.writes, ["status Errored"]);
    let status = world.status.clone().unwrap().to_string();
    let why = "HTTPRoute shop: a backend has port 81, and Service svc has no such port: change it, or add the port to the Service";
    assert!(status.contains("RouteUnsuitable") && status.contains(why), "{status}");
    world.route.as_mut().unwrap()["spec"]["rules"][0]["backendRefs"][0]["port"] = json!(80);
    world.run(LONG);
    assert_eq!(world.phase(), Phase::DeploymentUpdated);
}

#[test]
fn a_canary_whose_pods_lack_the_port_of_its_service_gets_no_requests() {
    let mut world = World::new(&weighted());
    world.lacking = Some("http".to_owned());
    world.run(SignedDuration::from_mins(2));
    assert_eq!((world.highest, world.routed()), (0, 0), "{:#?}", world.writes);
    let why = crate::status::find(&world.stored(), crate::status::ERRORED)
        .unwrap()
        .clone();
    assert_eq!(why.reason, "PortMissing");
    assert!(why.message.contains("no port named http"), "{}", why.message);
    world.lacking = None;
    world.run(LONG);
    assert_eq!(world.phase(), Phase::DeploymentUpdated, "{:#?}", world.writes);
}

fn of_an_app() -> Value {
    json!([{"apiVersion": "canary.atze.io/v1", "kind": "CanaryApp", "name": "hello", "uid": "hello", "controller": true}])
}

#[test]
fn nothing_is_written_into_the_route_of_a_front_end() {
    let mut world = World::new(&weighted());
    world.route.as_mut().unwrap()["metadata"]["ownerReferences"] = of_an_app();
    world.run(SignedDuration::from_mins(2));
    assert_eq!((world.highest, world.routed()), (0, 0), "{:#?}", world.writes);
    assert_eq!(world.writes, ["status Errored"]);
    let why = crate::status::find(&world.stored(), crate::status::ERRORED)
        .unwrap()
        .clone();
    assert_eq!(why.reason, "TrafficOwned");
    assert!(
        why.message.contains("CanaryApp.canary.atze.io/hello"),
        "{}",
        why.message
    );
    world.route.as_mut().unwrap()["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("ownerReferences");
    world.run(LONG);
    assert_eq!(world.phase(), Phase::DeploymentUpdated, "{:#?}", world.writes);
}

#[test]
fn a_route_that_a_front_end_takes_over_in_mid_run_gets_the_share_back() {
    let mut world = World::new(&weighted());
    world.run(SignedDuration::from_secs(30));
    assert!(world.routed() > 0, "{:#?}", world.writes);
    let metadata = &mut world.route.as_mut().unwrap()["metadata"];
    metadata["ownerReferences"] = of_an_app();
    raise(metadata);
    world.run(SignedDuration::from_mins(5));
    assert_eq!(world.routed(), 0, "{:#?}", world.writes);
    assert_eq!(world.phase(), Phase::Running, "{:#?}", world.writes);
    let why = crate::status::find(&world.stored(), crate::status::TRAFFIC)
        .unwrap()
        .clone();
    assert_eq!((why.status.as_str(), why.reason.as_str()), ("False", "TrafficOwned"));
}
