//! Query results, exact to the last digit.

mod aggregations;
mod answers;
mod functions;
mod histograms;
mod moods;
mod operators;
mod over_http;
mod ranges;
mod selectors;

use futures::FutureExt;
use jiff::Timestamp;
use serde_json::Value;

use super::{Prometheus, Reply};

/// Evaluation time of the queries, in seconds.
const NOW: i64 = 1_600_000_000;

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// A server with series of constant value.
fn with(series: &[(&str, f64)]) -> Prometheus {
    let prometheus = Prometheus::new();
    for (series, value) in series {
        prometheus.set(series, time(0), *value, 0.0).unwrap();
    }
    prometheus
}

fn form(query: &str) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair("query", query)
        .finish()
}

fn reply(prometheus: &Prometheus, form: &str) -> Reply {
    let answer = prometheus.answer("/api/v1/query", form, time(NOW));
    answer.now_or_never().expect("it answers at once").unwrap()
}

/// The result at `seconds`: a vector as `{labels} value` for each series, a scalar as its value, an error as its text.
fn ask_at(prometheus: &Prometheus, seconds: i64, query: &str) -> String {
    let reply = reply(prometheus, &format!("{}&time={seconds}", form(query)));
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    if reply.status != 200 {
        return format!(
            "{} {}",
            body["errorType"].as_str().unwrap(),
            body["error"].as_str().unwrap()
        );
    }
    let data = &body["data"];
    match data["resultType"].as_str().unwrap() {
        "vector" => {
            let series = data["result"].as_array().unwrap().iter();
            let shown = series.map(|series| {
                let value = series["value"][1].as_str().unwrap();
                format!("{} {value}", labels(&series["metric"]))
            });
            shown.collect::<Vec<_>>().join("; ")
        }
        _ => data["result"][1].as_str().unwrap().to_owned(),
    }
}

fn ask(prometheus: &Prometheus, query: &str) -> String {
    ask_at(prometheus, NOW, query)
}

/// `name{a=1,b=2}`.
fn labels(metric: &Value) -> String {
    let metric = metric.as_object().unwrap();
    let pairs: Vec<_> = metric
        .iter()
        .filter(|(label, _)| *label != "__name__")
        .map(|(label, value)| format!("{label}={}", value.as_str().unwrap()))
        .collect();
    let name = metric.get("__name__").and_then(Value::as_str).unwrap_or_default();
    format!("{name}{{{}}}", pairs.join(","))
}

/// Checks many queries against the same series.
fn check(prometheus: &Prometheus, cases: &[(&str, &str)]) {
    for (query, expected) in cases {
        assert_eq!(ask(prometheus, query), *expected, "{query}");
    }
}
