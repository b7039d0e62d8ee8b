//! A Service of the canary that does not lead to its pods any more: nobody would answer its share of the requests.

use std::cell::RefCell;

use super::{
    cases::{LONG, weighted},
    *,
};
use crate::{
    api::{Kanary, KanaryKind, Reason},
    observation::Refusal,
    route::{Own, change},
    routing, shifting,
    step::Step,
    tests::input::UID,
};

/// What somebody can make of the Service.
fn meddled() -> [Value; 3] {
    [
        json!({"kanarySelector": {"app": "other"}}),
        json!({"kanaryService": {"owner": "nobody"}}),
        json!({"kanaryService": {"deleting": true}}),
    ]
}

/// A run whose canary has a share that is in force.
fn with_share() -> World {
    let mut world = World::new(&weighted());
    world.run(SignedDuration::from_secs(45));
    assert!(world.routed() > 0, "{:#?}", world.writes);
    world
}

#[test]
fn production_gets_the_share_back_while_the_service_of_the_canary_does_not_lead_to_its_pods() {
    for meddled in meddled() {
        let mut world = with_share();
        let step = world.stored().traffic.unwrap().step;
        world.meddled = meddled.clone();
        world.run(SignedDuration::from_secs(1));
        assert_eq!(world.routed(), 0, "{meddled}: {:#?}", world.writes);
        world.run(LONG);
        assert_eq!(world.routed(), 0, "{meddled}: {:#?}", world.writes);
        let status = world.stored();
        assert_eq!(status.traffic.as_ref().unwrap().since, None);
        let traffic = crate::status::find(&status, crate::status::TRAFFIC).unwrap();
        assert_eq!(
            (traffic.status.as_str(), traffic.reason.as_str()),
            ("False", "TrafficLost")
        );
        let (writes, now) = (world.writes.len(), world.now);
        world.run(LONG);
        assert_eq!(world.writes.len(), writes, "{meddled}: {:#?}", world.writes);
        assert!(world.now > now);

        world.meddled = json!({});
        world.run(SignedDuration::from_secs(15));
        assert_eq!(world.stored().traffic.unwrap().step, step, "{:#?}", world.writes);
        assert!(world.routed() > 0, "{meddled}: {:#?}", world.writes);
        world.run(LONG);
        assert_eq!(world.phase(), Phase::DeploymentUpdated, "{:#?}", world.writes);
        world.is_restored();
    }
}

#[test]
fn a_service_that_somebody_deletes_is_made_again_before_the_canary_gets_requests() {
    let mut world = with_share();
    world.service = false;
    world.writes.clear();
    world.run(SignedDuration::from_secs(12));
    let share = world.writes.iter().position(|write| write.starts_with("route gives"));
    let service = world.writes.iter().position(|write| write == "create Service");
    assert!(service.is_some() && service < share, "{:#?}", world.writes);
    assert_eq!(
        world
            .writes
            .iter()
            .filter(|write| *write == "route takes the canary out")
            .count(),
        1
    );
    world.run(LONG);
    assert_eq!(world.phase(), Phase::DeploymentUpdated, "{:#?}", world.writes);
    world.is_restored();
}

#[test]
fn production_gets_the_share_back_while_the_target_rolls_out_if_nobody_would_answer_it() {
    for meddled in meddled().into_iter().chain([json!(null)]) {
        let mut world = with_share();
        for _ in 0..200 {
            world.run(SignedDuration::from_secs(1));
            if world.promoted {
                break;
            }
        }
        assert!(world.routed() > 0, "{:#?}", world.writes);
        world.rolled_out = Some(world.now + LONG);
        if meddled.is_null() {
            world.ready = false;
        } else {
            world.meddled = meddled.clone();
        }
        world.run(SignedDuration::from_secs(1));
        assert_eq!(world.routed(), 0, "{meddled}: {:#?}", world.writes);
        assert_eq!(world.stored().traffic.unwrap().since, None);
        world.run(LONG);
        assert_eq!(
            world.phase(),
            Phase::DeploymentUpdated,
            "{meddled}: {:#?}",
            world.writes
        );
        world.is_restored();
    }
}

