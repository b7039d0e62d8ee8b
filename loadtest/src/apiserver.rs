//! How long the API server took to process writes, from its own metrics.

use std::collections::BTreeMap;

use crate::api::Api;

/// Excludes the time in admission webhooks, as the service level objectives of Kubernetes do.
const DURATION: &str = "apiserver_request_sli_duration_seconds_bucket";
const REQUESTS: &str = "apiserver_request_total";

/// Counters since the start of the API server.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counters {
    /// Writes of all users by the upper bound of their duration in milliseconds; the last bound is `u64::MAX`.
    writes: BTreeMap<u64, f64>,
    /// Requests that were refused with 429.
    throttled: f64,
}

impl Counters {
    pub(crate) async fn read(api: &Api) -> kube::Result<Self> {
        Ok(Self::parse(&api.text("/metrics").await?))
    }

    fn parse(text: &str) -> Self {
        let mut counters = Self::default();
        for line in text.lines() {
            let Some((name, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let Ok(value) = value.parse::<f64>() else { continue };
            if name.starts_with(DURATION) {
                let is_write = matches!(label(name, "verb"), Some("POST" | "PUT" | "PATCH" | "DELETE" | "APPLY"));
                if let Some(bound) = label(name, "le").filter(|_| is_write).and_then(milliseconds) {
                    *counters.writes.entry(bound).or_default() += value;
                }
            } else if name.starts_with(REQUESTS) && label(name, "code") == Some("429") {
                counters.throttled += value;
            }
        }
        counters
    }

    /// The 99th percentile of the writes since `before` in seconds, interpolated within a bucket of the histogram.
    pub(crate) fn write_p99(&self, before: &Self) -> Option<f64> {
        let earlier = |bound: &u64| before.writes.get(bound).copied().unwrap_or_default();
        let counts: Vec<_> = self
            .writes
            .iter()
            .map(|(bound, count)| (*bound, count - earlier(bound)))
            .collect();
        let rank = counts.last().map(|(_, all)| all * 0.99).filter(|rank| *rank > 0.0)?;
        let (mut low, mut below) = (0.0, 0.0);
        for (bound, count) in counts {
            if bound == u64::MAX {
                break;
            }
            let high = bound as f64 / 1000.0;
            if count >= rank {
                return Some(low + (high - low) * (rank - below) / (count - below));
            }
            (low, below) = (high, count);
        }
        // It is beyond the last bound.
        Some(low)
    }

    /// Requests since `before` that were refused with 429.
    pub(crate) fn throttled(&self, before: &Self) -> f64 {
        self.throttled - before.throttled
    }
}

fn milliseconds(bound: &str) -> Option<u64> {
    if bound == "+Inf" {
        return Some(u64::MAX);
    }
    let duration = std::time::Duration::try_from_secs_f64(bound.parse().ok()?).ok()?;
    u64::try_from(duration.as_millis()).ok()
}

/// The value of a label of a metric.
fn label<'a>(metric: &'a str, name: &str) -> Option<&'a str> {
    let labels = metric.split_once('{')?.1.strip_suffix('}')?;
    labels
        .split(',')
        .find_map(|label| label.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn text(scale: u32) -> String {
        let mut text = String::from("# TYPE x histogram\n");
        for (bound, count) in [("0.05", 50), ("0.1", 98), ("1", 100), ("+Inf", 100)] {
            for verb in ["POST", "GET"] {
                let labels = format!("component=\"apiserver\",resource=\"pods\",verb=\"{verb}\",le=\"{bound}\"");
                let _infallible = writeln!(text, "{DURATION}{{{labels}}} {}", count * scale);
            }
        }
        text + &format!("{REQUESTS}{{code=\"429\",verb=\"GET\"}} {scale}\n{REQUESTS}{{code=\"200\",verb=\"GET\"}} 9\n")
    }

    #[test]
    fn only_writes_of_the_period_count() {
        let (before, after) = (Counters::parse(&text(1)), Counters::parse(&text(3)));
        let p99 = after.write_p99(&before).unwrap();
        assert!((p99 - 0.55).abs() < 1e-9, "{p99}");
        assert!((after.throttled(&before) - 2.0).abs() < 1e-9);
        assert_eq!(before.write_p99(&before), None);
    }
}
