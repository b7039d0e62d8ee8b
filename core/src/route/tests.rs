mod gateway;
mod give_back;
mod istio;
mod properties;
mod standing;

use serde_json::{Value, json};

use super::*;

/// Kanary `a` of Service `shop`.
const OWN: Own<'static> = Own {
    uid: "uid-a",
    canary: "shop-kanary-a",
    service: "shop",
};

/// A share of Kanary `name` of Service `shop`.
fn share(name: &str, desired: Desired) -> Share {
    Share {
        kanary: format!("KanaryDeployment/{name}"),
        uid: format!("uid-{name}"),
        run: "0123456789abcdef-1".to_owned(),
        service: "shop".to_owned(),
        canary: format!("shop-kanary-{name}"),
        step: 1,
        desired,
    }
}

fn weighted(name: &str, weight: u8) -> Share {
    share(
        name,
        Desired {
            weight,
            ..Desired::default()
        },
    )
}

fn header(name: &str, value: &str) -> Tag {
    Tag {
        cookie: false,
        name: name.to_owned(),
        value: value.to_owned(),
        regex: false,
    }
}

fn http(rules: &Value) -> Value {
    json!({
        "metadata": {"name": "shop", "namespace": "eu", "uid": "u", "resourceVersion": "7", "generation": 3},
        "spec": {"parentRefs": [{"name": "gw"}], "rules": rules},
    })
}

fn virtual_service(routes: &Value) -> Value {
    json!({
        "metadata": {"name": "shop", "namespace": "eu", "uid": "u", "resourceVersion": "7"},
        "spec": {"hosts": ["shop"], "http": routes},
    })
}

fn changed(kind: RouteKind, route: &Value, name: &str, share: Option<&Share>) -> Result<Value, String> {
    let canary = format!("shop-kanary-{name}");
    let uid = format!("uid-{name}");
    let own = Own {
        uid: &uid,
        canary: &canary,
        service: "shop",
    };
    let change = change(kind, route, own, share)?;
    let next = change
        .patch()
        .map_or_else(|| route.clone(), |patch| apply(route, &patch));
    // The same again is no change.
    assert_eq!(super::change(kind, &next, own, share), Ok(Change::None));
    Ok(next)
}

fn with(kind: RouteKind, route: &Value, share: &Share) -> Result<Value, String> {
    let name = share.uid.trim_start_matches("uid-").to_owned();
    changed(kind, route, &name, Some(share))
}

fn without(kind: RouteKind, route: &Value, name: &str) -> Value {
    changed(kind, route, name, None).unwrap()
}
