//! Specs in which nothing could fail the canary are refused. Specs that are only unusual are not.

use expect_test::expect;
use serde_json::json;

use super::{check, input};

/// Problems with `spec.validation`.
fn problems(validation: &str) -> Vec<String> {
    let validation: serde_json::Value = serde_yaml_ng::from_str(validation).unwrap();
    let template = json!({"spec": {"template": {"spec": {"containers": [{}]}}}});
    let canary = input::parse(
        &json!({"template": template, "validation": validation}),
        None,
        &json!({}),
    );
    let problems = canary.spec.problems.iter();
    problems.map(|problem| problem.message.clone()).collect()
}

#[test]
fn a_validation_without_a_period_needs_an_item_that_can_object() {
    for validation in [
        "{validationPeriod: 0s, items: [{labelWatch: {podInvalidationLabels: {a: b}}}]}",
        "{validationPeriod: 0s, initialDelay: 1m, items: [{labelWatch: {deploymentInvalidationLabels: {a: b}}}]}",
        "{validationPeriod: 0s, items: [{manual: {statusAfterDeadline: valid}}]}",
        "{validationPeriod: 0s, items: [{manual: {statusAfterDeadline: valid, status: valid}}]}",
        "{validationPeriod: 0s, items: [{labelWatch: {podInvalidationLabels: {a: b}}}, {manual: {statusAfterDeadline: valid}}]}",
    ] {
        let found = problems(validation);
        let [message] = found.as_slice() else {
            panic!("{validation}: {found:?}")
        };
        assert!(
            message.starts_with("spec.validation.validationPeriod is 0s, so nothing could fail the canary"),
            "{message}"
        );
        assert!(
            message.contains("raise validationPeriod to 1s or more, or add a promQL or a metric item"),
            "{message}"
        );
    }
    for validation in [
        "{validationPeriod: 0s}",
        "{validationPeriod: 1s, items: [{labelWatch: {podInvalidationLabels: {a: b}}}]}",
        "{validationPeriod: 0s, items: [{labelWatch: {podInvalidationLabels: {a: b}}}, {manual: {}}]}",
        "{validationPeriod: 0s, items: [{manual: {statusAfterDeadline: invalid}}]}",
        "{validationPeriod: 0s, initialDelay: 1m, items: [{manual: {statusAfterDeadline: valid}}]}",
        "{validationPeriod: 0s, items: [{labelWatch: {podInvalidationLabels: {a: b}}}, \
         {promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}",
    ] {
        assert_eq!(problems(validation), Vec::<String>::new(), "{validation}");
    }
}

#[test]
fn a_validation_that_is_too_short_to_object_is_refused_too() {
    let found =
        problems("{validationPeriod: 999ms, initialDelay: 1ms, items: [{manual: {statusAfterDeadline: valid}}]}");
    assert!(
        found[0].starts_with("spec.validation.validationPeriod is 999ms, so nothing could fail the canary"),
        "{found:?}"
    );
}

#[test]
fn a_failure_limit_that_cannot_be_exceeded_is_refused_with_one_that_can() {
    let validation = |period: &str, limit: u32| {
        problems(&format!(
            "{{validationPeriod: {period}, items: [{{promQL: {{prometheusService: 'p:9090', query: up, valueInRange: {{}}, \
             failureLimit: {limit}}}}}]}}"
        ))
    };
    assert_eq!(
        validation("50s", 3),
        [
            "spec.validation.items[0].promQL.failureLimit 3 can't be exceeded, so the item could not fail: until the deadline 3 \
             measurements fit (validationPeriod 50s, interval 20s), and all of them may be bad; lower failureLimit to 2, or the \
             interval, or raise validationPeriod"
        ]
    );
    assert!(validation("10s", 1)[0].contains(
        "1 measurement fits (validationPeriod 10s, interval 20s), and all of it may be bad; lower failureLimit to 0"
    ));
    for (period, limit) in [("50s", 2), ("60s", 2), ("61s", 3), ("0s", 0), ("15m", 44)] {
        assert_eq!(validation(period, limit), Vec::<String>::new(), "{limit} in {period}");
    }
}

#[test]
fn a_failure_limit_that_is_refused_still_fails_a_canary_that_is_being_judged() {
    check(
        "
        spec: {validation: {validationPeriod: 50s, items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}, failureLimit: 3}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{bad: 4, last: 'Fail 2 outside [0, 1] on pod x', at: +20s}]}
        now: +21s
        ",
        expect![[r#"
            phase Scheduled → Failed, shows Failed
            Failed, Stalled=True PromQLFailed: promQL[0]: 2 outside [0, 1] on pod x (4 bad measurements, 3 tolerated); to try again, change spec.template, or set spec.retry to another number
            completedAt +21s, failedTemplates ["<hash>"]
            item promQL[0] Bad (0 good, 4 bad, 0 errors): 2 outside [0, 1] on pod x
        "#]],
    );
}

