//! Problems at run time: `Errored` with its reason, and no other change.

use expect_test::expect;

use super::check;

#[test]
fn a_template_that_does_not_match_the_targets_selector_could_not_be_promoted() {
    check(
        "
        spec: {template: {spec: {template: {metadata: {labels: {app: other}}}}}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True TemplateMismatch: the labels of spec.template.spec.template.metadata do not match the selector of Deployment myapp (app=myapp), so it could not be promoted: add them
            Scheduled=True TemplateMismatch: the canary is not judged before this is resolved: the labels of spec.template.spec.template.metadata do not match the selector of Deployment myapp (app=myapp), so it could not be promoted: add them
            currentTraffic none
        "#]],
    );
}

#[test]
fn a_template_without_labels_could_not_be_promoted() {
    check(
        "
        spec: {template: {spec: {template: {metadata: null}}}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True TemplateMismatch: the labels of spec.template.spec.template.metadata do not match the selector of Deployment myapp (app=myapp), so it could not be promoted: add them
            Scheduled=True TemplateMismatch: the canary is not judged before this is resolved: the labels of spec.template.spec.template.metadata do not match the selector of Deployment myapp (app=myapp), so it could not be promoted: add them
            currentTraffic none
        "#]],
    );
}

#[test]
fn a_target_without_a_selector_takes_any_template() {
    check(
        "
        spec: {template: {spec: {template: {metadata: null}}}}
        seen: {target: {selector: {}}}
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_foreign_canary_is_left_alone() {
    check(
        "
        seen: {canary: {owner: robin}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True NameTaken: Deployment myapp-kanary-batman exists and belongs to robin, not to this Kanary: rename one of the two, or delete it
            Scheduled=True NameTaken: the canary is not judged before this is resolved: Deployment myapp-kanary-batman exists and belongs to robin, not to this Kanary: rename one of the two, or delete it
            currentTraffic none
        "#]],
    );
}

#[test]
fn a_deployment_without_owner_that_has_the_canarys_name_is_left_alone() {
    check(
        "
        seen: {canary: {owner: null}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True NameTaken: Deployment myapp-kanary-batman exists and has no owner, so it is not this Kanary's: rename one of the two, or delete it
            Scheduled=True NameTaken: the canary is not judged before this is resolved: Deployment myapp-kanary-batman exists and has no owner, so it is not this Kanary's: rename one of the two, or delete it
            currentTraffic none
        "#]],
    );
}

#[test]
fn a_foreign_canary_does_not_fail_the_run_when_it_is_late() {
    check(
        "
        seen: {canary: {owner: robin, created: -1h}}
        now: +1h
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True NameTaken: Deployment myapp-kanary-batman exists and belongs to robin, not to this Kanary: rename one of the two, or delete it
            Scheduled=True NameTaken: the canary is not judged before this is resolved: Deployment myapp-kanary-batman exists and belongs to robin, not to this Kanary: rename one of the two, or delete it
            currentTraffic none
        "#]],
    );
}

#[test]
fn a_problem_that_lasts_is_reported_once() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status:
          phase: ''
          conditions:
            Errored: 'True ServiceNotFound: Service myapp-svc does not exist: create it, or change spec.serviceName'
            Stalled: 'True ServiceNotFound: Service myapp-svc does not exist: create it, or change spec.serviceName'
            Scheduled: 'True Activating: waits for Deployment myapp-kanary-batman to be available'
          currentHash: '<this>'
          observedGeneration: 1
          report: {status: Errored, deployment: myapp, service: myapp-svc, scale: static, traffic: service, validation: manual, duration: 0s/15m0s}
        seen: {service: null}
        now: +1h
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Scheduled=True ServiceNotFound: the canary is not judged before this is resolved: Service myapp-svc does not exist: create it, or change spec.serviceName (since +0s)
            currentTraffic service myapp-svc
        "#]],
    );
}

#[test]
fn a_problem_that_is_fixed_is_withdrawn_and_the_canary_created() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status:
          phase: ''
          conditions: {Errored: 'True ServiceNotFound: x', Stalled: 'True ServiceNotFound: x'}
        now: +1m
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
            shows Scheduled 0s/15m0s
            Errored=False Resolved: what was wrong is resolved
            Stalled=False Resolved: nothing is in the way any more
            Scheduled, Reconciling=True Activating: waits for Deployment myapp-kanary-batman to be available
            currentTraffic service myapp-svc
        "#]],
    );
}

#[test]
fn a_service_that_goes_while_the_run_is_running_is_an_error_and_no_verdict() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, validation: {items: [{manual: {status: valid}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, service: null}
        now: +15m
        ",
        expect![[r#"
            shows Errored 15m0s/15m0s
            Traffic, Reconciling=False ServiceNotFound: Service myapp-svc does not exist: create it, or change spec.serviceName
            Running=True Validating: the validation period of Deployment myapp-kanary-batman ended at +15m0s (since +0s)
            Errored, Stalled=True ServiceNotFound: Service myapp-svc does not exist: create it, or change spec.serviceName
            verdicts {"present":{"valid":1}}
            item manual[0] Good
        "#]],
    );
}

#[test]
fn a_problem_that_is_over_leaves_the_run_reconciling() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status:
          phase: Running
          conditions: {Errored: 'True ServiceNotFound: x', Stalled: 'True ServiceNotFound: x', Reconciling: 'False ServiceNotFound: x'}
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
fn another_problem_takes_the_place_of_the_first_and_keeps_its_time() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status:
          phase: Running
          conditions: {Errored: 'True TargetNotFound: x', Stalled: 'True TargetNotFound: x', Reconciling: 'False TargetNotFound: x'}
        seen: {canary: {available: +0s}, service: null}
        now: +1m
        ",
        expect![[r#"
            shows Errored 1m0s/15m0s
            Traffic=False ServiceNotFound: Service myapp-svc does not exist: create it, or change spec.serviceName
            Errored, Stalled=True ServiceNotFound: Service myapp-svc does not exist: create it, or change spec.serviceName (since +0s)
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_problem_does_not_keep_a_bad_item_from_failing_the_run() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, validation: {items: [{labelWatch: {podInvalidationLabels: {validation: failed}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, service: null, pods: [{labels: {validation: failed}}]}
        now: +1m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 1m0s/15m0s, ended Activated, Traffic, Running, Reconciling
            Failed, Stalled=True LabelMatched: labelWatch[0]: pod x has labels that match validation=failed; to try again, change spec.template, or set spec.retry to another number
            completedAt +1m0s, failedTemplates ["<hash>"]
            item labelWatch[0] Bad: labelWatch[0]: pod x has labels that match validation=failed
        "#]],
    );
}

#[test]
fn a_refused_creation_is_an_error_and_is_tried_again_at_its_time() {
    check(
        "
        seen: {refusal: {reason: WriteRefused, message: 'create Deployment myapp-kanary-batman: exceeded quota', retryAt: +10s}}
        now: +1s
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True WriteRefused: create Deployment myapp-kanary-batman: exceeded quota
            Scheduled=True WriteRefused: the canary is not judged before this is resolved: create Deployment myapp-kanary-batman: exceeded quota
            currentTraffic none
            wake at +10s
        "#]],
    );
}

#[test]
fn a_refused_creation_is_tried_again() {
    check(
        "
        status: {phase: '', conditions: {Errored: 'True WriteRefused: x', Stalled: 'True WriteRefused: x'}}
        seen: {refusal: {retryAt: +10s}}
        now: +10s
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
fn a_refused_target_is_an_error_and_is_tried_again_at_its_time() {
    check(
        "
        seen: {target: null, refusal: {reason: WriteRefused, message: 'create Deployment myapp: spec.selector is empty', retryAt: +10s}}
        now: +1s
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True WriteRefused: create Deployment myapp: spec.selector is empty
            currentTraffic none
            wake at +10s
        "#]],
    );
}

#[test]
fn a_refused_promotion_is_an_error_and_is_tried_again_at_its_time() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, live: {}, refusal: {reason: WriteRefused, message: 'patch Deployment myapp: no', retryAt: +10s}}
        now: +1s
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Reconciling=False WriteRefused: patch Deployment myapp: no
            Errored, Stalled=True WriteRefused: patch Deployment myapp: no
            removed verdicts
            wake at +10s
        "#]],
    );
}

#[test]
fn a_late_canary_behind_a_problem_is_looked_at_again_when_something_happens() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Running}
        seen: {canary: {unavailable: +1m}, service: null}
        now: +1h
        ",
        expect![[r#"
            shows Errored 1h0m0s/15m0s
            Traffic, Reconciling=False ServiceNotFound: Service myapp-svc does not exist: create it, or change spec.serviceName
            Errored=True ServiceNotFound: Service myapp-svc does not exist: create it, or change spec.serviceName
            Stalled=True ServiceNotFound: Service myapp-svc does not exist: create it, or change spec.serviceName; Deployment myapp-kanary-batman is not available, so it cannot pass: the run waits until it is
        "#]],
    );
}

#[test]
fn a_run_that_fails_is_errored_no_more() {
    check(
        "
        spec: {verdict: invalid}
        status: {phase: Running, conditions: {Errored: 'True ServiceNotFound: x', Stalled: 'True ServiceNotFound: x'}}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 1m0s/15m0s, ended Activated, Running, Reconciling
            Errored=False VerdictInvalid: the run has ended
            Stalled=True VerdictInvalid: spec.verdict is invalid; to try again, change spec.template, or set spec.retry to another number (since +0s)
            Failed=True VerdictInvalid: spec.verdict is invalid; to try again, change spec.template, or set spec.retry to another number
            verdicts {"present":{"verdict":"invalid"}}, completedAt +1m0s, failedTemplates ["<hash>"]
        "#]],
    );
}

#[test]
fn a_transition_time_moves_only_with_its_condition() {
    check(
        "
        status: {phase: Running, conditions: {Running: 'True Validating: other words'}}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            shows Running 1m0s/15m0s
            Running=True Validating: Deployment myapp-kanary-batman is judged until +15m0s (since +0s)
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_controller_that_took_over_an_unwritten_run_does_not_create_its_canary_twice() {
    check(
        "
        seen: {canary: {}}
        now: +5m
        ",
        expect![[r#"
            wake at +9m30s
        "#]],
    );
}
