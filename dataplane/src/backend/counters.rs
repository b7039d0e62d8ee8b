//! Counts of requests, as Prometheus scrapes them.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::Identity;

/// Upper bounds of the buckets of durations, in milliseconds.
const BUCKETS: [f64; 7] = [5.0, 10.0, 25.0, 100.0, 500.0, 1000.0, 5000.0];

#[derive(Clone, Debug, Default)]
struct Durations {
    /// How many requests took at most as long as each of [`BUCKETS`].
    within: [u64; BUCKETS.len()],
    count: u64,
    milliseconds: f64,
}

/// Requests by pod and status code.
#[derive(Clone, Debug, Default)]
pub struct Counters(Arc<Mutex<BTreeMap<(Identity, u16), Durations>>>);

impl Counters {
    /// Counts a request.
    pub(super) fn count(&self, identity: &Identity, code: u16, took: Duration) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let durations = counts.entry((identity.clone(), code)).or_default();
        let milliseconds = took.as_secs_f64() * 1000.0;
        for (within, bound) in durations.within.iter_mut().zip(BUCKETS) {
            *within += u64::from(milliseconds <= bound);
        }
        durations.count += 1;
        durations.milliseconds += milliseconds;
    }

    /// All counts in Prometheus' text format: `http_requests_total`, and `istio_requests_total` and
    /// `istio_request_duration_milliseconds` with the labels that a sidecar would give them.
    #[must_use]
    pub fn render(&self) -> String {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for (name, kind) in [
            ("http_requests_total", "counter"),
            ("istio_requests_total", "counter"),
            ("istio_request_duration_milliseconds", "histogram"),
        ] {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# TYPE {name} {kind}");
            for ((identity, code), durations) in counts.iter() {
                let labels = labels(name, identity, *code);
                let _ = match kind {
                    "counter" => writeln!(text, "{name}{{{labels}}} {}", durations.count),
                    _ => histogram(&mut text, name, &labels, durations),
                };
            }
        }
        text
    }
}

fn labels(name: &str, identity: &Identity, code: u16) -> String {
    let Identity {
        namespace,
        pod,
        workload,
        app,
        ..
    } = identity;
    let version = identity.version();
    let common = format!("namespace=\"{namespace}\",pod=\"{pod}\"");
    if name.starts_with("istio_") {
        format!(
            "{common},reporter=\"destination\",destination_workload=\"{workload}\",\
             destination_workload_namespace=\"{namespace}\",destination_service_name=\"{app}\",destination_version=\"{version}\",response_code=\"{code}\""
        )
    } else {
        format!("{common},workload=\"{workload}\",version=\"{version}\",code=\"{code}\"")
    }
}

fn histogram(text: &mut String, name: &str, labels: &str, durations: &Durations) -> std::fmt::Result {
    for (within, bound) in durations.within.iter().zip(BUCKETS) {
        writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {within}")?;
    }
    writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", durations.count)?;
    writeln!(text, "{name}_sum{{{labels}}} {}", durations.milliseconds)?;
    writeln!(text, "{name}_count{{{labels}}} {}", durations.count)
}
