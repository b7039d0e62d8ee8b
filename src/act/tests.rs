use std::convert::Infallible;

use http::Response;
use kube::client::Body;
use tower::service_fn;

use super::*;
use crate::api::KanaryKind;

/// A writer whose API server always answers `code`.
fn writer(code: u16) -> (Writer, Arc<Cache>) {
    let answer = service_fn(move |_: http::Request<Body>| async move {
        let status = json!({"kind": "Status", "status": "Failure", "code": code, "reason": "x", "message": "no"});
        let body = Body::from(status.to_string().into_bytes());
        Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
    });
    let cache = Arc::new(Cache::default());
    let client = Client::new(answer, "default");
    (
        Writer::new(client, cache.clone(), Arc::new(Fence::standalone()), "test".to_owned()),
        cache,
    )
}

fn right(canary: &Canary) -> Right {
    Fence::standalone().begin(canary.slot).unwrap()
}

fn batman() -> Kanary {
    serde_json::from_value(json!({
        "metadata": {"name": "batman", "namespace": "shop", "uid": "u", "resourceVersion": "1"},
        "spec": {
            "deploymentName": "myapp",
            "template": {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}},
        },
    }))
    .unwrap()
}

#[tokio::test]
async fn a_delete_that_failed_is_to_be_done_again() {
    let (writer, cache) = writer(500);
    let batman = Canary::parse(KanaryKind::Deployment, &batman()).unwrap();
    let existing = json!({
        "metadata": {"name": "myapp-kanary-batman", "namespace": "shop", "uid": "d", "resourceVersion": "2"},
    });
    Deployment::put(&cache, &serde_json::from_value(existing).unwrap());
    let delete = Action::Delete {
        object: ObjectKind::Deployment,
        name: "myapp-kanary-batman".to_owned(),
        uid: "d".to_owned(),
    };
    let error = writer.act(&batman, &delete, right(&batman)).await.unwrap_err();
    assert_eq!(error.class(), Class::Transient);
    let seen = cache.observe(&batman, &batman.spec);
    assert!(!seen.canary.unwrap().deleting);
}

#[tokio::test]
async fn a_status_that_the_api_server_refuses_is_tried_again_and_not_told_by_another_status() {
    let (writer, _) = writer(422);
    let batman = Canary::parse(KanaryKind::Deployment, &batman()).unwrap();
    let error = writer
        .write_status(&batman, &batman.status, right(&batman))
        .await
        .unwrap_err();
    assert_eq!(error.class(), Class::Transient);
}
