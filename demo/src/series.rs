//! The data in Prometheus: counters whose rates change from minute to minute.

use std::time::Duration;

use kanary_sim::prometheus::Prometheus;

use super::script::Start;

/// Requests per second to a canary.
const REQUESTS: f64 = 40.0;

/// A change of a counter's rate at a certain time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Course {
    pub(super) series: String,
    pub(super) from: Duration,
    pub(super) value: f64,
    pub(super) per_second: f64,
}

impl Course {
    /// Adds the series to a Prometheus.
    pub(super) fn record(&self, prometheus: &Prometheus, start: Start) -> anyhow::Result<()> {
        let recorded = prometheus.set(&self.series, start.at(self.from), self.value, self.per_second);
        recorded.map_err(anyhow::Error::msg)
    }
}

/// A counter that begins at `from` and uses the next of `rates` every minute.
fn counter(series: &str, from: Duration, rates: impl Iterator<Item = f64>) -> Vec<Course> {
    let (mut from, mut value) = (from, 0.0);
    let course = rates.map(|per_second| {
        let course = Course {
            series: series.to_owned(),
            from,
            value,
            per_second,
        };
        value += 60.0 * per_second;
        from += Duration::from_mins(1);
        course
    });
    course.collect()
}

/// Request counters with these shares of errors, one per minute.
pub(super) fn errors(canary: &str, from: Duration, shares: &[f64]) -> Vec<Course> {
    let series = |code: &str| format!("http_requests_total{{deployment=\"{canary}\",code=\"{code}\"}}");
    let failed = shares.iter().map(|share| REQUESTS * share);
    let good = shares.iter().map(|share| REQUESTS * (1.0 - share));
    let mut courses = counter(&series("500"), from, failed);
    courses.extend(counter(&series("200"), from, good));
    courses
}

/// The query for the share of failed requests.
pub(super) const ERROR_RATE: &str = r#"sum(rate(http_requests_total{deployment="{{ canary.name }}", code=~"5.."}[1m]))
/ sum(rate(http_requests_total{deployment="{{ canary.name }}"}[1m]))"#;

/// Histograms of the request duration with these 99th percentiles in seconds, from 0.1 to 0.99, one per minute.
pub(super) fn latencies(canary: &str, from: Duration, p99: &[f64]) -> Vec<Course> {
    let mut courses = Vec::new();
    for (le, bound) in [
        ("0.1", 0.1),
        ("0.25", 0.25),
        ("0.5", 0.5),
        ("1", 1.0),
        ("+Inf", f64::INFINITY),
    ] {
        let series = format!("http_request_duration_seconds_bucket{{deployment=\"{canary}\",le=\"{le}\"}}");
        let rates = p99.iter().map(|p99| REQUESTS * share_below(bound, *p99));
        courses.extend(counter(&series, from, rates));
    }
    courses
}

/// The share of requests up to `bound`, the bound of a bucket, for which interpolation results in `p99`.
fn share_below(bound: f64, p99: f64) -> f64 {
    if p99 <= bound {
        return 1.0;
    }
    // The bucket that contains the percentile.
    let buckets = [(0.1, 0.25), (0.25, 0.5), (0.5, 1.0)];
    let Some((low, high)) = buckets.into_iter().find(|(_, high)| p99 <= *high) else {
        return 0.0;
    };
    let place = (p99 - low) / (high - low);
    (0.99 - place) / (1.0 - place) * bound / low
}

/// The query for the 99th percentile.
pub(super) const P99: &str = r#"histogram_quantile(0.99, sum by (le) (
rate(http_request_duration_seconds_bucket{deployment="{{ canary.name }}"}[1m])))"#;

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "shop-kanary-shop";

    async fn measured(courses: Vec<Course>, query: &str, minutes: u64) -> f64 {
        let start = Start("2026-11-22T04:00:00Z".parse().unwrap());
        let prometheus = Prometheus::new();
        for course in courses {
            course.record(&prometheus, start).unwrap();
        }
        let query = query.replace("{{ canary.name }}", CANARY);
        let encoded: Vec<_> = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let form = format!("query={}", encoded.concat());
        let at = start.at(Duration::from_mins(minutes));
        let reply = prometheus.answer("/api/v1/query", &form, at).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        let value = &body["data"]["result"][0]["value"][1];
        value.as_str().unwrap_or_else(|| panic!("{body}")).parse().unwrap()
    }

    #[tokio::test]
    async fn the_share_of_errors_is_the_one_of_the_minute() {
        let courses = errors(CANARY, Duration::from_mins(1), &[0.003, 0.02]);
        let first = measured(courses.clone(), ERROR_RATE, 2).await;
        let second = measured(courses, ERROR_RATE, 3).await;
        assert!((first - 0.003).abs() < 1e-6, "{first}");
        assert!((second - 0.02).abs() < 1e-6, "{second}");
    }

    #[tokio::test]
    async fn the_99th_percentile_is_the_one_of_the_minute() {
        let wanted = [0.12, 0.2, 0.3, 0.45, 0.6, 0.84];
        let courses = latencies(CANARY, Duration::ZERO, &wanted);
        for (minute, wanted) in (1..).zip(wanted) {
            let found = measured(courses.clone(), P99, minute).await;
            assert!((found - wanted).abs() < 1e-6, "{found} instead of {wanted}");
        }
    }
}
