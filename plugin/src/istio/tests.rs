use std::time::Duration;

use jiff::Timestamp;
use kanary_core::validation::{
    Answer, Outcome, Sample, Series,
    promql::{PromQl, Vars},
};
use kanary_sim::prometheus::Prometheus;

use super::*;

const PODS: [&str; 2] = ["myapp-kanary-batman-5d4-aaaaa", "myapp-kanary-batman-5d4-bbbbb"];

/// Traffic of a pod: requests per second by response code and gRPC status, and the share of them that takes up to 250 ms.
struct Traffic<'a> {
    pod: &'a str,
    requests: &'a [(&'a str, &'a str, f64)],
    fast: f64,
}

fn record(prometheus: &Prometheus, traffic: &Traffic<'_>, workload: &str) {
    let begin: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let labels = |reporter: &str| {
        format!(
            "reporter=\"{reporter}\",destination_workload=\"{workload}\",destination_workload_namespace=\"shop\",pod=\"{}\"",
            traffic.pod
        )
    };
    let set = |series: String, rate: f64| prometheus.set(&series, begin, 0.0, rate).unwrap();
    for (code, grpc, rate) in traffic.requests {
        let codes = format!("response_code=\"{code}\",grpc_response_status=\"{grpc}\"");
        set(
            format!("istio_requests_total{{{},{codes}}}", labels("destination")),
            *rate,
        );
        // The sidecar of the client counts the same requests, and its pod is another one.
        set(format!("istio_requests_total{{{},{codes}}}", labels("source")), *rate);
        for (le, share) in [("100", 0.0), ("250", traffic.fast), ("500", 1.0), ("+Inf", 1.0)] {
            let bucket = format!(
                "istio_request_duration_milliseconds_bucket{{{},{codes},le=\"{le}\"}}",
                labels("destination")
            );
            set(bucket, rate * share);
        }
    }
}

/// The judgement of an item after five minutes of such traffic.
async fn judged(item: &ValidationItem, traffic: &[Traffic<'_>]) -> Sample {
    let prometheus = Prometheus::new();
    for traffic in traffic {
        record(&prometheus, traffic, "myapp-kanary-batman");
    }
    let target = Traffic {
        pod: "myapp-1",
        requests: &[("500", "", 100.0)],
        fast: 0.0,
    };
    record(&prometheus, &target, "myapp");
    let query = PromQl::parse(item.prom_ql.as_ref().unwrap(), Duration::from_secs(20)).unwrap();
    let vars = Vars {
        deployment: "myapp",
        canary: "myapp-kanary-batman",
        service: "",
        namespace: "shop",
        kanary: "batman",
        weight: "",
        pods: &PODS,
        all_pods: &PODS,
    };
    let encoded: Vec<_> = query.render(&vars).bytes().map(|byte| format!("%{byte:02X}")).collect();
    let at = "2026-01-01T00:05:00Z".parse().unwrap();
    let reply = prometheus
        .answer("/api/v1/query", &format!("query={}", encoded.concat()), at)
        .await
        .unwrap();
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    let result = body["data"]["result"].as_array().unwrap_or_else(|| panic!("{body}"));
    let series = result.iter().map(|series| Series {
        labels: serde_json::from_value(series["metric"].clone()).unwrap(),
        value: series["value"][1].as_str().unwrap().parse().unwrap(),
    });
    query.judge(&Answer::Vector(series.collect()), None, &PODS)
}

/// Both pods with the same requests.
fn both<'a>(requests: &'a [(&'a str, &'a str, f64)], fast: f64) -> Vec<Traffic<'a>> {
    PODS.iter().map(|pod| Traffic { pod, requests, fast }).collect()
}

