//! A change of the traffic source or of the Service, during and after a run.

use expect_test::expect;

use super::check;

#[test]
fn another_traffic_source_starts_a_new_run() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        was: {traffic: null}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            phase Running → Scheduled, shows Scheduled 0s/15m0s
            Scheduled=True NewRun: spec.traffic or spec.serviceName changed: a new run starts, because only what had the traffic that the spec asks for is promoted (since +0s)
            Reconciling=True NewRun: a new run starts (since +0s)
            run 2, currentTraffic service myapp-svc
            removed Activated, Traffic, Running, initialDelay, validationPeriod, startTime, availableAt, validationStartTime, deadline
        "#]],
    );
}

#[test]
fn another_service_starts_a_new_run() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        was: {serviceName: other-svc}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            phase Running → Scheduled, shows Scheduled 0s/15m0s
            Scheduled=True NewRun: spec.traffic or spec.serviceName changed: a new run starts, because only what had the traffic that the spec asks for is promoted (since +0s)
            Reconciling=True NewRun: a new run starts (since +0s)
            run 2, currentTraffic service myapp-svc
            removed Activated, Traffic, Running, initialDelay, validationPeriod, startTime, availableAt, validationStartTime, deadline
        "#]],
    );
}

#[test]
fn another_name_for_the_canarys_own_service_starts_a_new_run() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: both, kanaryService: new}}
        was: {traffic: {kanaryService: old}}
        status: {phase: Scheduled}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            phase Running → Scheduled, shows Scheduled 0s/15m0s
            Scheduled=True NewRun: spec.traffic or spec.serviceName changed: a new run starts, because only what had the traffic that the spec asks for is promoted (since +0s)
            Reconciling=True NewRun: a new run starts (since +0s)
            run 2, currentTraffic both myapp-svc new
            removed Activated, Traffic, Running, initialDelay, validationPeriod, startTime, availableAt, validationStartTime, deadline
        "#]],
    );
}

#[test]
fn a_service_that_brings_no_traffic_starts_no_new_run() {
    check(
        "
        spec: {serviceName: myapp-svc}
        was: {serviceName: other-svc}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            shows Running 1m0s/15m0s
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_status_of_a_version_that_did_not_record_the_traffic_takes_the_present_one() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Running, currentTraffic: null}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            shows Running 1m0s/15m0s
            currentTraffic service myapp-svc
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_canary_that_was_made_for_another_traffic_before_anything_was_written_is_replaced() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        seen: {canary: {available: +0s, traffic: none}}
        now: +1m
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_canary_says_which_traffic_it_was_made_for() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        show: [/metadata/annotations]
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
              annotations: {"…/target-template-hash":"85924a836eb2db86","…/traffic":"service myapp-svc"}
        "#]],
    );
}

#[test]
fn a_verdict_that_is_stored_stands_for_the_traffic_that_was_judged() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        was: {traffic: null}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s, traffic: none}, live: {}}
        now: +1m
        ",
        expect![[r#"
            set template of myapp from t1 to myapp:v2, by uid-batman/<hash>-1
        "#]],
    );
}

#[test]
fn a_finished_run_does_not_start_anew_for_another_traffic() {
    check(
        "
        kanary: {generation: 2}
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        was: {traffic: null, serviceName: other-svc}
        status: {phase: DeploymentUpdated}
        seen: {target: {promotedBy: this run}}
        now: +1h
        show: [/report]
        ",
        expect![[r#"
            shows DeploymentUpdated 0s/15m0s
            removed verdicts
              report: {"deployment":"myapp","duration":"0s/15m0s","scale":"static","service":"other-svc","status":"DeploymentUpdated","traffic":"none","validation":"manual"}
        "#]],
    );
}

#[test]
fn a_retained_canary_is_kept_whatever_traffic_is_asked_for_later() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, rollout: {onFailure: retain}}
        was: {traffic: null}
        status: {phase: Failed}
        seen: {canary: {available: +0s, traffic: none}}
        now: +1m
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn a_retry_of_a_template_that_failed_goes_on_with_another_traffic() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, retry: 1}
        was: {traffic: null}
        status: {phase: Running, retry: 1, run: 2, failedTemplates: ['<this>']}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            phase Running → Scheduled, shows Scheduled 0s/15m0s
            Scheduled=True NewRun: spec.traffic or spec.serviceName changed: a new run starts, because only what had the traffic that the spec asks for is promoted (since +0s)
            Reconciling=True NewRun: a new run starts (since +0s)
            run 3, currentTraffic service myapp-svc
            removed Activated, Traffic, Running, initialDelay, validationPeriod, startTime, availableAt, validationStartTime, deadline
        "#]],
    );
}

#[test]
fn a_target_that_is_being_created_is_not_created_anew_for_another_traffic() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        was: {traffic: null}
        status: {currentHash: '<this>', currentTraffic: none, conditions: {Running: 'True TargetCreated: x'}}
        seen: {target: {createdBy: this run, rolledOut: false}}
        now: +1m
        ",
        expect![[r#"
            shows Running 0s/15m0s
            Running=True TargetCreated: Deployment myapp did not exist and was created; waits for it to be available (since +0s)
            Scheduled=True TargetCreated: the target did not exist and was created
            Reconciling=True TargetCreated: Deployment myapp did not exist and was created; waits for it to be available
            startTime +0s
            wake at +10m0s
        "#]],
    );
}
