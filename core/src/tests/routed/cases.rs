use expect_test::{Expect, expect};

use super::*;

pub(super) fn weighted() -> Value {
    json!({
        "source": "weighted", "route": {"kind": "HTTPRoute", "name": "shop"},
        "weighted": {"steps": [5, 10, 25, 50], "interval": "20s"},
    })
}

pub(super) const LONG: SignedDuration = SignedDuration::from_mins(10);

fn writes(world: &World, expected: &Expect) {
    let writes: Vec<_> = world.writes.iter().map(|write| format!("{write}\n")).collect();
    expected.assert_eq(&writes.concat());
}

#[test]
fn a_good_canary_goes_through_its_steps_and_the_route_is_as_before() {
    let mut world = World::new(&weighted());
    world.run(LONG);
    assert_eq!(world.phase(), Phase::DeploymentUpdated);
    assert_eq!(world.highest, 50);
    world.is_restored();
    writes(
        &world,
        &expect![[r#"
            create Service
            create Deployment
            hold
            route gives the canary 5% of the requests (step 1)
            status Running 5%
            route gives the canary 10% of the requests (step 2)
            status Running 10%
            route gives the canary 25% of the requests (step 3)
            status Running 25%
            route gives the canary 50% of the requests (step 4)
            status Running 50%
            status Succeeded 50%
            promote
            route takes the canary out
            status DeploymentUpdated 0%?
            delete Deployment
            delete Service
            release
        "#]],
    );
}

#[test]
fn a_bad_canary_leaves_the_route_before_it_is_removed() {
    let mut world = World::new(&weighted());
    world.run(SignedDuration::from_secs(60));
    world.outcome = Outcome::Fail;
    world.run(LONG);
    assert_eq!(world.phase(), Phase::Failed);
    world.is_restored();
    assert_eq!(world.canary, None);
    writes(
        &world,
        &expect![[r#"
            create Service
            create Deployment
            hold
            route gives the canary 5% of the requests (step 1)
            status Running 5%
            route gives the canary 10% of the requests (step 2)
            status Running 10%
            status Failed 0%?
            route takes the canary out
            delete Deployment
            delete Service
            release
        "#]],
    );
}

#[test]
fn steps_without_evidence_of_their_own_do_not_end() {
    let mut world = World::new(&weighted());
    world.run(SignedDuration::from_secs(40));
    let step = world.stored().traffic.unwrap().step;
    world.outcome = Outcome::NoData;
    world.run(LONG);
    let traffic = world.stored().traffic.unwrap();
    assert!(traffic.step <= step + 1, "{traffic:?}");
    assert_eq!(world.phase(), Phase::Running);
}

#[test]
fn a_deleted_kanary_leaves_the_route_as_it_was() {
    for seconds in (0..150).step_by(3) {
        let mut world = World::new(&weighted());
        world.run(SignedDuration::from_secs(seconds));
        world.metadata["deletionTimestamp"] = json!(world.now.to_string());
        raise(&mut world.metadata);
        let is_held = world.metadata.get("finalizers").is_some_and(|all| *all != json!([]));
        world.run(LONG);
        assert_eq!(world.gone, is_held, "{:#?}", world.writes);
        world.is_restored();
        // The garbage collector removes the canary as soon as the Kanary is gone.
        assert_eq!(World::weight(world.in_force()), 0);
    }
}

#[test]
fn a_finalizer_that_somebody_removes_in_mid_step_comes_back() {
    for seconds in (0..150).step_by(7) {
        let mut world = World::new(&weighted());
        world.run(SignedDuration::from_secs(seconds));
        world.metadata["finalizers"] = json!([]);
        world.metadata["annotations"] = json!({});
        raise(&mut world.metadata);
        world.run(LONG);
        assert_eq!(world.phase(), Phase::DeploymentUpdated, "{:#?}", world.writes);
        world.is_restored();
    }
}

#[test]
fn a_crash_before_any_write_changes_nothing_about_the_end() {
    for (outcome, end) in [
        (Outcome::Pass, Phase::DeploymentUpdated),
        (Outcome::Fail, Phase::Failed),
    ] {
        for crash_at in 0..30 {
            let mut world = World::new(&weighted());
            world.crash_at = Some(crash_at);
            world.run(SignedDuration::from_secs(60));
            world.outcome = outcome;
            world.run(LONG);
            assert_eq!(world.phase(), end, "{crash_at}: {:#?}", world.writes);
            world.is_restored();
        }
    }
}

#[test]
fn a_reverted_route_is_reported_and_written_again_and_the_step_starts_anew() {
    let mut world = World::new(&weighted());
    world.run(SignedDuration::from_secs(55));
    let former = world.stored();
    let step = former.traffic.clone().unwrap().step;
    world.writes.clear();
    world.revert();
    world.run(SignedDuration::from_secs(15));
    let traffic = crate::status::find(&world.stored(), crate::status::TRAFFIC)
        .unwrap()
        .clone();
    assert!(
        world.writes.iter().any(|write| write.contains('?')),
        "the status still claims the requests: {:#?}",
        world.writes
    );
    assert!(traffic.message.contains("HTTPRoute shop"), "{traffic:?}");
    let again = world.stored().traffic.unwrap();
    assert_eq!(again.step, step);
    assert!(
        again
            .since
            .is_none_or(|since| Some(since) > former.traffic.unwrap().since)
    );
    world.run(LONG);
    assert_eq!(world.phase(), Phase::DeploymentUpdated, "{:#?}", world.writes);
    world.is_restored();
}

#[test]
fn a_gateway_that_hangs_holds_the_run_and_is_reported() {
    let mut world = World::new(&weighted());
    world.run(SignedDuration::from_secs(45));
    world.gateway = None;
    world.run(LONG);
    assert_eq!(world.phase(), Phase::Running);
    let errored = crate::status::find(&world.stored(), crate::status::ERRORED)
        .unwrap()
        .clone();
    assert_eq!(
        (errored.status.as_str(), errored.reason.as_str()),
        ("True", "GatewayBehind"),
        "{errored:?}"
    );
    assert_traffic(&world, "GatewayBehind");
    // Another controller says the same at once.
    let (before, writes) = (world.stored().conditions, world.writes.len());
    world.crash();
    world.run(SignedDuration::from_secs(5));
    assert_eq!(world.stored().conditions, before, "{:#?}", world.writes);
    assert_eq!(world.writes.len(), writes, "{:#?}", world.writes);
    // It fails meanwhile: the canary stays until the gateway follows.
    world.outcome = Outcome::Fail;
    world.spec["verdict"] = json!("invalid");
    world.run(LONG);
    assert_eq!(world.phase(), Phase::Failed);
    assert!(world.canary.is_some());
    world.gateway = Some(SignedDuration::from_secs(1));
    world.run(LONG);
    assert_eq!(world.canary, None);
    world.is_restored();
}

/// The former share may still be served, so the condition does not claim that it is lost.
#[track_caller]
fn assert_traffic(world: &World, reason: &str) {
    let status = world.stored();
    let traffic = crate::status::find(&status, crate::status::TRAFFIC).unwrap();
    assert_eq!(
        (traffic.status.as_str(), traffic.reason.as_str()),
        ("False", reason),
        "{traffic:?}"
    );
    assert_eq!(status.traffic.unwrap().since, None);
}

#[test]
fn a_route_that_cannot_be_read_or_changed_any_more_says_why_and_does_not_count() {
    for (found, reason) in [
        (Some(RouteFound::Forbidden("cannot get".to_owned())), "RouteForbidden"),
        (Some(RouteFound::Disabled), "RouteDisabled"),
        (Some(RouteFound::NoKind(vec![RouteKind::Http])), "RouteKindMissing"),
        (None, "RouteUnsuitable"),
    ] {
        let mut world = World::new(&weighted());
        world.run(SignedDuration::from_secs(55));
        assert_eq!(world.stored().traffic.unwrap().step, 2);
        if found.is_none() {
            // No rule leads to the production Service any more.
            world.route.as_mut().unwrap()["spec"]["rules"][0]["backendRefs"] = json!([{"name": "other", "port": 80}]);
        }
        world.instead = found;
        world.memory = None;
        world.run(LONG);
        assert_eq!(world.phase(), Phase::Running);
        assert_traffic(&world, reason);
        world.instead = None;
        world.revert();
        world.run(LONG);
        assert_eq!(world.phase(), Phase::DeploymentUpdated, "{reason}: {:#?}", world.writes);
        world.is_restored();
    }
}

#[test]
fn a_canary_without_ready_pods_gets_no_requests() {
    let mut world = World::new(&weighted());
    world.run(SignedDuration::from_secs(60));
    assert!(world.routed() > 0);
    world.ready = false;
    world.run(SignedDuration::from_secs(30));
    assert_eq!(world.routed(), 0);
    (world.ready, world.back) = (true, Some(world.now));
    // Proxies have to learn its addresses again.
    world.run(SignedDuration::from_secs(5));
    assert_eq!(world.routed(), 0);
    world.run(SignedDuration::from_secs(2));
    assert!(world.routed() > 0, "{:#?}", world.writes);
    world.run(LONG);
    assert_eq!(world.phase(), Phase::DeploymentUpdated, "{:#?}", world.writes);
    world.is_restored();
}

#[test]
fn an_edit_of_the_traffic_takes_the_canary_out_and_begins_anew() {
    let mut world = World::new(&weighted());
    world.run(SignedDuration::from_secs(60));
    world.spec["traffic"] = json!({"source": "none"});
    world.metadata["generation"] = json!(2);
    world.run(LONG);
    world.is_restored();
    assert_eq!(world.stored().traffic, None);
}

#[test]
fn a_pause_moves_the_end_of_a_step() {
    let mut world = World::new(&weighted());
    world.run(SignedDuration::from_secs(50));
    let former = world.stored().traffic.unwrap();
    world.spec["paused"] = json!(true);
    world.run(SignedDuration::from_secs(100));
    let (weight, stored) = (world.routed(), world.stored().traffic.unwrap());
    assert_eq!((stored.step, stored.since), (former.step, former.since));
    assert!(weight > 0);
    world.spec["paused"] = json!(false);
    world.run(SignedDuration::from_secs(1));
    let moved = world.stored().traffic.unwrap();
    assert_eq!(
        moved.deadline.unwrap(),
        former.deadline.unwrap() + SignedDuration::from_secs(100)
    );
    world.run(LONG);
    assert_eq!(world.phase(), Phase::DeploymentUpdated);
}

#[test]
fn a_paused_canary_without_ready_pods_leaves_the_route_and_comes_back_after_the_pause() {
    let mut world = World::new(&weighted());
    world.run(SignedDuration::from_secs(50));
    assert!(world.routed() > 0);
    world.spec["paused"] = json!(true);
    world.run(SignedDuration::from_secs(10));
    assert!(world.routed() > 0, "a pause changes nothing by itself");
    world.ready = false;
    world.run(SignedDuration::from_secs(1));
    assert_eq!(world.routed(), 0);
    assert_traffic(&world, "TrafficLost");
    world.ready = true;
    world.run(LONG);
    assert_eq!(world.routed(), 0, "a paused run gets no more requests");
    assert_eq!(world.stored().traffic.unwrap().since, None);
    world.spec["paused"] = json!(false);
    world.run(LONG);
    assert_eq!(world.phase(), Phase::DeploymentUpdated, "{:#?}", world.writes);
    world.is_restored();
}

#[test]
fn a_route_that_is_reverted_during_a_pause_is_reported_and_written_after_it() {
    let mut world = World::new(&weighted());
    world.run(SignedDuration::from_secs(50));
    let step = world.stored().traffic.unwrap().step;
    world.spec["paused"] = json!(true);
    world.run(SignedDuration::from_secs(10));
    world.revert();
    world.run(SignedDuration::from_secs(30));
    assert_eq!(world.routed(), 0, "nothing is written during a pause");
    assert_traffic(&world, "TrafficReverted");
    world.spec["paused"] = json!(false);
    world.run(SignedDuration::from_secs(15));
    let traffic = world.stored().traffic.unwrap();
    assert_eq!(
        (traffic.step, traffic.since.is_some()),
        (step, true),
        "{:#?}",
        world.writes
    );
    world.run(LONG);
    assert_eq!(world.phase(), Phase::DeploymentUpdated);
    world.is_restored();
}

#[test]
fn tagged_requests_and_copies_have_one_step() {
    for traffic in [
        json!({"source": "tagged", "route": {"kind": "HTTPRoute", "name": "shop"}, "tagged": {"headers": [{"name": "x-canary", "value": "1"}]}}),
        json!({"route": {"kind": "HTTPRoute", "name": "shop"}, "mirror": {"activate": true}}),
    ] {
        let mut world = World::new(&traffic);
        world.run(SignedDuration::from_secs(30));
        assert_eq!(world.stored().traffic.unwrap().step, 1, "{:#?}", world.writes);
        assert_ne!(world.route.as_ref().unwrap()["spec"], world.original["spec"]);
        world.run(LONG);
        assert_eq!(world.phase(), Phase::DeploymentUpdated);
        world.is_restored();
    }
}

#[test]
fn a_verdict_of_the_user_counts_at_any_step() {
    let mut world = World::new(&weighted());
    world.run(SignedDuration::from_secs(30));
    world.spec["verdict"] = json!("valid");
    world.run(SignedDuration::from_secs(30));
    assert!(world.phase() >= Phase::Succeeded, "{:#?}", world.writes);
    world.run(LONG);
    world.is_restored();
}

#[test]
fn a_route_that_is_missing_holds_the_run_until_it_is_there() {
    let mut world = World::new(&weighted());
    let route = world.route.take();
    world.run(SignedDuration::from_secs(60));
    let errored = crate::status::find(&world.stored(), crate::status::ERRORED)
        .unwrap()
        .clone();
    assert_eq!(errored.reason, "RouteNotFound");
    assert_eq!(world.canary, None);
    world.route = route;
    world.run(LONG);
    assert_eq!(world.phase(), Phase::DeploymentUpdated, "{:#?}", world.writes);
}