#[test]
fn a_criterion_that_can_fail_is_taken_however_wide_it_is() {
    for criterion in [
        "valueInRange: {min: -1}",
        "valueInRange: {max: 1e300}",
        "discreteValueOutOfList: {key: code, badValues: ['500'], tolerance: 99}",
        "continuousValueDeviation: {maxDeviationPercent: 100000}",
    ] {
        let item = format!("{{items: [{{promQL: {{prometheusService: 'p:9090', query: up, {criterion}}}}}]}}");
        assert_eq!(problems(&item), Vec::<String>::new(), "{criterion}");
    }
}

/// Problems with the labels of a labelWatch item, without the name of the item.
fn of_labels(labels: &str) -> Vec<String> {
    let item = format!("{{items: [{{manual: {{}}}}, {{labelWatch: {{podInvalidationLabels: {labels}}}}}]}}");
    let place = "spec.validation.items[1].labelWatch.podInvalidationLabels: ";
    let problems = problems(&item).into_iter();
    problems
        .map(|problem| problem.strip_prefix(place).unwrap_or(&problem).to_owned())
        .collect()
}

#[test]
fn an_incomplete_match_expression_is_named_with_how_to_complete_it() {
    for (expression, message) in [
        ("{key: a}", "operator is missing: use In, NotIn, Exists or DoesNotExist"),
        (
            "{key: a, operator: Like}",
            "operator \"Like\" does not exist: use In, NotIn, Exists or DoesNotExist",
        ),
        (
            "{key: a, operator: in, values: [b]}",
            "operator \"in\" does not exist: use In, NotIn, Exists or DoesNotExist",
        ),
        (
            "{key: a, operator: In}",
            "operator In has no values: list those that the label a is compared with under values",
        ),
        (
            "{key: a, operator: NotIn, values: []}",
            "operator NotIn has no values: list those that the label a is compared with under values",
        ),
        (
            "{key: a, operator: Exists, values: [b]}",
            "operator Exists takes no values: remove them, or use In or NotIn",
        ),
        ("{operator: Exists}", "key is missing: name the label"),
    ] {
        let labels = format!("{{matchExpressions: [{{key: b, operator: Exists}}, {expression}]}}");
        assert_eq!(
            of_labels(&labels),
            [format!("matchExpressions[1]: {message}")],
            "{expression}"
        );
    }
}

#[test]
fn labels_of_another_shape_are_refused_with_the_shapes_that_there_are() {
    for labels in [
        "{matchExpressions: {key: a, operator: Exists}}",
        "{matchExpressions: [{key: a, operator: In, values: b}]}",
        "{validation: failed, matchLabels: {a: b}}",
        "{a: true}",
        "[a]",
    ] {
        let found = of_labels(labels);
        let [message] = found.as_slice() else {
            panic!("{labels}: {found:?}")
        };
        assert!(
            message.starts_with("spec.validation.items[1]: labels that can't be read: ")
                && message.contains(": write a plain map"),
            "{message}"
        );
    }
}

#[test]
fn labels_that_nothing_can_have_are_refused() {
    for labels in ["{}", "{matchLabels: {}}", "{matchExpressions: []}"] {
        assert!(of_labels(labels)[0].starts_with("no labels: write a map"), "{labels}");
    }
    for labels in [
        "{matchLabels: {a: b}, matchExpressions: [{key: a, operator: In, values: [c, d]}]}",
        "{matchLabels: {a: b}, matchExpressions: [{key: a, operator: NotIn, values: [b]}]}",
        "{matchLabels: {a: b}, matchExpressions: [{key: a, operator: DoesNotExist}]}",
        "{matchExpressions: [{key: a, operator: Exists}, {key: a, operator: DoesNotExist}]}",
        "{matchExpressions: [{key: a, operator: In, values: [b]}, {key: a, operator: In, values: [c]}]}",
    ] {
        assert!(
            of_labels(labels)[0].starts_with("what is asked of the label a contradicts itself"),
            "{labels}"
        );
    }
    for labels in [
        "{matchLabels: {a: b}, matchExpressions: [{key: a, operator: In, values: [b, c]}]}",
        "{matchExpressions: [{key: a, operator: Exists}, {key: a, operator: NotIn, values: [b]}]}",
        "{matchExpressions: [{key: a, operator: DoesNotExist}, {key: a, operator: NotIn, values: [b]}]}",
        "{matchExpressions: [{key: a, operator: In, values: [b, c]}, {key: b, operator: DoesNotExist}]}",
    ] {
        assert_eq!(of_labels(labels), Vec::<String>::new(), "{labels}");
    }
}
