//! Only time in which the canary was fully available counts as validation.

use expect_test::expect;

use super::check;

/// A run that waits for nothing but its canary.
const RUN: &str = "{validation: {items: [{labelWatch: {podInvalidationLabels: {a: b}}}]}}";

fn run(status: &str, seen: &str, now: &str) -> String {
    format!("{{spec: {RUN}, status: {{phase: Running{status}}}, seen: {seen}, now: {now}}}")
}

#[test]
fn a_canary_that_comes_up_right_after_its_deadline_is_not_promoted_then() {
    check(
        &run("", "{canary: {available: +15m1s, outage: {from: +5m}}}", "+15m2s"),
        expect![[r#"
            shows Running 5m1s/15m0s
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +25m1s; 10m1s in which it was not available do not count (since +0s)
            availableSince +15m1s, unavailableFor 10m1s, deadline +25m1s
            wake at +25m1s
        "#]],
    );
}

#[test]
fn an_outage_moves_the_deadline_by_its_length_once() {
    check(
        &run(
            ", availableSince: +5m30s, deadline: +15m30s, unavailableFor: 30s",
            "{canary: {available: +5m30s, outage: {from: +5m}}}",
            "+6m",
        ),
        expect![[r#"
            shows Running 5m30s/15m0s
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +15m30s; 30s in which it was not available do not count (since +0s)
            wake at +15m30s
        "#]],
    );
}

#[test]
fn a_second_outage_moves_it_further() {
    check(
        &run(
            ", availableSince: +5m30s, deadline: +15m30s, unavailableFor: 30s",
            "{canary: {available: +7m, outage: {from: +6m50s, before: +5m30s}}}",
            "+7m",
        ),
        expect![[r#"
            shows Running 6m20s/15m0s
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +15m40s; 40s in which it was not available do not count (since +0s)
            availableSince +7m0s, unavailableFor 40s, deadline +15m40s
            wake at +15m40s
        "#]],
    );
}

#[test]
fn an_outage_within_a_second_is_known_from_its_beginning() {
    check(
        &run("", "{canary: {available: +10m, outage: {from: +10m}}}", "+11m"),
        expect![[r#"
            shows Running 11m0s/15m0s
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +15m0s; less than 1s in which it was not available does not count (since +0s)
            availableSince +10m0s, unavailableFor 0s
            wake at +15m0s
        "#]],
    );
    check(
        &run(
            ", availableSince: +10m, unavailableFor: 0s",
            "{canary: {available: +10m30s, outage: {from: +10m20s, before: +10m}}}",
            "+11m",
        ),
        expect![[r#"
            shows Running 10m50s/15m0s
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +15m10s; 10s in which it was not available do not count (since +0s)
            availableSince +10m30s, unavailableFor 10s, deadline +15m10s
            wake at +15m10s
        "#]],
    );
}

#[test]
fn an_outage_whose_beginning_was_not_observed_costs_a_whole_period() {
    check(
        &run("", "{canary: {available: +10m}}", "+11m"),
        expect![[r#"
            shows Running 1m0s/15m0s
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +25m0s; the beginning of an outage is not known, so a whole period counts from its end (since +0s)
            availableSince +10m0s, deadline +25m0s
            wake at +25m0s
        "#]],
    );
}

#[test]
fn an_outage_after_an_uncounted_one_costs_a_whole_period() {
    check(
        &run(
            "",
            "{canary: {available: +10m, outage: {from: +9m, before: +8m}}}",
            "+11m",
        ),
        expect![[r#"
            shows Running 1m0s/15m0s
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +25m0s; the beginning of an outage is not known, so a whole period counts from its end (since +0s)
            availableSince +10m0s, deadline +25m0s
            wake at +25m0s
        "#]],
    );
}

#[test]
fn an_outage_after_the_deadline_moves_nothing() {
    check(
        &run("", "{canary: {available: +20m, outage: {from: +16m}}}", "+21m"),
        expect![[r#"
            phase Running → Succeeded, shows Succeeded 21m0s/15m0s
            Running=False AllItemsGood: the verdict is good
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it (since +0s)
            Succeeded=True AllItemsGood: every validation item is good at the deadline
            availableSince +20m0s, unavailableFor 4m0s
        "#]],
    );
}

#[test]
fn an_outage_in_the_initial_delay_moves_the_start_as_well() {
    check(
        "
        spec: {validation: {initialDelay: 1m}}
        status: {phase: Scheduled}
        seen: {canary: {available: +40s, outage: {from: +10s}}}
        now: +41s
        ",
        expect![[r#"
            shows Scheduled 11s/16m0s
            availableSince +40s, unavailableFor 30s, validationStartTime +1m30s, deadline +16m30s
            wake at +1m30s
        "#]],
    );
}

#[test]
fn a_canary_that_is_down_does_not_begin_its_validation() {
    check(
        "
        spec: {validation: {initialDelay: 1m}}
        status: {phase: Scheduled}
        seen: {canary: {unavailable: +10s, outage: {from: +10s}}}
        now: +1m
        ",
        expect![[r#"
            shows Scheduled 1m0s/16m0s
            Scheduled, Reconciling=True Activating: waits for Deployment myapp-kanary-batman to be available (since +0s)
            wake at +10m10s
        "#]],
    );
}

#[test]
fn a_deadline_that_passes_while_the_canary_is_down_is_not_reached() {
    check(
        "
        spec: {validation: {items: [{manual: {statusAfterDeadline: invalid}}]}}
        status: {phase: Running}
        seen: {canary: {unavailable: +14m}}
        now: +16m
        ",
        expect![[r#"
            shows Running 16m0s/15m0s
            Reconciling=True WaitingForCanary: Deployment myapp-kanary-batman is not available, so it cannot pass: the run waits until it is (since +0s)
            wake at +24m0s
        "#]],
    );
}

#[test]
fn an_outage_within_a_pause_is_not_counted_twice() {
    check(
        "
        status: {phase: Running, pausedAt: +5m, conditions: {Reconciling: 'False Paused: x'}}
        seen: {canary: {available: +9m, outage: {from: +6m}}}
        now: +1h5m
        ",
        expect![[r#"
            shows Running 5m0s/15m0s
            Running=True Validating: Deployment myapp-kanary-batman is judged until +1h15m0s; 3m0s in which it was not available do not count (since +0s)
            Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +1h15m0s; 3m0s in which it was not available do not count
            availableSince +9m0s, unavailableFor 3m0s, deadline +1h15m0s, resumedAt +1h5m0s
            removed pausedAt
            wake at +1h15m0s
        "#]],
    );
}

#[test]
fn an_older_status_takes_its_first_availability_for_the_last() {
    check(
        &run(
            ", availableSince: null, canaryUid: null, canaryHash: null",
            "{canary: {available: +0s}}",
            "+14m",
        ),
        expect![[r#"
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_canary_that_was_replaced_is_validated_anew() {
    check(
        "
        spec: {validation: {items: [{manual: {}}]}}
        status:
          phase: Running
          unavailableFor: 30s
          items: [{name: 'manual[0]', bad: 1}]
        seen: {canary: {uid: uid-successor, created: +14m59s, available: +15m0s}}
        now: +15m1s
        show: [/canaryUid, /canaryHash]
        ",
        expect![[r#"
            shows Running 1s/15m0s
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman was replaced, and its successor is judged until +30m0s (since +0s)
            availableAt +15m0s, validationStartTime +15m0s, deadline +30m0s
            removed unavailableFor
            item manual[0] Pending: manual[0]: waits for a person to set status to valid or invalid
              canaryUid: "uid-successor"
              canaryHash: "created"
            wake at +30m0s
        "#]],
    );
}

#[test]
fn a_canary_that_was_replaced_is_not_judged_by_the_times_of_the_former() {
    check(
        &run("", "{canary: {uid: uid-successor, created: +14m59s}}", "+15m1s"),
        expect![[r#"
            shows Running 15m1s/15m0s
            Reconciling=True WaitingForCanary: Deployment myapp-kanary-batman is not available, so it cannot pass: the run waits until it is (since +0s)
            wake at +24m59s
        "#]],
    );
}

#[test]
fn a_canary_that_was_replaced_warms_up_again_before_its_labels_count() {
    check(
        "
        spec: {validation: {initialDelay: 1m, items: [{labelWatch: {podInvalidationLabels: {cold: 'true'}}}]}}
        status: {phase: Running}
        seen:
          canary: {uid: uid-successor, created: +5m, available: +5m10s}
          pods: [{labels: {cold: 'true'}}]
        now: +5m20s
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 5m20s/16m0s, ended Reconciling, Activated, Running
            Failed, Stalled=True LabelMatched: labelWatch[0]: pod x has labels that match cold=true; to try again, change spec.template, or set spec.retry to another number
            completedAt +5m20s, failedTemplates ["<hash>"]
            item labelWatch[0] Bad: labelWatch[0]: pod x has labels that match cold=true
        "#]],
    );
}

#[test]
fn an_older_status_knows_a_canary_that_was_replaced_by_its_creation() {
    check(
        &run(
            ", availableSince: null, canaryUid: null, canaryHash: null",
            "{canary: {created: +14m58s, available: +15m0s}}",
            "+15m1s",
        ),
        expect![[r#"
            shows Running 1s/15m0s
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman was replaced, and its successor is judged until +30m0s (since +0s)
            availableAt +15m0s, validationStartTime +15m0s, deadline +30m0s
            wake at +30m0s
        "#]],
    );
}

#[test]
fn a_canary_that_comes_and_goes_ends_once_it_was_down_for_longer_than_it_was_up() {
    check(
        &run(
            ", availableSince: +20m, unavailableFor: 11m, deadline: +26m",
            "{canary: {unavailable: +20m10s}, pods: [{ready: false}]}",
            "+20m10s",
        ),
        expect![[r#"
            phase Running → Failed, shows Failed 9m10s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True ProgressDeadlineExceeded: Deployment myapp-kanary-batman is not available, after 11m0s in which it was not before, and progressDeadline is 10m0s: its pod is not ready; to try again, change spec.template, or set spec.retry to another number
            completedAt +20m10s, failedTemplates ["<hash>"]
        "#]],
    );
}

#[test]
fn a_canary_that_an_autoscaler_scales_up_for_days_does_not_end_by_that() {
    check(
        &run(
            ", availableSince: +48h, unavailableFor: 1h, deadline: +60h",
            "{canary: {unavailable: +49h}}",
            "+49h1m",
        ),
        expect![[r#"
            shows Running 0s/15m0s
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +60h0m0s; 1h0m0s in which it was not available do not count (since +0s)
            wake at +49h10m0s
        "#]],
    );
}
