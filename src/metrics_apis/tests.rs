//! Answers and failures of the metrics APIs, in virtual time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use http::{Request, Response};
use jiff::{SignedDuration, Timestamp};
use kanary_core::{
    api::{KanaryKind, MetricItem},
    validation::metric::{Metric, MetricAnswer, PodSelector},
};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tower::{BoxError, service_fn};

use super::{Asker, Measurement, MetricsApis};
use crate::{
    cluster::clock::Clock,
    metrics::Metrics,
    prometheus::{Budget, When},
};

/// What an API server answers, by the group of the request; without an entry it never answers.
#[derive(Clone, Default)]
struct Server {
    answers: Arc<Mutex<BTreeMap<&'static str, (u16, String)>>>,
    /// The paths that were asked for.
    asked: Arc<Mutex<Vec<String>>>,
}

const CORE: &str = "";

impl Server {
    fn says(self, group: &'static str, code: u16, body: &str) -> Self {
        self.answers.lock().unwrap().insert(group, (code, body.to_owned()));
        self
    }

    fn client(&self) -> MetricsApis {
        let server = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let path = request.uri().to_string();
            let mut segments = path.split('/').skip(1);
            let group = if segments.next() == Some("apis") {
                segments.next().unwrap_or_default()
            } else {
                CORE
            };
            let answer = server.answers.lock().unwrap().get(group).cloned();
            server.asked.lock().unwrap().push(path);
            async move {
                let Some((code, body)) = answer else {
                    sleep(Duration::from_hours(1)).await;
                    return Err(BoxError::from("it hangs"));
                };
                sleep(Duration::from_millis(1)).await;
                Ok(Response::builder()
                    .status(code)
                    .body(Body::from(body.into_bytes()))
                    .unwrap())
            }
        });
        let clock = Clock::from_source(|| at(0));
        let client = kube::Client::new(service, "default");
        MetricsApis::new(client, clock, &Budget::default(), &Metrics::default())
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn when(seconds: i64) -> When {
    When {
        at: at(seconds),
        before: at(seconds) + SignedDuration::from_secs(20),
        due: at(seconds) + SignedDuration::from_secs(20),
    }
}

fn metric(item: Value) -> Metric {
    let item: MetricItem = serde_json::from_value(item).unwrap();
    Metric::parse(&item, Duration::from_secs(20)).unwrap()
}

fn cpu() -> Metric {
    metric(json!({"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "AverageValue", "averageValue": 1},
    }}))
}

fn utilization() -> Metric {
    metric(json!({"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80},
    }}))
}

fn queue() -> Metric {
    metric(json!({"type": "External", "external": {
        "metric": {"name": "queue"}, "target": {"type": "Value", "value": 1},
    }}))
}

fn of_service() -> Metric {
    metric(json!({"type": "Object", "object": {
        "describedObject": {"kind": "Service", "name": "web"}, "metric": {"name": "rps"},
        "target": {"type": "Value", "value": 1},
    }}))
}

async fn ask(apis: &MetricsApis, namespace: &str, metric: &Metric, seconds: i64) -> Measurement {
    let asker = Asker {
        namespace,
        pods: &PodSelector::of_run(KanaryKind::Deployment, "batman", "1"),
        parent: None,
    };
    apis.ask(asker, metric, when(seconds)).await
}

/// Why there is no answer.
async fn failure(server: &Server, metric: &Metric) -> String {
    match ask(&server.client(), "shop", metric, 0).await.answer {
        MetricAnswer::Unanswered(why) => why,
        MetricAnswer::Unknown(why) => format!("unknown: {why}"),
        MetricAnswer::Rejected(why) => format!("rejected: {why}"),
        MetricAnswer::Values(values) => format!("{values:?}"),
    }
}

const RESOURCE: &str = "metrics.k8s.io";
const CUSTOM: &str = "custom.metrics.k8s.io";
const EXTERNAL: &str = "external.metrics.k8s.io";
const NO_ITEMS: &str = r#"{"items": []}"#;

