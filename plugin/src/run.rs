//! What the status of a Kanary says about the run that its present spec asks for.

use std::time::Duration;

use jiff::Timestamp;
use kanary_core::{
    ParsedKanary,
    api::{GoDuration, ItemState, ManualVerdict, ManualVerdicts, Reason},
    status::{DEPLOYMENT_UPDATED, FAILED, Phase, RECONCILING, RUNNING, SCHEDULED, STALLED, SUCCEEDED, find, is_true},
};

use crate::text::Colour;

/// How the run of the present spec stands. A status that is about an earlier version of the spec never counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The controller has not reported on this version yet.
    Unseen,
    /// The spec cannot be run, so there is no run.
    Invalid(String),
    /// The Kanary is being deleted.
    Deleting,
    /// The run goes on.
    UnderWay,
    /// The run passed, and the target has the template.
    Promoted,
    /// The run passed, and was a dry-run.
    DryRunPassed,
    /// The run failed.
    Failed,
    /// The run ended in a way that the present spec does not ask for. The text says how.
    Otherwise(String),
}

impl Outcome {
    /// The outcome of the run that the spec asks for.
    pub(crate) fn of(kanary: &ParsedKanary) -> Self {
        let status = &kanary.status;
        if kanary.deleting {
            return Self::Deleting;
        }
        if status.observed_generation != Some(kanary.generation) {
            return Self::Unseen;
        }
        if !kanary.spec.is_sound() {
            let problems: Vec<_> = kanary.spec.problems.iter().map(|it| it.message.as_str()).collect();
            return Self::Invalid(problems.join("; "));
        }
        let phase = Phase::of(status);
        if phase <= Phase::Running {
            return Self::UnderWay;
        }
        if !is_of_spec(kanary) {
            return Self::Unseen;
        }
        match phase {
            Phase::Failed => Self::Failed,
            Phase::DeploymentUpdated => match late_objection(kanary) {
                Some(why) => Self::Otherwise(why),
                None => Self::Promoted,
            },
            Phase::Succeeded if status.completed_at.is_none() => Self::UnderWay,
            Phase::Succeeded if kanary.spec.dry_run => Self::DryRunPassed,
            Phase::Succeeded => Self::Otherwise(format!(
                "the run ended as a dry-run, which left {} alone, and the spec asks for a promotion now: \
                 `kubectl kanary retry` runs the template again",
                kanary.spec.target
            )),
            Phase::Scheduled | Phase::Running => Self::UnderWay,
        }
    }

    /// Whether the run has ended, or will never begin.
    pub(crate) fn is_final(&self) -> bool {
        !matches!(self, Self::Unseen | Self::UnderWay | Self::Deleting)
    }
}

/// Whether the status is about the template and `retry` of the spec.
pub(crate) fn is_of_spec(kanary: &ParsedKanary) -> bool {
    let status = &kanary.status;
    status.current_hash.as_ref() == Some(&kanary.spec.template_hash)
        && status.retry.unwrap_or_default() == kanary.spec.retry
}

/// Whether there is no status at all. Then this is the first run, in which every verdict counts.
pub(crate) fn is_new(kanary: &ParsedKanary) -> bool {
    let status = &kanary.status;
    status.observed_generation.is_none() && status.current_hash.is_none() && status.conditions.is_empty()
}

/// Why a promotion that took place is no success: a verdict against the canary came while the target rolled out.
fn late_objection(kanary: &ParsedKanary) -> Option<String> {
    let bad = kanary.status.items.iter().find(|item| item.state == ItemState::Bad);
    let what = match bad {
        Some(item) => format!("{} is bad", item.name),
        None if counts(kanary, ManualVerdict::Invalid) => "the spec has a verdict `invalid`".to_owned(),
        None => return None,
    };
    Some(format!(
        "{} was updated, and {what}: if it came too late, {} undoes the update",
        kanary.spec.target,
        undo(kanary)
    ))
}

/// What takes a promotion back. The Deployments of a front end follow its spec.
pub(crate) fn undo(kanary: &ParsedKanary) -> String {
    if kanary.key.kind.is_front_end() {
        return "the former image or template in its spec".to_owned();
    }
    format!("`kubectl rollout undo {}`", kanary.spec.target.argument())
}

/// The verdicts in the spec that are from an earlier run and do not count.
pub(crate) fn stale(kanary: &ParsedKanary) -> ManualVerdicts {
    let verdicts = kanary.status.verdicts.as_ref();
    verdicts.map(|verdicts| verdicts.stale.clone()).unwrap_or_default()
}

/// Whether the spec has `spec.verdict` with this value, given for this run.
fn counts(kanary: &ParsedKanary, verdict: ManualVerdict) -> bool {
    kanary.spec.verdict == Some(verdict) && stale(kanary).verdict != Some(verdict)
}

/// Number of the run, from 1.
pub(crate) fn number(kanary: &ParsedKanary) -> i64 {
    kanary.status.run_number()
}

