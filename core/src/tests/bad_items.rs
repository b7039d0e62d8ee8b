//! Invalid validation items.

use expect_test::expect;

use super::check;

#[test]
fn items_beside_validation_are_answered_with_where_they_belong() {
    check(
        "
        spec: {items: [{manual: {}}]}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.items belongs under spec.validation: indent it
        "#]],
    );
}

#[test]
fn items_that_are_no_list_under_validation_are_answered() {
    check(
        "
        spec: {validation: {manual: {status: valid}}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: manual, labelWatch, promQL and metric are entries of a list: write them under spec.validation.items, each after a dash
        "#]],
    );
}

#[test]
fn an_item_of_two_kinds_is_refused() {
    check(
        "
        spec: {validation: {items: [{manual: {}, labelWatch: {podInvalidationLabels: {a: b}}}]}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.validation.items[0] is not exactly one of manual, labelWatch, promQL and metric: split it into several items
        "#]],
    );
}

#[test]
fn an_item_of_no_kind_is_refused() {
    check(
        "
        spec: {validation: {items: [{}]}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.validation.items[0] is not exactly one of manual, labelWatch, promQL and metric: split it into several items
        "#]],
    );
}

#[test]
fn a_label_watch_without_labels_is_refused() {
    check(
        "
        spec: {validation: {items: [{labelWatch: {}}]}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.validation.items[0].labelWatch needs podInvalidationLabels or deploymentInvalidationLabels
        "#]],
    );
}

#[test]
fn an_empty_selector_is_refused_because_it_would_match_everything() {
    check(
        "
        spec: {validation: {items: [{labelWatch: {podInvalidationLabels: {}}}]}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.validation.items[0].labelWatch.podInvalidationLabels: no labels: write a map of label names to string values, like `validation: "failed"`, or matchLabels / matchExpressions
        "#]],
    );
}

#[test]
fn an_operator_that_does_not_exist_is_refused() {
    check(
        "
        spec: {validation: {items: [{labelWatch: {podInvalidationLabels: {matchExpressions: [{key: a, operator: Like}]}}}]}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.validation.items[0].labelWatch.podInvalidationLabels: matchExpressions[0]: operator "Like" does not exist: use In, NotIn, Exists or DoesNotExist
        "#]],
    );
}

#[test]
fn a_metric_item_without_the_block_of_its_type_is_refused() {
    check(
        "
        spec: {validation: {items: [{metric: {type: Pods}}]}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.validation.items[0].metric: metric needs the block of its type and no other: resource for Resource, containerResource for ContainerResource, pods for Pods, object for Object, external for External
        "#]],
    );
}

#[test]
fn a_watch_of_kanarys_own_labels_is_refused_because_it_never_matches() {
    check(
        "
        spec: {validation: {items: [{labelWatch: {podInvalidationLabels: {kanary.k8s-operators.dev/iskanary: 'false'}}}]}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.validation.items[0].labelWatch.podInvalidationLabels: kanary.k8s-operators.dev/iskanary is Kanary's own label, which never tells a bad canary from a good one: watch a label that your alerting sets, like `validation: "failed"`
        "#]],
    );
}

#[test]
fn a_label_that_is_not_a_string_is_named() {
    check(
        "
        spec: {validation: {items: [{labelWatch: {podInvalidationLabels: {alert: high, severity: 1}}}]}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.validation.items[0]: labels that can't be read: the value of the label "severity" is 1, which is not a string: write a plain map of label names to string values, like `validation: "failed"`, or nothing but matchLabels (such a map) and matchExpressions (a list of key, operator and a list of values)
        "#]],
    );
}