/// An application with a run at its first step.
fn app() -> ParsedKanary {
    let object = json!({
        "metadata": {"name": "hello", "namespace": "shop", "uid": UID, "generation": 1},
        "spec": {
            "image": "hello:v2", "imageListenPort": 8088, "replicas": 2, "testReplicas": 1,
            "prometheusQuery": "errors_total > 2", "prometheusURL": "http://prometheus:9090",
        },
    });
    let mut object: Kanary = serde_json::from_value(object).unwrap();
    let parsed = ParsedKanary::parse(KanaryKind::CanaryApp, &object).unwrap();
    let running = json!({
        "type": "Running", "status": "True", "reason": "Validating", "message": "", "lastTransitionTime": t0().to_string(),
    });
    object.status = Some(json!({
        "observedGeneration": 1, "report": {}, "run": 1, "conditions": [running], "startTime": t0().to_string(),
        "currentHash": parsed.spec.template_hash, "currentTraffic": parsed.spec.traffic_key,
        "traffic": {"route": {"kind": "VirtualService", "name": "hello"}, "step": 1, "weight": 10, "since": t0().to_string()},
    }));
    ParsedKanary::parse(KanaryKind::CanaryApp, &object).unwrap()
}

/// What the run writes into its route, which has the share, and belongs to `owners`.
fn written(app: &ParsedKanary, owners: &Value, refusal: Option<Refusal>) -> Vec<bool> {
    let name: RouteRef = "VirtualService/hello".parse().unwrap();
    let destination = json!({"host": "hello", "subset": "primary", "port": {"number": 8088}});
    let route = json!({
        "metadata": {
            "name": "hello", "namespace": "shop", "uid": "x", "generation": 1, "resourceVersion": "1", "ownerReferences": owners,
        },
        "spec": {"hosts": ["*"], "http": [{"route": [{"destination": destination, "weight": 100}]}]},
    });
    let up = json!({
        "canary": {"created": t0().to_string(), "available": t0().to_string()}, "pods": [{"name": "x"}], "kanaryService": {},
    });
    let mut seen = observation(app, &app.spec, &up);
    (seen.refusal, seen.endpoints) = (refusal, None);
    let mut step = Step {
        kanary: app,
        spec: &app.spec,
        seen: &Observation::default(),
        now: t0(),
        route_changes: RefCell::default(),
    };
    let share = routing::share_at(&step, app.spec.routing.as_ref().unwrap(), 1).unwrap();
    let own = Own {
        uid: &app.uid,
        service: app.spec.backends().0,
        canary: app.spec.backends().1,
    };
    let patch = change(RouteKind::Virtual, &route, own, Some(&share)).unwrap();
    let route = crate::route::apply(&route, &patch.patch().unwrap());
    let found = RouteFound::There(name, Arc::new(route));
    seen.route = Some(RouteSeen {
        live: true,
        ..RouteSeen::next(None, found, t0())
    });
    step.seen = &seen;
    let follow = shifting::follow(&step, &mut step.draft(), false);
    let routes = follow.actions.into_iter().filter_map(|action| match action {
        Action::SetRoute { clears, .. } => Some(clears),
        _ => None,
    });
    routes.collect()
}

#[test]
fn a_front_end_takes_its_share_out_of_a_route_that_it_does_not_own_any_more() {
    let app = app();
    let own = json!([app.owner_reference()]);
    assert_eq!(written(&app, &own, None), Vec::<bool>::new());
    let other = json!([{"controller": true, "uid": "other", "kind": "Other", "name": "other", "apiVersion": "v1"}]);
    for owners in [json!(null), json!([]), other] {
        assert_eq!(written(&app, &owners, None), [true], "{owners}");
    }
}

#[test]
fn a_front_end_takes_its_share_out_while_an_object_that_it_keeps_belongs_to_somebody_else() {
    let app = app();
    let own = json!([app.owner_reference()]);
    let refusal = |about: &str| Refusal {
        reason: Reason::NameTaken,
        message: "DestinationRule hello exists and has no owner".to_owned(),
        retry_at: t0() + LONG,
        uncreated_since: None,
        about: about.to_owned(),
    };
    let kept = refusal("CanaryApp.canary.atze.io/hello");
    assert_eq!(written(&app, &own, Some(kept)), [true]);
    // Another write that was refused says nothing about the requests.
    let other = written(&app, &own, Some(refusal("Deployment/hello-secondary")));
    assert_eq!(other, Vec::<bool>::new());
}