/// What the column STATUS shows.
pub(crate) fn shown(kanary: &ParsedKanary) -> (String, Colour) {
    let report = &kanary.status.report.status;
    let outcome = Outcome::of(kanary);
    let colour = match &outcome {
        Outcome::Promoted | Outcome::DryRunPassed => Colour::Green,
        Outcome::Failed | Outcome::Otherwise(_) | Outcome::Invalid(_) => Colour::Red,
        Outcome::Unseen | Outcome::Deleting => Colour::Dim,
        Outcome::UnderWay if report == "Errored" || is_true(&kanary.status, STALLED) => Colour::Yellow,
        Outcome::UnderWay => Colour::Cyan,
    };
    let text = match outcome {
        // The stored status would show the result of another template.
        Outcome::Unseen => "Pending",
        Outcome::Deleting => "Deleting",
        _ if report.is_empty() => "Pending",
        _ => report,
    };
    (text.to_owned(), colour)
}

/// Elapsed and total validation time of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Elapsed {
    pub(crate) passed: Duration,
    pub(crate) total: Duration,
}

impl Elapsed {
    /// The times at `now`; `None` without a deadline.
    pub(crate) fn of(kanary: &ParsedKanary, now: Timestamp) -> Option<Self> {
        let status = &kanary.status;
        let deadline = status.deadline?;
        let part = |duration: Option<GoDuration>| duration.unwrap_or_default().0;
        let total = part(status.initial_delay) + part(status.validation_period);
        let verdict = find(status, SUCCEEDED).filter(|condition| condition.status == "True");
        let verdict = verdict.map(|condition| condition.last_transition_time.0);
        let ends = [verdict, status.completed_at, status.paused_at];
        let until = ends.into_iter().flatten().fold(now, Timestamp::min);
        let left = Duration::try_from(deadline.duration_since(until)).unwrap_or_default();
        Some(Self {
            passed: total.saturating_sub(left),
            total,
        })
    }

    pub(crate) fn share(self) -> f64 {
        if self.total.is_zero() {
            return 1.0;
        }
        self.passed.as_secs_f64() / self.total.as_secs_f64()
    }

    /// `9m40s/15m0s`, in whole seconds.
    pub(crate) fn text(self) -> String {
        format!(
            "{}/{}",
            GoDuration::from_secs(self.passed.as_secs()),
            GoDuration(self.total)
        )
    }
}

/// What the column DURATION shows at `now`. The stored report has the time of the last change.
pub(crate) fn duration(kanary: &ParsedKanary, now: Timestamp) -> String {
    match (Outcome::of(kanary), Elapsed::of(kanary, now)) {
        (Outcome::Unseen, _) => String::new(),
        (_, Some(elapsed)) => elapsed.text(),
        _ => kanary.status.report.duration.clone(),
    }
}

