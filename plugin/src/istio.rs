//! Validation items about Istio's standard metrics, as the sidecar of each canary pod reports them.
//!
//! `reporter="destination"` counts each request once, where it arrives. The label `pod` is the one of the scraped pod, which the
//! scrape configurations of Istio's documentation set. So the items are judged for each pod, and a pod without requests is one
//! without data: nothing is promoted without traffic.

use kanary_core::api::{PromQlItem, ValidationItem, ValueInRange};

/// The address of Prometheus in Istio's samples.
pub(crate) const PROMETHEUS: &str = "prometheus.istio-system:9090";

/// The largest bound of Istio's buckets, in milliseconds. A quantile never exceeds it.
const LARGEST_BUCKET: f64 = 3_600_000.0;

/// Range of the rates. It is longer than the interval of measurements (20 s), and has several scrapes (15 s).
pub(crate) const RANGE: &str = "1m";

/// Warm-up that keeps the start of the canary out of the range of the first measurement: the range less the interval.
pub(crate) const WARM_UP: &str = "40s";

/// What selects the requests that arrived at the canary.
const CANARY: &str = "reporter=\"destination\",destination_workload=\"{{ canary.name }}\",\
                      destination_workload_namespace=\"{{ namespace }}\",pod=~\"{{ pods }}\"";

/// gRPC answers that are the server's fault: 2 is Unknown, 4 `DeadlineExceeded`, 12 Unimplemented, 13 Internal, 14
/// Unavailable, 15 `DataLoss`.
const GRPC_FAILURES: &str = "2|4|12|13|14|15";

/// `P99<310`: a quantile and its largest good value in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quantile {
    pub(crate) quantile: f64,
    pub(crate) milliseconds: f64,
}

impl std::str::FromStr for Quantile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let why =
            |why: &str| format!("{why}: write a percentile and its largest good latency in milliseconds, like P99<310");
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let rest = compact
            .strip_prefix(['P', 'p'])
            .ok_or_else(|| why("it does not begin with P"))?;
        if rest.contains('>') {
            return Err(why("a latency is good below its limit, so the sign is <"));
        }
        let (percent, limit) = rest.split_once('<').ok_or_else(|| why("it has no <"))?;
        let limit = limit.strip_prefix('=').unwrap_or(limit);
        let (limit, unit) = match (limit.strip_suffix("ms"), limit.strip_suffix('s')) {
            (Some(limit), _) => (limit, 1.0),
            (None, Some(limit)) => (limit, 1000.0),
            (None, None) => (limit, 1.0),
        };
        let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
        let percent = number(percent).ok_or_else(|| why("the percentile is not a number"))?;
        if !(percent > 0.0 && percent < 100.0) {
            return Err(why("the percentile is not between 0 and 100"));
        }
        let limit = number(limit).ok_or_else(|| why("the latency is not a number"))? * unit;
        if limit <= 0.0 {
            return Err(why("the latency is not above 0"));
        }
        if limit >= LARGEST_BUCKET {
            return Err(why(
                "the latency is not below 3600000, the largest bucket of Istio, so it could never be exceeded",
            ));
        }
        Ok(Self {
            quantile: percent / 100.0,
            milliseconds: limit,
        })
    }
}

/// The least good share of successful requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Success(pub(crate) f64);

impl std::str::FromStr for Success {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let share = text
            .trim()
            .parse::<f64>()
            .ok()
            .filter(|share| *share > 0.0 && *share <= 1.0);
        share.map(Self).ok_or_else(|| {
            "it is not a share above 0 and up to 1: write the least good share of successful requests, like 0.95"
                .to_owned()
        })
    }
}

/// The latency of each canary pod.
pub(crate) fn quantile(wanted: Quantile, prometheus: &str) -> ValidationItem {
    let query = format!(
        "histogram_quantile({}, sum by (pod, le) (rate(istio_request_duration_milliseconds_bucket{{{CANARY}}}[{RANGE}])))",
        wanted.quantile
    );
    in_range(query, None, Some(wanted.milliseconds), prometheus)
}

/// The share of successful requests of each canary pod: those with a response code below 500 and, for gRPC, without a failure of
/// the server. A request without a response is none.
pub(crate) fn success(wanted: Success, prometheus: &str) -> ValidationItem {
    let good = format!("response_code=~\"[1-4]..\",grpc_response_status!~\"{GRPC_FAILURES}\"");
    let rate = |also: &str| format!("sum by (pod) (rate(istio_requests_total{{{CANARY}{also}}}[{RANGE}]))");
    // Without a successful request there is no such series, and the share would have no value instead of 0.
    let query = format!("({} or 0 * {}) / {}", rate(&format!(",{good}")), rate(""), rate(""));
    in_range(query, Some(wanted.0), None, prometheus)
}

fn in_range(query: String, min: Option<f64>, max: Option<f64>, prometheus: &str) -> ValidationItem {
    ValidationItem {
        prom_ql: Some(PromQlItem {
            prometheus_service: Some(prometheus.to_owned()),
            query,
            value_in_range: Some(ValueInRange { min, max }),
            ..PromQlItem::default()
        }),
        ..ValidationItem::default()
    }
}

#[cfg(test)]
mod tests;
