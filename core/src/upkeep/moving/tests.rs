use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::{
    ParsedKanary,
    api::{Kanary, KanaryKind, names},
    decide,
    decision::Action,
    observation::{Observation, Pod, Refusal, Service, Workload},
};

fn at(second: i64) -> Timestamp {
    let start: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    start + SignedDuration::from_secs(second)
}

/// An application with these fields beside the required ones.
fn app(over: &Value) -> ParsedKanary {
    let mut spec = json!({
        "image": "hello:v1", "imageListenPort": 8088, "replicas": 2, "testReplicas": 1,
        "prometheusQuery": "x{pod=~\"{{ pods }}\"} > 2", "prometheusURL": "http://prometheus:9090",
    });
    spec.as_object_mut().unwrap().extend(over.as_object().unwrap().clone());
    let object = json!({"metadata": {"name": "hello", "namespace": "shop", "uid": "u", "generation": 1}, "spec": spec});
    let object: Kanary = serde_json::from_value(object).unwrap();
    ParsedKanary::parse(KanaryKind::CanaryApp, &object).unwrap()
}

fn behind_gateway() -> ParsedKanary {
    app(&json!({"parentRefs": [{"name": "web"}]}))
}

/// What a live read at `second` found, where nothing has changed since the start: the objects of `from`, and those of `to` if they are
/// there as well. Where both have an object, it is that of `from`.
fn seen(second: i64, from: &ParsedKanary, to: &ParsedKanary, both: bool) -> Observation {
    let mut objects = std::collections::BTreeMap::new();
    for (app, is_there) in [(to, both), (from, true)] {
        let frame = app.spec.frame.as_ref().unwrap();
        for (resource, name) in &frame.unwanted {
            objects.entry(resource.key(name)).or_insert(KeptFound::Missing);
        }
        for kept in frame.kept.iter().filter(|_| is_there) {
            let mut object = kept.keep.clone();
            object["metadata"] = json!({
                "uid": "x", "resourceVersion": "7", "generation": 1, "labels": kept.keep["metadata"]["labels"],
                "ownerReferences": [app.owner_reference()],
            });
            let found = KeptFound::There(Arc::new(object));
            objects.insert(kept.key(), found);
        }
    }
    Observation {
        kept: Some(KeptSeen {
            at: at(second),
            live: true,
            generation: 1,
            since: at(0),
            gone: at(0),
            objects,
        }),
        route_settling: std::time::Duration::from_secs(3),
        ..Observation::default()
    }
}

fn change(seen: &mut Observation, key: &str, change: impl FnOnce(&mut Value)) {
    let found = seen.kept.as_mut().unwrap().objects.get_mut(key).unwrap();
    let KeptFound::There(object) = found else {
        panic!("{key} is not there");
    };
    change(Arc::make_mut(object));
}

fn accept(route: &mut Value) {
    let condition = |name: &str| json!({"type": name, "status": "True", "observedGeneration": 1});
    let parent =
        json!({"parentRef": {"name": "web"}, "conditions": [condition("Accepted"), condition("ResolvedRefs")]});
    route["status"] = json!({"parents": [parent]});
}

/// The writes at `second`.
fn writes(app: &ParsedKanary, seen: &Observation, second: i64) -> Vec<(String, KeepWhat)> {
    let actions = decide(app, seen, at(second)).actions.into_iter();
    let kept = actions.filter_map(|action| match action {
        Action::Keep(keep) => Some((keep.key(), keep.what)),
        _ => None,
    });
    kept.collect()
}

fn one(key: &str, what: KeepWhat) -> Vec<(String, KeepWhat)> {
    vec![(key.to_owned(), what)]
}

#[test]
fn what_a_route_needs_comes_before_it_and_has_time_to_settle() {
    let (istio, gateway) = (app(&json!({})), behind_gateway());
    let first = seen(0, &istio, &gateway, false);
    // The Service is narrowed first.
    assert_eq!(writes(&gateway, &first, 0), one("Service/hello", KeepWhat::Patch));
    let narrow = |second| {
        let mut seen = seen(second, &istio, &gateway, false);
        change(&mut seen, "Service/hello", |service| {
            service["spec"]["selector"]["service"] = json!("primary");
        });
        seen
    };
    let waits = decide(&gateway, &narrow(2), at(2));
    assert_eq!((waits.actions, waits.wake), (Vec::new(), Some(at(3))));
    assert_eq!(
        writes(&gateway, &narrow(3), 3),
        one("HTTPRoute/hello", KeepWhat::Create)
    );
}

