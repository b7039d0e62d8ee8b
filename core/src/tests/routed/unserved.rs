//! Routes that somebody changes while Kanary does not look: nothing is promoted without the requests of the last step.

use super::{cases::weighted, *};

const LONG: SignedDuration = SignedDuration::from_mins(10);

/// Steps of 10 and 50 % without measurements, so that only times and the route count.
fn world(interval: &str) -> World {
    let mut world = World::new(&json!({
        "source": "weighted", "route": {"kind": "HTTPRoute", "name": "shop"},
        "weighted": {"steps": [10, 50], "interval": interval},
    }));
    world.spec["validation"] = json!({
        "validationPeriod": interval, "items": [{"labelWatch": {"podInvalidationLabels": {"bad": "true"}}}],
    });
    world
}

/// A run that has just reached its last step.
fn at_last_step(interval: &str) -> World {
    let mut world = world(interval);
    let is_there = |world: &World| {
        let traffic = world.stored().traffic;
        traffic.is_some_and(|traffic| traffic.step == 2 && traffic.since.is_some())
    };
    for _ in 0..200 {
        if is_there(&world) {
            return world;
        }
        world.run(SignedDuration::from_secs(1));
    }
    panic!("never at the last step: {:#?}", world.writes);
}

/// The canary passed, and proxies gave it its last share for the whole interval before that.
#[track_caller]
fn assert_promoted_on_requests(world: &World, interval: i64, case: &str) {
    let succeeded = crate::status::find(&world.stored(), crate::status::SUCCEEDED)
        .unwrap_or_else(|| panic!("{case}: no verdict: {:#?}", world.writes))
        .last_transition_time
        .0;
    let from = succeeded - SignedDuration::from_secs(interval);
    let before = world.proxies.iter().rfind(|(since, _)| *since <= from);
    let within = world
        .proxies
        .iter()
        .filter(|(since, _)| *since > from && *since < succeeded);
    let shares: Vec<_> = before
        .into_iter()
        .chain(within)
        .map(|(_, rules)| World::weight(rules))
        .collect();
    assert!(
        shares.iter().all(|share| *share == 50),
        "{case}: promoted with shares {shares:?}: {:#?}",
        world.writes
    );
}

#[test]
fn a_route_that_is_reverted_at_any_time_of_the_last_step_is_noticed_before_the_verdict() {
    for (interval, seconds) in [("8s", 8), ("28s", 28)] {
        for at in 0..seconds {
            let mut world = at_last_step(interval);
            world.run(SignedDuration::from_secs(at));
            world.revert();
            world.run(LONG);
            assert_promoted_on_requests(&world, seconds, &format!("{interval}, reverted after {at}s"));
            assert_eq!(world.phase(), Phase::DeploymentUpdated);
            world.is_restored();
        }
    }
}

#[test]
fn a_route_that_is_gone_or_leads_elsewhere_at_the_last_step_is_noticed_before_the_verdict() {
    for leads_elsewhere in [false, true] {
        for at in 0..8 {
            let mut world = at_last_step("8s");
            world.run(SignedDuration::from_secs(at));
            if leads_elsewhere {
                let rules = json!([{"backendRefs": [{"name": "other", "port": 80}]}]);
                world.edit(|route| route["spec"]["rules"] = rules);
            } else {
                world.route = None;
            }
            world.run(LONG);
            assert_eq!(
                world.phase(),
                Phase::Running,
                "{leads_elsewhere}, {at}: {:#?}",
                world.writes
            );
        }
    }
}