#[tokio::test(start_paused = true)]
async fn failures_name_the_api() {
    let server = Server::default;
    let status = |code: u16, message: &str| json!({"kind": "Status", "code": code, "message": message}).to_string();
    for (server, says) in [
        (
            server().says(RESOURCE, 404, "404 page not found\n"),
            "the API server does not serve metrics.k8s.io/v1beta1: install metrics-server",
        ),
        (
            server().says(RESOURCE, 403, &status(403, "pods.metrics.k8s.io is forbidden")),
            "Kanary may not ask metrics.k8s.io: pods.metrics.k8s.io is forbidden",
        ),
        (
            server().says(RESOURCE, 503, "service unavailable\n"),
            "metrics.k8s.io is not available, the API server answers 503 Service Unavailable: service unavailable",
        ),
        (
            server().says(RESOURCE, 404, &status(404, "no metric")),
            "unknown: metrics.k8s.io answers: no metric",
        ),
        (
            server().says(RESOURCE, 200, "<html>"),
            "metrics.k8s.io: expected value at line 1 column 1",
        ),
        (
            server().says(RESOURCE, 200, &" ".repeat((8 << 20) + 1)),
            "metrics.k8s.io: the answer is larger than 8388608 bytes",
        ),
        (server(), "no answer from metrics.k8s.io within 10s"),
    ] {
        assert_eq!(failure(&server, &cpu()).await, says);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_the_same_is_asked_once() {
    let server = Server::default().says(RESOURCE, 200, NO_ITEMS);
    let apis = server.client();
    let one = cpu();
    join_all((0..5).map(|_| ask(&apis, "shop", &one, 0))).await;
    assert_eq!(server.asked(), 1);
    ask(&apis, "shop", &one, 1).await;
    assert_eq!(server.asked(), 2, "another time");
}

#[tokio::test(start_paused = true)]
async fn a_kind_is_looked_up_once_in_ten_minutes() {
    let kinds = json!({"resources": [{"name": "services", "kind": "Service", "namespaced": true}]}).to_string();
    let server = Server::default().says(CORE, 200, &kinds).says(CUSTOM, 200, NO_ITEMS);
    let apis = server.client();
    let object = of_service();
    for second in 0..3 {
        ask(&apis, "shop", &object, second).await;
    }
    assert_eq!(server.asked(), 4);
    sleep(Duration::from_mins(11)).await;
    ask(&apis, "shop", &object, 700).await;
    assert_eq!(server.asked(), 6);
    let missing = Server::default().says(CORE, 200, r#"{"resources": []}"#);
    let why = failure(&missing, &object).await;
    assert!(
        why.starts_with("rejected: the API server knows no kind Service in v1"),
        "{why}"
    );
}

#[tokio::test(start_paused = true)]
async fn utilization_needs_the_pods() {
    let usage = json!({"items": [{
        "metadata": {"name": "a"}, "timestamp": at(0), "window": "10s",
        "containers": [{"name": "main", "usage": {"cpu": "100m"}}],
    }]});
    let container = json!({"name": "main", "resources": {"requests": {"cpu": "200m"}}});
    let pods = json!({"items": [{"metadata": {"name": "a"}, "spec": {"containers": [container]}}]});
    let server = Server::default()
        .says(RESOURCE, 200, &usage.to_string())
        .says(CORE, 200, &pods.to_string());
    let MetricAnswer::Values(values) = ask(&server.client(), "shop", &utilization(), 0).await.answer else {
        panic!("there are values")
    };
    let value = values[0].as_ref().unwrap();
    assert_eq!((value.object.as_str(), value.value), ("a", 50.0));
    assert!(server.asked.lock().unwrap()[0].starts_with("/api/v1/namespaces/shop/pods?labelSelector="));
}

#[tokio::test(start_paused = true)]
async fn an_api_that_hangs_delays_no_other() {
    let server = Server::default().says(RESOURCE, 200, NO_ITEMS);
    let apis = server.client();
    let hanging = {
        let apis = apis.clone();
        tokio::spawn(async move {
            let queue = queue();
            let names: Vec<_> = (0..100).map(|number| format!("n{number}")).collect();
            join_all(names.iter().map(|name| ask(&apis, name, &queue, 0))).await
        })
    };
    sleep(Duration::from_secs(1)).await;
    let since = Instant::now();
    ask(&apis, "shop", &cpu(), 0).await;
    assert!(since.elapsed() < Duration::from_millis(10), "{:?}", since.elapsed());
    let waiting = server
        .asked
        .lock()
        .unwrap()
        .iter()
        .filter(|path| path.contains(EXTERNAL))
        .count();
    assert_eq!(waiting, 10, "requests at a time");
    hanging.abort();
}

#[tokio::test(start_paused = true)]
async fn an_api_that_is_missing_is_left_alone_for_a_while() {
    let server = Server::default().says(EXTERNAL, 404, "404 page not found\n");
    let apis = server.client();
    let queue = queue();
    for second in 0..10 {
        ask(&apis, "shop", &queue, second).await;
    }
    assert_eq!(server.asked(), 10);
    let MetricAnswer::Unanswered(why) = ask(&apis, "other", &queue, 11).await.answer else {
        panic!("nothing is asked")
    };
    assert_eq!(server.asked(), 10);
    let named = "the API server does not serve external.metrics.k8s.io/v1beta1";
    assert!(
        why.starts_with("no query is sent to external.metrics.k8s.io until") && why.contains(named),
        "{why}"
    );
}
