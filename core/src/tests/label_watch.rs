//! `labelWatch` items: labels that fail the run.

use expect_test::expect;

use super::check;
use crate::{api::LabelMatch, labels::Selector};

#[test]
fn a_label_on_a_canary_pod_fails_the_run_at_once() {
    check(
        "
        spec: {validation: {items: [{labelWatch: {podInvalidationLabels: {monitoring-alert: high-cpu}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{name: a}, {name: b, labels: {monitoring-alert: high-cpu}}]}
        now: +1m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 1m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True LabelMatched: labelWatch[0]: pod b has labels that match monitoring-alert=high-cpu; to try again, change spec.template, or set spec.retry to another number
            completedAt +1m0s, failedTemplates ["<hash>"]
            item labelWatch[0] Bad: labelWatch[0]: pod b has labels that match monitoring-alert=high-cpu
        "#]],
    );
}

#[test]
fn a_label_on_a_pod_that_left_its_replica_set_fails_the_run() {
    check(
        "
        spec: {validation: {items: [{labelWatch: {podInvalidationLabels: {bad: 'yes'}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{name: a}], otherPods: [{name: b, labels: {bad: 'yes'}}]}
        now: +1m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 1m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True LabelMatched: labelWatch[0]: pod b has labels that match bad=yes; to try again, change spec.template, or set spec.retry to another number
            completedAt +1m0s, failedTemplates ["<hash>"]
            item labelWatch[0] Bad: labelWatch[0]: pod b has labels that match bad=yes
        "#]],
    );
}

#[test]
fn a_label_on_a_pod_of_a_former_run_fails_nothing() {
    check(
        "
        spec: {validation: {items: [{labelWatch: {podInvalidationLabels: {bad: 'yes'}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{name: a}], otherPods: [{name: b, run: former-0, labels: {bad: 'yes'}}]}
        now: +1m
        ",
        expect![[r#"
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_label_that_no_object_can_have_is_refused() {
    for (labels, why) in [
        ("{'bad key!': x}", "\"bad key!\" is not the name of a label"),
        ("{a/b/c: x}", "\"a/b/c\" is not the name of a label"),
        ("{Team.example/a: x}", "\"Team.example/a\" is not the name of a label"),
        ("{a: 'not a value!'}", "\"not a value!\" is not the value of a label"),
        (
            "{matchExpressions: [{key: a, operator: In, values: [x y]}]}",
            "\"x y\" is not the value of a label",
        ),
    ] {
        let labels: LabelMatch = serde_yaml_ng::from_str(labels).unwrap();
        let error = Selector::parse(labels).unwrap_err();
        assert!(error.starts_with(why), "{error}");
    }
    for good in [
        "{example.com/a_b.c-d: ''}",
        "{a: V1.2_x-y}",
        "{matchExpressions: [{key: a, operator: Exists}]}",
    ] {
        let labels: LabelMatch = serde_yaml_ng::from_str(good).unwrap();
        assert!(Selector::parse(labels).is_ok(), "{good}");
    }
}

#[test]
fn a_label_on_the_canary_deployment_fails_the_run_at_once() {
    check(
        "
        spec: {validation: {items: [{labelWatch: {deploymentInvalidationLabels: {validation: failed}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s, labels: {validation: failed}}}
        now: +1m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 1m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True LabelMatched: labelWatch[0]: the canary has labels that match validation=failed; to try again, change spec.template, or set spec.retry to another number
            completedAt +1m0s, failedTemplates ["<hash>"]
            item labelWatch[0] Bad: labelWatch[0]: the canary has labels that match validation=failed
        "#]],
    );
}

#[test]
fn a_label_with_another_value_is_no_match() {
    check(
        "
        spec: {validation: {items: [{labelWatch: {podInvalidationLabels: {validation: failed}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{labels: {validation: passed}}]}
        now: +1m
        ",
        expect![[r#"
            wake at +15m0s
        "#]],
    );
}

#[test]
fn all_labels_of_a_map_must_be_there() {
    check(
        "
        spec: {validation: {items: [{labelWatch: {podInvalidationLabels: {validation: failed, by: alfred}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{labels: {validation: failed}}]}
        now: +1m
        ",
        expect![[r#"
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_selector_is_taken_as_well_as_a_map() {
    check(
        "
        spec: {validation: {items: [{labelWatch: {podInvalidationLabels: {matchExpressions: [{key: alert, operator: Exists}]}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{labels: {alert: anything}}]}
        now: +1m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 1m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True LabelMatched: labelWatch[0]: pod x has labels that match alert; to try again, change spec.template, or set spec.retry to another number
            completedAt +1m0s, failedTemplates ["<hash>"]
            item labelWatch[0] Bad: labelWatch[0]: pod x has labels that match alert
        "#]],
    );
}

#[test]
fn a_pod_label_does_not_look_at_the_deployment() {
    check(
        "
        spec: {validation: {items: [{labelWatch: {podInvalidationLabels: {validation: failed}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s, labels: {validation: failed}}}
        now: +1m
        ",
        expect![[r#"
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_label_watch_that_never_matched_agrees_at_the_deadline() {
    check(
        "
        spec: {validation: {items: [{labelWatch: {podInvalidationLabels: {validation: failed}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{}]}
        now: +15m
        ",
        expect![[r#"
            phase Running → Succeeded, shows Succeeded 15m0s/15m0s
            Running=False AllItemsGood: the verdict is good
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it (since +0s)
            Succeeded=True AllItemsGood: every validation item is good at the deadline
        "#]],
    );
}

#[test]
fn pods_that_are_not_ready_are_watched_too() {
    check(
        "
        spec: {validation: {items: [{labelWatch: {podInvalidationLabels: {validation: failed}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{ready: false, labels: {validation: failed}}]}
        now: +1m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 1m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True LabelMatched: labelWatch[0]: pod x has labels that match validation=failed; to try again, change spec.template, or set spec.retry to another number
            completedAt +1m0s, failedTemplates ["<hash>"]
            item labelWatch[0] Bad: labelWatch[0]: pod x has labels that match validation=failed
        "#]],
    );
}

#[test]
fn a_pod_that_lost_the_label_of_its_run_is_still_judged_by_its_labels() {
    check(
        "
        spec: {validation: {items: [{labelWatch: {podInvalidationLabels: {alert: high}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{name: a}], otherPods: [{name: b, run: '', lostRun: true, released: true, labels: {alert: high}}]}
        now: +1m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 1m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True LabelMatched: labelWatch[0]: pod b has labels that match alert=high; to try again, change spec.template, or set spec.retry to another number
            completedAt +1m0s, failedTemplates ["<hash>"]
            item labelWatch[0] Bad: labelWatch[0]: pod b has labels that match alert=high
        "#]],
    );
    check(
        "
        spec: {validation: {items: [{labelWatch: {podInvalidationLabels: {alert: high}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{name: a}], otherPods: [{name: b, run: '', lostRun: true, released: true}, {name: c, run: other, labels: {alert: high}}]}
        now: +1m
        ",
        expect![[r#"
            shows Running 1m0s/15m0s
            Running=True Validating: Deployment myapp-kanary-batman is judged until +15m0s; warning: Pod b lost the label kanary.k8s-operators.dev/run, so the canary released it: it is not measured any more, and leaves its Services now; labelWatch items still apply to it: delete it (since +0s)
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_match_in_the_initial_delay_is_not_judged_yet() {
    check(
        "
        spec: {validation: {initialDelay: 1m, items: [{labelWatch: {podInvalidationLabels: {validation: failed}}}]}}
        status: {phase: Scheduled}
        seen: {canary: {available: +0s}, pods: [{labels: {validation: failed}}]}
        now: +30s
        ",
        expect![[r#"
            wake at +1m0s
        "#]],
    );
}

#[test]
fn a_match_in_the_initial_delay_keeps_a_manual_valid_from_ending_the_run() {
    check(
        "
        spec: {validation: {initialDelay: 1m, items: [{manual: {status: valid}}, {labelWatch: {podInvalidationLabels: {validation: failed}}}]}}
        status: {phase: Scheduled}
        seen: {canary: {available: +0s}, pods: [{labels: {validation: failed}}]}
        now: +30s
        ",
        expect![[r#"
            wake at +1m0s
        "#]],
    );
}

#[test]
fn a_match_wins_over_a_manual_valid() {
    check(
        "
        spec: {validation: {items: [{manual: {status: valid}}, {labelWatch: {podInvalidationLabels: {validation: failed}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{labels: {validation: failed}}]}
        now: +30s
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 30s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True LabelMatched: labelWatch[1]: pod x has labels that match validation=failed; to try again, change spec.template, or set spec.retry to another number
            verdicts {"present":{"valid":1}}, completedAt +30s, failedTemplates ["<hash>"]
            item manual[0] Good
            item labelWatch[1] Bad: labelWatch[1]: pod x has labels that match validation=failed
        "#]],
    );
}

#[test]
fn a_run_that_fails_makes_nothing_on_the_way() {
    check(
        "
        spec: {scale: {hpa: {maxReplicas: 3}}, validation: {items: [{labelWatch: {podInvalidationLabels: {validation: failed}}}]}}
        status: {phase: Running}
        seen: {pods: [{labels: {validation: failed}}]}
        now: +30s
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 30s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True LabelMatched: labelWatch[0]: pod x has labels that match validation=failed; to try again, change spec.template, or set spec.retry to another number
            completedAt +30s, failedTemplates ["<hash>"]
            item labelWatch[0] Bad: labelWatch[0]: pod x has labels that match validation=failed
        "#]],
    );
}
