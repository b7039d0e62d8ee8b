//! Answers of an API server, and what is shown of them.

use std::future::ready;

use expect_test::expect;
use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;

/// What is shown if the API server answers so for a path.
async fn shown(answer: impl Fn(&str) -> (u16, Value) + Send + 'static) -> Result<String, Error> {
    let service = service_fn(move |request: Request<Body>| {
        let (code, body) = answer(request.uri().path());
        let reply = Response::builder().status(code);
        ready(reply.body(Body::from(body.to_string().into_bytes())))
    });
    let clock = Clock::from_source(|| Timestamp::UNIX_EPOCH);
    text(Client::new(service, "default"), "shop", &clock).await
}

/// All that users read of the error.
async fn error_of(answer: impl Fn(&str) -> (u16, Value) + Send + 'static) -> String {
    format!("{:#}", anyhow::Error::from(shown(answer).await.unwrap_err()))
}

fn refusal(code: u16, reason: &str) -> (u16, Value) {
    let status = json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "why"});
    (code, status)
}

fn shard_map(shards: &str) -> (u16, Value) {
    (
        200,
        json!({"metadata": {"name": map::NAME}, "data": {"shards": shards}}),
    )
}

#[tokio::test]
async fn a_refusal_is_reported_once_with_the_request() {
    let error = error_of(|path| {
        if path.ends_with(map::NAME) {
            shard_map("4")
        } else {
            refusal(403, "Forbidden")
        }
    });
    assert_eq!(error.await, "could not list Leases in namespace shop: why");
}

#[tokio::test]
async fn a_shard_map_that_cannot_be_read_is_reported_with_the_fix() {
    for (answer, expected) in [
        (
            refusal(403, "Forbidden"),
            "ConfigMap kanary-shardmap in namespace shop: why",
        ),
        (
            shard_map("many"),
            "ConfigMap kanary-shardmap has no valid number of `shards` (many): stop all replicas, delete it, and \
             start them again",
        ),
        (
            refusal(404, "NotFound"),
            "no Leases of Kanary in namespace shop: name the namespace of the controller with --lease-namespace, \
             or it runs with --standalone",
        ),
    ] {
        assert_eq!(error_of(move |_| answer.clone()).await, expected);
    }
}

/// An API server with a number of shards and without Leases, whose Kanaries are answered so for a path.
async fn counted(scope: &str, kanaries: impl Fn(&str) -> (u16, Value) + Send + 'static) -> String {
    let agreed = json!({"metadata": {"name": map::NAME}, "data": {"shards": "1", "namespace": scope}});
    let none = json!({"kind": "LeaseList", "apiVersion": "coordination.k8s.io/v1", "metadata": {}, "items": []});
    let shown = shown(move |path| match path.rsplit('/').next().unwrap() {
        map::NAME => (200, agreed.clone()),
        "leases" => (200, none.clone()),
        LEADER => refusal(404, "NotFound"),
        _ => kanaries(path),
    });
    shown.await.unwrap()
}

fn list(slots: &[&str]) -> (u16, Value) {
    let item = |slot: &&str| json!({"metadata": {"name": "a", "labels": {SLOT: slot}}});
    let items: Vec<_> = slots.iter().map(item).collect();
    let kind = "PartialObjectMetadataList";
    (
        200,
        json!({"kind": kind, "apiVersion": "meta.k8s.io/v1", "metadata": {}, "items": items}),
    )
}

#[tokio::test]
async fn the_kanaries_of_one_namespace_are_counted_where_no_others_are_acted_on() {
    let kanaries = |path: &str| {
        let is_of = |kind: &KanaryKind| {
            path.contains(&format!("/{}/", kind.api_group())) && path.ends_with(&format!("/{}", kind.plural()))
        };
        if KanaryKind::OPTIONAL.iter().any(is_of) {
            // As where the controller does not serve these kinds.
            refusal(403, "Forbidden")
        } else if path.ends_with("/namespaces/books/kanarydeployments") {
            list(&["00", "7f"])
        } else if path.ends_with("/namespaces/books/kanarystatefulsets") {
            list(&["ff"])
        } else {
            list(&["00", "01", "02", "03", "04"])
        }
    };
    for (scope, count) in [("books", 3), ("", 10)] {
        let shown = counted(scope, kanaries).await;
        assert!(shown.contains(&format!("\n0      00-ff  {count} ")), "{shown}");
    }
}

#[tokio::test]
async fn who_may_not_list_the_kanaries_sees_the_leases_and_why() {
    let all = counted("", |_| refusal(403, "Forbidden")).await;
    expect![[r"
        REPLICA  AGE  RENEWED  SHARDS  KANARIES  NOTES

        SHARD  SLOTS  KANARIES  EPOCH  OWNER       NEXT
        0      00-ff  ?                nobody yet

        How many Kanaries there are is not known: could not list kanarydeployments: why
    "]]
    .assert_eq(&all);
    let of_a_namespace = counted("books", |_| refusal(403, "Forbidden")).await;
    let why = "could not list kanarydeployments in namespace books: why\n";
    assert!(of_a_namespace.ends_with(why), "{of_a_namespace}");
}

fn session(name: &str, renewed: i64) -> (String, Session) {
    let now = Timestamp::from_second(10_000).unwrap();
    let session = Session {
        identity: name.to_owned(),
        holder: format!("{name}/1"),
        since: 10_000 - 600,
        renewed: now.checked_sub(jiff::SignedDuration::from_secs(renewed)).ok(),
        ttl: 15,
        ..Session::default()
    };
    (name.to_owned(), session)
}

fn seen() -> Listing {
    let shard = |index, holder: &str, next: Option<&str>| {
        let shard = Shard {
            index,
            holder: holder.to_owned(),
            epoch: 7,
            next: next.map(str::to_owned),
            version: None,
        };
        (index, shard)
    };
    Listing {
        layout: Layout::new(4).unwrap(),
        now: Timestamp::from_second(10_000).unwrap(),
        sessions: BTreeMap::from([session("kanary-a", 2), session("kanary-b", 40)]),
        shards: BTreeMap::from([
            shard(0, "kanary-a/1", None),
            shard(1, "kanary-b/1", Some("kanary-a/1")),
            shard(2, "kanary-c/9", None),
        ]),
        leader: Some("kanary-a".to_owned()),
        kanaries: Ok(BTreeMap::from([
            (None, 2),
            ("00".parse().ok(), 3),
            ("41".parse().ok(), 4),
        ])),
    }
}

#[test]
fn it_shows_which_replica_acts_on_which_shard_and_the_shards_without_one() {
    expect![[r"
        REPLICA   AGE  RENEWED  SHARDS  KANARIES  NOTES
        kanary-a  10m  2s ago   1       3         leads
        kanary-b  10m  40s ago  1       4         not renewed: gone, or cut off

        SHARD  SLOTS  KANARIES  EPOCH  OWNER                     NEXT
        0      00-3f  3         7      kanary-a
        1      40-7f  4         7      kanary-b                  kanary-a
        2      80-bf  0         7      nobody: kanary-c is gone
        3      c0-ff  0                nobody yet

        2 Kanaries have no slot yet; their owners label them within a second
    "]]
    .assert_eq(&render(&seen()));
}

#[test]
fn no_label_is_promised_where_no_replica_lives() {
    let mut seen = seen();
    seen.sessions.remove("kanary-a");
    let text = render(&seen);
    let expected = "\n2 Kanaries have no slot yet; no live replica can label them\n";
    assert!(text.ends_with(expected), "{text}");
    seen.kanaries = Ok(Counts::new());
    assert!(!render(&seen).contains("no slot"));
}