#[test]
fn tagged_requests_and_copies_are_looked_at_before_the_verdict() {
    for traffic in [
        json!({"source": "tagged", "route": {"kind": "HTTPRoute", "name": "shop"}, "tagged": {"headers": [{"name": "x-canary", "value": "1"}]}}),
        json!({"route": {"kind": "HTTPRoute", "name": "shop"}, "mirror": {"activate": true}}),
    ] {
        let mut world = world("8s");
        world.spec["traffic"] = traffic;
        let mut since = None;
        for _ in 0..100 {
            world.run(SignedDuration::from_secs(1));
            since = world.stored().traffic.and_then(|traffic| traffic.since);
            if since.is_some() {
                break;
            }
        }
        world.run(SignedDuration::from_secs(1));
        world.revert();
        let reverted = world.now;
        assert!(since.is_some_and(|since| since < reverted));
        world.run(LONG);
        let status = world.stored();
        let succeeded = crate::status::find(&status, crate::status::SUCCEEDED).unwrap();
        // The route is written again after the revert, and a whole period follows.
        assert!(
            succeeded.last_transition_time.0 >= reverted + SignedDuration::from_secs(8),
            "{:#?}",
            world.writes
        );
        let writes = world
            .writes
            .iter()
            .filter(|write| write.starts_with("route gives"))
            .count();
        assert_eq!(writes, 2, "{:#?}", world.writes);
        world.is_restored();
    }
}

#[test]
fn a_manual_item_that_is_valid_waits_until_the_share_is_in_force() {
    let mut world = at_last_step("60s");
    world.spec["validation"]["items"] = json!([{"manual": {}}]);
    world.run(SignedDuration::from_secs(1));
    world.revert();
    world.spec["validation"]["items"] = json!([{"manual": {"status": "valid"}}]);
    world.run(SignedDuration::from_secs(1));
    assert_eq!(world.phase(), Phase::Running, "{:#?}", world.writes);
    assert_eq!(world.stored().traffic.unwrap().since, None);
    world.run(SignedDuration::from_secs(20));
    assert_promoted_on_requests(&world, 1, "manual");
    world.run(LONG);
    assert_eq!(world.phase(), Phase::DeploymentUpdated);
    world.is_restored();
}

/// Somebody reverts the route and brings it back before Kanary looks.
fn flap(world: &mut World) {
    let spec = world.route.as_ref().unwrap()["spec"].clone();
    world.revert();
    world.edit(|route| route["spec"] = spec);
}

/// An edit that leaves the canary its share.
fn tune(world: &mut World, seconds: u64) {
    world.edit(|route| route["spec"]["rules"][0]["timeouts"] = json!({"request": format!("{seconds}s")}));
}

#[test]
fn a_route_that_is_reverted_and_brought_back_between_two_reads_starts_the_step_anew() {
    for crashes in [false, true] {
        for at in 0..28 {
            let mut world = at_last_step("28s");
            world.run(SignedDuration::from_secs(at));
            flap(&mut world);
            if crashes {
                world.crash();
            }
            world.run(SignedDuration::from_secs(11));
            let traffic = crate::status::find(&world.stored(), crate::status::TRAFFIC)
                .cloned()
                .unwrap();
            assert!(traffic.message.contains("HTTPRoute shop"), "{traffic:?}");
            world.run(LONG);
            assert_promoted_on_requests(&world, 28, &format!("after {at}s"));
            assert_eq!(world.phase(), Phase::DeploymentUpdated);
            world.is_restored();
        }
    }
}

#[test]
fn edits_of_other_parts_of_the_route_do_not_matter_one_at_a_time() {
    for crashes in [false, true] {
        let mut world = at_last_step("28s");
        let since = world.stored().traffic.unwrap().since;
        for seconds in [7, 8] {
            tune(&mut world, seconds);
            if crashes {
                world.crash();
            }
            world.run(SignedDuration::from_secs(11));
            assert_eq!(world.stored().traffic.unwrap().since, since, "{:#?}", world.writes);
        }
        tune(&mut world, 9);
        tune(&mut world, 10);
        world.run(SignedDuration::from_secs(11));
        assert_ne!(
            world.stored().traffic.unwrap().since,
            since,
            "two at once: {:#?}",
            world.writes
        );
    }
}

