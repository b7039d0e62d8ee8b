//! The next status: phase, times, conditions, and the facts that become Events.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

pub use super::phase::{
    ACTIVATED, DEPLOYMENT_UPDATED, ERRORED, FAILED, Phase, RECONCILING, ROLLED_BACK, RUNNING, SCHEDULED, STALLED,
    SUCCEEDED, TRAFFIC, VERDICT_IGNORED, find, is_true, is_true_for,
};
use super::{
    api::EventReason,
    decision::Notice,
    front_ends::{self, Told},
    kanary::ParsedKanary,
    manual_verdicts,
    spec::Spec,
};
use crate::api::{GoDuration, KanaryStatus, Reason, Report};

/// Since when, by the status, the canary of a run under way has not got the requests that the spec asks for.
#[must_use]
pub fn traffic_lost_since(status: &KanaryStatus) -> Option<Timestamp> {
    // Earlier versions wrote `TrafficSet` where no traffic was asked for.
    let as_asked = |reason: &String| *reason == Reason::TrafficSet || *reason == Reason::NoTrafficRequested;
    let is_lost = |traffic: &&Condition| traffic.status == "False" && !as_asked(&traffic.reason);
    let traffic = find(status, TRAFFIC).filter(is_lost)?;
    Some(traffic.last_transition_time.0)
}

/// A draft of the next status.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The status so far.
    pub status: KanaryStatus,
    generation: i64,
    now: Timestamp,
}

impl Draft {
    /// Starts from the status that was read.
    #[must_use]
    pub fn of(kanary: &ParsedKanary, now: Timestamp) -> Self {
        Self {
            status: kanary.status.clone(),
            generation: kanary.generation,
            now,
        }
    }

    /// Sets a condition.
    pub fn set(&mut self, condition: &str, value: bool, reason: Reason, message: impl Into<String>) {
        let status = if value { "True" } else { "False" };
        let mut message = message.into();
        truncate(&mut message, 1024);
        let next = Condition {
            type_: condition.to_owned(),
            status: status.to_owned(),
            reason: reason.as_str().to_owned(),
            message,
            last_transition_time: Time(self.now),
            observed_generation: Some(self.generation),
        };
        match self.status.conditions.iter_mut().find(|c| c.type_ == condition) {
            Some(former) => *former = next,
            None => self.status.conditions.push(next),
        }
    }

    /// Sets a condition to False if it exists, so that a run that never had it does not show it.
    pub fn clear(&mut self, condition: &str, reason: Reason, message: &str) {
        if is_true(&self.status, condition) {
            self.set(condition, false, reason, message);
        }
    }

    /// The status if it differs from the one that was read. `elapsed` then goes to the report.
    #[must_use]
    pub fn finish(mut self, kanary: &ParsedKanary, spec: &Spec) -> Option<KanaryStatus> {
        self.status.observed_generation = Some(self.generation);
        let stored = &kanary.status;
        let is_of_same_run = self.status.run == stored.run && self.status.current_hash == stored.current_hash;
        // The report of a run with a verdict shows how it ran, whatever is edited later.
        let has_ended = is_of_same_run && Phase::of(stored) > Phase::Running && !stored.report.traffic.is_empty();
        let phase = Phase::of(&self.status);
        let shown = if kanary.deleting {
            DELETING
        } else if is_true(&self.status, ERRORED) {
            ERRORED
        } else {
            phase.as_str()
        };
        shown.clone_into(&mut self.status.report.status);
        // A run continues or has ended according to the last sound spec.
        if spec.is_sound() && !has_ended {
            self.status.report = Report {
                status: shown.to_owned(),
                deployment: spec.target.reported(),
                service: spec.service.clone().unwrap_or_default(),
                scale: spec.scale.kind().to_owned(),
                traffic: self.traffic(spec),
                validation: kinds(spec),
                duration: std::mem::take(&mut self.status.report.duration),
            };
        }
        self.tell(kanary, spec);
        self.keep_unchanged_conditions(&kanary.status);
        if self.status == kanary.status {
            return None;
        }
        manual_verdicts::record(&mut self.status, kanary);
        if spec.is_sound() {
            // Shows that the status is from a version that records verdicts.
            let traffic = &mut self.status.current_traffic;
            traffic.get_or_insert_with(|| spec.traffic_key.clone());
        }
        if spec.is_sound() || !self.status.report.duration.is_empty() {
            self.status.report.duration = self.duration(spec);
        }
        Some(self.status)
    }

    /// Adds what a front end tells its users of the same facts.
    fn tell(&mut self, kanary: &ParsedKanary, spec: &Spec) {
        self.status.own.clone_from(&kanary.status.own);
        let front = front_ends::of(kanary.key.kind);
        let (Some(front), Some(frame)) = (front, spec.frame.as_deref()) else {
            return;
        };
        for condition in &mut self.status.conditions {
            condition.message = front_ends::in_words(front, std::mem::take(&mut condition.message));
        }
        for warning in self.status.items.iter_mut().flat_map(|item| &mut item.warnings) {
            *warning = front_ends::in_words(front, std::mem::take(warning));
        }
        let told = Told {
            frame,
            template: (&spec.template, &spec.template_hash),
            items: &spec.validation.items,
            former: &kanary.status,
            generation: self.generation,
            is_sound: spec.is_sound(),
            now: self.now,
        };
        front.tell(&told, &mut self.status);
    }

