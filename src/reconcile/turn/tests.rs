use std::{
    cell::RefCell,
    sync::atomic::{AtomicI64, Ordering},
};

use http::{Request, Response, header::DATE};
use jiff::{SignedDuration, fmt::rfc2822};
use kanary_core::{
    api::{KanaryKind, Layout},
    decision::ObjectKind,
};
use kube::client::Body;
use serde_json::{Value, json};
use tower::{BoxError, service_fn};

use super::*;
use crate::cluster::{client::learning, clock::Monotonic, error::Unanswered};

fn start() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn kanary() -> Value {
    json!({
        "metadata": {"name": "batman", "namespace": "shop", "uid": "u", "resourceVersion": "1"},
        "spec": {
            "deploymentName": "myapp",
            "template": {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}},
        },
    })
}

fn answer(path: &str) -> Value {
    match path {
        "/apis/apps/v1/namespaces/shop/deployments/myapp" => json!({
            "metadata": {"name": "myapp", "namespace": "shop", "uid": "t", "resourceVersion": "1"},
            "spec": {"selector": {"matchLabels": {"app": "myapp"}}, "template": {}},
        }),
        "/apis/kanary.k8s-operators.dev/v1alpha1/namespaces/shop/kanarydeployments/batman" => kanary(),
        other => panic!("{other}"),
    }
}

/// An API server whose every answer takes 10 s, and a clock that shows by how much the machine's is wrong until then.
fn slow(wrong_by: SignedDuration) -> (Client, Clock) {
    let now = Arc::new(AtomicI64::new(start().as_second()));
    let (cluster, local) = (now.clone(), now);
    let clock = Clock::from_source(move || Timestamp::from_second(local.load(Ordering::Relaxed)).unwrap() + wrong_by);
    let service = service_fn(move |request: Request<Body>| {
        let now = Timestamp::from_second(cluster.fetch_add(10, Ordering::Relaxed) + 10).unwrap();
        let date = rfc2822::to_string(&now.to_zoned(jiff::tz::TimeZone::UTC)).unwrap();
        let body = answer(request.uri().path()).to_string().into_bytes();
        let reply = Response::builder().header(DATE, date).body(Body::from(body)).unwrap();
        async move { Ok::<_, BoxError>(reply) }
    });
    (Client::new(learning(service, clock.clone()), "shop"), clock)
}

/// What a decision was told: how many seconds after the start it is.
fn decided(now: Timestamp) {
    DECIDED.with_borrow_mut(|times| times.push(now.duration_since(start()).as_secs()));
}

thread_local! {
    static DECIDED: RefCell<Vec<i64>> = const { RefCell::new(Vec::new()) };
}

/// What a turn about batman needs.
fn context((client, clock): (Client, Clock), decide: Decide, fence: Fence) -> (Context, Arc<ParsedKanary>, Right) {
    let (cache, fence) = (Arc::new(Cache::default()), Arc::new(fence));
    let object = serde_json::from_value(kanary()).unwrap();
    let key = cache.put_kanary(KanaryKind::Deployment, &object).unwrap().unwrap();
    let kanary = cache.kanary(&key).unwrap();
    let right = fence.begin(kanary.slot).unwrap();
    let context = Context {
        writer: Writer::new(client.clone(), cache.clone(), fence.clone(), "test".to_owned()),
        client,
        cache,
        memory: Arc::default(),
        clock,
        metrics: Arc::default(),
        events: Arc::new(Events::new(Arc::default())),
        checks: mpsc::unbounded_channel().0,
        decide,
        fence,
        places: None,
        routes: None,
        kinds: WorkloadKind::ALL.into(),
        keda: true,
        traces: Traces::default(),
    };
    (context, kanary, right)
}

/// The times that `decide` was given in one turn about batman, where nothing else exists.
async fn times(decide: Decide, wrong_by: SignedDuration, fence: Fence) -> Vec<i64> {
    let (context, kanary, right) = context(slow(wrong_by), decide, fence);
    DECIDED.take();
    // What becomes of the decision is not what is asked here.
    let _refused = context.turn(&kanary, right).await;
    DECIDED.take()
}

/// Needs the target to the letter.
fn needs_the_target(_: &ParsedKanary, seen: &Observation, now: Timestamp) -> Decision {
    decided(now);
    if seen.live_target.is_none() {
        return Decision::needing(Need::LiveTarget);
    }
    Decision::default()
}

/// Takes something away.
fn deletes(_: &ParsedKanary, _: &Observation, now: Timestamp) -> Decision {
    decided(now);
    let delete = Action::Delete {
        object: ObjectKind::Service,
        name: "gone".to_owned(),
        uid: "s".to_owned(),
        unchanged: false,
    };
    Decision {
        actions: vec![delete],
        ..Decision::default()
    }
}

#[tokio::test]
async fn a_slow_live_read_does_not_make_a_decision_late() {
    // The target is not in the cache, so it is read before the first decision, and to the letter before the second.
    let times = times(needs_the_target, SignedDuration::ZERO, Fence::standalone()).await;
    assert_eq!(times, [10, 20]);
}

#[tokio::test]
async fn a_clock_that_a_live_read_corrects_does_not_make_a_decision_early() {
    for wrong_by in [SignedDuration::from_hours(1), SignedDuration::from_hours(-1)] {
        let times = times(needs_the_target, wrong_by, Fence::standalone()).await;
        // A reply tells the time to the second, and not how long it was under way.
        assert_eq!(times.len(), 2);
        assert!(
            (0..=11).contains(&times[0]) && (10..=21).contains(&times[1]),
            "{times:?}"
        );
    }
}

#[tokio::test]
async fn what_was_decided_before_the_first_read_under_an_epoch_is_decided_again() {
    let fence = Fence::new(Layout::DEFAULT, Monotonic::default());
    for shard in 0..Layout::DEFAULT.shards() {
        fence.take(shard, 1);
        fence.open(shard);
    }
    fence.renew(Duration::MAX);
    let shared = times(deletes, SignedDuration::ZERO, fence).await;
    assert_eq!(shared, [10, 20]);
    let alone = times(deletes, SignedDuration::ZERO, Fence::standalone()).await;
    assert_eq!(alone, [10], "it reads no more than it has to");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_hangs_while_others_are_answered_is_repeated_as_rarely_as_one_that_fails() {
    let longest = |beside: bool| {
        let (context, kanary, _) = context(slow(SignedDuration::ZERO), deletes, Fence::standalone());
        let unanswered = || kube::Error::Service(Box::new(Unanswered(Duration::from_secs(10))));
        let pauses = (0..40).map(|_| {
            if beside {
                context.clock.hear();
            }
            let error = ApiError::new("create", "Deployment".into(), "shop", "x", unanswered());
            context.after(&kanary, &error) - Instant::now()
        });
        pauses.max().unwrap()
    };
    fastrand::seed(1);
    assert!(
        longest(false) <= CAP_OF_SILENCE + Duration::from_millis(10),
        "the API server is silent"
    );
    assert!(longest(true) > CAP / 2);
}
