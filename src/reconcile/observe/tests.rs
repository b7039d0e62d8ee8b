use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http::{Request, Response};
use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use kanary_core::api::{KanaryKind, KanaryStatus};
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use super::{history::Past, *};
use crate::cache::Revision;

fn version(revision: &str, image: &str) -> Past {
    let set: ReplicaSet = serde_json::from_value(json!({
        "metadata": {"name": image, "annotations": {"deployment.kubernetes.io/revision": revision}},
        "spec": {"selector": {}, "template": {
            "metadata": {"labels": {"app": "myapp", "pod-template-hash": image}},
            "spec": {"containers": [{"name": "c", "image": image}]},
        }},
    }))
    .unwrap();
    Past::of(&set)
}

#[test]
fn a_revision_of_a_stateful_set_has_the_template_that_hashes_are_computed_from() {
    let template = json!({
        "metadata": {"labels": {"app": "web"}, "creationTimestamp": null},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    let mut stored = template.clone();
    stored["$patch"] = json!("replace");
    let revision: ControllerRevision = serde_json::from_value(json!({
        "metadata": {"name": "web-1", "annotations": {"a": "b"}}, "revision": 4,
        "data": {"spec": {"template": stored}},
    }))
    .unwrap();
    assert_eq!(revision.number(), Some(4));
    let past = Past::of(&revision);
    assert_eq!(serde_json::to_value(past.template).unwrap(), typed_template(&template));
    assert_eq!(past.annotations, [("a".to_owned(), "b".to_owned())].into());
}

/// The status of a run that promoted one version to a target that had another when it started.
fn promoted(promoted: &Past, start: &Past) -> KanaryStatus {
    let hash = |past: &Past| hash::of(&serde_json::to_value(&past.template).unwrap());
    KanaryStatus {
        promoted_hash: Some(hash(promoted)),
        target_hash: Some(hash(start)),
        ..KanaryStatus::default()
    }
}

fn image(template: Option<Value>) -> Option<String> {
    Some(template?.pointer("/spec/containers/0/image")?.as_str()?.to_owned())
}

#[test]
fn the_former_template_is_the_one_that_was_overwritten_whatever_the_run_started_with() {
    let history = [version("3", "promoted"), version("2", "edited"), version("1", "start")];
    let former = former_template(&history, &promoted(&history[0], &history[2]));
    assert_eq!(image(former.clone()).as_deref(), Some("edited"));
    assert_eq!(former.unwrap().pointer("/metadata/labels/pod-template-hash"), None);
}

#[test]
fn a_promoted_template_that_the_deployment_controller_did_not_get_to_is_not_in_the_history() {
    let history = [version("2", "start"), version("1", "older")];
    let former = former_template(&history, &promoted(&version("3", "promoted"), &history[0]));
    assert_eq!(image(former).as_deref(), Some("start"));
}

#[test]
fn a_promoted_template_that_ran_before_is_not_put_back_for_the_one_from_then() {
    let history = [version("3", "promoted"), version("2", "start")];
    let former = former_template(&history, &promoted(&history[0], &history[1]));
    assert_eq!(image(former).as_deref(), Some("start"));
}

#[test]
fn a_promotion_that_changed_nothing_has_no_former_template() {
    let history = [version("2", "same"), version("1", "older")];
    assert_eq!(former_template(&history, &promoted(&history[0], &history[0])), None);
    assert_eq!(
        former_template(&history[..1], &promoted(&history[0], &history[1])),
        None
    );
    assert_eq!(
        former_template(&history, &KanaryStatus::default()),
        None,
        "nobody knows what was promoted"
    );
}

fn target(promoted_by: Option<&str>) -> Value {
    json!({
        "metadata": {"name": "myapp", "uid": "t", "annotations": promoted_by.map(|by| json!({PROMOTED_BY: by}))},
        "spec": {"selector": {"matchLabels": {"app": "myapp"}}, "template": {"called": promoted_by}},
    })
}

/// An API server where batman's promotion comes between the reading of the target and the reading of its history.
fn promoted_meanwhile(marker: &str) -> Client {
    let mut targets = vec![target(Some(marker)), target(None)];
    let history = json!({"metadata": {}, "items": [{
        "metadata": {
            "name": "v2", "annotations": {PROMOTED_BY: marker},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "myapp", "uid": "t"}],
        },
        "spec": {"selector": {}},
    }]});
    let answers = Mutex::new(move |path: &str| match path {
        "/apis/apps/v1/namespaces/shop/deployments/myapp" => targets.pop().unwrap(),
        "/apis/apps/v1/namespaces/shop/replicasets" => history.clone(),
        other => panic!("{other}"),
    });
    let service = service_fn(move |request: Request<Body>| {
        let answer = answers.lock().unwrap()(request.uri().path());
        async move { Ok::<_, Infallible>(Response::new(Body::from(answer.to_string().into_bytes()))) }
    });
    Client::new(service, "shop")
}

/// Batman, whose run has no status yet.
fn batman() -> ParsedKanary {
    let kanary = json!({
        "metadata": {"name": "batman", "namespace": "shop", "uid": "u", "resourceVersion": "1"},
        "spec": {
            "deploymentName": "myapp",
            "template": {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}},
        },
    });
    ParsedKanary::parse(KanaryKind::Deployment, &serde_json::from_value(kanary).unwrap()).unwrap()
}

/// An API server that has these Deployments and no other, and counts what is asked for.
fn only(deployments: Vec<Value>, asked: Arc<Mutex<Vec<String>>>) -> Client {
    let service = service_fn(move |request: Request<Body>| {
        let name = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let found = deployments.iter().find(|object| object["metadata"]["name"] == *name);
        asked.lock().unwrap().push(name);
        let missing = json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404});
        let (code, answer) = found.map_or((404, &missing), |found| (200, found));
        let answer = Body::from(answer.to_string().into_bytes());
        async move { Ok::<_, Infallible>(Response::builder().status(code).body(answer).unwrap()) }
    });
    Client::new(service, "shop")
}

