//! The controller in a simulation: one thread, virtual time, an API server in this process.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response};
use kube::client::Body;
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

/// What a controller asks of an API server that is down for an hour.
fn history(seed: u64) -> Vec<(Duration, String)> {
    fastrand::seed(seed);
    let log = Log::default();
    simulation().block_on(async {
        let stop = CancellationToken::new();
        let running = Box::pin(run(dead(&log), Options::default(), stop));
        let ended = tokio::time::timeout(Duration::from_hours(1), running).await;
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
fn a_watch_that_fails_waits_before_it_starts_anew() {
    let mut last = BTreeMap::new();
    for (at, path) in history(1) {
        if let Some(former) = last.insert(path.clone(), at) {
            assert!(
                at >= former + Duration::from_millis(800),
                "{path} at {former:?} and {at:?}"
            );
        }
    }
    assert_eq!(last.len(), KanaryKind::ALL.len() + 4, "{last:?}");
}

#[test]
fn nothing_is_left_of_a_controller_that_is_dropped() {
    let log = Log::default();
    simulation().block_on(async {
        let before = Handle::current().metrics().num_alive_tasks();
        let running = Box::pin(run(dead(&log), Options::default(), CancellationToken::new()));
        let ended = tokio::time::timeout(Duration::from_millis(1), running).await;
        assert!(ended.is_err());
        let asked = log.lock().unwrap().len();
        assert!(asked > 0);
        // The tasks see that they are cancelled, and then the client that nobody holds any more.
        for _ in 0..10 {
            yield_now().await;
        }
        assert_eq!(Handle::current().metrics().num_alive_tasks(), before);
        sleep(Duration::from_hours(1)).await;
        assert_eq!(log.lock().unwrap().len(), asked);
    });
    assert_eq!(Arc::strong_count(&log), 1);
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
