//! What production has after a run in which somebody changed weights, or removed the record of them.

use serde_json::{Value, json};

use super::*;

/// Services, subsets and weights of the backends of one rule: `shop`, or `shop/v1` with a subset, which only Istio has.
type Backends<'a> = &'a [(&'a str, Option<u64>)];

fn route_of(kind: RouteKind, backends: Backends<'_>) -> Value {
    let backends = backends.iter().map(|(name, weight)| {
        let (service, subset) = name
            .split_once('/')
            .map_or((*name, None), |(one, two)| (one, Some(two)));
        let mut backend = match (kind, subset) {
            (RouteKind::Virtual, Some(subset)) => json!({"destination": {"host": service, "subset": subset}}),
            (RouteKind::Virtual, None) => json!({"destination": {"host": service}}),
            _ => json!({"name": service, "port": 80}),
        };
        if let Some(weight) = weight {
            backend["weight"] = json!(weight);
        }
        backend
    });
    let backends: Vec<_> = backends.collect();
    match kind {
        RouteKind::Virtual => virtual_service(&json!([{"route": backends}])),
        _ => http(&json!([{"backendRefs": backends}])),
    }
}

fn list(kind: RouteKind) -> &'static str {
    match kind {
        RouteKind::Virtual => "/spec/http/0/route",
        _ => "/spec/rules/0/backendRefs",
    }
}

fn weights(kind: RouteKind, route: &Value) -> Vec<Option<u64>> {
    let backends = route.pointer(list(kind)).unwrap().as_array().unwrap();
    backends.iter().map(|backend| backend["weight"].as_u64()).collect()
}

fn edit(kind: RouteKind, route: &mut Value, weights: &[u64]) {
    let backends = route.pointer_mut(list(kind)).unwrap().as_array_mut().unwrap();
    assert_eq!(backends.len(), weights.len());
    for (backend, weight) in backends.iter_mut().zip(weights) {
        backend["weight"] = json!(weight);
    }
}

const KINDS: [RouteKind; 3] = [RouteKind::Http, RouteKind::Grpc, RouteKind::Virtual];

#[test]
fn production_gets_what_the_canary_had_if_nothing_is_recorded() {
    for kind in KINDS {
        for (backends, weight, after) in [
            (&[("shop", None)][..], 100, &[100][..]),
            (&[("shop", None)], 30, &[100]),
            (&[("shop", Some(3)), ("old", Some(1))], 25, &[300, 100]),
            (&[("old", Some(0)), ("shop", Some(3))], 100, &[0, 100]),
            (&[("old", Some(1)), ("shop", Some(3))], 25, &[100, 300]),
            (&[("shop/v1", Some(1)), ("shop/v2", Some(3))], 100, &[100, 300]),
            (&[("shop/v1", Some(0)), ("shop/v2", Some(3))], 10, &[0, 100]),
        ] {
            let mut now = with(kind, &route_of(kind, backends), &weighted("a", weight)).unwrap();
            now["metadata"].as_object_mut().unwrap().remove("annotations");
            let after: Vec<_> = after.iter().map(|weight| Some(*weight)).collect();
            assert_eq!(
                weights(kind, &without(kind, &now, "a")),
                after,
                "{kind:?} {backends:?} {weight}"
            );
        }
    }
}

#[test]
fn production_that_somebody_set_to_nothing_gets_its_former_weight() {
    for kind in KINDS {
        for (backends, edited) in [
            (&[("shop", None)][..], &[0, 100][..]),
            (&[("shop", Some(7)), ("old", Some(1))], &[0, 100, 700]),
            (&[("shop/v1", Some(1)), ("shop/v2", Some(3))], &[0, 0, 100, 300]),
            (&[("shop/v1", Some(0)), ("shop/v2", Some(3))], &[0, 0, 100]),
        ] {
            let route = route_of(kind, backends);
            let split = with(kind, &route, &weighted("a", 10)).unwrap();
            let mut now = split.clone();
            edit(kind, &mut now, edited);
            assert_eq!(without(kind, &now, "a"), route, "{kind:?} {backends:?}");
            // The run itself puts its share back.
            assert_eq!(with(kind, &now, &weighted("a", 10)).unwrap(), split);
        }
    }
}

#[test]
fn other_edits_of_weights_stay() {
    for kind in KINDS {
        let route = route_of(kind, &[("shop", Some(3)), ("old", Some(1))]);
        let mut now = with(kind, &route, &weighted("a", 10)).unwrap();
        edit(kind, &mut now, &[50, 0, 30]);
        assert_eq!(weights(kind, &without(kind, &now, "a")), [Some(50), Some(0)]);
    }
}