#[tokio::test]
async fn the_share_of_successes_is_judged_per_pod() {
    let item = success(Success(0.95), PROMETHEUS);
    let outcome = async |traffic: &[Traffic<'_>]| judged(&item, traffic).await.outcome;
    assert_eq!(
        outcome(&both(&[("200", "", 9.6), ("404", "", 0.1), ("503", "", 0.3)], 1.0)).await,
        Outcome::Pass
    );
    assert_eq!(
        outcome(&both(&[("200", "", 9.0), ("503", "", 1.0)], 1.0)).await,
        Outcome::Fail
    );
    assert_eq!(
        outcome(&both(&[("503", "", 1.0)], 1.0)).await,
        Outcome::Fail,
        "no success at all"
    );
    assert_eq!(
        outcome(&both(&[("200", "", 9.0), ("0", "", 1.0)], 1.0)).await,
        Outcome::Fail,
        "no response"
    );
    assert_eq!(
        outcome(&both(&[("200", "14", 1.0), ("200", "0", 1.0)], 1.0)).await,
        Outcome::Fail,
        "gRPC"
    );
    assert_eq!(
        outcome(&both(&[("200", "0", 1.0), ("200", "5", 1.0)], 1.0)).await,
        Outcome::Pass,
        "gRPC"
    );
    let mut one_bad = both(&[("200", "", 10.0)], 1.0);
    one_bad[1].requests = &[("500", "", 10.0)];
    let sample = judged(&item, &one_bad).await;
    assert_eq!(sample.outcome, Outcome::Fail);
    assert!(sample.message.contains(PODS[1]), "{}", sample.message);
}

#[tokio::test]
async fn the_quantile_is_judged_per_pod() {
    let item = quantile("P99<310".parse().unwrap(), PROMETHEUS);
    let outcome = async |traffic: &[Traffic<'_>]| judged(&item, traffic).await.outcome;
    let requests = [("200", "", 10.0)];
    assert_eq!(outcome(&both(&requests, 0.999)).await, Outcome::Pass);
    assert_eq!(outcome(&both(&requests, 0.5)).await, Outcome::Fail);
    let mut one_slow = both(&requests, 1.0);
    one_slow[0].fast = 0.2;
    assert_eq!(outcome(&one_slow).await, Outcome::Fail);
}

#[tokio::test]
async fn without_traffic_nothing_passes() {
    for item in [
        success(Success(0.5), PROMETHEUS),
        quantile("P50<1000".parse().unwrap(), PROMETHEUS),
    ] {
        assert_eq!(judged(&item, &[]).await.outcome, Outcome::NoData);
        let idle = both(&[("200", "", 0.0)], 1.0);
        assert_eq!(judged(&item, &idle).await.outcome, Outcome::NoData);
        let one = &both(&[("200", "", 1.0)], 1.0)[..1];
        assert_eq!(judged(&item, one).await.outcome, Outcome::NoData);
    }
}

#[test]
fn the_queries_hide_nothing_after_the_warm_up() {
    for item in [
        success(Success(0.5), PROMETHEUS),
        quantile("P50<1000".parse().unwrap(), PROMETHEUS),
    ] {
        let query = PromQl::parse(&item.prom_ql.unwrap(), Duration::from_secs(20)).unwrap();
        assert_eq!(query.hints(Duration::from_secs(40)), Vec::<String>::new());
        assert!(!query.hints(Duration::ZERO).is_empty(), "the warm-up is needed");
    }
}

#[test]
fn a_quantile_is_a_percentile_and_a_limit() {
    for (text, quantile, milliseconds) in [
        ("P99<310", 0.99, 310.0),
        ("p50 < 0.2s", 0.5, 200.0),
        ("P99.9<=250ms", 0.999, 250.0),
    ] {
        let read: Quantile = text.parse().unwrap();
        assert!((read.quantile - quantile).abs() < 1e-9, "{text}: {read:?}");
        assert!((read.milliseconds - milliseconds).abs() < 1e-9, "{text}: {read:?}");
    }
    for (text, why) in [
        ("99<310", "does not begin with P"),
        ("P99>310", "the sign is <"),
        ("P99", "has no <"),
        ("P99<", "the latency is not a number"),
        ("P100<310", "between 0 and 100"),
        ("P0<310", "between 0 and 100"),
        ("Pmany<310", "the percentile is not a number"),
        ("P99<0", "not above 0"),
        ("P99<NaN", "not a number"),
        ("P99<2h", "not a number"),
        ("P99<3600s", "never be exceeded"),
    ] {
        let error = text.parse::<Quantile>().unwrap_err();
        assert!(error.contains(why) && error.contains("like P99<310"), "{text}: {error}");
    }
}

#[test]
fn a_success_rate_is_a_share() {
    assert_eq!("0.95".parse(), Ok(Success(0.95)));
    for bad in ["95", "0", "-1", "NaN", "95%", ""] {
        let error = bad.parse::<Success>().unwrap_err();
        assert!(error.contains("like 0.95"), "{bad}: {error}");
    }
}
