//! What users wrote comes back, whoever changes what meanwhile.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A backend of either dialect. Names repeat, so that rules look alike.
fn backend(kind: RouteKind) -> impl Strategy<Value = Value> {
    (
        prop_oneof![3 => Just("shop"), 1 => Just("old")],
        prop::option::of(0_u64..50),
        any::<bool>(),
    )
        .prop_map(move |(name, weight, more)| {
            let mut backend = match kind {
                RouteKind::Virtual => json!({"destination": {"host": name}}),
                _ => json!({"name": name}),
            };
            if let Some(weight) = weight {
                backend["weight"] = json!(weight);
            }
            if more {
                backend["unknown"] = json!("x");
            }
            backend
        })
}

fn rule(kind: RouteKind) -> impl Strategy<Value = Value> {
    let backends = prop::collection::vec(backend(kind), 0..4);
    (backends, 0_u8..3, prop::option::of(0..3_usize)).prop_map(move |(backends, path, extras)| {
        let mut rule = json!({"timeout": path});
        let (all, matches, list) = match kind {
            RouteKind::Virtual => ("route", "match", "mirrors"),
            _ => ("backendRefs", "matches", "filters"),
        };
        if !backends.is_empty() {
            rule[all] = Value::Array(backends);
        }
        if path > 0 {
            rule[matches] = json!([{"path": path}]);
        }
        if let Some(extras) = extras {
            rule[list] = (0..extras).map(|extra| json!({"extra": extra})).collect();
        }
        rule
    })
}

fn route() -> impl Strategy<Value = (RouteKind, Value)> {
    prop_oneof![Just(RouteKind::Http), Just(RouteKind::Virtual)].prop_flat_map(|kind| {
        let rules = prop::collection::vec(rule(kind), 1..5);
        (rules, any::<bool>()).prop_map(move |(rules, annotated)| {
            let rules = Value::Array(rules);
            let mut route = match kind {
                RouteKind::Virtual => virtual_service(&rules),
                _ => http(&rules),
            };
            if annotated {
                route["metadata"]["annotations"] = json!({"a": "b"});
            }
            (kind, route)
        })
    })
}

fn wish(name: &'static str) -> impl Strategy<Value = Share> {
    let tags = prop::collection::vec(any::<bool>(), 0..3);
    (0_u8..=50, tags, prop::option::of(1_u8..=100)).prop_map(move |(weight, tags, mirror)| {
        let tags = tags.iter().enumerate().map(|(index, cookie)| Tag {
            cookie: *cookie && index == 0,
            ..header(&format!("x-{name}-{index}"), "1")
        });
        let desired = Desired {
            weight,
            tags: tags.collect(),
            mirror,
            affinity: None,
        };
        share(name, desired)
    })
}

fn list(kind: RouteKind) -> &'static str {
    if kind == RouteKind::Virtual {
        "/spec/http"
    } else {
        "/spec/rules"
    }
}

proptest! {
    #[test]
    fn a_route_is_as_its_user_wrote_it_after_all_kanaries_have_left_in_any_order(
        (kind, route) in route(), a in wish("a"), b in wish("b"), again in wish("a"), first in any::<bool>(),
    ) {
        let mut now = route.clone();
        for share in [&a, &b, &again] {
            // One that cannot be written changes nothing.
            now = with(kind, &now, share).unwrap_or(now);
        }
        for name in if first { ["a", "b"] } else { ["b", "a"] } {
            now = without(kind, &now, name);
        }
        prop_assert_eq!(now, route);
    }

    #[test]
    fn edits_elsewhere_are_kept((kind, route) in route(), a in wish("a"), inserted in 0_usize..5, timeout in 5_u8..9) {
        let Ok(mut now) = with(kind, &route, &a) else { return Ok(()) };
        let mut wanted = route;
        // The same edit by the user, of the route with the canary and of the one without.
        for route in [&mut now, &mut wanted] {
            let rules = route.pointer_mut(list(kind)).and_then(Value::as_array_mut).unwrap();
            rules.insert(inserted.min(1) * rules.len(), json!({"inserted": true}));
            for rule in rules.iter_mut().filter(|rule| rule.get("inserted").is_none()) {
                rule["timeout"] = json!(timeout);
            }
            route["spec"]["other"] = json!("x");
        }
        prop_assert_eq!(without(kind, &now, "a"), wanted);
    }

    #[test]
    fn the_split_is_exact((kind, route) in route(), weight in 1_u8..=100) {
        let Ok(now) = with(kind, &route, &weighted("a", weight)) else { return Ok(()) };
        let dialect = dialect(kind);
        for (user, rule) in rules::of(dialect, &route).iter().zip(rules::of(dialect, &now)) {
            let sum = |rule: &serde_json::Map<String, Value>, of: &dyn Fn(&str) -> bool| {
                let backends = rules::backends(dialect, rule);
                let counted = backends.filter(|backend| dialect.service(backend, "eu").is_some_and(of));
                counted.map(|backend| backend.get("weight").and_then(Value::as_u64).unwrap_or(1)).sum::<u64>()
            };
            let production = sum(user, &|service| service == "shop");
            if production == 0 {
                prop_assert_eq!(user, &rule);
                continue;
            }
            let canary = sum(&rule, &|service| service == "shop-kanary-a");
            let both = sum(&rule, &|service| service != "old");
            prop_assert_eq!(canary * 100, both * u64::from(weight));
            // The part of the other Services stays.
            let (old, all) = (sum(user, &|service| service == "old"), sum(user, &|_| true));
            let (old_now, all_now) = (sum(&rule, &|service| service == "old"), sum(&rule, &|_| true));
            prop_assert_eq!(old * all_now, old_now * all);
        }
    }
}