#[tokio::test]
async fn a_target_is_missing_from_the_beginning_only_if_there_is_no_canary_either() {
    let kanary = batman();
    let made = json!({
        "metadata": {"name": kanary.spec.canary.name, "namespace": "shop", "uid": "c", "resourceVersion": "2"},
        "spec": {"selector": {}, "template": {}},
    });
    for (there, found) in [(vec![made], Some("c".to_owned())), (vec![], None)] {
        let asked = Arc::default();
        let (client, cache, memory) = (only(there, Arc::clone(&asked)), Cache::default(), Memory::default());
        let observer = Observer {
            client: &client,
            cache: &cache,
            memory: &memory,
            places: None,
            routes: None,
            kinds: &WorkloadKind::ALL.into(),
            keda: true,
        };
        let now = Timestamp::UNIX_EPOCH;
        for _ in 0..2 {
            let seen = observer.observe(&kanary, &kanary.spec, now).await.unwrap();
            assert_eq!(seen.canary.map(|canary| canary.uid), found);
        }
        let each = ["myapp", kanary.spec.canary.name.as_str()];
        assert_eq!(*asked.lock().unwrap(), each, "once each");
        // A call that creates it may be carried out although it fails.
        memory.unmark_missing(&kanary.key, &kanary.spec.canary.key());
        observer.observe(&kanary, &kanary.spec, now).await.unwrap();
        let again = usize::from(found.is_none());
        assert_eq!(asked.lock().unwrap().len(), each.len() + again);
    }
}

#[tokio::test]
async fn the_claims_of_an_earlier_canary_are_known_in_every_group() {
    let volume = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}});
    let pod = json!({"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    for kind in [KanaryKind::Statefulset, KanaryKind::OldDeployment] {
        let object = json!({
            "metadata": {"name": "batman", "namespace": "shop", "uid": "u", "resourceVersion": "1"},
            "spec": {
                "statefulSetName": "db",
                "template": {"spec": {"template": pod, "volumeClaimTemplates": [volume]}},
            },
        });
        let kanary = ParsedKanary::parse(kind, &serde_json::from_value(object).unwrap()).unwrap();
        let name = |number: u8| format!("data-{}-{number}", kanary.spec.canary.name);
        let labels = kanary_core::traffic::own_selector(&kanary);
        let list = json!({"metadata": {}, "items": [
            {"metadata": {"name": name(0), "labels": labels}},
            {"metadata": {"name": name(1)}},
            {"metadata": {"name": "other"}},
        ]});
        let service = service_fn(move |_: Request<Body>| {
            let answer = Response::new(Body::from(list.to_string().into_bytes()));
            async move { Ok::<_, Infallible>(answer) }
        });
        let (client, cache, memory) = (Client::new(service, "shop"), Cache::default(), Memory::default());
        let observer = Observer {
            client: &client,
            cache: &cache,
            memory: &memory,
            places: None,
            routes: None,
            kinds: &WorkloadKind::ALL.into(),
            keda: true,
        };
        let claims = observer.claims(&kanary, &kanary.spec).await.unwrap();
        assert_eq!(
            (claims.earlier, claims.others),
            (vec![name(0)], vec![name(1)]),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn what_a_watch_says_of_a_target_is_replaced_by_what_is_read_of_it() {
    let kanary = batman();
    let made = json!({
        "metadata": {"name": "myapp", "namespace": "shop", "uid": "t", "resourceVersion": "7"},
        "spec": {"selector": {}, "template": {}},
    });
    for (there, found) in [(vec![made], Some("t".to_owned())), (vec![], None)] {
        let (client, cache, memory) = (only(there, Arc::default()), Cache::default(), Memory::default());
        let observer = Observer {
            client: &client,
            cache: &cache,
            memory: &memory,
            places: None,
            routes: None,
            kinds: &WorkloadKind::ALL.into(),
            keda: true,
        };
        let mut seen = Observation {
            target: Some(kanary_core::observation::Workload::default()),
            ..Observation::default()
        };
        observer
            .provide(&kanary, &kanary.spec, Need::Target, &mut seen, Timestamp::UNIX_EPOCH)
            .await
            .unwrap();
        assert_eq!(seen.target.map(|target| target.uid), found);
        assert!(
            seen.target_confirmed && !seen.confirmed,
            "it says nothing of the canary"
        );
        assert!(
            cache.observe(&kanary, &kanary.spec).target.is_none(),
            "others arrive through the watch"
        );
    }
}

#[tokio::test]
async fn a_promotion_between_the_reading_of_the_target_and_of_its_history_is_not_taken_for_one_that_was_undone() {
    let kanary = batman();
    let spec = &kanary.spec;
    let (client, cache, memory) = (
        promoted_meanwhile(&kanary.marker(spec)),
        Cache::default(),
        Memory::default(),
    );
    let observer = Observer {
        client: &client,
        cache: &cache,
        memory: &memory,
        places: None,
        routes: None,
        kinds: &WorkloadKind::ALL.into(),
        keda: true,
    };
    let mut seen = Observation {
        promotion: Promotion::Unknown,
        ..Observation::default()
    };
    observer
        .provide(&kanary, spec, Need::LiveTarget, &mut seen, Timestamp::UNIX_EPOCH)
        .await
        .unwrap();
    let live = seen.live_target.unwrap();
    assert!(live.was_promoted);
    assert_eq!(live.promoted_by, Some(kanary.marker(spec)));
}
