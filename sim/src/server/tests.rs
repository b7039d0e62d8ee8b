//! The API server, used through a `kube::Client`.

use std::pin::pin;

use futures::StreamExt;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Server;
use crate::cluster::{Cluster, Options};

fn server() -> Server {
    Server::new(Cluster::new(Options::default()))
}

fn client() -> Client {
    server().client("tester")
}

fn from<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

#[allow(clippy::needless_pass_by_value, reason = "called with a `json!` literal")]
fn map(name: &str, labels: Value) -> ConfigMap {
    from(json!({"metadata": {"name": name, "labels": labels}, "data": {"a": "1"}}))
}

fn deployment() -> Deployment {
    from(json!({"metadata": {"name": "app"}, "spec": {
        "selector": {"matchLabels": {"app": "app"}},
        "template": {
            "metadata": {"labels": {"app": "app"}},
            "spec": {"containers": [{"name": "main", "image": "app:v1"}]},
        },
    }}))
}

fn refused<T: std::fmt::Debug>(result: kube::Result<T>) -> (u16, String, String) {
    match result.unwrap_err() {
        kube::Error::Api(status) => (status.code, status.reason.clone(), status.message.clone()),
        other => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_is_created_read_changed_and_deleted() {
    let api: Api<ConfigMap> = Api::namespaced(client(), "default");
    let created = api.create(&PostParams::default(), &map("m", json!({}))).await.unwrap();
    assert!(created.metadata.uid.is_some() && created.metadata.creation_timestamp.is_some());
    assert_eq!(api.get("m").await.unwrap(), created);
    let patch = Patch::Merge(json!({"data": {"a": null, "b": "2"}}));
    let patched = api.patch("m", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(
        patched.data.clone().unwrap().into_iter().collect::<Vec<_>>(),
        [("b".to_owned(), "2".to_owned())]
    );
    assert_ne!(patched.metadata.resource_version, created.metadata.resource_version);
    let again = api.patch("m", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(again, patched, "a no-op patch keeps the resourceVersion");
    api.delete("m", &DeleteParams::default()).await.unwrap();
    assert_eq!(api.get_opt("m").await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn what_rests_on_something_old_is_a_conflict() {
    let api: Api<ConfigMap> = Api::namespaced(client(), "default");
    let created = api.create(&PostParams::default(), &map("m", json!({}))).await.unwrap();
    let twice = refused(api.create(&PostParams::default(), &map("m", json!({}))).await);
    assert_eq!((twice.0, twice.1.as_str()), (409, "AlreadyExists"));
    api.patch("m", &PatchParams::default(), &Patch::Merge(json!({"data": {"b": "2"}})))
        .await
        .unwrap();
    let stale = refused(api.replace("m", &PostParams::default(), &created).await);
    assert_eq!((stale.0, stale.1.as_str()), (409, "Conflict"));
    let uid = Patch::Merge(json!({"metadata": {"uid": "other"}, "data": {"c": "3"}}));
    assert_eq!(refused(api.patch("m", &PatchParams::default(), &uid).await).0, 422);
    let other = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some("other".to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    assert_eq!(refused(api.delete("m", &other).await).0, 409);
    assert_eq!(refused(api.delete("n", &other).await).0, 404);
}

#[tokio::test(start_paused = true)]
async fn a_deployment_is_defaulted_and_its_generation_counts_changes_of_the_spec_and_of_annotations() {
    let api: Api<Deployment> = Api::namespaced(client(), "default");
    let created = api.create(&PostParams::default(), &deployment()).await.unwrap();
    let spec = created.spec.clone().unwrap();
    assert_eq!((spec.replicas, spec.progress_deadline_seconds), (Some(1), Some(600)));
    assert_eq!(created.metadata.generation, Some(1));
    let label = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    let labelled = api.patch("app", &PatchParams::default(), &label).await.unwrap();
    assert_eq!(labelled.metadata.generation, Some(1));
    let revision = Patch::Merge(json!({"metadata": {"annotations": {"deployment.kubernetes.io/revision": "1"}}}));
    let numbered = api.patch("app", &PatchParams::default(), &revision).await.unwrap();
    assert_eq!(numbered.metadata.generation, Some(1));
    let note = Patch::Merge(json!({"metadata": {"annotations": {"a": "b"}}}));
    let annotated = api.patch("app", &PatchParams::default(), &note).await.unwrap();
    assert_eq!(annotated.metadata.generation, Some(2));
    let status = Patch::Merge(json!({"status": {"replicas": 3}, "spec": {"replicas": 3}}));
    let reported = api.patch_status("app", &PatchParams::default(), &status).await.unwrap();
    assert_eq!(reported.spec.unwrap().replicas, Some(1), "only the status changes");
    assert_eq!(reported.status.unwrap().replicas, Some(3));
    let scaled = api.patch("app", &PatchParams::default(), &status).await.unwrap();
    assert_eq!(
        (scaled.metadata.generation, scaled.spec.unwrap().replicas),
        (Some(3), Some(3))
    );
    let scale = api.get_scale("app").await.unwrap();
    assert_eq!(
        (scale.spec.unwrap().replicas, scale.status.unwrap().selector.as_deref()),
        (Some(3), Some("app=app"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_bad_deployment_is_refused_with_the_field() {
    let api: Api<Deployment> = Api::namespaced(client(), "default");
    let mut bad = deployment();
    bad.spec.as_mut().unwrap().selector = from(json!({"matchLabels": {"app": "other"}}));
    let (code, reason, message) = refused(api.create(&PostParams::default(), &bad).await);
    assert_eq!((code, reason.as_str()), (422, "Invalid"));
    assert!(
        message.contains("`selector` does not match template `labels`"),
        "{message}"
    );
    let absent: Api<Deployment> = Api::namespaced(client(), "nowhere");
    let (code, _, message) = refused(absent.create(&PostParams::default(), &deployment()).await);
    assert_eq!((code, message.as_str()), (404, "namespaces \"nowhere\" not found"));
}

#[tokio::test(start_paused = true)]
async fn a_list_comes_in_pages_of_one_version() {
    let api: Api<ConfigMap> = Api::namespaced(client(), "default");
    for name in ["a", "b", "c"] {
        api.create(&PostParams::default(), &map(name, json!({"x": name})))
            .await
            .unwrap();
    }
    let first = api.list(&ListParams::default().limit(2)).await.unwrap();
    api.delete("c", &DeleteParams::default()).await.unwrap();
    let token = first.metadata.continue_.clone().unwrap();
    let rest = api
        .list(&ListParams::default().limit(2).continue_token(&token))
        .await
        .unwrap();
    assert_eq!(
        (first.items.len(), rest.items.len()),
        (2, 1),
        "all pages have the resourceVersion of the first"
    );
    assert_eq!(rest.metadata.resource_version, first.metadata.resource_version);
    assert_eq!(
        refused(api.list(&ListParams::default().continue_token(&token)).await).0,
        410
    );
    let some = api.list(&ListParams::default().labels("x in (a, c)")).await.unwrap();
    assert_eq!(some.items.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_leaves_the_selection_of_a_watch_is_deleted_to_it() {
    let api: Api<ConfigMap> = Api::namespaced(client(), "default");
    let params = WatchParams::default().labels("on=yes");
    let mut events = pin!(api.watch(&params, "0").await.unwrap());
    api.create(&PostParams::default(), &map("m", json!({"on": "no"})))
        .await
        .unwrap();
    for on in ["yes", "yes", "no"] {
        let patch = Patch::Merge(json!({"metadata": {"labels": {"on": on}}, "data": {"n": on}}));
        api.patch("m", &PatchParams::default(), &patch).await.unwrap();
        api.patch(
            "m",
            &PatchParams::default(),
            &Patch::Merge(json!({"data": {"more": on}})),
        )
        .await
        .unwrap();
    }
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(match events.next().await.unwrap().unwrap() {
            WatchEvent::Added(map) => ("added", map.data.unwrap()["n"].clone()),
            WatchEvent::Modified(_) => ("modified", String::new()),
            WatchEvent::Deleted(map) => ("deleted", map.data.unwrap()["n"].clone()),
            other => panic!("{other:?}"),
        });
    }
    let yes = || "yes".to_owned();
    assert_eq!(
        seen,
        [("added", yes()), ("modified", String::new()), ("deleted", yes())]
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_a_forgotten_version_is_gone() {
    let server = server();
    let api: Api<ConfigMap> = Api::namespaced(server.client("tester"), "default");
    let first = api.create(&PostParams::default(), &map("a", json!({}))).await.unwrap();
    let first = first.metadata.resource_version.unwrap();
    api.create(&PostParams::default(), &map("b", json!({}))).await.unwrap();
    server.cluster().compact();
    let mut events = pin!(api.watch(&WatchParams::default(), &first).await.unwrap());
    match events.next().await.unwrap().unwrap() {
        WatchEvent::Error(status) => assert_eq!(status.code, 410),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_sends_bookmarks_and_ends_when_its_time_is_over() {
    let api: Api<ConfigMap> = Api::namespaced(client(), "default");
    let params = WatchParams::default().timeout(150);
    let events: Vec<_> = api.watch(&params, "0").await.unwrap().collect().await;
    let is_bookmark = |event: &kube::Result<WatchEvent<ConfigMap>>| matches!(event, Ok(WatchEvent::Bookmark(_)));
    assert!(events.len() == 2 && events.iter().all(is_bookmark), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_goes_when_its_grace_period_is_over_or_waived_and_an_object_when_it_has_no_finalizer() {
    let pods: Api<Pod> = Api::namespaced(client(), "default");
    let pod: Pod = from(json!({
        "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]},
    }));
    pods.create(&PostParams::default(), &pod).await.unwrap();
    pods.delete("p", &DeleteParams::default()).await.unwrap();
    assert!(pods.get("p").await.unwrap().metadata.deletion_timestamp.is_some());
    pods.delete("p", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    assert_eq!(pods.get_opt("p").await.unwrap(), None);
    let maps: Api<ConfigMap> = Api::namespaced(client(), "default");
    let mut held = map("m", json!({}));
    held.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
    maps.create(&PostParams::default(), &held).await.unwrap();
    maps.delete("m", &DeleteParams::default()).await.unwrap();
    assert!(maps.get("m").await.unwrap().metadata.deletion_timestamp.is_some());
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("m", &PatchParams::default(), &release).await.unwrap();
    assert_eq!(maps.get_opt("m").await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_one_object_in_two_versions() {
    let client = client();
    let new: Api<k8s_openapi::api::events::v1::Event> = Api::namespaced(client.clone(), "default");
    let event = from(json!({
        "metadata": {"name": "e"}, "eventTime": "2026-01-01T00:00:00.000000Z", "reason": "R", "action": "A",
        "note": "said", "type": "Normal", "reportingController": "c", "reportingInstance": "i",
        "regarding": {"kind": "Deployment", "name": "app", "namespace": "default"},
    }));
    let created = new.create(&PostParams::default(), &event).await.unwrap();
    assert_eq!(created.note.as_deref(), Some("said"));
    let core: Api<k8s_openapi::api::core::v1::Event> = Api::namespaced(client, "default");
    let listed = core
        .list(&ListParams::default().fields("involvedObject.name=app"))
        .await
        .unwrap();
    assert_eq!(listed.items[0].message.as_deref(), Some("said"));
    assert_eq!(new.list(&ListParams::default()).await.unwrap().items, [created]);
}

#[tokio::test(start_paused = true)]
async fn one_seed_gives_one_history() {
    let uid = async |seed| {
        let cluster = Cluster::new(Options {
            seed,
            ..Options::default()
        });
        let api: Api<ConfigMap> = Api::namespaced(Server::new(cluster).client("tester"), "default");
        let mut named = map("", json!({}));
        named.metadata.name = None;
        named.metadata.generate_name = Some("m-".to_owned());
        let created = api.create(&PostParams::default(), &named).await.unwrap();
        (created.metadata.name, created.metadata.uid)
    };
    assert_eq!(uid(1).await, uid(1).await);
    assert_ne!(uid(1).await, uid(2).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_watch_event_is_in_the_audit_log() {
    let server = server();
    let api: Api<ConfigMap> = Api::namespaced(server.client("reader"), "default");
    let mut events = pin!(api.watch(&WatchParams::default(), "0").await.unwrap());
    let writer: Api<ConfigMap> = Api::namespaced(server.client("writer"), "default");
    let create_all = tokio::spawn(async move {
        for number in 0..500 {
            let map = map(&format!("m{number}"), json!({}));
            writer.create(&PostParams::default(), &map).await.unwrap();
        }
    });
    let mut logged = Vec::new();
    for number in 0..500 {
        let event = events.next().await.unwrap().unwrap();
        assert!(matches!(event, WatchEvent::Added(_)), "{event:?}");
        logged.extend(
            server
                .take_entries()
                .into_iter()
                .filter(|entry| &*entry.user == "writer"),
        );
        assert!(logged.len() > number, "the log has no entry {number}");
    }
    create_all.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn lists_by_label_follow_the_labels() {
    let client = client();
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let elsewhere: Api<ConfigMap> = Api::namespaced(client, "kube-system");
    let listed = async |labels: &str| {
        let list = api.list(&ListParams::default().labels(labels)).await.unwrap();
        let names = list.items.into_iter().map(|map| map.metadata.name.unwrap());
        names.collect::<Vec<_>>()
    };
    for name in ["c", "a", "b"] {
        let labels = json!({"app": "one", "name": name});
        api.create(&PostParams::default(), &map(name, labels)).await.unwrap();
    }
    let other = map("d", json!({"app": "one"}));
    elsewhere.create(&PostParams::default(), &other).await.unwrap();
    assert_eq!(listed("app=one").await, ["a", "b", "c"]);
    assert_eq!(listed("app=one,name=b").await, ["b"]);
    assert_eq!(listed("app=one,name in (a,b)").await, ["a", "b"]);
    assert_eq!(listed("app=two").await, [""; 0]);
    let moved = Patch::Merge(json!({"metadata": {"labels": {"app": "two"}}}));
    api.patch("a", &PatchParams::default(), &moved).await.unwrap();
    let bare = Patch::Merge(json!({"metadata": {"labels": {"app": null}}}));
    api.patch("b", &PatchParams::default(), &bare).await.unwrap();
    assert_eq!(listed("app=one").await, ["c"]);
    assert_eq!(listed("app=two").await, ["a"]);
    api.delete("c", &DeleteParams::default()).await.unwrap();
    api.create(&PostParams::default(), &map("e", json!({"app": "one"})))
        .await
        .unwrap();
    assert_eq!(listed("app=one").await, ["e"]);
    assert_eq!(listed("app=one,name=c").await, [""; 0]);
}
