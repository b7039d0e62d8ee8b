//! Which answers are good, bad, or prove nothing.

use std::time::Duration;

use super::{
    super::{Flaw, MetricAnswer},
    cpu, external, metric, scope, shown, utilization, values,
};
use crate::validation::Outcome::{Error, Fail, Invalid, NoData, Pass};

#[test]
fn each_ready_pod_needs_a_value_that_is_not_above_the_target() {
    for (lines, outcome, message) in [
        (
            &[("a", 0.1, 5), ("b", 0.2, 5)][..],
            Pass,
            "cpu 0.2, within 200m on pod b",
        ),
        (&[("a", 0.1, 5), ("b", 0.21, 5)], Fail, "cpu 0.21, above 200m on pod b"),
        (&[("a", 0.1, 5)], NoData, "cpu: no value of pod b"),
        (&[], NoData, "cpu: no value of pods a, b"),
        // A bad value decides even if another is missing.
        (&[("b", 0.3, 5)], Fail, "cpu 0.3, above 200m on pod b"),
        // Pods of others are neither proof nor failure.
        (&[("a", 0.1, 5), ("other", 9.0, 5)], NoData, "cpu: no value of pod b"),
        (
            &[("a", 0.1, 5), ("b", 0.1, 5), ("other", 9.0, 5)],
            Pass,
            "cpu 0.1, within 200m on pod b",
        ),
    ] {
        let sample = cpu().judge(&values(lines, 100), &scope(&["a", "b"], 100));
        assert_eq!(shown(&sample), (outcome, message), "{lines:?}");
    }
    let without = cpu().judge(&values(&[("a", 0.1, 5)], 100), &scope(&[], 100));
    assert_eq!(shown(&without), (NoData, "no ready canary pod"));
}

#[test]
fn a_value_that_is_old_or_from_before_the_start_proves_nothing() {
    let judged = |age: i64, now: i64, value: f64| {
        let sample = cpu().judge(&values(&[("a", value, age)], now), &scope(&["a"], now));
        (sample.outcome, sample.message)
    };
    assert_eq!(judged(120, 600, 0.1).0, Pass);
    for bad_or_good in [0.1, 9.0] {
        let (outcome, message) = judged(121, 600, bad_or_good);
        assert_eq!(outcome, NoData);
        assert_eq!(
            message,
            "cpu: the value of pod a is stale: it is of 2027-01-15T08:07:59Z, and older than 2m"
        );
        // Its window of ten seconds began before the validation.
        let (outcome, message) = judged(6, 15, bad_or_good);
        assert_eq!(outcome, NoData);
        assert_eq!(
            message,
            "cpu: the value of pod a is of 2027-01-15T07:59:59Z, before the canary's validation"
        );
        assert_eq!(judged(-31, 600, bad_or_good).0, NoData);
    }
    assert_eq!(judged(5, 15, 0.1).0, Pass);
    assert_eq!(judged(-30, 600, 9.0).0, Fail);
}

#[test]
fn a_window_longer_than_the_calendar_is_from_before_the_start() {
    let MetricAnswer::Values(mut all) = values(&[("a", 0.1, 5)], 600) else {
        panic!("there are values")
    };
    all[0].as_mut().unwrap().window = Duration::from_secs(u64::MAX);
    let sample = cpu().judge(&MetricAnswer::Values(all), &scope(&["a"], 600));
    assert_eq!(sample.outcome, NoData, "{}", sample.message);
}

#[test]
fn what_is_no_number_never_passes() {
    for value in [f64::NAN, f64::INFINITY] {
        let sample = cpu().judge(&values(&[("a", value, 5)], 60), &scope(&["a"], 60));
        assert_eq!(sample.outcome, Fail, "{}", sample.message);
    }
}

#[test]
fn a_negative_value_proves_nothing() {
    let judged = |lines| shown(&cpu().judge(&values(lines, 60), &scope(&["a", "b"], 60))).0;
    assert_eq!(judged(&[("a", 0.1, 5), ("b", -1.0, 5)]), NoData);
    assert_eq!(judged(&[("a", 0.3, 5), ("b", -1.0, 5)]), Fail, "it hides no bad one");
    assert_eq!(judged(&[("a", 0.0, 5), ("b", -0.0, 5)]), Pass);
    let sum = values(&[("", 9.0, 0), ("", -5.0, 0)], 60);
    let sample = external("{type: Value, value: 7}").judge(&sum, &scope(&["a"], 60));
    let message = "queue: the value is -5: a negative value proves nothing";
    assert_eq!(shown(&sample), (NoData, message));
}

