//! Invalid edits during and after a run: they promote nothing and remove no protection.

use expect_test::expect;

use super::check;

#[test]
fn an_edit_that_cannot_be_run_never_promotes() {
    check(
        "
        spec: {scale: {static: {replicas: 0}}, validation: {items: [{manual: {status: valid}}]}, verdict: valid}
        was: {scale: null}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +20m
        ",
        expect![[r#"
            shows Errored 20m0s/15m0s
            Running=True Validating: the validation period of Deployment myapp-kanary-batman ended at +15m0s (since +0s)
            Reconciling=False InvalidSpec: spec.scale.static.replicas is 0: use 1 or more
            Errored, Stalled=True InvalidSpec: spec.scale.static.replicas is 0: use 1 or more
            verdicts {"present":{"valid":1,"verdict":"valid"}}
            item manual[0] Good
        "#]],
    );
}

#[test]
fn a_label_still_fails_a_run_whose_edit_cannot_be_run() {
    check(
        "
        spec: {validation: {items: [{labelWatch: {podInvalidationLabels: {validation: failed}}}, {promQL: {prometheusService: 'p:9090', query: 'up{{ nonsense }}', boolean: {}}}]}}
        was: {validation: {items: [{labelWatch: {podInvalidationLabels: {validation: failed}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{labels: {validation: failed}}]}
        now: +1m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 1m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True LabelMatched: labelWatch[0]: pod x has labels that match validation=failed; to try again, change spec.template, or set spec.retry to another number
            completedAt +1m0s, failedTemplates ["<hash>"]
            item labelWatch[0] Bad: labelWatch[0]: pod x has labels that match validation=failed
            item promQL[1] Pending: promQL[1]: cannot be judged as it is written
        "#]],
    );
}

#[test]
fn a_label_still_fails_a_run_after_an_edit_that_would_run_in_place() {
    check(
        "
        spec: {scale: {inPlace: {replicas: 1}}, validation: {items: [{labelWatch: {podInvalidationLabels: {validation: failed}}}]}}
        was: {scale: null}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{labels: {validation: failed}}]}
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
fn a_query_still_fails_a_run_whose_edit_cannot_be_run() {
    check(
        "
        spec: {scale: {static: {replicas: 0}}, validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, boolean: {}}}]}}
        was: {scale: null}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{bad: 1, last: Fail 0 is not 1, at: +1m}]}
        now: +1m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 1m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True PromQLFailed: promQL[0]: 0 is not 1; to try again, change spec.template, or set spec.retry to another number
            completedAt +1m0s, failedTemplates ["<hash>"]
            item promQL[0] Bad (0 good, 1 bad, 0 errors): 0 is not 1
        "#]],
    );
}

