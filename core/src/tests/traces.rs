//! The ids of a trace, and what a status ends.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::{
    api::KanaryStatus,
    status::{DEPLOYMENT_UPDATED, FAILED, Phase, RUNNING, SCHEDULED, SUCCEEDED},
    trace::{Ended, SpanId, TraceId, TraceParent, begun, ended, since},
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000).unwrap() + SignedDuration::from_secs(seconds)
}

/// A status of a run, with the conditions that are True and since when.
fn status(run: i64, conditions: &[(&str, i64)]) -> KanaryStatus {
    let conditions = conditions.iter().map(|(kind, seconds)| Condition {
        type_: (*kind).to_owned(),
        status: "True".to_owned(),
        reason: "Any".to_owned(),
        message: String::new(),
        last_transition_time: Time(at(*seconds)),
        observed_generation: None,
    });
    KanaryStatus {
        run: Some(run),
        conditions: conditions.collect(),
        ..KanaryStatus::default()
    }
}

fn completed(status: KanaryStatus, seconds: i64) -> KanaryStatus {
    KanaryStatus {
        completed_at: Some(at(seconds)),
        ..status
    }
}

#[test]
fn ids_are_the_same_everywhere_and_always() {
    let trace = TraceId::of("7d6f6b1c-0000-4000-8000-000000000001", &status(2, &[]));
    // Replicas of different versions share a trace: a change of these values breaks runs during an update.
    assert_eq!(trace.to_string(), "bae663dae174769596cab099043ab66d");
    assert_eq!(SpanId::of_run(trace).to_string(), "827d188e3a40aa37");
    assert_eq!(SpanId::of_phase(trace, Phase::Running).to_string(), "d8477ba09e71debe");
}

#[test]
fn each_run_of_each_kanary_has_a_trace_of_its_own() {
    let of = |uid, run| TraceId::of(uid, &status(run, &[]));
    assert_ne!(of("a", 1), of("a", 2));
    assert_ne!(of("a", 1), of("b", 1));
    // The first status does not have a number yet.
    assert_eq!(of("a", 1), TraceId::of("a", &KanaryStatus::default()));
    let edited = KanaryStatus {
        current_hash: Some("0123456789abcdef".to_owned()),
        ..status(1, &[])
    };
    assert_eq!(of("a", 1), TraceId::of("a", &edited));
}

#[test]
fn spans_of_a_trace_differ() {
    let trace = TraceId::of("a", &status(1, &[]));
    let mut spans = vec![SpanId::of_run(trace)];
    for phase in [
        Phase::Scheduled,
        Phase::Running,
        Phase::Failed,
        Phase::Succeeded,
        Phase::DeploymentUpdated,
    ] {
        spans.push(SpanId::of_phase(trace, phase));
    }
    spans.push(SpanId::of(trace, &[b"ab", b"c"]));
    spans.push(SpanId::of(trace, &[b"a", b"bc"]));
    let all: std::collections::BTreeSet<_> = spans.iter().map(|span| span.0).collect();
    assert_eq!(all.len(), spans.len());
}

#[test]
fn the_sample_has_the_size_that_is_asked_for() {
    let trace = TraceId::of("a", &status(1, &[]));
    for ratio in [0.0, 0.1, 0.5, 1.0] {
        let spans = (0..10_000_u32).map(|number| SpanId::of(trace, &[&number.to_be_bytes()]));
        let sampled = u32::try_from(spans.filter(|span| span.is_sampled(ratio)).count()).unwrap();
        let wanted = ratio * 10_000.0;
        assert!((f64::from(sampled) - wanted).abs() < 300.0, "{ratio}: {sampled}");
        assert!(ratio > 0.0 || sampled == 0);
        assert!(ratio < 1.0 || sampled == 10_000);
    }
}

#[test]
fn the_header_has_the_form_of_trace_context() {
    let trace = TraceId([0xab; 16]);
    let parent = |sampled| TraceParent {
        trace,
        span: SpanId([1; 8]),
        sampled,
    };
    let (trace, span) = ("ab".repeat(16), "01".repeat(8));
    assert_eq!(parent(true).to_string(), format!("00-{trace}-{span}-01"));
    assert_eq!(parent(false).to_string(), format!("00-{trace}-{span}-00"));
}

#[test]
fn a_run_and_each_of_its_phases_end_once() {
    let none = KanaryStatus::default();
    let scheduled = status(1, &[(SCHEDULED, 1)]);
    let running = status(1, &[(SCHEDULED, 1), (RUNNING, 5)]);
    let succeeded = status(1, &[(SCHEDULED, 1), (SUCCEEDED, 9)]);
    let updated = completed(status(1, &[(SCHEDULED, 1), (DEPLOYMENT_UPDATED, 12)]), 12);
    assert_eq!(ended(&none, &scheduled), []);
    assert_eq!(ended(&scheduled, &running), [Ended::Phase(&scheduled, Some(at(1)))]);
    assert_eq!(ended(&running, &running), []);
    assert_eq!(ended(&running, &succeeded), [Ended::Phase(&running, Some(at(5)))]);
    assert_eq!(
        ended(&succeeded, &updated),
        [Ended::Phase(&succeeded, Some(at(9))), Ended::Run(&updated)]
    );
    assert_eq!(ended(&updated, &updated), []);
    // Without a status in between.
    assert_eq!(ended(&none, &running), [Ended::Phase(&none, Some(at(1)))]);
}

#[test]
fn a_run_that_is_replaced_ends_with_its_phase() {
    let running = status(1, &[(SCHEDULED, 1), (RUNNING, 5)]);
    let next = status(2, &[(SCHEDULED, 7)]);
    assert_eq!(
        ended(&running, &next),
        [Ended::Phase(&running, Some(at(5))), Ended::Superseded(&running)]
    );
    let failed = completed(status(1, &[(FAILED, 6)]), 6);
    assert_eq!(ended(&failed, &next), []);
    // A template that failed before.
    let refused = completed(status(2, &[(FAILED, 7)]), 7);
    assert_eq!(ended(&failed, &refused), [Ended::Run(&refused)]);
}

#[test]
fn times_come_from_the_status() {
    let running = KanaryStatus {
        start_time: Some(at(0)),
        ..status(1, &[(SCHEDULED, 1), (RUNNING, 5)])
    };
    assert_eq!((begun(&running), since(&running)), (Some(at(0)), Some(at(5))));
    let scheduled = status(1, &[(SCHEDULED, 1)]);
    assert_eq!((begun(&scheduled), since(&scheduled)), (Some(at(1)), Some(at(1))));
    assert_eq!(since(&KanaryStatus::default()), None);
}