#[test]
fn the_former_objects_go_one_by_one_once_gateways_have_taken_the_new_route_over() {
    let (istio, gateway) = (app(&json!({})), behind_gateway());
    let narrow = |second| {
        let mut seen = seen(second, &gateway, &istio, true);
        // Both applications are one.
        seen.kept
            .as_mut()
            .unwrap()
            .objects
            .insert("Deployment/hello-primary".to_owned(), KeptFound::Missing);
        seen.target = Some(Workload::default());
        seen
    };
    assert_eq!(writes(&gateway, &narrow(3), 3), []);
    let late = decide(&gateway, &narrow(40), at(40));
    assert_eq!(late.actions, []);
    let status = serde_json::to_string(&late.status).unwrap();
    assert!(
        status.contains("GatewayBehind") && status.contains("VirtualService hello of the former spec stays"),
        "{status}"
    );
    let mut taken = narrow(40);
    change(&mut taken, "HTTPRoute/hello", accept);
    assert_eq!(
        writes(&gateway, &taken, 40),
        one("VirtualService/hello", KeepWhat::Delete)
    );
    let keep = decide(&gateway, &taken, at(40)).actions.into_iter().next();
    let Some(Action::Keep(keep)) = keep else {
        panic!("{keep:?}");
    };
    assert_eq!(keep.body, json!({"metadata": {"uid": "x", "resourceVersion": "7"}}));
    let gone = |seen: &mut Observation, key: &str| {
        seen.kept
            .as_mut()
            .unwrap()
            .objects
            .insert(key.to_owned(), KeptFound::Missing);
    };
    gone(&mut taken, "VirtualService/hello");
    assert_eq!(
        writes(&gateway, &taken, 40),
        one("DestinationRule/hello", KeepWhat::Delete)
    );
    gone(&mut taken, "DestinationRule/hello");
    assert_eq!(writes(&gateway, &taken, 40), one("Gateway/hello", KeepWhat::Delete));
    gone(&mut taken, "Gateway/hello");
    assert_eq!(writes(&gateway, &taken, 40), []);
}

#[test]
fn the_first_image_does_not_wait_until_a_gateway_has_taken_the_new_route_over() {
    let (istio, gateway) = (app(&json!({})), behind_gateway());
    for second in [3, 40] {
        let mut seen = seen(second, &gateway, &istio, true);
        let objects = &mut seen.kept.as_mut().unwrap().objects;
        objects.insert("Deployment/hello-primary".to_owned(), KeptFound::Missing);
        (seen.target_missing_since, seen.confirmed) = (Some(at(0)), true);
        let decision = decide(&gateway, &seen, at(second));
        let [Action::Create { name, .. }] = decision.actions.as_slice() else {
            panic!("{decision:?}");
        };
        assert_eq!(name, "hello-primary");
    }
}

#[test]
fn an_object_of_the_former_spec_that_belongs_to_somebody_else_stays_and_delays_nothing() {
    let (istio, mesh) = (app(&json!({})), app(&json!({"gateway": "mesh"})));
    for owners in [
        json!(null),
        json!([{"controller": true, "uid": "other"}]),
        json!([{"uid": "u"}]),
    ] {
        let mut seen = seen(3, &mesh, &istio, true);
        assert_eq!(writes(&mesh, &seen, 3), one("Gateway/hello", KeepWhat::Delete));
        change(&mut seen, "Gateway/hello", |gateway| {
            gateway["metadata"]["ownerReferences"] = owners;
        });
        assert_eq!(writes(&mesh, &seen, 3), []);
    }
}

#[test]
fn something_that_holds_an_object_of_the_former_spec_is_named() {
    let (istio, mesh) = (app(&json!({})), app(&json!({"gateway": "mesh"})));
    let held = |second| {
        let mut seen = seen(second, &mesh, &istio, true);
        change(&mut seen, "Gateway/hello", |gateway| {
            gateway["metadata"]["deletionTimestamp"] = json!("2026-01-01T12:00:00Z");
        });
        seen.target = Some(Workload::default());
        seen
    };
    let waits = decide(&mesh, &held(5), at(5));
    assert_eq!(
        (waits.actions, waits.status, waits.wake),
        (Vec::new(), None, Some(at(10)))
    );
    let late = serde_json::to_string(&decide(&mesh, &held(31), at(31)).status).unwrap();
    assert!(
        late.contains("Gateway hello, which the spec does not ask for any more"),
        "{late}"
    );
}

#[test]
fn the_service_leads_to_both_only_once_no_http_route_leads_to_it() {
    let (gateway, istio) = (behind_gateway(), app(&json!({})));
    let mut both = seen(3, &gateway, &istio, true);
    change(&mut both, "HTTPRoute/hello", accept);
    assert_eq!(writes(&istio, &both, 3), one("HTTPRoute/hello", KeepWhat::Delete));
    let kept = both.kept.as_mut().unwrap();
    kept.objects.insert("HTTPRoute/hello".to_owned(), KeptFound::Missing);
    // Proxies may follow it for a while, and then the Service must not lead them to the secondary.
    kept.gone = at(2);
    let waits = decide(&istio, &both, at(3));
    assert_eq!((waits.actions, waits.wake), (Vec::new(), Some(at(5))));
    assert_eq!(writes(&istio, &both, 5), one("Service/hello", KeepWhat::Patch));
}

