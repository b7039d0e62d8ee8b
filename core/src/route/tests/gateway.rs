use serde_json::{Value, json};

use super::*;

const HTTP: RouteKind = RouteKind::Http;

/// The backends of rules in short: `shop 90, shop-kanary-a 10`.
fn shown(route: &Value) -> Vec<String> {
    let rules = route["spec"]["rules"].as_array().unwrap().iter();
    rules
        .map(|rule| {
            let backends = rule["backendRefs"].as_array().into_iter().flatten();
            let backends = backends.map(|one| {
                let weight = one["weight"].as_u64();
                let weight = weight.map_or_else(String::new, |weight| format!(" {weight}"));
                format!("{}{weight}", one["name"].as_str().unwrap())
            });
            backends.collect::<Vec<_>>().join(", ")
        })
        .collect()
}

#[test]
fn production_gives_its_share_and_everything_else_keeps_its_proportion() {
    for (backends, weight, split) in [
        (json!([{"name": "shop"}]), 10, "shop 90, shop-kanary-a 10"),
        (json!([{"name": "shop", "weight": 1}]), 100, "shop 0, shop-kanary-a 100"),
        (
            json!([{"name": "shop", "weight": 80}, {"name": "old", "weight": 20}]),
            25,
            "shop 300, old 100, shop-kanary-a 100",
        ),
        (
            json!([{"name": "shop", "port": 80, "weight": 3}, {"name": "shop", "port": 81, "weight": 1}]),
            10,
            "shop 270, shop 90, shop-kanary-a 30, shop-kanary-a 10",
        ),
        (
            json!([{"name": "shop", "weight": 1}, {"name": "off", "weight": 0}]),
            5,
            "shop 95, off 0, shop-kanary-a 5",
        ),
    ] {
        let route = http(&json!([{"backendRefs": backends}]));
        let next = with(HTTP, &route, &weighted("a", weight)).unwrap();
        assert_eq!(shown(&next), [split], "{backends}");
        assert_eq!(without(HTTP, &next, "a"), route);
    }
}

#[test]
fn only_rules_that_lead_to_the_production_service_change() {
    let rules = json!([
        {"backendRefs": [{"name": "other"}]},
        {"filters": [{"type": "RequestRedirect", "requestRedirect": {"statusCode": 301}}]},
        {"backendRefs": [{"name": "shop", "namespace": "us"}]},
        {"backendRefs": [{"name": "shop", "kind": "Bucket", "group": "storage"}]},
        {"backendRefs": [{"name": "shop", "weight": 0}, {"name": "other", "weight": 1}]},
        {"backendRefs": [{"name": "shop", "namespace": "eu", "port": 80, "filters": [{"type": "X"}]}], "unknown": {"a": 1}},
    ]);
    let route = http(&rules);
    let next = with(HTTP, &route, &weighted("a", 10)).unwrap();
    assert_eq!(
        next["spec"]["rules"].as_array().unwrap()[..5],
        rules.as_array().unwrap()[..5]
    );
    assert_eq!(
        next["spec"]["rules"][5],
        json!({
            "backendRefs": [
                {"name": "shop", "namespace": "eu", "port": 80, "filters": [{"type": "X"}], "weight": 90},
                {"name": "shop-kanary-a", "namespace": "eu", "port": 80, "filters": [{"type": "X"}], "weight": 10},
            ],
            "unknown": {"a": 1},
        })
    );
    assert_eq!(without(HTTP, &next, "a"), route);
}

