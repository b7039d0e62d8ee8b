//! The paths that are measured. Each runs as often as one likes.

use std::{
    hint::black_box,
    iter,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use kanary::{
    cache::{
        Cache,
        watch::{self, Heartbeat, Route, Sink, Watch},
    },
    cluster::clock::Clock,
    controller::{self, Options},
    metrics::Metrics,
    prometheus::{Allow, Budget, Local, Prometheus, Transport, When},
};
use kanary_core::{
    Key, ParsedKanary,
    api::{KanaryKind, Reason, Slot},
    decide,
    status::{Draft, RUNNING, SUCCEEDED},
    validation::{
        Answer,
        promql::{Endpoint, JOINED},
    },
};
use kube::Api;
use serde_json::{Value, json};
use tokio::time::advance;
use tokio_util::sync::CancellationToken;
use tower::{BoxError, service_fn};

use crate::{
    feed::Feed,
    sample::{Sample, Turn},
    ticks::{self, virtual_time},
};

/// One path.
pub(crate) type Run = Box<dyn FnMut()>;

/// All paths, with their names.
pub(crate) fn all() -> Vec<(&'static str, Run)> {
    let sample = Sample::take();
    vec![
        (
            "status of a verdict",
            status(sample.ending.kanary.clone(), sample.ending.now),
        ),
        ("decision in the validation", decision(sample.validating)),
        ("decision that gives the verdict", decision(sample.ending)),
        ("event of a Kanary", kanary_event(sample.kanary)),
        ("event of a Deployment", deployment_event(sample.target)),
        ("slots of 1,000 targets", slots()),
        ("queue: tick of 125 among 10,000", queue()),
        ("34 queries in three requests", queries()),
    ]
}

fn decision(turn: Turn) -> Run {
    Box::new(move || {
        black_box(decide(black_box(&turn.kanary), &turn.seen, turn.now));
    })
}

/// The next status, as it is sent.
fn status(kanary: ParsedKanary, now: Timestamp) -> Run {
    Box::new(move || {
        let mut draft = Draft::of(black_box(&kanary), now);
        draft.set(RUNNING, false, Reason::AllItemsGood, "the validation has ended");
        draft.set(
            SUCCEEDED,
            true,
            Reason::AllItemsGood,
            "every item was good at the deadline",
        );
        let status = draft.finish(&kanary, &kanary.spec).unwrap();
        black_box(serde_json::to_vec(&status).unwrap());
    })
}

/// From the bytes of a watch to the cache and the queue.
fn kanary_event(object: Value) -> Run {
    let cache = Arc::<Cache>::default();
    let sink = Sink::new(cache.clone(), Arc::default(), Arc::default());
    let key = Key {
        kind: KanaryKind::Deployment,
        namespace: object["metadata"]["namespace"].as_str().unwrap().to_owned(),
        name: object["metadata"]["name"].as_str().unwrap().to_owned(),
    };
    let mut feed = Feed::start("/kanarydeployments", object, |client| {
        let kind = KanaryKind::Deployment;
        let watch = Watch {
            route: Route::one(&sink),
            selector: None,
            sink,
            heartbeat: Heartbeat::default(),
        };
        tokio::spawn(watch::kanaries(kind, Api::all_with(client, &kind), watch));
    });
    Box::new(move || {
        let version = feed.send();
        let kanary = cache.kanary(&key).unwrap();
        assert_eq!(kanary.resource_version, version.to_string());
    })
}

/// From the bytes of a watch to the cache, of a Deployment that is no target. Nothing that decisions need has changed.
fn deployment_event(object: Value) -> Run {
    let options = Options {
        prometheus: silent(),
        ..Options::default()
    };
    let mut feed = Feed::start("/deployments", object, |client| {
        tokio::spawn(controller::run(client, options, CancellationToken::new()));
    });
    Box::new(move || {
        feed.send();
    })
}

/// A Prometheus that is never asked.
fn silent() -> Transport {
    Transport::Local(Local::new(service_fn(|_| async {
        Err::<http::Response<Vec<u8>>, _>(BoxError::from("connection refused"))
    })))
}

fn slots() -> Run {
    let targets: Vec<_> = (0..1000)
        .map(|number| (format!("namespace-{}", number % 100), format!("target-{number}")))
        .collect();
    Box::new(move || {
        for (namespace, target) in &targets {
            black_box(Slot::of(namespace, target));
        }
    })
}

/// As in `bench/queue.rs`, with a tenth of the Kanaries.
fn queue() -> Run {
    const KANARIES: u32 = 10_000;
    let runtime = virtual_time();
    let queue = ticks::filled(&runtime, KANARIES);
    Box::new(move || runtime.block_on(ticks::tick(&queue, KANARIES)))
}

/// The series of an answer, for three pods.
fn series(mark: Option<usize>) -> impl Iterator<Item = Value> {
    (0..3).map(move |pod| {
        let mut labels = json!({"pod": format!("app-kanary-app-5d4f8c7b9d-{pod:05}")});
        if let Some(mark) = mark {
            labels[JOINED] = json!(mark.to_string());
        }
        json!({"metric": labels, "value": [1_700_000_000.123, "0.25"]})
    })
}

fn answer(series: impl Iterator<Item = Value>) -> Vec<u8> {
    let result: Vec<_> = series.collect();
    let answer = json!({"status": "success", "data": {"resultType": "vector", "result": result}});
    answer.to_string().into_bytes()
}

/// Number of queries that are asked at once.
const QUERIES: usize = 34;

/// A Prometheus that answers all joined queries of a request, and counts requests.
fn prometheus(requests: Arc<AtomicUsize>) -> Transport {
    let witness = json!({"metric": {JOINED: "witness"}, "value": [1_700_000_000.123, "42"]});
    // By the number of marks in a request: one for each query, and that of the witness.
    let joined = |marks| {
        answer(
            (0..marks - 1)
                .flat_map(|mark| series(Some(mark)))
                .chain([witness.clone()]),
        )
    };
    let answers: Vec<_> = iter::once(answer(series(None)))
        .chain((1..=QUERIES).map(joined))
        .collect();
    Transport::Local(Local::new(service_fn(move |request: http::Request<Vec<u8>>| {
        requests.fetch_add(1, Ordering::Relaxed);
        let marks = String::from_utf8_lossy(request.body()).matches(JOINED).count();
        let body = answers[marks].clone();
        async { Ok::<_, BoxError>(http::Response::new(body)) }
    })))
}

/// Two queries are sent at once, and the others are joined because they have to wait.
fn queries() -> Run {
    let requests = Arc::<AtomicUsize>::default();
    let transport = prometheus(requests.clone());
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    let budget = Budget {
        concurrency: 1,
        per_second: 1000,
        ..Budget::default()
    };
    let runtime = virtual_time();
    let secrets = service_fn(|_: http::Request<kube::client::Body>| async {
        Err::<http::Response<kube::client::Body>, _>(BoxError::from("no Secrets"))
    });
    let prometheus = runtime.block_on(async {
        let client = kube::Client::new(secrets, "default");
        let clock = Clock::from_source(move || at);
        Prometheus::new(
            client,
            transport,
            clock,
            (budget, Allow::default()),
            &Metrics::default(),
        )
    });
    let endpoint = Endpoint {
        url: "http://prometheus.monitoring:9090".to_owned(),
        auth: None,
    };
    let when = When {
        at,
        before: at + SignedDuration::from_secs(20),
        due: at + SignedDuration::from_secs(20),
    };
    let texts: Vec<_> = (0..QUERIES)
        .map(|number| format!("sum by (pod) (rate(errors_total{{app=\"app-{number}\",pod=~\"a|b|c\"}}[1m]))"))
        .collect();
    Box::new(move || {
        let asked = texts
            .iter()
            .map(|text| prometheus.query(None, "shop", &endpoint, text, when));
        let replies = runtime.block_on(async {
            // The limits have forgotten the last time.
            advance(Duration::from_secs(1)).await;
            join_all(asked).await
        });
        let is_whole = |answer: &Answer| matches!(answer, Answer::Vector(series) if series.len() == 3);
        assert!(
            replies.iter().all(|reply| is_whole(&reply.answer)),
            "{:?}",
            replies.last()
        );
        assert_eq!(requests.swap(0, Ordering::Relaxed), 3);
    })
}
