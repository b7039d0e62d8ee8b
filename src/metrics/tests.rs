use serde_json::json;

use super::*;

const DEADLINE: &str = "2026-01-01T00:00:00Z";

/// A status with these True conditions, each with a reason.
fn status(conditions: &[(&str, Reason)]) -> KanaryStatus {
    let condition = |(kind, reason): &(&str, Reason)| json!({"type": kind, "status": "True", "reason": reason.as_str(), "message": "", "lastTransitionTime": DEADLINE});
    let conditions: Vec<_> = conditions.iter().map(condition).collect();
    serde_json::from_value(json!({"deadline": DEADLINE, "conditions": conditions})).unwrap()
}

#[test]
fn a_verdict_is_late_unless_the_run_waited_for_something_at_its_deadline() {
    let passed = status(&[(status::SUCCEEDED, Reason::AllItemsGood)]);
    let now: Timestamp = "2026-01-01T00:00:05Z".parse().unwrap();
    for (reason, is_late) in [
        (Reason::Validating, true),
        (Reason::WaitingForManual, false),
        (Reason::NoData, false),
    ] {
        let running = status(&[(status::RUNNING, Reason::Validating), (status::RECONCILING, reason)]);
        let metrics = Metrics::default();
        metrics.reported(&running, &passed, now, now);
        let counted = if is_late { "count 1" } else { "count 0" };
        let page = metrics.encode();
        assert!(
            page.contains(&format!("kanary_verdict_lateness_seconds_{counted}")),
            "{page}"
        );
    }
}

#[test]
fn counters_begin_at_0() {
    let page = Metrics::default().encode();
    for series in [
        "kanary_writes_total{write=\"promote\",result=\"invalid\"} 0",
        "kanary_writes_total{write=\"status\",result=\"throttled\"} 0",
        "kanary_runs_ended_total{phase=\"Failed\"} 0",
        "kanary_measurements_total{result=\"error\"} 0",
        "kanary_handovers_total{what=\"lost\"} 0",
        "kanary_query_requests_total{result=\"down\"} 0",
        "kanary_run_duration_seconds_count{phase=\"Failed\"} 0",
    ] {
        assert!(page.contains(series), "{series} is not in:\n{page}");
    }
}

#[test]
fn a_run_that_ends_is_counted_with_its_duration() {
    let run = json!({"startTime": "2026-01-01T00:00:00Z", "completedAt": "2026-01-01T00:10:00Z", "conditions": []});
    let running = status(&[(status::RUNNING, Reason::Validating)]);
    let mut failed = status(&[(status::FAILED, Reason::NoData)]);
    let times: KanaryStatus = serde_json::from_value(run).unwrap();
    (failed.start_time, failed.completed_at) = (times.start_time, times.completed_at);
    let metrics = Metrics::default();
    let end = failed.completed_at.unwrap();
    // The second status of the same run changes nothing.
    for former in [&running, &failed] {
        metrics.reported(former, &failed, end, end);
    }
    let page = metrics.encode();
    for line in [
        "kanary_run_duration_seconds_sum{phase=\"Failed\"} 600.0",
        "kanary_run_duration_seconds_count{phase=\"Failed\"} 1",
        "kanary_run_duration_seconds_bucket{le=\"300.0\",phase=\"Failed\"} 0",
        "kanary_run_duration_seconds_bucket{le=\"900.0\",phase=\"Failed\"} 1",
        "kanary_runs_ended_total{phase=\"Failed\"} 1",
    ] {
        assert!(page.contains(line), "{line} is not in:\n{page}");
    }
}