#[test]
fn a_tagged_rule_is_a_narrowed_copy_in_front_of_the_users() {
    let rule = json!({
        "name": "all", "matches": [{"path": {"value": "/a"}}, {"headers": [{"name": "h", "value": "1"}]}],
        "filters": [{"type": "URLRewrite"}], "timeouts": {"request": "3s"}, "backendRefs": [{"name": "shop", "port": 80}],
    });
    let route = http(&json!([{"backendRefs": [{"name": "other"}]}, rule]));
    let tags = vec![
        header("x-canary", "always"),
        Tag {
            cookie: true,
            ..header("canary", "a.b")
        },
    ];
    let desired = Desired {
        tags,
        weight: 10,
        ..Desired::default()
    };
    let next = with(HTTP, &route, &share("a", desired)).unwrap();
    let tag = json!({"type": "Exact", "name": "x-canary", "value": "always"});
    let cookie = json!({"type": "RegularExpression", "name": "Cookie", "value": "(^|.*; *)canary=a\\.b( *;.*|$)"});
    let user = json!({"name": "h", "value": "1"});
    for (index, tag) in [(1, tag), (2, cookie)] {
        assert_eq!(
            next["spec"]["rules"][index],
            json!({
                "matches": [{"path": {"value": "/a"}, "headers": [tag]}, {"headers": [user, tag]}],
                "filters": [{"type": "URLRewrite"}], "timeouts": {"request": "3s"},
                "backendRefs": [{"name": "shop-kanary-a", "port": 80}],
            })
        );
    }
    let all = ["other", "shop-kanary-a", "shop-kanary-a", "shop 90, shop-kanary-a 10"];
    assert_eq!(shown(&next), all);
    assert_eq!(without(HTTP, &next, "a"), route);
}

#[test]
fn a_mirror_is_added_to_the_filters_and_is_taken_out_alone() {
    let mirror =
        |name: &str| json!({"type": "RequestMirror", "requestMirror": {"backendRef": {"name": name, "port": 80}}});
    let backends = json!([{"name": "shop", "port": 80, "weight": 1}]);
    for filters in [None, Some(json!([])), Some(json!([mirror("audit")]))] {
        let mut rule = json!({"backendRefs": backends});
        if let Some(filters) = &filters {
            rule["filters"] = filters.clone();
        }
        let route = http(&json!([rule]));
        for percent in [100, 30] {
            let desired = Desired {
                mirror: Some(percent),
                ..Desired::default()
            };
            let next = with(HTTP, &route, &share("a", desired)).unwrap();
            let mut ours = mirror("shop-kanary-a");
            if percent < 100 {
                ours["requestMirror"]["percent"] = json!(percent);
            }
            let all = next["spec"]["rules"][0]["filters"].as_array().unwrap();
            assert_eq!(all.last(), Some(&ours));
            assert_eq!(next["spec"]["rules"][0]["backendRefs"], backends);
            assert_eq!(without(HTTP, &next, "a"), route);
        }
    }
}

#[test]
fn users_stay_on_a_version_by_session_persistence() {
    let route = http(&json!([{"backendRefs": [{"name": "shop"}]}]));
    for (seconds, lifetime, timeout) in [(None, "Session", None), (Some(5400), "Permanent", Some("1h30m"))] {
        let desired = Desired {
            weight: 10,
            affinity: Some(Affinity {
                cookie: "k".to_owned(),
                seconds,
            }),
            ..Desired::default()
        };
        let next = with(HTTP, &route, &share("a", desired.clone())).unwrap();
        let session = &next["spec"]["rules"][0]["sessionPersistence"];
        assert_eq!(session["absoluteTimeout"].as_str(), timeout);
        assert_eq!(session["cookieConfig"], json!({"lifetimeType": lifetime}));
        assert_eq!(
            session["cookie"],
            json!({"name": "k", "lifetimeType": lifetime, "path": "/"})
        );
        assert_eq!(without(HTTP, &next, "a"), route);
        // Each version of the API keeps the fields that it knows.
        for unknown in [&["cookie"][..], &["sessionName", "cookieConfig"]] {
            let mut stored = next.clone();
            let session = &mut stored["spec"]["rules"][0]["sessionPersistence"];
            session
                .as_object_mut()
                .unwrap()
                .retain(|name, _| !unknown.contains(&name.as_str()));
            let share = share("a", desired.clone());
            assert_eq!(change(HTTP, &stored, OWN, Some(&share)), Ok(Change::None));
            assert_eq!(without(HTTP, &stored, "a"), route);
        }
        let mut dropped = next.clone();
        dropped["spec"]["rules"][0]
            .as_object_mut()
            .unwrap()
            .remove("sessionPersistence");
        let wish = share("a", desired.clone());
        assert!(matches!(
            change(HTTP, &dropped, OWN, Some(&wish)),
            Ok(Change::Traffic(_))
        ));
        let sticky = http(&json!([{"backendRefs": [{"name": "shop"}], "sessionPersistence": {"type": "Header"}}]));
        let refused = with(HTTP, &sticky, &share("a", desired)).unwrap_err();
        assert!(refused.contains("sessionPersistence already"), "{refused}");
    }
}

