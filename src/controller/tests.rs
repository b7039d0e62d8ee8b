//! The controller in a simulation: one thread, virtual time, an API server in this process.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response};
use kanary_core::api::KanaryKind;
use kube::client::Body;
use serde_json::json;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::yield_now,
    time::{Instant, sleep},
};
use tower::{BoxError, service_fn};

use super::*;

/// Requests and when they came.
type Log = Arc<Mutex<Vec<(Duration, String)>>>;

fn simulation() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

/// An API server that is down, and notes who asked for what.
fn dead(log: &Log) -> Client {
    let (log, start) = (log.clone(), Instant::now());
    let service = service_fn(move |request: Request<Body>| {
        log.lock().unwrap().push((start.elapsed(), request.uri().to_string()));
        async {
            sleep(Duration::from_millis(3)).await;
            Err::<Response<Body>, BoxError>("down".into())
        }
    });
    Client::new(service, "default")
}

/// What a controller asks of an API server that is down for ten minutes.
fn history(seed: u64) -> Vec<(Duration, String)> {
    fastrand::seed(seed);
    let log = Log::default();
    simulation().block_on(async {
        let stop = CancellationToken::new();
        let running = Box::pin(run(dead(&log), Options::default(), stop));
        let ended = tokio::time::timeout(Duration::from_mins(10), running).await;
        assert!(ended.is_err(), "an API server that is down ends nothing");
    });
    let log = log.lock().unwrap();
    log.clone()
}

#[test]
fn one_seed_gives_one_history() {
    let histories: Vec<_> = [7, 7, 8].map(history).into();
    assert_eq!(histories[0], histories[1]);
    assert_ne!(histories[0], histories[2]);
}

#[test]
fn a_watch_that_fails_starts_anew_ever_later() {
    let mut calls = BTreeMap::<_, Vec<_>>::new();
    for (at, path) in history(1) {
        calls.entry(path).or_default().push(at);
    }
    assert_eq!(calls.len(), KanaryKind::ALWAYS.len() + 4, "{calls:?}");
    for (path, times) in calls {
        // One in 5 s on average, 120 in ten minutes, once the pauses have grown; and the first few.
        assert!((90..=165).contains(&times.len()), "{path}: {times:?}");
    }
}

/// An API server that lists one Kanary and nothing else, and answers no other request.
fn silent(log: &Log) -> Client {
    let (log, start) = (log.clone(), Instant::now());
    let service = service_fn(move |request: Request<Body>| {
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        log.lock().unwrap().push((start.elapsed(), path.to_owned()));
        let is_list = path.split('/').count() <= 5 && !query.contains("watch=");
        let items = if path.ends_with("/kanarydeployments") {
            json!([{
                "metadata": {"name": "batman", "namespace": "shop", "uid": "u", "resourceVersion": "1"},
                "spec": {
                    "deploymentName": "myapp",
                    "template": {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}},
                },
            }])
        } else {
            json!([])
        };
        let list = json!({"metadata": {"resourceVersion": "1"}, "items": items});
        async move {
            if !is_list {
                std::future::pending::<()>().await;
            }
            Ok::<_, BoxError>(Response::new(Body::from(list.to_string().into_bytes())))
        }
    });
    Client::new(service, "default")
}

/// Drops a controller in the midst of its work; what was asked until then.
fn dropped(client: fn(&Log) -> Client) -> Vec<String> {
    let log = Log::default();
    simulation().block_on(async {
        let before = Handle::current().metrics().num_alive_tasks();
        let running = Box::pin(run(client(&log), Options::default(), CancellationToken::new()));
        let ended = tokio::time::timeout(Duration::from_millis(1), running).await;
        assert!(ended.is_err());
        let asked = log.lock().unwrap().len();
        // The tasks see that they are cancelled, and then the client that nobody holds any more.
        for _ in 0..10 {
            yield_now().await;
        }
        assert_eq!(Handle::current().metrics().num_alive_tasks(), before);
        sleep(Duration::from_hours(1)).await;
        assert_eq!(log.lock().unwrap().len(), asked);
    });
    assert_eq!(Arc::strong_count(&log), 1);
    let log = log.lock().unwrap();
    log.iter().map(|(_, path)| path.clone()).collect()
}

#[test]
fn nothing_is_left_of_a_controller_that_is_dropped() {
    assert!(!dropped(dead).is_empty());
    let asked = dropped(silent);
    let target = "/apis/apps/v1/namespaces/shop/deployments/myapp";
    assert_eq!(asked.iter().filter(|path| *path == target).count(), 1, "{asked:?}");
}

#[test]
fn a_controller_that_has_not_begun_stops_at_once() {
    simulation().block_on(async {
        let (stop, start) = (CancellationToken::new(), Instant::now());
        let running = tokio::spawn(run(dead(&Log::default()), Options::default(), stop.clone()));
        sleep(Duration::from_mins(1)).await;
        stop.cancel();
        running.await.unwrap().unwrap();
        assert_eq!(start.elapsed(), Duration::from_mins(1));
    });
}

#[test]
fn a_call_that_hangs_delays_the_end_by_two_seconds() {
    simulation().block_on(async {
        let (log, stop) = (Log::default(), CancellationToken::new());
        let running = tokio::spawn(run(silent(&log), Options::default(), stop.clone()));
        sleep(Duration::from_secs(1)).await;
        let target = "/apis/apps/v1/namespaces/shop/deployments/myapp";
        assert!(log.lock().unwrap().iter().any(|(_, path)| path == target), "it hangs");
        let start = Instant::now();
        stop.cancel();
        running.await.unwrap().unwrap();
        assert_eq!(start.elapsed(), LAST_WORK);
    });
}
