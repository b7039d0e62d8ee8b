//! Metrics of every pod, and Prometheus servers that answer correctly, wrongly, late or not at all.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use kanary_sim::prometheus::{Labels, Mood, Prometheus};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    history::text,
    world::{MOODY, NAMESPACE, World},
};

/// Image suffix of pods that fail most requests.
pub(super) const BAD: &str = "-bad";
/// Image suffix of pods that fail most requests after twelve seconds.
pub(super) const WORSE: &str = "-worse";

/// Age at which such a pod becomes bad.
const TURNS: SignedDuration = SignedDuration::from_secs(12);

/// An instant query with a matching criterion.
struct Measured {
    query: &'static str,
    all_pods: bool,
    criterion: &'static str,
}

const fn of_pods(query: &'static str, criterion: &'static str) -> Measured {
    Measured {
        query,
        all_pods: false,
        criterion,
    }
}

const fn of_all(query: &'static str, criterion: &'static str) -> Measured {
    Measured {
        query,
        all_pods: true,
        criterion,
    }
}

const RANGE: &str = r#"{"valueInRange": {"max": 0.5}}"#;
const CODES: &str = r#"{"discreteValueOutOfList": {"key": "code", "badValues": ["500"], "tolerance": 20}}"#;
const DEVIATION: &str = r#"{"continuousValueDeviation": {"maxDeviationPercent": 40, "of": "value"}}"#;
const NONE: &str = r#"{"noResult": {}}"#;
const BOOLEAN: &str = r#"{"boolean": {}}"#;

/// The users' queries.
const QUERIES: [Measured; 14] = [
    of_pods("errors", RANGE),
    of_pods("errors{pod=~\"{{ pods }}\"}", RANGE),
    of_pods("errors{namespace=\"{{ namespace }}\"} > 0", RANGE),
    of_pods("healthy", BOOLEAN),
    of_pods("codes", CODES),
    of_pods("latency", DEVIATION),
    of_pods("alerts", NONE),
    of_all("max(errors{pod=~\"{{ pods }}\"})", RANGE),
    of_all("avg(errors{pod=~\"{{ pods }}\"})", RANGE),
    of_all("max(losses{instance=~\"{{ pods }}:8080\"})", RANGE),
    of_all("sum by (code) (codes{pod=~\"{{ pods }}\"})", CODES),
    of_all("alerts{pod=~\"{{ pods }}\"}", NONE),
    of_all("min(healthy{pod=~\"{{ pods }}\"})", BOOLEAN),
    of_all("max(errors", RANGE),
];

/// A random query.
pub(super) fn query(rng: &mut fastrand::Rng) -> &'static str {
    QUERIES[rng.usize(..QUERIES.len())].query
}

/// A random item for one of the servers.
pub(super) fn item(rng: &mut fastrand::Rng) -> Value {
    let measured = &QUERIES[rng.usize(..QUERIES.len())];
    let mut item: Value = serde_json::from_str(measured.criterion).unwrap();
    item["query"] = json!(measured.query);
    item["prometheusService"] = json!(format!("moody{}:9090", rng.usize(..MOODY)));
    if measured.all_pods {
        item["allPodsQuery"] = json!(true);
    }
    let more = [
        ("failureLimit", json!(rng.u8(..3))),
        ("consecutiveErrorLimit", json!(rng.u8(1..4))),
        ("minSamples", json!(rng.u8(1..4))),
        ("onNoData", json!("fail")),
        ("interval", json!("3s")),
    ];
    for (name, value) in more {
        if rng.u8(..5) == 0 {
            item[name] = value;
        }
    }
    json!({"promQL": item})
}

/// The share of a pod's requests that fail.
fn errors(image: &str, age: SignedDuration) -> f64 {
    if image.ends_with(BAD) || (image.ends_with(WORSE) && age > TURNS) {
        0.9
    } else {
        0.1
    }
}