#[test]
fn a_value_with_a_flaw_hides_no_bad_one_and_matters_only_of_own_pods() {
    let judged = |flawed: &str, of_b: f64| {
        let MetricAnswer::Values(mut all) = values(&[("b", of_b, 5)], 60) else {
            panic!("there are values")
        };
        all.insert(
            0,
            Err(Flaw {
                object: flawed.to_owned(),
                outcome: Error,
                why: "unreadable".to_owned(),
            }),
        );
        let pods: &[&str] = if flawed == "a" { &["a", "b"] } else { &["b"] };
        cpu().judge(&MetricAnswer::Values(all), &scope(pods, 60))
    };
    assert_eq!(shown(&judged("a", 0.3)), (Fail, "cpu 0.3, above 200m on pod b"));
    assert_eq!(shown(&judged("a", 0.1)), (Error, "unreadable"));
    assert_eq!(judged("other", 0.1).outcome, Pass);
}

#[test]
fn utilization_is_a_percentage_of_the_request() {
    let judged = |percent| utilization().judge(&values(&[("a", percent, 0)], 60), &scope(&["a"], 60));
    assert_eq!(
        shown(&judged(80.0)),
        (Pass, "cpu 80 % of the request, within 80 % on pod a")
    );
    assert_eq!(
        shown(&judged(80.5)),
        (Fail, "cpu 80.5 % of the request, above 80 % on pod a")
    );
    assert_eq!(judged(80.5).value, Some(80.5));
}

#[test]
fn external_values_are_added_up_and_may_be_divided_by_the_pods() {
    let two = values(&[("", 4.0, 0), ("", 3.0, 0)], 60);
    let judged = |target: &str| {
        let sample = external(target).judge(&two, &scope(&["a", "b"], 60));
        (sample.outcome, sample.message)
    };
    assert_eq!(
        judged("{type: Value, value: 7}"),
        (Pass, "queue 7, within 7".to_owned())
    );
    assert_eq!(
        judged("{type: Value, value: \"6.9\"}"),
        (Fail, "queue 7, above 6.9".to_owned())
    );
    assert_eq!(
        judged("{type: AverageValue, averageValue: 3}"),
        (Fail, "queue 3.5 per pod, above 3".to_owned())
    );
    let of = |lines: &[(&str, f64, i64)]| {
        let sample = external("{type: Value, value: 7}").judge(&values(lines, 600), &scope(&["a"], 600));
        (sample.outcome, sample.message)
    };
    assert_eq!(of(&[]), (NoData, "queue: no value".to_owned()));
    // The sum is not known if one of the values is old.
    assert_eq!(of(&[("", 90.0, 0), ("", 1.0, 300)]).0, NoData);
}

#[test]
fn an_object_has_one_value() {
    let object = metric(
        "type: Object\nobject: {describedObject: {kind: Service, name: web}, metric: {name: errors}, \
         target: {type: Value, value: 0}}",
    );
    let judged = |lines: &[(&str, f64, i64)]| {
        let sample = object.judge(&values(lines, 60), &scope(&["a"], 60));
        (sample.outcome, sample.message)
    };
    assert_eq!(judged(&[("web", 0.0, 0)]), (Pass, "errors 0, within 0".to_owned()));
    assert_eq!(judged(&[("web", 0.5, 0)]), (Fail, "errors 0.5, above 0".to_owned()));
    assert_eq!(
        judged(&[("other", 0.0, 0)]),
        (
            Error,
            "errors: the answer is about another object than Service web".to_owned()
        )
    );
    assert_eq!(
        judged(&[("web", 0.0, 0), ("web", 0.0, 0)]),
        (
            Error,
            "errors: 2 values of Service web, and one is due: narrow metric.selector".to_owned()
        )
    );
}

#[test]
fn an_answer_without_values_is_never_good() {
    let text = || "why".to_owned();
    for (answer, outcome) in [
        (MetricAnswer::Unknown(text()), NoData),
        (MetricAnswer::Unanswered(text()), Error),
        (MetricAnswer::Rejected(text()), Invalid),
    ] {
        let sample = cpu().judge(&answer, &scope(&["a"], 60));
        assert_eq!(shown(&sample), (outcome, "why"));
    }
}

#[test]
fn a_limit_that_good_values_must_not_reach_is_bad_when_it_is_reached() {
    for limit in ["0.1", "100m"] {
        let mut metric = external(&format!("{{type: Value, value: '{limit}'}}"));
        metric.once_below();
        assert!(metric.terms.at_the_end);
        let outcome = |value| {
            let sample = metric.judge(&values(&[("", value, 5)], 60), &scope(&["x"], 60));
            (sample.outcome, sample.message)
        };
        assert_eq!(outcome(0.099), (Pass, format!("queue 0.099, below {limit}")));
        for value in [0.1, 0.1 + 1e-17, 0.3 - 0.2, 7.0] {
            assert_eq!(outcome(value).0, Fail, "{value}");
        }
        assert_eq!(outcome(0.1).1, format!("queue 0.1, not below {limit}"));
        assert_eq!(outcome(-1.0).0, NoData);
        assert_ne!(outcome(f64::NAN).0, Pass);
    }
}
