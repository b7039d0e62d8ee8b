//! One Kanary behind a route, and a cluster or a gateway that does not do what it needs.

use std::time::Duration;

use jiff::SignedDuration;
use kanary_sim::gateway::{Sessions, Settings};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{SETTLING, case::Routed, measure};
use crate::{
    case::{deployment, service},
    run::in_virtual_time,
    world::{NAMESPACE, Replica, World, Wrong},
};

/// A Kanary that is good, with an `HTTPRoute`.
fn case() -> Routed {
    Routed {
        is_istio: false,
        is_tagged: false,
        is_good: true,
        steps: vec![20, 50],
        ..Routed::new(&mut fastrand::Rng::with_seed(0), 0)
    }
}

async fn start(case: &Routed, traffic: Value) -> (World, Replica) {
    let mut world = World::start(1, Box::new(|_| {}));
    world.routes = Some(SETTLING);
    measure(&world);
    let replica = Replica::start(&world, "kanary-1", 1, SignedDuration::ZERO, &Wrong::default(), None);
    world.create(&service(&case.app)).await;
    world.create(&deployment(&case.app, 2)).await;
    let mut manifest = case.manifest();
    crate::case::merge(&mut manifest["spec"]["traffic"], &traffic);
    world.create(&manifest).await;
    (world, replica)
}

async fn create_route(world: &World, case: &Routed) {
    let listener = json!({"name": "http", "port": 80, "protocol": "HTTP"});
    let spec = json!({"gatewayClassName": "test", "listeners": [listener]});
    let web = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "web"}, "spec": spec});
    world.create(&web).await;
    world.create(&case.route_manifest()).await;
}

/// A condition: its status, reason and message.
fn condition(world: &World, case: &Routed, name: &str) -> (String, String, String) {
    let place = (NAMESPACE.to_owned(), case.name.clone());
    let kanary = world
        .stack
        .cluster
        .object("kanarydeployments.kanary.k8s-operators.dev", &place);
    let kanary = kanary.unwrap().json();
    let conditions = kanary["status"]["conditions"].as_array().into_iter().flatten();
    let found = conditions.clone().find(|condition| condition["type"] == name);
    let text = |field: &str| found.map_or(String::new(), |found| found[field].as_str().unwrap().to_owned());
    (text("status"), text("reason"), text("message"))
}

/// The share of the canary that is in force, in percent.
fn percent(world: &World, case: &Routed) -> f64 {
    100.0
        * world
            .stack
            .gateway
            .share(&case.load(0).request, &(NAMESPACE.to_owned(), case.canary()))
}

#[track_caller]
fn assert_percent(world: &World, case: &Routed, expected: f64) {
    let found = percent(world, case);
    assert!((found - expected).abs() < 1e-6, "{found}% and not {expected}%");
}

#[test]
fn a_kind_of_route_that_is_missing_is_named_and_found_once_it_is_installed() {
    in_virtual_time(1, async {
        let case = case();
        let (world, replica) = start(&case, json!({})).await;
        sleep(Duration::from_secs(30)).await;
        let (status, reason, message) = condition(&world, &case, "Errored");
        assert_eq!((status.as_str(), reason.as_str()), ("True", "RouteKindMissing"));
        assert!(message.contains("httproutes.gateway.networking.k8s.io"), "{message}");
        assert!(!replica.has_ended(), "no watch fails");
        world.stack.gateway.install_gateway_api().unwrap();
        create_route(&world, &case).await;
        sleep(Duration::from_mins(3)).await;
        assert_eq!(condition(&world, &case, "DeploymentUpdated").0, "True");
    });
}