#[test]
fn nothing_moves_before_the_run_has_left_the_route_of_the_former_spec() {
    let (istio, mut gateway) = (app(&json!({})), behind_gateway());
    gateway.held = Some(crate::kanary::HeldRoute {
        run: "former".to_owned(),
        route: "VirtualService/hello".parse().ok(),
    });
    gateway.finalizers = vec![names::ROUTE_FINALIZER.to_owned()];
    let decision = decide(&gateway, &seen(5, &istio, &gateway, false), at(5));
    assert_eq!(decision.needs, Some(Need::Route));
    assert_eq!(decision.actions, []);
}

#[test]
fn pods_of_a_former_run_keep_their_labels_while_a_route_leads_to_them() {
    let (istio, mut gateway) = (app(&json!({})), behind_gateway());
    let labels = json!({"app": "hello", "owner": "canaryop", "service": "secondary", names::RUN: "former-1"});
    let text = |labels: &Value| serde_json::from_value::<crate::labels::Labels>(labels.clone()).unwrap();
    let refused = Refusal {
        reason: Reason::WriteRefused,
        message: "denied".to_owned(),
        retry_at: at(60),
        uncreated_since: None,
        about: "VirtualService/hello".to_owned(),
    };
    let observed = |from: &ParsedKanary, to: &ParsedKanary| Observation {
        other_pods: vec![Pod {
            name: "hello-secondary-1".to_owned(),
            labels: text(&labels),
            ready: true,
            ..Pod::default()
        }],
        service: Some(Service {
            name: "hello".to_owned(),
            selector: text(&json!({"app": "hello", "owner": "canaryop"})),
            ..Service::default()
        }),
        refusal: Some(refused.clone()),
        ..seen(5, from, to, false)
    };
    let leaves = |app: &ParsedKanary| {
        let decision = decide(app, &observed(&istio, app), at(5));
        let mut actions = decision.actions.into_iter();
        actions.any(|action| matches!(action, Action::Unlabel { .. }))
    };
    // Without a route, they get requests that they should not get.
    assert!(leaves(&istio));
    for app in [&mut gateway, &mut istio.clone()] {
        app.held = Some(crate::kanary::HeldRoute {
            run: "former-1".to_owned(),
            route: "VirtualService/hello".parse().ok(),
        });
        app.finalizers = vec![names::ROUTE_FINALIZER.to_owned()];
        assert!(!leaves(app));
    }
}

#[test]
fn the_objects_are_read_again_after_as_long_as_nothing_has_changed() {
    let (istio, mesh) = (app(&json!({})), app(&json!({"gateway": "mesh"})));
    let waited = |second| patience(seen(second, &mesh, &istio, true).kept.as_ref().unwrap()).as_secs();
    assert_eq!([waited(0), waited(7), waited(3600)], [1, 7, 60]);
}

#[test]
fn a_field_of_a_parent_that_the_spec_does_not_have_is_taken_off_again() {
    let (istio, gateway) = (app(&json!({})), behind_gateway());
    let mut edited = seen(3, &gateway, &istio, false);
    assert_eq!(writes(&gateway, &edited, 3), []);
    change(&mut edited, "HTTPRoute/hello", |route| {
        route["spec"]["parentRefs"][0]["sectionName"] = json!("other");
    });
    let decision = decide(&gateway, &edited, at(3));
    let [Action::Keep(keep)] = decision.actions.as_slice() else {
        panic!("{:?}", decision.actions);
    };
    let parent = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "web"});
    assert_eq!(keep.body["spec"], json!({"parentRefs": [parent]}));
}

#[test]
fn objects_say_the_same_since_their_last_change() {
    let (istio, mesh) = (app(&json!({})), app(&json!({"gateway": "mesh"})));
    let read = |second| {
        let read = seen(second, &mesh, &istio, true).kept.unwrap();
        KeptSeen {
            since: at(second),
            ..read
        }
    };
    let former = read(1);
    assert_eq!(read(5).after(None).since, at(5));
    assert_eq!(read(5).after(Some(&former)).since, at(1));
    let mut gone = read(5);
    gone.objects.insert("Gateway/hello".to_owned(), KeptFound::Missing);
    let (gone, stays) = (gone.after(Some(&former)), read(9).after(Some(&former)));
    assert_eq!((gone.since, gone.gone, stays.gone), (at(5), at(5), at(0)));
    assert_eq!(read(5).after(None).gone, at(5));
}