#[test]
fn what_cannot_be_changed_says_why() {
    let tagged = Desired {
        tags: vec![header("X-Canary", "1")],
        ..Desired::default()
    };
    let shop = json!([{"name": "shop"}]);
    for (rules, share, why) in [
        (
            json!([{"backendRefs": [{"name": "other"}]}]),
            weighted("a", 5),
            "no rule of the route",
        ),
        (
            json!([{"backendRefs": [{"name": "shop", "weight": 999_983}, {"name": "other", "weight": 1}]}]),
            weighted("a", 5),
            "cannot be split",
        ),
        (
            json!([{"backendRefs": shop, "matches": [{"headers": [{"name": "x-canary", "value": "2"}]}]}]),
            share("a", tagged.clone()),
            "already",
        ),
        (
            (0..16).map(|_| json!({"backendRefs": shop})).collect(),
            share("a", tagged),
            "32 rules, and 16",
        ),
        (
            json!([{"backendRefs": [{"name": "shop"}, {"name": "shop-kanary-a"}]}]),
            weighted("a", 5),
            "leads to Service shop-kanary-a already",
        ),
        (json!("x"), weighted("a", 5), "no spec.rules"),
    ] {
        let refused = with(HTTP, &http(&rules), &share).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn shares_of_several_kanaries_add_up() {
    let route = http(&json!([{"backendRefs": [{"name": "shop", "weight": 1}]}]));
    let one = with(HTTP, &route, &weighted("a", 10)).unwrap();
    let both = with(HTTP, &one, &weighted("b", 20)).unwrap();
    assert_eq!(shown(&both), ["shop 70, shop-kanary-a 10, shop-kanary-b 20"]);
    assert_eq!(shown(&without(HTTP, &both, "a")), ["shop 80, shop-kanary-b 20"]);
    assert_eq!(without(HTTP, &both, "b"), one);
    let refused = with(HTTP, &both, &weighted("b", 91)).unwrap_err();
    assert!(refused.contains("more than 100 percent"), "{refused}");
}

#[test]
fn a_change_only_applies_to_the_version_that_was_read() {
    let route = http(&json!([{"backendRefs": [{"name": "shop"}]}]));
    let share = weighted("a", 10);
    let Ok(Change::Traffic(patch)) = change(HTTP, &route, OWN, Some(&share)) else {
        panic!("the canary gets no share");
    };
    assert_eq!(
        patch[..2],
        [
            json!({"op": "test", "path": "/metadata/uid", "value": "u"}),
            json!({"op": "replace", "path": "/metadata/resourceVersion", "value": "7"}),
        ]
    );
}

#[test]
fn a_reverted_route_is_told_from_one_whose_record_is_old() {
    let route = http(&json!([{"backendRefs": [{"name": "shop"}]}]));
    let share = weighted("a", 10);
    let next = with(HTTP, &route, &share).unwrap();
    let own = OWN;
    let mut reverted = next.clone();
    reverted["spec"] = route["spec"].clone();
    assert!(matches!(
        change(HTTP, &reverted, own, Some(&share)),
        Ok(Change::Traffic(_))
    ));
    let mut shifted = next.clone();
    shifted["spec"]["rules"][0]["backendRefs"][1]["weight"] = json!(60);
    assert!(matches!(
        change(HTTP, &shifted, own, Some(&share)),
        Ok(Change::Traffic(_))
    ));
    let mut edited = next;
    edited["spec"]["rules"][0]["timeouts"] = json!({"request": "1s"});
    assert_eq!(change(HTTP, &edited, own, Some(&share)), Ok(Change::None));
    let next_step = Share {
        step: 2,
        ..share.clone()
    };
    assert!(matches!(
        change(HTTP, &edited, own, Some(&next_step)),
        Ok(Change::Update(_))
    ));
}

#[test]
fn a_lost_record_leaves_nothing_of_the_canary() {
    let route = http(&json!([{"backendRefs": [{"name": "shop"}]}]));
    let mut next = with(HTTP, &route, &weighted("a", 10)).unwrap();
    next["metadata"].as_object_mut().unwrap().remove("annotations");
    assert_eq!(shown(&without(HTTP, &next, "a")), ["shop 100"]);
}