/// The sentence that explains where the run stands.
pub(crate) fn why(kanary: &ParsedKanary) -> String {
    let status = &kanary.status;
    let first = |conditions: &[&str]| {
        let found = conditions.iter().find_map(|name| {
            find(status, name).filter(|condition| condition.status == "True" || condition.reason == Reason::Paused)
        });
        found.map(|condition| condition.message.clone()).unwrap_or_default()
    };
    match Outcome::of(kanary) {
        Outcome::Unseen if is_new(kanary) => {
            "the controller has not reported yet: it does once the canary is available, or once something is wrong"
                .to_owned()
        }
        Outcome::Unseen => format!(
            "the controller has not reported on generation {} yet (reported: {})",
            kanary.generation,
            status.observed_generation.unwrap_or_default()
        ),
        Outcome::Invalid(why) => format!("the spec cannot be run: {why}"),
        Outcome::Deleting => "the Kanary is being deleted".to_owned(),
        Outcome::Promoted => first(&[DEPLOYMENT_UPDATED]),
        Outcome::DryRunPassed => first(&[SUCCEEDED]),
        // What is left to do, or cannot be done, comes with it.
        Outcome::Failed => {
            let parts = [first(&[FAILED]), first(&["Errored"])];
            let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            parts.join("; ")
        }
        Outcome::Otherwise(why) => why,
        Outcome::UnderWay => first(&["Errored", STALLED, RECONCILING, RUNNING, SCHEDULED]),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use kanary_core::api::{Kanary, KanaryKind};
    use serde_json::{Value, json};

    use super::*;

    /// A Kanary whose status reports on its present spec. `edit` is merged into it.
    pub(crate) fn kanary(edit: &Value) -> ParsedKanary {
        let mut object = json!({
            "metadata": {"name": "batman", "namespace": "shop", "uid": "u", "generation": 3, "resourceVersion": "7"},
            "spec": {
                "deploymentName": "myapp",
                "template": {"spec": {"template": {
                    "metadata": {"labels": {"app": "myapp"}},
                    "spec": {"containers": [{"name": "app", "image": "myapp:v2"}]},
                }}},
            },
            "status": {"observedGeneration": 3, "run": 2, "report": {"status": "Running"}},
        });
        kanary_sim::patch::merge(&mut object, edit);
        let mut kanary: Kanary = serde_json::from_value(object).unwrap();
        let parsed = ParsedKanary::parse(KanaryKind::Deployment, &kanary).unwrap();
        if let Some(status) = &mut kanary.status
            && status["currentHash"].is_null()
        {
            status["currentHash"] = json!(parsed.spec.template_hash);
        }
        ParsedKanary::parse(KanaryKind::Deployment, &kanary).unwrap()
    }

    pub(crate) fn condition(name: &str, reason: &str) -> Value {
        json!({
            "type": name, "status": "True", "reason": reason, "message": format!("{name}: {reason}"),
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    }

    fn ended(name: &str, reason: &str, also: &Value) -> ParsedKanary {
        let mut edit = json!({"status": {
            "conditions": [condition(name, reason)], "completedAt": "2026-01-01T00:10:00Z",
        }});
        kanary_sim::patch::merge(&mut edit, also);
        kanary(&edit)
    }

    #[test]
    fn only_a_run_of_the_present_spec_is_promoted() {
        let promoted = |also: Value| Outcome::of(&ended("DeploymentUpdated", "TargetRolledOut", &also));
        assert_eq!(promoted(json!({})), Outcome::Promoted);
        for stale in [
            json!({"metadata": {"generation": 4}}),
            json!({"metadata": {"generation": 2}}),
            json!({"status": {"observedGeneration": -1}}),
            json!({"status": {"currentHash": "0123456789abcdef"}}),
            json!({"spec": {"retry": 1}}),
            json!({"status": {"retry": 1}}),
        ] {
            assert_eq!(promoted(stale.clone()), Outcome::Unseen, "{stale}");
        }
        let invalid = promoted(json!({"spec": {"traffic": {"source": "service"}}}));
        assert!(
            matches!(&invalid, Outcome::Invalid(why) if why.contains("serviceName")),
            "{invalid:?}"
        );
        let deleted =
            promoted(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]}}));
        assert_eq!(deleted, Outcome::Deleting);
    }

    #[test]
    fn a_failed_run_also_says_what_is_left_to_do() {
        let errored = json!({"status": {"conditions": [
            condition("Failed", "VerdictInvalid"), condition("Errored", "WriteRefused"),
        ]}});
        let failed = ended("Failed", "VerdictInvalid", &errored);
        assert_eq!(why(&failed), "Failed: VerdictInvalid; Errored: WriteRefused");
    }

    #[test]
    fn a_promotion_with_a_verdict_against_it_is_no_success() {
        for also in [
            json!({"spec": {"verdict": "invalid"}}),
            json!({"status": {"items": [{"name": "labelWatch[0]", "state": "Bad"}]}}),
        ] {
            let outcome = Outcome::of(&ended("DeploymentUpdated", "TargetRolledOut", &also));
            assert!(
                matches!(&outcome, Outcome::Otherwise(why) if why.contains("rollout undo")),
                "{outcome:?}"
            );
        }
        let old = json!({"spec": {"verdict": "invalid"}, "status": {"verdicts": {"stale": {"verdict": "invalid"}}}});
        let outcome = Outcome::of(&ended("DeploymentUpdated", "TargetRolledOut", &old));
        assert_eq!(outcome, Outcome::Promoted);
    }

    #[test]
    fn a_good_verdict_is_no_promotion_yet() {
        let passed = kanary(&json!({"status": {"conditions": [condition("Succeeded", "AllItemsGood")]}}));
        assert_eq!(Outcome::of(&passed), Outcome::UnderWay);
        let dry = ended(
            "Succeeded",
            "DryRun",
            &json!({"spec": {"rollout": {"mode": "dry-run"}}}),
        );
        assert_eq!(Outcome::of(&dry), Outcome::DryRunPassed);
        let was_dry = Outcome::of(&ended("Succeeded", "DryRun", &json!({})));
        assert!(
            matches!(&was_dry, Outcome::Otherwise(why) if why.contains("retry")),
            "{was_dry:?}"
        );
        assert_eq!(
            Outcome::of(&ended("Failed", "PromQLFailed", &json!({}))),
            Outcome::Failed
        );
    }

    #[test]
    fn a_stale_status_is_not_shown() {
        let stale = ended(
            "DeploymentUpdated",
            "TargetRolledOut",
            &json!({"metadata": {"generation": 4}}),
        );
        assert_eq!(shown(&stale).0, "Pending");
        assert!(why(&stale).contains("generation 4"), "{}", why(&stale));
    }

    #[test]
    fn the_duration_is_the_one_at_that_time() {
        let times = json!({"status": {
            "deadline": "2026-01-01T00:15:00Z", "initialDelay": "1m", "validationPeriod": "15m",
        }});
        let at = |kanary: &ParsedKanary, time: &str| duration(kanary, time.parse().unwrap());
        let running = kanary(&times);
        assert_eq!(at(&running, "2026-01-01T00:05:00Z"), "6m0s/16m0s");
        assert_eq!(at(&running, "2026-01-01T01:00:00Z"), "16m0s/16m0s");
        let mut paused = times;
        paused["status"]["pausedAt"] = json!("2026-01-01T00:01:00Z");
        assert_eq!(at(&kanary(&paused), "2026-01-01T00:05:00Z"), "2m0s/16m0s");
    }
}
