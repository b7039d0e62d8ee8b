use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use http::{Request, Response};
use kube::client::Body;
use serde_json::json;
use tokio::time::sleep;
use tower::service_fn;

use super::*;

fn unlabelled(version: &str) -> Kanary {
    serde_json::from_value(json!({
        "metadata": {"name": "batman", "namespace": "shop", "uid": "u", "resourceVersion": version},
        "spec": {
            "deploymentName": "myapp",
            "template": {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}},
        },
    }))
    .unwrap()
}

/// How often a label is written within a minute, if the API server answers with `code`, and once more after another
/// version was seen.
async fn writes(code: u16) -> (usize, usize) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let service = service_fn(move |_: Request<Body>| {
        count.fetch_add(1, Ordering::Relaxed);
        let status = json!({"kind": "Status", "status": "Failure", "message": "no", "reason": "", "code": code});
        async move {
            let reply = Response::builder().status(code);
            reply.body(Body::from(status.to_string().into_bytes()))
        }
    });
    let client = Client::new(service, "shop");
    let labels = Arc::new(Labels::new(client, Arc::new(Fence::standalone()), Arc::default()));
    let task = tokio::spawn(labels.clone().run());
    assert!(!labels.check(KanaryKind::Deployment, &unlabelled("1")));
    sleep(Duration::from_mins(1)).await;
    let first = asked.load(Ordering::Relaxed);
    assert!(!labels.check(KanaryKind::Deployment, &unlabelled("2")));
    sleep(Duration::from_mins(1)).await;
    task.abort();
    (first, asked.load(Ordering::Relaxed))
}

#[tokio::test(start_paused = true)]
async fn one_that_changed_or_went_is_left_until_its_watch_tells() {
    for code in [404, 409] {
        assert_eq!(writes(code).await, (1, 2), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_written_is_tried_again() {
    let (first, all) = writes(500).await;
    assert!((10..60).contains(&first), "{first}");
    assert!(all > first, "{all}");
}