/// Provides the metrics for all queries. A pod has metrics while it runs.
pub(super) fn measure(world: &World) {
    let pods = |world: &World| {
        let cluster = world.stack.cluster.clone();
        move |at: Timestamp| -> Vec<(String, f64)> {
            let pods = cluster.objects("pods", Some(NAMESPACE));
            let running = pods.iter().filter_map(|pod| {
                let value = pod.json();
                let age = at.duration_since(text(&value["status"]["startTime"]).parse().ok()?);
                let image = text(&value["spec"]["containers"][0]["image"]);
                (!age.is_negative()).then(|| (pod.meta.name.clone(), errors(image, age)))
            });
            running.collect()
        }
    };
    let labels = |pairs: &[(&str, &str)]| -> Labels {
        let pairs = pairs.iter().chain(&[("namespace", NAMESPACE)]);
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    let each = |metric: &str, value: fn(f64) -> Option<f64>| {
        let pods = pods(world);
        world.stack.prometheus.script(metric, move |_, at| {
            let measured = pods(at).into_iter();
            let measured = measured.filter_map(|(pod, errors)| Some((labels(&[("pod", &pod)]), value(errors)?)));
            measured.collect()
        });
    };
    each("errors", Some);
    each("latency", |errors| Some(10.0 + 30.0 * errors));
    each("healthy", |errors| Some(f64::from(u8::from(errors < 0.5))));
    each("alerts", |errors| (errors > 0.5).then_some(1.0));
    each("up", |_| Some(1.0));
    let of_instances = pods(world);
    world.stack.prometheus.script("losses", move |_, at| {
        let measured = of_instances(at).into_iter();
        let measured = measured.map(|(pod, errors)| (labels(&[("instance", &format!("{pod}:8080"))]), errors));
        measured.collect()
    });
    let of_codes = pods(world);
    world.stack.prometheus.script("codes", move |_, at| {
        let by_code = |(pod, errors): (String, f64)| {
            let count = |code: &str, share: f64| (labels(&[("pod", &pod), ("code", code)]), share * 100.0);
            [count("200", 1.0 - errors), count("500", errors)]
        };
        of_codes(at).into_iter().flat_map(by_code).collect()
    });
}

fn mood(rng: &mut fastrand::Rng) -> Mood {
    match rng.u8(..24) {
        0 => Mood::Dead,
        1 => Mood::Hanging,
        2 => Mood::Slow(Duration::from_millis(rng.u64(500..6000))),
        3 => Mood::Status(500, "overloaded".to_owned()),
        4 => Mood::Html,
        5 => Mood::Garbage,
        6 => Mood::Empty,
        7 => Mood::Nan,
        8 => Mood::Infinite,
        9 => Mood::OneNan(rng.usize(..5)),
        10 => Mood::OneInfinite(rng.usize(..5)),
        11 => Mood::Without(rng.usize(..5)),
        12 => Mood::Partial,
        13 => Mood::Warning("some stores did not answer".to_owned()),
        14 => Mood::Info("PromQL info: metric might not be a counter".to_owned()),
        _ => Mood::Healthy,
    }
}

/// Changes a server's mood and clock until `end`. After that the server is healthy.
pub(super) async fn moods(server: Prometheus, mut rng: fastrand::Rng, end: Instant) {
    while Instant::now() < end {
        server.set_mood(mood(&mut rng));
        let skew = if rng.u8(..8) == 0 {
            rng.i64(-400_000..400_000)
        } else {
            0
        };
        server.set_skew(SignedDuration::from_millis(skew));
        sleep(Duration::from_millis(rng.u64(1_000..20_000))).await;
    }
    server.set_mood(Mood::Healthy);
    server.set_skew(SignedDuration::ZERO);
}

/// Starts changing the moods of all servers.
pub(super) fn start(world: &Arc<World>, rng: &mut fastrand::Rng, end: Instant) {
    measure(world);
    for server in &world.moody {
        tokio::spawn(moods(server.clone(), rng.fork(), end));
    }
}
