//! Invalid input that the schema cannot refuse: the status reports it with the way to fix it.

use expect_test::expect;

use super::check;

#[test]
fn a_bad_spec_is_reported_once_and_touches_nothing() {
    check(
        "
        spec: {scale: {static: {replicas: 0}}}
        status: {conditions: {Errored: 'True InvalidSpec: spec.scale.static.replicas is 0: use 1 or more', Stalled: 'True InvalidSpec: spec.scale.static.replicas is 0: use 1 or more'}, observedGeneration: 1, report: {status: Errored}}
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn a_spec_that_is_bad_after_an_edit_leaves_the_run_where_it_is() {
    check(
        "
        spec: {items: []}
        status: {conditions: {Running: 'True Validating: x', Reconciling: 'True Validating: x'}}
        now: +1m
        ",
        expect![[r#"
            shows Errored
            Reconciling=False InvalidSpec: spec.items belongs under spec.validation: indent it
            Errored, Stalled=True InvalidSpec: spec.items belongs under spec.validation: indent it
        "#]],
    );
}

#[test]
fn a_fixed_spec_lets_the_run_go_on() {
    check(
        "
        status:
          phase: Running
          conditions: {Errored: 'True InvalidSpec: x', Stalled: 'True InvalidSpec: x', Reconciling: 'False InvalidSpec: x'}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            shows Running 1m0s/15m0s
            Errored=False Resolved: what was wrong is resolved
            Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +15m0s
            Stalled=False Resolved: nothing is in the way any more
            wake at +15m0s
        "#]],
    );
}

#[test]
fn validation_under_both_names_is_refused() {
    check(
        "
        spec: {validation: {}, validations: {}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.validation and spec.validations are two names of one block: keep one
        "#]],
    );
}

#[test]
fn validations_is_the_same_block_under_its_other_name() {
    check(
        "
        spec: {validations: {initialDelay: 10s, validationPeriod: 30s, items: [{manual: {status: invalid}}]}}
        ",
        expect![[r#"
            phase Scheduled → Failed, shows Failed 0s/40s
            Failed, Stalled=True ManualInvalid: manual[0]: status is invalid; to try again, change spec.template, or set spec.retry to another number
            currentTraffic none, verdicts {"present":{"invalid":1}}, completedAt +0s, failedTemplates ["<hash>"]
            item manual[0] Bad: manual[0]: status is invalid
        "#]],
    );
}

#[test]
fn a_duration_that_does_not_parse_is_refused_with_an_example() {
    check(
        "
        spec: {validation: {validationPeriod: 15 minutes}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.validation.validationPeriod: `15 minutes` is not a duration like 500ms, 20s or 1m30s: invalid floating-point number: invalid float literal
        "#]],
    );
}

#[test]
fn a_negative_duration_is_refused() {
    check(
        "
        spec: {validation: {initialDelay: '-1s'}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.validation.initialDelay: `-1s` is not a duration like 500ms, 20s or 1m30s: it is negative
        "#]],
    );
}

#[test]
fn a_duration_that_no_clock_can_hold_is_refused() {
    check(
        "
        spec: {validation: {validationPeriod: 99999999999999999999999999h}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.validation.validationPeriod: `99999999999999999999999999h` is not a duration like 500ms, 20s or 1m30s: it is too long
        "#]],
    );
}

#[test]
fn an_interval_that_is_too_short_is_refused() {
    check(
        "
        spec: {validation: {maxIntervalPeriod: 1ms}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.validation.maxIntervalPeriod is shorter than 100ms: raise it
        "#]],
    );
}

#[test]
fn a_template_without_containers_is_answered_with_where_the_pod_template_goes() {
    check(
        "
        spec: {template: {spec: {template: {spec: {containers: []}}}}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.template.spec.template.spec.containers has no container: spec.template is a whole Deployment, so the pod template is spec.template.spec.template
        "#]],
    );
}

#[test]
fn a_template_of_nothing_is_refused() {
    check(
        "
        spec: {template: {spec: {template: null}}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.template.spec.template.spec.containers has no container: spec.template is a whole Deployment, so the pod template is spec.template.spec.template
        "#]],
    );
}

#[test]
fn an_unknown_traffic_source_is_refused() {
    check(
        "
        spec: {traffic: {source: teleport}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.traffic.source: unknown variant `teleport`, expected one of `service`, `kanary-service`, `both`, `none`, `mirror`, `weighted`, `tagged`
        "#]],
    );
}

#[test]
fn a_name_that_is_too_long_for_a_label_is_refused() {
    check(
        "
        kanary: {name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: the name of a Kanary is a label value: use 63 characters at most
        "#]],
    );
}

#[test]
fn a_name_of_the_canarys_service_that_is_too_long_is_refused() {
    check(
        "
        spec: {serviceName: a-production-service-with-quite-a-name-of-its-own-in-the-shop, traffic: {source: both}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: the name of the canary's Service, a-production-service-with-quite-a-name-of-its-own-in-the-shop-kanary-batman, has 75 characters and 63 are possible: set spec.traffic.kanaryService to a shorter one
        "#]],
    );
}

#[test]
fn a_kanary_belongs_to_one_target_for_its_whole_life() {
    check(
        "
        spec: {deploymentName: robin}
        status: {conditions: {Running: 'True Validating: x'}, report: {deployment: myapp}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: this Kanary belongs to Deployment myapp and can't change to Deployment robin: create another Kanary for another target
        "#]],
    );
}

#[test]
fn a_finished_run_that_gets_a_bad_spec_keeps_its_verdict() {
    check(
        "
        spec: {scale: {static: {replicas: 0}}}
        status: {conditions: {Failed: 'True ManualInvalid: x', Stalled: 'True ManualInvalid: x'}}
        ",
        expect![[r#"
            shows Errored
            Stalled, Errored=True InvalidSpec: spec.scale.static.replicas is 0: use 1 or more
        "#]],
    );
}

#[test]
fn a_bad_spec_of_a_kanary_that_is_being_deleted_is_not_reported() {
    check(
        "
        kanary: {deletionTimestamp: +0s}
        spec: {scale: {static: {replicas: 0}}}
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn a_bad_first_spec_that_is_fixed_is_no_longer_errored() {
    check(
        "
        status: {conditions: {Errored: 'True InvalidSpec: x', Stalled: 'True InvalidSpec: x'}, report: {status: Errored}}
        now: +1m
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
            shows Scheduled 0s/15m0s
            Errored=False Resolved: what was wrong is resolved
            Stalled=False Resolved: nothing is in the way any more
            Scheduled, Reconciling=True Activating: waits for Deployment myapp-kanary-batman to be available
            currentTraffic none
        "#]],
    );
}

#[test]
fn a_first_spec_that_was_bad_is_errored_no_more_when_its_target_is_created() {
    check(
        "
        status: {conditions: {Errored: 'True InvalidSpec: x', Stalled: 'True InvalidSpec: x'}, report: {status: Errored}}
        seen: {target: null, missingSince: +0s}
        now: +1m
        ",
        expect![[r#"
            create Deployment myapp
            shows Scheduled 0s/15m0s
            Errored=False Resolved: what was wrong is resolved
            Stalled=False Resolved: nothing is in the way any more
            Scheduled, Reconciling=True WaitingForTarget: Deployment myapp does not exist and is created from the template
            currentTraffic none
        "#]],
    );
}
