//! `status.failedTemplates`: a failed template does not run again.

use std::sync::Arc;

use expect_test::expect;

use super::{check, input::read};
use crate::{decide, status::Phase};

#[test]
fn a_template_that_failed_before_is_not_run_again() {
    check(
        "
        status: {phase: DeploymentUpdated, template: old, failedTemplates: ['<this>']}
        now: +1h
        ",
        expect![[r#"
            phase DeploymentUpdated → Failed, shows Failed 0s/15m0s
            Failed, Stalled=True TemplateFailedBefore: this template failed before and is not run again: change the template, or set spec.retry to another number to run it once more
            Reconciling=False RunEnded: nothing is run: this template failed before (since +0s)
            run 2, completedAt +1h0m0s
            removed Scheduled, Activated, Traffic, Running, Succeeded, DeploymentUpdated, verdicts, initialDelay, validationPeriod, promotedHash, startTime, availableAt, validationStartTime, deadline
        "#]],
    );
}

#[test]
fn a_template_that_failed_before_runs_with_another_retry() {
    check(
        "
        spec: {retry: 1}
        status: {phase: DeploymentUpdated, template: old, failedTemplates: ['<this>']}
        now: +1h
        ",
        expect![[r#"
            phase DeploymentUpdated → Scheduled, shows Scheduled 0s/15m0s
            Scheduled=True NewRun: spec.template changed: a new run starts (since +0s)
            Reconciling=True NewRun: a new run starts
            run 2, retry 1
            removed Activated, Traffic, Running, Succeeded, DeploymentUpdated, verdicts, initialDelay, validationPeriod, promotedHash, startTime, availableAt, validationStartTime, deadline, completedAt
        "#]],
    );
}

#[test]
fn a_failed_run_remembers_its_template() {
    check(
        "
        spec: {verdict: invalid}
        status: {phase: Running, failedTemplates: [aaa]}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 1m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True VerdictInvalid: spec.verdict is invalid; to try again, change spec.template, or set spec.retry to another number
            verdicts {"present":{"verdict":"invalid"}}, completedAt +1m0s, failedTemplates ["aaa","<hash>"]
        "#]],
    );
}

#[test]
fn a_template_that_fails_again_is_remembered_once_and_as_the_latest() {
    check(
        "
        spec: {verdict: invalid}
        status: {phase: Running, failedTemplates: ['<this>', aaa]}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 1m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True VerdictInvalid: spec.verdict is invalid; to try again, change spec.template, or set spec.retry to another number
            verdicts {"present":{"verdict":"invalid"}}, completedAt +1m0s, failedTemplates ["aaa","<hash>"]
        "#]],
    );
}

#[test]
fn the_last_twenty_failed_templates_are_remembered() {
    check(
        "
        spec: {verdict: invalid}
        status: {phase: Running, failedTemplates: [a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20]}
        seen: {canary: {available: +0s}}
        now: +1m
        show: [/failedTemplates]
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 1m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True VerdictInvalid: spec.verdict is invalid; to try again, change spec.template, or set spec.retry to another number
            verdicts {"present":{"verdict":"invalid"}}, completedAt +1m0s, failedTemplates 20 of them, last "<hash>"
              failedTemplates: ["a2","a3","a4","a5","a6","a7","a8","a9","a10","a11","a12","a13","a14","a15","a16","a17","a18","a19","a20","<hash>"]
        "#]],
    );
}

#[test]
fn a_failed_template_remembers_across_runs() {
    check(
        "
        status: {phase: Failed, template: old, failedTemplates: [aaa, bbb]}
        now: +1m
        show: [/failedTemplates]
        ",
        expect![[r#"
            phase Failed → Scheduled, shows Scheduled 0s/15m0s
            Scheduled=True NewRun: spec.template changed: a new run starts (since +0s)
            Reconciling=True NewRun: a new run starts
            run 2
            removed Activated, Traffic, Running, Failed, Stalled, verdicts, initialDelay, validationPeriod, startTime, availableAt, validationStartTime, deadline, completedAt
              failedTemplates: ["aaa","bbb"]
        "#]],
    );
}

#[test]
fn a_template_whose_canary_or_target_a_user_changed_runs_again_after_another_one() {
    for seen in [
        "{canary: {available: +0s, template: edited, versions: several}}",
        "{canary: {available: +0s}, target: {template: t7}}",
    ] {
        let mut input = read(&format!("{{status: {{phase: Running}}, seen: {seen}, now: +1m}}"));
        let template = input.kanary.spec.template_hash.clone();
        let failed = decide(&input.kanary, &input.seen, input.now).status.unwrap();
        assert_eq!(Phase::of(&failed), Phase::Failed, "{failed:#?}");
        input.kanary.status = failed;
        for hash in ["another", &template] {
            Arc::make_mut(&mut input.kanary.spec).template_hash = hash.to_owned();
            let next = decide(&input.kanary, &input.seen, input.now).status.unwrap();
            assert_eq!(Phase::of(&next), Phase::Scheduled, "{hash}: {next:#?}");
            assert_eq!(next.failed_templates, Vec::<String>::new());
            input.kanary.status = next;
        }
    }
}