#[test]
fn a_control_plane_that_hangs_holds_the_run_and_the_removal_and_is_reported() {
    in_virtual_time(1, async {
        let case = case();
        let (world, _replica) = start(&case, json!({})).await;
        world.stack.gateway.install_gateway_api().unwrap();
        create_route(&world, &case).await;
        let mut waited = 0;
        while percent(&world, &case) < 20.0 {
            sleep(Duration::from_secs(1)).await;
            waited += 1;
            assert!(waited < 60, "the first step comes into force");
        }
        world.stack.gateway.hang(true);
        sleep(Duration::from_mins(2)).await;
        assert_percent(&world, &case, 20.0);
        let (status, reason, message) = condition(&world, &case, "Errored");
        assert_eq!(
            (status.as_str(), reason.as_str()),
            ("True", "GatewayBehind"),
            "{message}"
        );
        let invalid = json!({"spec": {"verdict": "invalid"}});
        world.patch("KanaryDeployment", &case.name, &invalid).await;
        sleep(Duration::from_mins(2)).await;
        let canary = (NAMESPACE.to_owned(), case.deployment());
        assert!(
            world.stack.cluster.object("deployments.apps", &canary).is_some(),
            "it still gets requests"
        );
        world.stack.gateway.hang(false);
        sleep(Duration::from_mins(1)).await;
        assert!(world.stack.cluster.object("deployments.apps", &canary).is_none());
        assert_percent(&world, &case, 0.0);
    });
}

#[test]
fn a_gateway_that_ignores_sessions_is_reported() {
    in_virtual_time(1, async {
        let case = case();
        let affinity = json!({"sessionAffinity": {"cookieName": "kanary"}});
        let (world, _replica) = start(&case, affinity).await;
        world.stack.gateway.set(Settings {
            controller: "istio.io/gateway-controller".to_owned(),
            sessions: Sessions::Ignored,
            ..Settings::default()
        });
        world.stack.gateway.install_gateway_api().unwrap();
        create_route(&world, &case).await;
        sleep(Duration::from_mins(2)).await;
        let (status, reason, message) = condition(&world, &case, "Errored");
        assert_eq!((status.as_str(), reason.as_str()), ("True", "Unsupported"), "{message}");
        assert!(message.contains("sessionPersistence"), "{message}");
        assert_percent(&world, &case, 0.0);
    });
}

#[test]
fn a_canary_is_judged_by_the_requests_that_it_gets() {
    for (errors, end) in [(0.0, "DeploymentUpdated"), (0.5, "Failed")] {
        in_virtual_time(1, async move {
            let case = case();
            let requests = |more: &str| {
                let name = case.canary();
                format!("sum(rate(istio_requests_total{{destination_service_name=\"{name}\"{more}}}[8s]))")
            };
            let query = format!(
                "({} or vector(0)) / {}",
                requests(",response_code=\"500\""),
                requests("")
            );
            let item = json!({"promQL": {
                "prometheusService": "good:9090", "allPodsQuery": true, "valueInRange": {"max": 0.1}, "query": query,
            }});
            let mut world = World::start(1, Box::new(|_| {}));
            world.routes = Some(SETTLING);
            world.stack.gateway.install_gateway_api().unwrap();
            world.stack.gateway.set_errors("v2", errors);
            world.stack.gateway.measure(&world.stack.prometheus);
            let _replica = Replica::start(&world, "kanary-1", 1, SignedDuration::ZERO, &Wrong::default(), None);
            world.create(&service(&case.app)).await;
            world.create(&deployment(&case.app, 2)).await;
            create_route(&world, &case).await;
            sleep(Duration::from_secs(10)).await;
            world.stack.gateway.start(case.load(1).per_second(50.0));
            let mut manifest = case.manifest();
            manifest["spec"]["validation"]["items"] = json!([item]);
            world.create(&manifest).await;
            sleep(Duration::from_mins(4)).await;
            assert_eq!(condition(&world, &case, end).0, "True", "{errors}");
            let counts = world.stack.gateway.counts(&case.app, ..);
            assert_eq!(counts.failed(), 0, "{counts:?}");
            assert!(errors == 0.0 || counts.share("v2") < 0.05, "{counts:?}");
        });
    }
}
