//! Writes to routes, and the finalizer that comes before them.

use kanary_core::api::{
    RouteKind, RouteRef,
    names::{ROUTE, ROUTE_FINALIZER},
};

use super::*;

fn shop() -> RouteRef {
    RouteRef {
        kind: RouteKind::Http,
        name: "shop".to_owned(),
    }
}

fn held(finalizers: &[&str]) -> ParsedKanary {
    let mut kanary = batman();
    kanary.metadata.finalizers = Some(finalizers.iter().map(|name| (*name).to_owned()).collect());
    ParsedKanary::parse(KanaryKind::Deployment, &kanary).unwrap()
}

#[tokio::test]
async fn the_finalizer_names_the_route_and_applies_only_to_the_version_that_was_read() {
    let (writer, asked) = replying(vec![(200, json!(batman())), (200, json!(batman()))]);
    let hold = Action::Hold {
        route: shop(),
        run: "h-1".to_owned(),
    };
    let other = held(&["example.com/other"]);
    writer.act(&other, &hold, right(&other)).await.unwrap();
    let both = held(&["example.com/other", ROUTE_FINALIZER]);
    writer.act(&both, &Action::Release, right(&both)).await.unwrap();
    let asked = asked.lock().unwrap();
    let (added, removed) = (&asked[0].1["metadata"], &asked[1].1["metadata"]);
    assert_eq!(added["finalizers"], json!(["example.com/other", ROUTE_FINALIZER]));
    assert_eq!(added["annotations"], json!({ROUTE: "h-1 HTTPRoute/shop"}));
    assert_eq!(removed["finalizers"], json!(["example.com/other"]));
    assert_eq!(removed["annotations"], json!({ROUTE: null}));
    for metadata in [added, removed] {
        assert_eq!(
            (&metadata["uid"], &metadata["resourceVersion"]),
            (&json!("u"), &json!("1"))
        );
    }
}

#[tokio::test]
async fn a_route_is_patched_as_the_decision_says_and_returned_as_it_is_stored() {
    let stored = json!({"metadata": {"name": "shop"}, "spec": {"unknown": 1}});
    let conflict = json!({"kind": "Status", "code": 409, "reason": "Conflict"});
    let (writer, asked) = replying(vec![(200, stored.clone()), (409, conflict)]);
    let batman = ParsedKanary::parse(KanaryKind::Deployment, &batman()).unwrap();
    let patch = [json!({"op": "replace", "path": "/metadata/resourceVersion", "value": "7"})];
    let route = writer.set_route("shop", &shop(), &patch, right(&batman)).await.unwrap();
    assert_eq!(route, stored);
    let error = writer
        .set_route("shop", &shop(), &patch, right(&batman))
        .await
        .unwrap_err();
    assert_eq!((error.class(), error.object()), (Class::Conflict, shop().key()));
    assert_eq!(asked.lock().unwrap()[0].1, json!(patch));
}
