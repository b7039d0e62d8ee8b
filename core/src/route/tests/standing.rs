use serde_json::json;

use super::*;

fn reported(generation: i64, status: &str) -> Value {
    let condition =
        |name: &str| json!({"type": name, "status": status, "observedGeneration": generation, "message": "because"});
    let mut route = http(&json!([]));
    route["status"] = json!({"parents": [{
        "parentRef": {"name": "gw"}, "controllerName": "istio.io/gateway-controller",
        "conditions": [condition("Accepted"), condition("ResolvedRefs")],
    }]});
    route
}

#[test]
fn a_gateway_has_taken_a_route_over_when_it_reports_its_generation() {
    assert_eq!(standing(RouteKind::Http, &reported(3, "True")), Standing::Taken);
    assert_eq!(standing(RouteKind::Http, &reported(4, "True")), Standing::Taken);
    for (route, standing_of) in [
        (
            reported(2, "True"),
            Standing::Not("gw has seen generation 2 of 3".to_owned()),
        ),
        (
            reported(3, "False"),
            Standing::Refused("gw reports Accepted=False: because".to_owned()),
        ),
        (
            http(&json!([])),
            Standing::Refused("no gateway reports on it in status.parents".to_owned()),
        ),
    ] {
        assert_eq!(standing(RouteKind::Http, &route), standing_of);
    }
}

#[test]
fn every_gateway_has_to_follow() {
    let mut route = reported(3, "True");
    let mut other = route["status"]["parents"][0].clone();
    other["conditions"].as_array_mut().unwrap().pop();
    route["status"]["parents"].as_array_mut().unwrap().push(other);
    let why = "gw does not report ResolvedRefs".to_owned();
    assert_eq!(standing(RouteKind::Http, &route), Standing::Not(why));
    // One that the route names has never reported.
    let mut silent = reported(3, "True");
    let parents = silent["spec"]["parentRefs"].as_array_mut().unwrap();
    parents.push(json!({"name": "edge", "namespace": "infra"}));
    let why = "edge, which spec.parentRefs names, does not report on it in status.parents".to_owned();
    assert_eq!(standing(RouteKind::Http, &silent), Standing::Refused(why));
    // The route does not name this one any more.
    route["status"]["parents"][1]["parentRef"]["name"] = json!("former");
    assert_eq!(standing(RouteKind::Http, &route), Standing::Taken);
}

#[test]
fn a_route_is_served_in_part_if_one_gateway_accepts_it_and_another_does_not() {
    let in_part = |route: &Value| served_in_part(RouteKind::Http, route);
    let mut route = reported(3, "True");
    let parents = route["spec"]["parentRefs"].as_array_mut().unwrap();
    parents.push(json!({"name": "edge", "namespace": "infra"}));
    let silent = in_part(&route).unwrap();
    assert!(silent.starts_with("edge, which spec.parentRefs names"), "{silent}");
    let mut edge = reported(3, "False")["status"]["parents"][0].clone();
    edge["parentRef"] = json!({"name": "edge", "namespace": "infra"});
    route["status"]["parents"].as_array_mut().unwrap().push(edge);
    let why = "edge reports Accepted=False: because".to_owned();
    assert_eq!(in_part(&route), Some(why.clone()));
    // It has not seen this generation, and may refuse it as well.
    route["status"]["parents"][1]["conditions"][0]["observedGeneration"] = json!(2);
    assert_eq!(in_part(&route), Some(why));
    for nobody_or_all in [reported(3, "False"), reported(3, "True"), http(&json!([]))] {
        assert_eq!(in_part(&nobody_or_all), None);
    }
}

#[test]
fn a_virtual_service_reports_nothing() {
    let route = virtual_service(&json!([]));
    assert_eq!(standing(RouteKind::Virtual, &route), Standing::Taken);
}

#[test]
fn an_implementation_that_ignores_affinity_is_known_by_its_controller() {
    assert_eq!(
        ignores_affinity(&reported(3, "True")),
        Some("istio.io/gateway-controller")
    );
    assert_eq!(ignores_affinity(&http(&json!([]))), None);
}
