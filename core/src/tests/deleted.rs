//! A Kanary that is being deleted while a finalizer holds it.

use expect_test::expect;

use super::check;

#[test]
fn a_canary_leaves_production_when_its_kanary_is_deleted_and_held_by_a_finalizer() {
    check(
        "
        kanary: {deletionTimestamp: +0s, finalizers: [example.com/hold]}
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}]}
        now: +1m
        ",
        expect![[r#"
            unlabel pod a: app
            shows Deleting 1m0s/15m0s
            Activated, Traffic=False Deleting: this Kanary is being deleted
            Running=True Deleting: this Kanary is being deleted, so its canary is not judged any more (since +0s)
            Reconciling=True Deleting: this Kanary is being deleted and is held by its finalizers (example.com/hold): its canary is taken away, and Deployment myapp stays as it is (since +0s)
        "#]],
    );
}

#[test]
fn everything_that_was_created_for_a_deleted_kanary_goes() {
    check(
        "
        kanary: {deletionTimestamp: +0s, finalizers: [example.com/hold]}
        spec: {serviceName: myapp-svc, traffic: {source: both}, scale: {hpa: {maxReplicas: 3}}, rollout: {onFailure: retain}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{name: a}], kanaryService: {}, hpa: {}, strays: [old-service, Deployment old-kanary-batman]}
        now: +1m
        ",
        expect![[r#"
            delete HorizontalPodAutoscaler myapp-kanary-batman
            delete Deployment myapp-kanary-batman
            delete Service myapp-svc-kanary-batman
            delete Service old-service
            delete Deployment old-kanary-batman
            shows Deleting 1m0s/15m0s
            Activated, Traffic=False Deleting: this Kanary is being deleted
            Running=True Deleting: this Kanary is being deleted, so its canary is not judged any more (since +0s)
            Reconciling=True Deleting: this Kanary is being deleted and is held by its finalizers (example.com/hold): its canary is taken away, and Deployment myapp stays as it is (since +0s)
        "#]],
    );
}

#[test]
fn a_retained_canary_goes_with_its_kanary() {
    check(
        "
        kanary: {deletionTimestamp: +0s, finalizers: [example.com/hold]}
        spec: {rollout: {onFailure: retain}}
        status: {phase: Failed}
        seen: {canary: {}}
        now: +1m
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
            shows Deleting 0s/15m0s
            Reconciling=True Deleting: this Kanary is being deleted and is held by its finalizers (example.com/hold): its canary is taken away, and Deployment myapp stays as it is
            Stalled=False Deleting: this Kanary is being deleted
            removed verdicts
        "#]],
    );
}

#[test]
fn nothing_is_promoted_once_the_kanary_is_deleted() {
    check(
        "
        kanary: {deletionTimestamp: +0s, finalizers: [example.com/hold]}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, live: {}}
        now: +1m
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
            shows Deleting 0s/15m0s
            Activated=False Deleting: this Kanary is being deleted
            Reconciling=True Deleting: this Kanary is being deleted and is held by its finalizers (example.com/hold): its canary is taken away, and Deployment myapp stays as it is (since +0s)
            removed verdicts
        "#]],
    );
}

#[test]
fn nothing_is_created_once_the_kanary_is_deleted() {
    check(
        "
        kanary: {deletionTimestamp: +0s, finalizers: [example.com/hold]}
        seen: {target: null}
        ",
        expect![[r#"
            shows Deleting 0s/15m0s
            Reconciling=True Deleting: this Kanary is being deleted and is held by its finalizers (example.com/hold): its canary is taken away, and Deployment myapp stays as it is
            currentTraffic none
        "#]],
    );
}

#[test]
fn a_new_template_starts_nothing_once_the_kanary_is_deleted() {
    check(
        "
        kanary: {deletionTimestamp: +0s, finalizers: [example.com/hold]}
        status: {phase: Failed, template: old}
        seen: {canary: {run: older}}
        now: +1m
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
            shows Deleting 0s/15m0s
            Reconciling=True Deleting: this Kanary is being deleted and is held by its finalizers (example.com/hold): its canary is taken away, and Deployment myapp stays as it is
            Stalled=False Deleting: this Kanary is being deleted
            removed verdicts
        "#]],
    );
}

#[test]
fn a_spec_that_cannot_be_run_does_not_keep_the_canary_of_a_deleted_kanary() {
    check(
        "
        kanary: {deletionTimestamp: +0s, finalizers: [example.com/hold]}
        spec: {scale: {static: {replicas: 0}}}
        was: {scale: null}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
            shows Deleting 1m0s/15m0s
            Activated=False Deleting: this Kanary is being deleted
            Running=True Deleting: this Kanary is being deleted, so its canary is not judged any more (since +0s)
            Reconciling=True Deleting: this Kanary is being deleted and is held by its finalizers (example.com/hold): its canary is taken away, and Deployment myapp stays as it is (since +0s)
        "#]],
    );
}

#[test]
fn deletion_with_cascade_orphan_keeps_the_objects_of_the_kanary() {
    check(
        "
        kanary: {deletionTimestamp: +0s, finalizers: [orphan]}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn a_clean_up_of_a_deleted_kanary_that_is_refused_says_so() {
    check(
        "
        kanary: {deletionTimestamp: +0s, finalizers: [example.com/hold]}
        status: {phase: Running}
        seen: {canary: {available: +0s}, refusal: {reason: WriteRefused, message: 'delete Deployment: not allowed', retryAt: +2m}}
        now: +1m
        ",
        expect![[r#"
            shows Deleting 1m0s/15m0s
            Activated=False Deleting: this Kanary is being deleted
            Running=True Deleting: this Kanary is being deleted, so its canary is not judged any more (since +0s)
            Reconciling=False WriteRefused: delete Deployment: not allowed
            Errored, Stalled=True WriteRefused: delete Deployment: not allowed
            wake at +2m0s
        "#]],
    );
}

#[test]
fn a_deleted_kanary_that_is_held_says_so_once() {
    check(
        "
        kanary: {deletionTimestamp: +0s, finalizers: [example.com/hold]}
        status: {phase: Failed, conditions: {Reconciling: 'True Deleting: this Kanary is being deleted and is held by its finalizers (example.com/hold): its canary is taken away, and Deployment myapp stays as it is', Stalled: 'False Deleting: this Kanary is being deleted'}, report: {status: Deleting}}
        now: +1m
        ",
        expect![[r#"
            nothing
        "#]],
    );
}