    /// The source of the traffic, and the present share: `weighted/25%`.
    fn traffic(&self, spec: &Spec) -> String {
        let weight = self.status.traffic.as_ref().map_or(0, |traffic| traffic.weight);
        let weight = (weight > 0).then(|| format!("/{weight}%"));
        format!("{}{}", spec.traffic, weight.unwrap_or_default())
    }

    /// A transition time changes only with the status of its condition, and a condition with unchanged content keeps the
    /// one that was read, however often the draft toggled it.
    fn keep_unchanged_conditions(&mut self, stored: &KanaryStatus) {
        for next in &mut self.status.conditions {
            let Some(former) = find(stored, &next.type_).filter(|former| former.status == next.status) else {
                continue;
            };
            if former.reason == next.reason && former.message == next.message {
                *next = former.clone();
            } else {
                next.last_transition_time = former.last_transition_time.clone();
            }
        }
    }

    /// `elapsed/total` of the initial delay and the validation period. The remaining time is that until the deadline.
    /// Values are in whole seconds, like the times of conditions: a stored value must not appear to go back when it is
    /// read.
    fn duration(&self, spec: &Spec) -> String {
        let part = |of_run: Option<GoDuration>, asked| of_run.map_or(asked, |duration| duration.0);
        let total = part(self.status.initial_delay, spec.validation.initial_delay)
            + part(self.status.validation_period, spec.validation.period);
        // The clock of the validation stops with the verdict.
        let verdict = find(&self.status, SUCCEEDED).filter(|c| c.status == "True");
        let verdict = verdict.map(|succeeded| succeeded.last_transition_time.0);
        let until = [verdict, self.status.completed_at, self.status.paused_at]
            .into_iter()
            .flatten()
            .fold(self.now, Timestamp::min);
        let begun = self
            .status
            .deadline
            .and_then(|deadline| deadline.checked_sub(total).ok());
        let from = begun.or(self.status.available_at).unwrap_or(until);
        let elapsed = u64::try_from(until.as_second() - from.as_second()).unwrap_or_default();
        format!("{}/{}", GoDuration::from_secs(elapsed), GoDuration(total))
    }
}

fn kinds(spec: &Spec) -> String {
    let mut kinds: Vec<&str> = spec
        .validation
        .items
        .iter()
        .map(super::validation::Item::kind)
        .collect();
    kinds.dedup();
    kinds.join(",")
}

fn truncate(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes));
        text.push('…');
    }
}

/// The facts of a stored status that become Events, with those that only a front end tells.
#[must_use]
pub fn notices_of(kanary: &ParsedKanary) -> Vec<Notice> {
    let front = front_ends::of(kanary.key.kind);
    let own = front.map(|front| front.notices(&kanary.status)).unwrap_or_default();
    notices(&kanary.status).into_iter().chain(own).collect()
}

/// The facts of a stored status that become Events. A successful run has two.
#[must_use]
pub fn notices(status: &KanaryStatus) -> Vec<Notice> {
    let notice = |condition: &Condition, reason, warning| Notice {
        reason,
        note: condition.message.clone(),
        warning,
        at: condition.last_transition_time.0,
    };
    let of = |condition: &Condition| Reason::parse(&condition.reason).map(EventReason::Of);
    let fact = |condition: &str, reason, warning| {
        let condition = find(status, condition).filter(|c| c.status == "True")?;
        Some(notice(condition, reason, warning))
    };
    let dry_run = find(status, SUCCEEDED).is_some_and(|c| c.reason == Reason::DryRun);
    let stalled = !is_true(status, FAILED) && !is_true(status, ERRORED);
    let too_late = find(status, ACTIVATED).filter(|activated| activated.reason == Reason::VerdictTooLate);
    let too_late = too_late.and_then(|activated| Some(notice(activated, of(activated)?, true)));
    let stall = find(status, STALLED).filter(|stall| stalled && stall.status == "True");
    let stall = stall.and_then(|stall| Some(notice(stall, of(stall)?, true)));
    [
        fact(RUNNING, EventReason::Started, false),
        fact(SUCCEEDED, EventReason::Succeeded, false).filter(|_| dry_run),
        fact(DEPLOYMENT_UPDATED, EventReason::Promoted, false),
        fact(FAILED, EventReason::Failed, true),
        fact(ROLLED_BACK, EventReason::RolledBack, true),
        fact(ERRORED, EventReason::Errored, true),
        stall,
        fact(VERDICT_IGNORED, EventReason::VerdictIgnored, true),
        too_late,
        shifted(status),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The canary gets the requests of a step.
fn shifted(status: &KanaryStatus) -> Option<Notice> {
    let traffic = status.traffic.as_ref()?;
    let what = match traffic.weight {
        0 => "its requests".to_owned(),
        weight => format!("{weight}% of the requests"),
    };
    Some(Notice {
        reason: EventReason::TrafficShifted,
        note: format!("the canary gets {what} of {} (step {})", traffic.route, traffic.step),
        warning: false,
        at: traffic.since?,
    })
}

/// The phase that users see for a Kanary that is being deleted and held by a finalizer.
const DELETING: &str = "Deleting";
/// What the status says of a verdict that came too late.
pub(super) fn late_verdict(status: &KanaryStatus) -> Option<&str> {
    let activated = find(status, ACTIVATED).filter(|activated| activated.reason == Reason::VerdictTooLate)?;
    Some(activated.message.as_str())
}
