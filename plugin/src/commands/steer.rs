//! `kubectl kanary pause`, `resume` and `retry`.

use anyhow::{Context, bail};
use kanary_core::{api::GoDuration, status::Phase};
use serde_json::json;

use crate::{
    cluster::{Cluster, Found},
    edit::{self, Edit, Guard, Plan},
    exit::Exit,
    run::{self, Elapsed, Outcome},
};

/// Hold a run where it is. Nothing is promoted, and the deadline moves; a bad canary can still fail.
#[derive(Debug, clap::Args)]
pub(crate) struct Pause {
    /// Name of the Kanary.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    guard: Guard,
}

/// Let a paused run go on.
#[derive(Debug, clap::Args)]
pub(crate) struct Resume {
    /// Name of the Kanary.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    guard: Guard,
}

/// Run the same template once more.
#[derive(Debug, clap::Args)]
pub(crate) struct Retry {
    /// Name of the Kanary.
    #[arg(value_name = "NAME")]
    name: String,
    /// Also if the run has not ended: it starts again from the beginning, with a new canary.
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    guard: Guard,
}

pub(crate) async fn pause(cluster: &Cluster, options: &Pause) -> anyhow::Result<Exit> {
    let plan = |found: &Found| Ok(pausing(found, cluster.now()));
    edit::apply(cluster, &options.name, &options.guard, plan).await
}

pub(crate) async fn resume(cluster: &Cluster, options: &Resume) -> anyhow::Result<Exit> {
    edit::apply(cluster, &options.name, &options.guard, |found| Ok(resuming(found))).await
}

pub(crate) async fn retry(cluster: &Cluster, options: &Retry) -> anyhow::Result<Exit> {
    let plan = |found: &Found| retrying(found, options.restart);
    edit::apply(cluster, &options.name, &options.guard, plan).await
}

fn pausing(found: &Found, now: jiff::Timestamp) -> Plan {
    let kanary = &found.parsed;
    if kanary.spec.paused {
        return Plan::Nothing("spec.paused is true already".to_owned());
    }
    let effect = match Outcome::of(kanary) {
        Outcome::UnderWay if Phase::of(&kanary.status) == Phase::Succeeded => format!(
            "the run has passed; if {} was updated already, it rolls out all the same",
            kanary.spec.target
        ),
        Outcome::UnderWay => {
            let left = Elapsed::of(kanary, now).map(|elapsed| elapsed.total.saturating_sub(elapsed.passed));
            let left = left.map(|left| {
                format!(
                    ", with {} of its validation left",
                    GoDuration::from_secs(left.as_secs())
                )
            });
            format!(
                "the run is held{}; a verdict `invalid`, a label or a bad measurement under way still fails the canary",
                left.unwrap_or_default()
            )
        }
        Outcome::Deleting => "the Kanary is being deleted all the same".to_owned(),
        Outcome::Unseen | Outcome::Invalid(_) => "the next run is held".to_owned(),
        Outcome::Promoted | Outcome::DryRunPassed | Outcome::Failed | Outcome::Otherwise(_) => {
            format!(
                "run {} is over and stays as it is; the next one is held",
                run::number(kanary)
            )
        }
    };
    Plan::Edit(Edit {
        operations: vec![json!({"op": "add", "path": "/spec/paused", "value": true})],
        done: format!("paused: {effect}"),
    })
}

fn resuming(found: &Found) -> Plan {
    if !found.parsed.spec.paused {
        return Plan::Nothing("it is not paused".to_owned());
    }
    if found.parsed.spec.migrating {
        return Plan::Nothing(
            "it is held until the migration to it has ended: run `kubectl kanary migrate` again".to_owned(),
        );
    }
    Plan::Edit(Edit {
        operations: vec![json!({"op": "remove", "path": "/spec/paused"})],
        done: "resumed: the run goes on, and its deadline has moved by the length of the pause".to_owned(),
    })
}

fn retrying(found: &Found, restart: bool) -> anyhow::Result<Plan> {
    let kanary = &found.parsed;
    let (name, number) = (found.name(), run::number(kanary));
    match Outcome::of(kanary) {
        Outcome::Deleting => bail!("{name} is being deleted"),
        Outcome::Invalid(why) => bail!("the spec of {name} cannot be run, so it would not start: {why}"),
        Outcome::Unseen => bail!("{}; try again once it has", run::why(kanary)),
        Outcome::UnderWay if Phase::of(&kanary.status) == Phase::Succeeded => bail!(
            "run {number} of {name} has passed, and {} is being updated: wait with `kubectl kanary status {name} --wait`",
            kanary.spec.target
        ),
        Outcome::UnderWay if !restart => bail!(
            "run {number} of {name} has not ended ({}): wait with `kubectl kanary status {name} --wait`, or start it from the beginning \
             with --restart",
            run::why(kanary)
        ),
        _ => {}
    }
    let retry = kanary.spec.retry.checked_add(1);
    let retry = retry.context("spec.retry has the largest number there is: set it to 1 by hand")?;
    let mut done = format!("spec.retry is {retry}: a new run of the same template starts");
    if kanary.spec.paused {
        let held = format!(", and is held, because spec.paused is true: `kubectl kanary resume {name}`");
        done.push_str(&held);
    }
    if kanary.spec.verdict.is_some() {
        done += "; the verdict in the spec is from an earlier run and does not count for it";
    }
    Ok(Plan::Edit(Edit {
        operations: vec![json!({"op": "add", "path": "/spec/retry", "value": retry})],
        done,
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::run::tests::{condition, kanary};

    fn found(edit: &Value) -> Found {
        Found {
            object: serde_json::from_value(json!({"metadata": {"name": "batman"}})).unwrap(),
            parsed: kanary(edit),
        }
    }

    #[test]
    fn a_run_under_way_is_not_started_again_by_accident() {
        let running = found(&json!({"status": {"conditions": [condition("Running", "Validating")]}}));
        let error = retrying(&running, false).unwrap_err().to_string();
        assert!(
            error.contains("has not ended") && error.contains("--restart"),
            "{error}"
        );
        assert!(matches!(retrying(&running, true).unwrap(), Plan::Edit(_)));
        let passed = found(&json!({"status": {"conditions": [condition("Succeeded", "AllItemsGood")]}}));
        assert!(retrying(&passed, true).is_err());
    }

    #[test]
    fn a_retry_counts_on() {
        let status = json!({"conditions": [condition("Failed", "PromQLFailed")], "retry": 4});
        let failed = found(&json!({"spec": {"retry": 4, "verdict": "invalid"}, "status": status}));
        let Plan::Edit(edit) = retrying(&failed, false).unwrap() else {
            panic!("it is an edit");
        };
        assert_eq!(edit.operations[0]["value"], 5);
        assert!(edit.done.contains("earlier run"), "{}", edit.done);
    }

    #[test]
    fn pause_and_resume_say_what_they_do_not_stop() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let rolling_out = found(&json!({"status": {"conditions": [condition("Succeeded", "AllItemsGood")]}}));
        let Plan::Edit(edit) = pausing(&rolling_out, now) else {
            panic!("it is an edit");
        };
        assert!(edit.done.contains("rolls out all the same"), "{}", edit.done);
        assert!(matches!(resuming(&rolling_out), Plan::Nothing(_)));
        let paused = found(&json!({"spec": {"paused": true}}));
        assert!(matches!(pausing(&paused, now), Plan::Nothing(_)));
        assert!(matches!(resuming(&paused), Plan::Edit(_)));
    }
}
