use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::*;
use crate::{
    ParsedKanary,
    api::{Kanary, KanaryKind, RouteKind, RouteRef},
    decide,
    observation::{Observation, RouteSeen},
};

const NOW: &str = "2026-01-01T12:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn app(replicas: i32) -> ParsedKanary {
    let object = json!({
        "metadata": {"name": "hello", "namespace": "shop", "uid": "u", "generation": 1},
        "spec": {
            "image": "hello:v1", "imageListenPort": 8088, "replicas": replicas, "testReplicas": 1,
            "prometheusQuery": "errors_total > 2", "prometheusURL": "http://prometheus:9090",
        },
    });
    let object: Kanary = serde_json::from_value(object).unwrap();
    ParsedKanary::parse(KanaryKind::CanaryApp, &object).unwrap()
}

/// The objects as they are created.
fn created(app: &ParsedKanary) -> BTreeMap<String, Value> {
    let kept = app.spec.frame.as_ref().unwrap().kept.iter();
    let objects = kept.map(|kept| {
        let mut object = kept.keep.clone();
        let metadata =
            json!({"metadata": {"uid": "x", "resourceVersion": "7", "ownerReferences": [app.owner_reference()]}});
        merge(&mut object, &metadata);
        (kept.key(), object)
    });
    objects.collect()
}

fn seen(objects: BTreeMap<String, Value>, live: bool) -> Observation {
    let objects = objects
        .into_iter()
        .map(|(key, object)| (key, KeptFound::There(Arc::new(object))))
        .chain([("HTTPRoute/hello".to_owned(), KeptFound::Missing)]);
    Observation {
        kept: Some(KeptSeen {
            at: now(),
            live,
            generation: 1,
            since: now(),
            gone: now(),
            objects: objects.collect(),
        }),
        ..Observation::default()
    }
}

fn writes(app: &ParsedKanary, seen: &Observation) -> Vec<Keep> {
    let actions = decide(app, seen, now()).actions.into_iter();
    actions
        .filter_map(|action| match action {
            Action::Keep(keep) => Some(keep),
            _ => None,
        })
        .collect()
}

fn with(app: &ParsedKanary, key: &str, change: impl FnOnce(&mut Value)) -> Observation {
    let mut objects = created(app);
    change(objects.get_mut(key).unwrap());
    seen(objects, true)
}

#[test]
fn nothing_is_written_before_the_objects_were_read() {
    let decision = decide(&app(2), &Observation::default(), now());
    assert_eq!((decision.needs, decision.actions), (Some(Need::Kept), Vec::new()));
    let app = app(2);
    let mut stale = seen(created(&app), false);
    if let Some(kept) = &mut stale.kept {
        kept.generation = 0;
    }
    assert_eq!(decide(&app, &stale, now()).needs, Some(Need::Kept));
}

#[test]
fn what_is_missing_is_created_with_an_owner() {
    let app = app(2);
    let mut seen = seen(created(&app), true);
    if let Some(kept) = &mut seen.kept {
        for found in kept.objects.values_mut() {
            *found = KeptFound::Missing;
        }
    }
    let writes = writes(&app, &seen);
    let keys: Vec<_> = writes.iter().map(Keep::key).collect();
    // The run creates the primary.
    assert_eq!(
        keys,
        [
            "Service/hello",
            "DestinationRule/hello",
            "Gateway/hello",
            "VirtualService/hello"
        ]
    );
    let service = &writes.first().unwrap().body;
    assert_eq!(
        (&service["apiVersion"], &service["kind"]),
        (&json!("v1"), &json!("Service"))
    );
    assert_eq!(service["metadata"]["ownerReferences"], json!([app.owner_reference()]));
    assert_eq!(service["metadata"]["name"], "hello");
}

#[test]
fn objects_as_they_were_created_need_nothing_whatever_else_others_added() {
    let app = app(2);
    let same = with(&app, "Service/hello", |service| {
        service["spec"]["clusterIP"] = json!("10.0.0.1");
        service["spec"]["ports"][0]["nodePort"] = json!(30_000);
        service["metadata"]["labels"]["team"] = json!("shop");
    });
    assert_eq!(writes(&app, &same), []);
}

#[test]
fn fields_that_somebody_changed_are_put_back_and_no_others() {
    let app = app(2);
    let narrowed = with(&app, "Service/hello", |service| {
        service["spec"]["selector"] = json!({"app": "hello", "owner": "canaryop", "extra": "yes"});
    });
    let body = |key: &str, seen: &Observation| {
        let [keep] = writes(&app, seen).try_into().unwrap();
        assert_eq!((keep.key().as_str(), keep.what), (key, KeepWhat::Patch));
        keep.body
    };
    assert_eq!(
        body("Service/hello", &narrowed),
        json!({"metadata": {"uid": "x", "resourceVersion": "7"}, "spec": {"selector": {"extra": null}}})
    );
    let scaled = with(&app, "Deployment/hello-primary", |primary| {
        primary["spec"]["replicas"] = json!(7);
    });
    assert_eq!(
        body("Deployment/hello-primary", &scaled)["spec"],
        json!({"replicas": 2})
    );
    let hosts = with(&app, "VirtualService/hello", |route| {
        route["spec"]["hosts"] = json!(["other"]);
    });
    assert_eq!(body("VirtualService/hello", &hosts)["spec"], json!({"hosts": ["*"]}));
    let weights = with(&app, "VirtualService/hello", |route| route["spec"]["http"] = json!([]));
    assert!(body("VirtualService/hello", &weights)["spec"]["http"].is_array());
}