#[test]
fn queries_are_still_asked_after_an_edit_that_cannot_be_run() {
    check(
        "
        spec: {scale: {static: {replicas: 0}}, validation: {items: [{metric: {type: Pods}}, {promQL: {prometheusService: 'p:9090', query: up, boolean: {}}}]}}
        was: {scale: null, validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, boolean: {}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            shows Errored 1m0s/15m0s
            Reconciling=False InvalidSpec: spec.validation.items[0].metric: metric needs the block of its type and no other: resource for Resource, containerResource for ContainerResource, pods for Pods, object for Object, external for External; spec.scale.static.replicas is 0: use 1 or more
            Errored, Stalled=True InvalidSpec: spec.validation.items[0].metric: metric needs the block of its type and no other: resource for Resource, containerResource for ContainerResource, pods for Pods, object for Object, external for External; spec.scale.static.replicas is 0: use 1 or more
            item metric[0] Pending: metric[0]: cannot be judged as it is written
            item promQL[1] Pending
            check items [1]
            wake at +1m20s
        "#]],
    );
}

#[test]
fn a_verdict_is_heard_whatever_else_cannot_be_read() {
    check(
        "
        spec: {verdict: invalid, validation: {validationPeriod: 15 minutes}}
        was: {validation: null}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 1m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True VerdictInvalid: spec.verdict is invalid; to try again, change spec.template, or set spec.retry to another number
            verdicts {"present":{"verdict":"invalid"}}, completedAt +1m0s, failedTemplates ["<hash>"]
        "#]],
    );
}

#[test]
fn a_pause_is_heard_whatever_else_cannot_be_read() {
    check(
        "
        spec: {paused: true, validation: {validationPeriod: 15 minutes}}
        was: {validation: null}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            shows Errored 1m0s/15m0s
            Running=True Paused: spec.paused is true: Deployment myapp-kanary-batman can fail but not pass; 14m0s of its validation are left (since +0s)
            Reconciling=False Paused: spec.paused is true: the run is held where it is
            Errored, Stalled=True InvalidSpec: spec.validation.validationPeriod: `15 minutes` is not a duration like 500ms, 20s or 1m30s: invalid floating-point number: invalid float literal
            pausedAt +1m0s
        "#]],
    );
}

#[test]
fn another_template_that_cannot_be_run_does_not_start_a_run() {
    check(
        "
        spec: {scale: {static: {replicas: 0}}}
        was: {scale: null}
        status: {phase: Running, template: old}
        seen: {canary: {run: 0000000000000000-1, available: +0s}}
        now: +1m
        ",
        expect![[r#"
            shows Errored 1m0s/15m0s
            Reconciling=False InvalidSpec: spec.scale.static.replicas is 0: use 1 or more
            Errored, Stalled=True InvalidSpec: spec.scale.static.replicas is 0: use 1 or more
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_template_that_cannot_be_read_does_not_start_a_run() {
    check(
        "
        spec: {template: {spec: {template: {spec: {containers: []}}}}}
        was: {template: {spec: {template: {spec: {containers: [{name: c, image: i}]}}}}}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            shows Errored 1m0s/15m0s
            Reconciling=False InvalidSpec: spec.template.spec.template.spec.containers has no container: spec.template is a whole Deployment, so the pod template is spec.template.spec.template
            Errored, Stalled=True InvalidSpec: spec.template.spec.template.spec.containers has no container: spec.template is a whole Deployment, so the pod template is spec.template.spec.template
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_canary_that_becomes_available_under_a_spec_that_cannot_be_run_is_judged() {
    check(
        "
        spec: {scale: {static: {replicas: 0}}}
        was: {scale: null}
        status: {conditions: {Scheduled: 'True Activating: x'}, currentHash: '<this>'}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            phase Scheduled → Running, shows Errored
            Scheduled=True Started: the run has started (since +0s)
            Errored, Stalled=True InvalidSpec: spec.scale.static.replicas is 0: use 1 or more
            Activated=True CanaryAvailable: Deployment myapp-kanary-batman is available
            Traffic=False NoTrafficRequested: the canary gets no traffic
            Running=True Validating: Deployment myapp-kanary-batman is judged until +15m0s
            initialDelay 0s, validationPeriod 15m0s, startTime -30s, availableAt +0s, validationStartTime +0s, deadline +15m0s
            item manual[0] Pending: manual[0]: waits for a person to set status to valid or invalid
        "#]],
    );
}

#[test]
fn the_canary_of_another_template_goes_before_anything_was_written() {
    check(
        "
        spec: {scale: {static: {replicas: 0}}}
        seen: {canary: {run: older, available: +0s}}
        now: +1m
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn what_a_spec_that_cannot_be_run_does_not_name_is_not_taken_away() {
    check(
        "
        spec: {traffic: {source: both}}
        was: {traffic: {source: both}, serviceName: myapp-svc}
        status: {phase: Running}
        seen: {canary: {available: +0s}, strays: [myapp-svc-kanary-batman]}
        now: +1m
        ",
        expect![[r#"
            shows Errored 1m0s/15m0s
            Reconciling=False InvalidSpec: spec.traffic.source both needs spec.serviceName, the production Service: set it, or use source none
            Errored, Stalled=True InvalidSpec: spec.traffic.source both needs spec.serviceName, the production Service: set it, or use source none
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_failed_run_is_cleaned_up_after_an_edit_that_cannot_be_run() {
    check(
        "
        spec: {traffic: {source: service}}
        was: {traffic: {source: service}, serviceName: myapp-svc}
        status: {phase: Failed}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}]}
        now: +1m
        ",
        expect![[r#"
            unlabel pod a: app
        "#]],
    );
}

#[test]
fn a_failed_run_that_gets_a_spec_that_cannot_be_run_stays_failed() {
    check(
        "
        spec: {scale: {static: {replicas: 0}}}
        was: {scale: null}
        status: {phase: Failed}
        now: +1m
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Stalled=True InvalidSpec: spec.scale.static.replicas is 0: use 1 or more (since +0s)
            Errored=True InvalidSpec: spec.scale.static.replicas is 0: use 1 or more
            removed verdicts
        "#]],
    );
}

#[test]
fn a_promoted_run_is_cleaned_up_after_an_edit_that_cannot_be_run() {
    check(
        "
        spec: {scale: {static: {replicas: 0}}}
        was: {scale: null}
        status: {phase: DeploymentUpdated}
        seen: {canary: {available: +0s}, target: {promotedBy: this run}}
        now: +1m
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
            shows Errored 0s/15m0s
            Errored, Stalled=True InvalidSpec: spec.scale.static.replicas is 0: use 1 or more
            removed verdicts
        "#]],
    );
}

#[test]
fn a_verdict_that_is_stored_is_not_promoted_under_a_spec_that_cannot_be_run() {
    check(
        "
        spec: {scale: {static: {replicas: 0}}}
        was: {scale: null}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, live: {}}
        now: +1m
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Reconciling=False InvalidSpec: spec.scale.static.replicas is 0: use 1 or more
            Errored, Stalled=True InvalidSpec: spec.scale.static.replicas is 0: use 1 or more
            removed verdicts
        "#]],
    );
}

#[test]
fn a_target_that_rolls_out_is_waited_for_under_a_spec_that_cannot_be_run() {
    check(
        "
        spec: {scale: {static: {replicas: 0}}}
        was: {scale: null}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false}}
        now: +1m
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored=True InvalidSpec: spec.scale.static.replicas is 0: use 1 or more
            removed verdicts
            wake at +2m0s
        "#]],
    );
}

#[test]
fn everything_that_cannot_be_run_is_reported_at_once() {
    check(
        "
        spec: {scale: {static: {replicas: 0}}, traffic: {source: service}, schedule: tomorrow, validation: {initialDelay: soon, items: [{metric: {type: Pods}}, {labelWatch: {podInvalidationLabels: {a: 1}}}]}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.validation.items[1]: labels that can't be read: the value of the label "a" is 1, which is not a string: write a plain map of label names to string values, like `validation: "failed"`, or nothing but matchLabels (such a map) and matchExpressions (a list of key, operator and a list of values); spec.validation.initialDelay: `soon` is not a duration like 500ms, 20s or 1m30s: invalid floating-point number: cannot parse float from empty string; spec.traffic.source service needs spec.serviceName, the production Service: set it, or use source none; spec.validation.items[0].metric: metric needs the block of its type and no other: resource for Resource, containerResource for ContainerResource, pods for Pods, object for Object, external for External; spec.schedule `tomorrow` is not an RFC 3339 time with a time zone: write it like -50151h18m0s; spec.scale.static.replicas is 0: use 1 or more
        "#]],
    );
}

#[test]
fn a_spec_that_cannot_run_is_reported_before_its_schedule() {
    check(
        "
        spec: {schedule: +1h, scale: {static: {replicas: 0}}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.scale.static.replicas is 0: use 1 or more
        "#]],
    );
}
