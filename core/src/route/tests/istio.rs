use serde_json::{Value, json};

use super::*;

const VIRTUAL: RouteKind = RouteKind::Virtual;

fn to(host: &str) -> Value {
    json!({"destination": {"host": host}})
}

fn weighing(host: &str, weight: u64) -> Value {
    json!({"destination": {"host": host}, "weight": weight})
}

#[test]
fn hosts_are_those_of_the_namespace_in_every_form() {
    for (host, canary) in [
        ("shop", Some("shop-kanary-a")),
        ("shop.eu", Some("shop-kanary-a.eu")),
        ("shop.eu.svc", Some("shop-kanary-a.eu.svc")),
        ("shop.eu.svc.cluster.local", Some("shop-kanary-a.eu.svc.cluster.local")),
        ("shop.us", None),
        ("shop.example.com", None),
        ("shop.eu.example.com", None),
        ("other", None),
    ] {
        let route = virtual_service(&json!([{"route": [to(host)]}]));
        let next = with(VIRTUAL, &route, &weighted("a", 10));
        match canary {
            Some(canary) => {
                let next = next.unwrap();
                assert_eq!(
                    next["spec"]["http"],
                    json!([{"route": [weighing(host, 90), weighing(canary, 10)]}])
                );
                assert_eq!(without(VIRTUAL, &next, "a"), route);
            }
            None => assert!(next.unwrap_err().contains("no rule"), "{host}"),
        }
    }
}

#[test]
fn a_subset_of_production_does_not_hold_for_the_canary() {
    let destination = json!({"host": "shop", "subset": "v1", "port": {"number": 80}});
    let route =
        virtual_service(&json!([{"route": [{"destination": destination, "headers": {"request": {}}}], "retries": {}}]));
    let next = with(VIRTUAL, &route, &weighted("a", 10)).unwrap();
    assert_eq!(
        next["spec"]["http"][0]["route"][1],
        json!({
            "destination": {"host": "shop-kanary-a", "port": {"number": 80}}, "headers": {"request": {}}, "weight": 10,
        })
    );
    assert_eq!(without(VIRTUAL, &next, "a"), route);
}

#[test]
fn tagged_requests_have_a_route_in_front() {
    let rule =
        json!({"name": "n", "match": [{"name": "m", "uri": {"prefix": "/"}}], "timeout": "3s", "route": [to("shop")]});
    let route = virtual_service(&json!([rule]));
    let tag = Tag {
        regex: true,
        ..header("X-Canary", "a|b")
    };
    let desired = Desired {
        tags: vec![tag],
        ..Desired::default()
    };
    let next = with(VIRTUAL, &route, &share("a", desired.clone())).unwrap();
    let front = json!({
        "match": [{"uri": {"prefix": "/"}, "headers": {"x-canary": {"regex": "a|b"}}}], "timeout": "3s",
        "route": [to("shop-kanary-a")],
    });
    assert_eq!(next["spec"]["http"], json!([front, rule]));
    assert_eq!(without(VIRTUAL, &next, "a"), route);
    let narrow =
        virtual_service(&json!([{"match": [{"headers": {"x-canary": {"exact": "c"}}}], "route": [to("shop")]}]));
    assert!(
        with(VIRTUAL, &narrow, &share("a", desired))
            .unwrap_err()
            .contains("already")
    );
}

#[test]
fn requests_are_mirrored_by_an_entry_of_mirrors() {
    let audit = json!({"destination": {"host": "audit"}});
    for mirrors in [None, Some(json!([])), Some(json!([audit]))] {
        let mut rule = json!({"route": [to("shop")]});
        if let Some(mirrors) = &mirrors {
            rule["mirrors"] = mirrors.clone();
        }
        let route = virtual_service(&json!([rule]));
        let desired = Desired {
            mirror: Some(40),
            ..Desired::default()
        };
        let next = with(VIRTUAL, &route, &share("a", desired)).unwrap();
        let ours = json!({"destination": {"host": "shop-kanary-a"}, "percentage": {"value": 40}});
        assert_eq!(
            next["spec"]["http"][0]["mirrors"].as_array().unwrap().last(),
            Some(&ours)
        );
        assert_eq!(without(VIRTUAL, &next, "a"), route);
    }
}

#[test]
fn what_istio_cannot_do_is_refused() {
    let mirrored = virtual_service(&json!([{"route": [to("shop")], "mirror": {"host": "audit"}}]));
    let mirror = Desired {
        mirror: Some(100),
        ..Desired::default()
    };
    assert!(
        with(VIRTUAL, &mirrored, &share("a", mirror))
            .unwrap_err()
            .contains("mirrors")
    );
    let plain = virtual_service(&json!([{"route": [to("shop")]}]));
    let affinity = Desired {
        weight: 10,
        affinity: Some(Affinity {
            cookie: "k".to_owned(),
            seconds: None,
        }),
        ..Desired::default()
    };
    assert!(
        with(VIRTUAL, &plain, &share("a", affinity))
            .unwrap_err()
            .contains("a pod and not on a version")
    );
}