#[test]
fn the_weights_of_a_run_are_left_alone() {
    let app = app(2);
    let running = with(&app, "VirtualService/hello", |route| {
        route["metadata"]["annotations"] = json!({SHARES: "{}"});
        route["spec"]["http"] = json!([{"route": []}]);
    });
    assert_eq!(writes(&app, &running), []);
}

#[test]
fn an_object_of_somebody_else_is_never_touched_and_nothing_begins() {
    let app = app(2);
    for (owners, whose) in [
        (json!(null), "has no owner"),
        (
            json!([{"controller": true, "uid": "other", "kind": "CanaryApp", "name": "other"}]),
            "belongs to CanaryApp/other",
        ),
    ] {
        let foreign = with(&app, "Service/hello", |service| {
            service["metadata"]["ownerReferences"] = owners;
            service["spec"]["selector"] = json!({"app": "theirs"});
        });
        let decision = decide(&app, &foreign, now());
        assert_eq!(decision.actions, []);
        let status = serde_json::to_value(decision.status.unwrap()).unwrap();
        assert_eq!(status["report"]["status"], "Errored");
        let text = status["conditions"].to_string();
        assert!(text.contains("NameTaken") && text.contains(whose), "{text}");
        assert_eq!(decision.wake, now().checked_add(LOOK_SOON).ok());
    }
}

#[test]
fn a_primary_of_somebody_else_is_the_only_problem_that_is_reported() {
    let app = app(2);
    let mut foreign = with(&app, "Deployment/hello-primary", |primary| {
        primary["metadata"]["ownerReferences"] = json!(null);
    });
    foreign.target = Some(crate::observation::Workload::default());
    let status = serde_json::to_value(decide(&app, &foreign, now()).status.unwrap()).unwrap();
    let conditions = status["conditions"].as_array().unwrap();
    let errored = conditions
        .iter()
        .find(|condition| condition["type"] == "Errored")
        .unwrap();
    assert_eq!(errored["reason"], "NameTaken");
    assert_eq!(
        errored["message"],
        "Deployment hello-primary exists and has no owner, so it is not this CanaryApp's: delete it, or give this CanaryApp another name"
    );
}

#[test]
fn a_kind_that_the_cluster_lacks_is_named() {
    let app = app(2);
    let mut seen = seen(created(&app), true);
    if let Some(kept) = &mut seen.kept {
        kept.objects.insert("Gateway/hello".to_owned(), KeptFound::NoKind);
    }
    let status = serde_json::to_value(decide(&app, &seen, now()).status.unwrap()).unwrap();
    assert!(
        status.to_string().contains("gateways.networking.istio.io"),
        "{status:#}"
    );
}

#[test]
fn objects_are_read_again_before_a_write_and_after_a_while() {
    let app = app(2);
    let mut objects = created(&app);
    objects.get_mut("Gateway/hello").unwrap()["spec"]["selector"] = json!({});
    assert_eq!(decide(&app, &seen(objects, false), now()).needs, Some(Need::Kept));
    let mut known = seen(created(&app), false);
    // Without a cached Service, the watch contradicts what was read.
    assert_eq!(decide(&app, &known, now()).needs, Some(Need::Kept));
    let service: crate::observation::Service = crate::observation::Service {
        name: "hello".to_owned(),
        selector: [("app", "hello"), ("owner", "canaryop")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        ports: vec![json!({"name": "http", "port": 8088, "targetPort": "http", "protocol": "TCP"})],
        ..Default::default()
    };
    known.service = Some(service);
    assert_ne!(decide(&app, &known, now()).needs, Some(Need::Kept));
    for (name, is_read) in [("hello", true), ("other", false)] {
        let route = RouteRef {
            kind: RouteKind::Virtual,
            name: name.to_owned(),
        };
        let mut without_route = known.clone();
        without_route.route = Some(RouteSeen::next(None, RouteFound::Missing(route), now()));
        let needs = decide(&app, &without_route, now()).needs;
        assert_eq!(needs == Some(Need::Kept), is_read, "{name}");
    }
    for (owner, is_read) in [(Some("u"), false), (Some("other"), true), (None, true)] {
        let mut with_primary = known.clone();
        with_primary.target = Some(crate::observation::Workload {
            owner: owner.map(str::to_owned),
            labels: app.spec.frame.as_ref().unwrap().kept.last().unwrap().keep["metadata"]["labels"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
                .collect(),
            replicas: 2,
            ..Default::default()
        });
        let needs = decide(&app, &with_primary, now()).needs;
        assert_eq!(needs == Some(Need::Kept), is_read, "a primary of {owner:?}");
    }
    let later = now().checked_add(LOOK_AGAIN).unwrap();
    assert_eq!(decide(&app, &known, later).needs, Some(Need::Kept));
}
