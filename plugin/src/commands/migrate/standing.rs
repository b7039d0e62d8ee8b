//! Where a Kanary of the old group stands, and what the status of its successor is. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kanary_core::{
    ParsedKanary,
    api::{Kanary, KanaryKind, KanaryStatus, Reason},
    kanary::is_of_the_first_operator,
    status::{DEPLOYMENT_UPDATED, Draft, FAILED, Phase, ROLLED_BACK, SUCCEEDED, find},
};
use serde_json::Value;

use crate::run;

/// Reason of a condition that stands for a run of the operator of 2019.
const MIGRATED: &str = "Migrated";

/// Where a Kanary of the old group stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Standing {
    /// Its run has not begun, so that nothing was created for it, or has ended.
    Settled(Box<Settled>),
    /// Its run goes on, or may go on, for this reason.
    UnderWay(String),
}

/// A run that has not begun, or has ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settled {
    phase: Phase,
    /// The status of this controller. The operator of 2019 wrote another.
    status: Option<KanaryStatus>,
    /// The message of the condition that ended the run, if it has ended.
    message: String,
}

impl Standing {
    /// Where the Kanary stands. `has_canary`: a workload that it owns exists.
    ///
    /// # Errors
    ///
    /// Fails if its status cannot be read.
    pub(super) fn of(old: &Kanary, has_canary: bool) -> anyhow::Result<Self> {
        let status: KanaryStatus = match &old.status {
            None => KanaryStatus::default(),
            Some(status) => serde_json::from_value(status.clone())
                .map_err(|error| anyhow::anyhow!("the status cannot be read: {error}"))?,
        };
        if old.metadata.deletion_timestamp.is_some() {
            return Ok(Self::UnderWay("it is being deleted".to_owned()));
        }
        if is_of_the_first_operator(&status) {
            return Ok(of_the_first_operator(old, &status, has_canary));
        }
        let parsed = ParsedKanary::parse(KanaryKind::OldDeployment, old).map_err(anyhow::Error::msg)?;
        Ok(of_ours(&parsed, has_canary))
    }
}

fn message(status: &KanaryStatus, condition: &str) -> String {
    find(status, condition)
        .map(|condition| condition.message.clone())
        .unwrap_or_default()
}

/// The condition that is True at the end of a run.
fn last(phase: Phase) -> &'static str {
    match phase {
        Phase::Failed => FAILED,
        Phase::Succeeded => SUCCEEDED,
        _ => DEPLOYMENT_UPDATED,
    }
}

fn of_ours(old: &ParsedKanary, has_canary: bool) -> Standing {
    let status = &old.status;
    let phase = Phase::of(status);
    if old.held.is_some() {
        return Standing::UnderWay("a route holds something of its run".to_owned());
    }
    if find(status, ROLLED_BACK).is_some_and(|condition| condition.reason == Reason::Pending) {
        return Standing::UnderWay(message(status, ROLLED_BACK));
    }
    let is_settled = match phase {
        Phase::Scheduled => !has_canary,
        Phase::Running => false,
        Phase::Succeeded => status.completed_at.is_some(),
        // The canary leaves production before it is deleted.
        Phase::Failed | Phase::DeploymentUpdated => !has_canary || old.spec.retain_failed,
    };
    if !is_settled {
        let why = if phase > Phase::Running {
            "its canary is being removed".to_owned()
        } else {
            run::why(old)
        };
        return Standing::UnderWay(why);
    }
    Standing::Settled(Box::new(Settled {
        phase,
        message: message(status, last(phase)),
        status: Some(status.clone()),
    }))
}

/// The operator of 2019 keeps the canary of a run that has ended, and writes no other conditions.
fn of_the_first_operator(old: &Kanary, status: &KanaryStatus, has_canary: bool) -> Standing {
    let phase = Phase::of(status);
    let is_dry_run = ["/validations/noUpdate", "/validation/noUpdate"]
        .iter()
        .any(|field| old.spec.pointer(field) == Some(&Value::Bool(true)));
    match phase {
        Phase::Running => Standing::UnderWay("the operator of 2019 judges its canary".to_owned()),
        Phase::Scheduled if has_canary => Standing::UnderWay("the operator of 2019 has created its canary".to_owned()),
        Phase::Succeeded if !is_dry_run => {
            Standing::UnderWay("its canary is good, and its Deployment has not been updated yet".to_owned())
        }
        _ => Standing::Settled(Box::new(Settled {
            phase,
            message: message(status, last(phase)),
            status: None,
        })),
    }
}

impl Settled {
    fn has_ended(&self) -> bool {
        self.phase > Phase::Running
    }

    /// What becomes of the run.
    pub(super) fn outcome(&self) -> String {
        if self.has_ended() {
            let phase = self.phase.as_str();
            format!("its run has ended ({phase}), and its template is not run again")
        } else if self.status.is_none() {
            // A run that this operator has forgotten looks the same.
            "the operator of 2019 reports no run and has no canary, and the new one runs its template".to_owned()
        } else {
            "its run has not begun, and the new one begins it".to_owned()
        }
    }

    /// The status with which the successor goes on after this run: it does not run the same template again, and what was
    /// said about former runs does not count for the next. `None` if there is nothing to write.
    pub(super) fn status(&self, new: &ParsedKanary, now: Timestamp) -> Option<KanaryStatus> {
        let mut draft = Draft::of(new, now);
        match &self.status {
            Some(former) if former.current_hash.is_some() => draft.status = as_before(former, new),
            None if self.has_ended() => draft.status = self.as_told(new, now),
            _ => return None,
        }
        draft.finish(new, &new.spec)
    }

    fn as_told(&self, new: &ParsedKanary, now: Timestamp) -> KanaryStatus {
        let hash = &new.spec.template_hash;
        KanaryStatus {
            epoch: new.status.epoch,
            current_hash: Some(hash.clone()),
            retry: Some(new.spec.retry).filter(|retry| *retry != 0),
            current_traffic: Some(new.spec.traffic_key.clone()),
            run: Some(1),
            completed_at: Some(now),
            failed_templates: (self.phase == Phase::Failed)
                .then(|| hash.clone())
                .into_iter()
                .collect(),
            conditions: vec![Condition {
                type_: last(self.phase).to_owned(),
                status: "True".to_owned(),
                reason: MIGRATED.to_owned(),
                message: format!("the operator of 2019 ended the run: {}", self.message),
                last_transition_time: Time(now),
                observed_generation: Some(new.generation),
            }],
            ..KanaryStatus::default()
        }
    }
}

/// The status of this controller holds for the same template. Its token belongs to whoever writes about the successor.
fn as_before(former: &KanaryStatus, new: &ParsedKanary) -> KanaryStatus {
    KanaryStatus {
        epoch: new.status.epoch,
        trace_id: None,
        place: None,
        paused_at: None,
        ..former.clone()
    }
}
