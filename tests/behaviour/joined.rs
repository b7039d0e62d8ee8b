//! Joined queries, against the Prometheus of the test environment: each gets the answer that it gets by itself.

use std::convert::Infallible;

use jiff::Timestamp;
use kanary::{
    cluster::clock::Clock,
    metrics::Metrics,
    prometheus::{Allow, Budget, Prometheus, Transport, When},
};
use kanary_core::validation::{
    Answer,
    promql::{Endpoint, shape},
};
use tokio::task::JoinSet;

use crate::support::{Exporter, World};

/// Queries about the series `joined` and `counted`, with `NS` for a matcher of the namespace.
const QUERIES: [&str; 52] = [
    "joined{NS}",
    "joined{NS,pod=\"x\"}",
    "joined{NS,pod=\"nobody\"}",
    "{__name__=~\"joined|counted\",NS}",
    "{__name__=~\"joined|counted\",NS} > 0",
    "{__name__=~\"joined|counted\",NS} * 1",
    "-joined{NS}",
    "joined{NS} or counted{NS}",
    "joined{NS} or on (pod) counted{NS}",
    "joined{NS} and on (pod) counted{NS}",
    "joined{NS} unless on (pod) counted{NS,pod=\"x\"}",
    "sum(joined{NS})",
    "sum by (pod) (joined{NS})",
    "sum(joined{NS}) by (pod)",
    "avg without (case) (joined{NS})",
    "max(joined{NS}) or vector(0)",
    "count_values(\"value\", joined{NS})",
    "quantile(0.5, joined{NS})",
    "joined{NS} offset 1s",
    "joined{NS} @ end()",
    "joined{NS} > 1",
    "joined{NS} > bool 1",
    "joined{NS} == joined{NS}",
    "joined{NS} / on (pod, case) joined{NS}",
    "joined{NS} / on (pod) group_left joined{NS,case=\"b\"}",
    "rate(counted{NS}[5s])",
    "increase(counted{NS}[5s:1s])",
    "max_over_time(joined{NS}[3s])",
    "histogram_quantile(0.9, sum by (le) (bucket{NS}))",
    "absent(joined{NS})",
    "absent(missing{NS,pod=\"x\"})",
    "joined{NS,case!~\"a)|{b}|\\\"c\\\"|'d'|#\"}",
    "joined{NS,case!~'a)\"'} # ) or (",
    "# a comment (\njoined{NS} # and (\n# another one",
    "joined{NS,case=~`a|b`}",
    "label_replace(joined{NS}, \"short\", \"$1\", \"pod\", \"(.).*\")",
    "label_join(joined{NS}, \"both\", \"-\", \"pod\", \"case\")",
    "joined{NS} * 0 / 0",
    "joined{NS} / 0",
    "-joined{NS} / 0",
    "timestamp(joined{NS})",
    "vector(1)",
    "scalar(sum(joined{NS}))",
    "time() - time() + 3",
    "1 / 0",
    "0 / 0",
    "2 > bool 1",
    "scalar(missing{NS})",
    // Refused by Prometheus, or not joined.
    "sum by (pod) (joined{NS}",
    "joined{NS}[5m]",
    "joined{NS} + on (pod) group_left () counted{NS,nothing=\"\"} + unknown(joined{NS})",
    "topk(1, joined{NS})",
];

fn client(join: usize, metrics: &Metrics) -> Prometheus {
    let service = tower::service_fn(|_: http::Request<kube::client::Body>| async {
        Ok::<http::Response<kube::client::Body>, Infallible>(http::Response::new(kube::client::Body::empty()))
    });
    let budget = Budget {
        concurrency: 1,
        per_second: 1000,
        join,
        ..Budget::default()
    };
    let secrets = kube::Client::new(service, "default");
    let limits = (budget, Allow::default());
    Prometheus::new(secrets, Transport::Tcp, Clock::default(), limits, metrics)
}

/// Asks all queries at once. Series are sorted, because their order means nothing.
async fn ask(prometheus: &Prometheus, url: &str, queries: &[String], at: Timestamp) -> Vec<String> {
    let mut all = JoinSet::new();
    for (index, query) in queries.iter().cloned().enumerate() {
        let (prometheus, url) = (prometheus.clone(), url.to_owned());
        all.spawn(async move {
            let endpoint = Endpoint { url, auth: None };
            let mut answer = prometheus
                .query(None, "shop", &endpoint, &query, When::exactly(at))
                .await
                .answer;
            if let Answer::Vector(series) = &mut answer {
                series.sort_by(|a, b| a.labels.cmp(&b.labels));
            }
            (index, format!("{query}: {answer:?}"))
        });
    }
    let mut answers = all.join_all().await;
    answers.sort();
    answers.into_iter().map(|(_, answer)| answer).collect()
}

#[tokio::test]
async fn joined_queries_are_answered_as_each_by_itself() {
    let world = World::new("joined").await;
    let exporter = Exporter::start(&world).await;
    let ns = format!("ns=\"{}\"", world.ns);
    for (pod, case, value) in [("x", "a", 1.0), ("x", "b", 2.5), ("y", "b", -3.0), ("z", "{b}", 1e18)] {
        exporter.set(&format!("joined{{{ns},pod=\"{pod}\",case=\"{case}\"}}"), value);
    }
    for le in ["0.1", "1", "+Inf"] {
        exporter.set(&format!("bucket{{{ns},le=\"{le}\"}}"), 10.0);
    }
    exporter.grow(&["x", "y"].map(|pod| (format!("counted{{{ns},pod=\"{pod}\"}}"), 3.0)));
    exporter.answers(&format!("rate(counted{{{ns}}}[5s])")).await;
    exporter.answers(&format!("joined{{{ns},pod=\"z\"}}")).await;
    let queries = QUERIES.map(|query| query.replace("NS", &ns));
    let joinable = queries.iter().filter(|query| shape(query).is_some()).count();
    assert!(joinable >= 45, "{joinable} are joined");
    let at = Timestamp::now();
    // Nothing is scraped for that time any more.
    let later = at.as_second() + 1;
    exporter
        .answers(&format!("timestamp(joined{{{ns},pod=\"z\"}}) > {later}"))
        .await;
    let metrics = Metrics::default();
    let (url, metrics) = (world.plane.prometheus(), &metrics);
    let alone = ask(&client(1, metrics), url, &queries, at).await;
    assert_eq!(metrics.queries.joined.get(), 0);
    let joined = ask(&client(32, metrics), url, &queries, at).await;
    // All but the first one, which finds nothing to be joined with, and a few beside one that fails.
    assert!(metrics.queries.joined.get() >= 32, "{}", metrics.queries.joined.get());
    for (alone, joined) in alone.iter().zip(&joined) {
        assert_eq!(alone, joined);
    }
    assert!(
        alone[0].contains("value: 2.5") && alone.len() == QUERIES.len(),
        "{}",
        alone[0]
    );
}