#[test]
fn an_edit_that_kanary_copies_into_a_rule_of_its_own_does_not_matter() {
    let mut world = world("60s");
    world.spec["traffic"] = json!({
        "source": "tagged", "route": {"kind": "HTTPRoute", "name": "shop"}, "tagged": {"headers": [{"name": "x-canary", "value": "1"}]},
    });
    world.run(SignedDuration::from_secs(25));
    let since = world.stored().traffic.unwrap().since;
    assert!(since.is_some(), "{:#?}", world.writes);
    for seconds in [7, 8] {
        world.writes.clear();
        world.edit(|route| {
            for rule in route["spec"]["rules"].as_array_mut().unwrap().iter_mut().skip(1) {
                rule["timeouts"] = json!({"request": format!("{seconds}s")});
            }
        });
        world.run(SignedDuration::from_secs(11));
        let copies = world
            .writes
            .iter()
            .filter(|write| write.starts_with("route gives"))
            .count();
        assert_eq!(copies, 1, "{:#?}", world.writes);
        assert_eq!(world.stored().traffic.unwrap().since, since, "{:#?}", world.writes);
    }
}

#[test]
fn changes_of_a_route_that_another_kanary_uses_are_its_own() {
    let mut world = at_last_step("60s");
    let since = world.stored().traffic.unwrap().since;
    world.edit(|route| {
        let text = route["metadata"]["annotations"][names::SHARES].as_str().unwrap();
        let mut record: Value = serde_json::from_str(text).unwrap();
        let mut other = record["shares"][0].clone();
        (other["uid"], other["canary"], other["step"]) = (json!("other"), json!("other-canary"), json!(0));
        other["weight"] = json!(0);
        record["shares"].as_array_mut().unwrap().push(other);
        route["metadata"]["annotations"][names::SHARES] = json!(record.to_string());
    });
    for seconds in 1..4 {
        world.run(SignedDuration::from_secs(11));
        tune(&mut world, seconds);
        tune(&mut world, seconds + 5);
    }
    world.run(SignedDuration::from_secs(11));
    let traffic = world.stored().traffic.unwrap();
    assert_eq!(
        (traffic.since, traffic.generation),
        (since, None),
        "{:#?}",
        world.writes
    );
}

/// The route names a gateway that never reports on it, beside the one that serves it.
fn name_another_gateway(world: &mut World, is_named: bool) {
    let route = world.route.as_mut().unwrap();
    let parents = route["spec"]["parentRefs"].as_array_mut().unwrap();
    parents.retain(|parent| parent["name"] != "edge");
    if is_named {
        parents.push(json!({"name": "edge"}));
    }
    raise(&mut route["metadata"]);
    route["metadata"]["generation"] = json!(route["metadata"]["generation"].as_i64().unwrap() + 1);
    world.written_at = world.now;
}

#[track_caller]
fn assert_served_in_part(world: &World) {
    let status = world.stored();
    let errored = crate::status::find(&status, crate::status::ERRORED);
    let errored = errored.unwrap_or_else(|| panic!("{status:#?} {:#?}", world.writes));
    assert_eq!(errored.reason, "GatewayBehind");
    assert!(errored.message.contains("edge"), "{errored:?}");
    assert_eq!(world.routed(), 0, "{:#?}", world.writes);
}

#[test]
fn no_run_begins_while_a_gateway_does_not_serve_the_route_that_another_one_serves() {
    let mut world = World::new(&weighted());
    name_another_gateway(&mut world, true);
    world.run(SignedDuration::from_mins(5));
    assert_served_in_part(&world);
    name_another_gateway(&mut world, false);
    world.run(LONG);
    assert_eq!(world.phase(), Phase::DeploymentUpdated, "{:#?}", world.writes);
    world.is_restored();
}

#[test]
fn a_canary_leaves_a_route_that_only_some_of_its_gateways_serve() {
    for seconds in (20..80).step_by(6) {
        let mut world = World::new(&weighted());
        world.run(SignedDuration::from_secs(seconds));
        name_another_gateway(&mut world, true);
        world.run(SignedDuration::from_mins(5));
        assert_served_in_part(&world);
        let writes = world.writes.len();
        world.run(SignedDuration::from_mins(5));
        assert_eq!(world.writes.len(), writes, "{:#?}", world.writes);
        name_another_gateway(&mut world, false);
        world.run(LONG);
        assert_eq!(world.phase(), Phase::DeploymentUpdated, "{:#?}", world.writes);
        world.is_restored();
    }
}
