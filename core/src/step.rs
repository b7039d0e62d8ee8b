//! The input of one decision, and the draft of its status.

use std::{cell::RefCell, collections::BTreeMap};

use jiff::Timestamp;

use super::{
    decision::Decision,
    in_place,
    kanary::ParsedKanary,
    manual_verdicts,
    observation::Observation,
    problem::Problem,
    route::Change,
    spec::{IN_PLACE, Spec},
    status::{Draft, FAILED, Phase, RECONCILING, SCHEDULED, STALLED, VERDICT_IGNORED},
};
use crate::api::{
    KanaryStatus, ManualVerdict, ManualVerdicts, PlaceState, Reason, Report, RunPlace, Tracks, Verdicts, WorkloadRef,
    Written,
};

/// The input of one decision.
pub(crate) struct Step<'a> {
    /// The Kanary.
    pub(crate) kanary: &'a ParsedKanary,
    /// Its spec: the valid parts, without verdicts that do not count for this run.
    pub(crate) spec: &'a Spec,
    /// The observed cluster.
    pub(crate) seen: &'a Observation,
    /// The current time.
    pub(crate) now: Timestamp,
    /// The changes of the route that were computed in this decision, by the number of the step that they are for.
    pub(crate) route_changes: RefCell<BTreeMap<u32, Result<Change, Problem>>>,
}

impl Step<'_> {
    /// A draft of the next status that identifies the run.
    #[must_use]
    pub(crate) fn draft(&self) -> Draft {
        let mut draft = Draft::of(self.kanary, self.now);
        if self.spec.tracked.is_some() {
            draft.status.tracks = Some(Box::new(self.tracks())).filter(|tracks| **tracks != Tracks::default());
        }
        in_place::follow(self.kanary, self.seen, self.now, &mut draft.status);
        if self.spec.is_sound() {
            draft.status.current_hash = Some(self.spec.template_hash.clone());
            draft.status.retry = Some(self.spec.retry).filter(|retry| *retry != 0);
            if Phase::of(&draft.status) <= Phase::Running {
                // A status of a version without this field gets the current value.
                let traffic = &mut draft.status.current_traffic;
                traffic.get_or_insert_with(|| self.spec.traffic_key.clone());
            }
        }
        draft
    }

    /// The objects of both tracks after the last known writes to them.
    fn tracks(&self) -> Tracks {
        let stored = self.kanary.status.tracks.as_deref().cloned().unwrap_or_default();
        let newer = |seen: &Option<Written>, stored: Option<Written>| match (seen, stored) {
            // A write that changed nothing has no time of its own.
            (Some(seen), Some(stored)) if seen.uid == stored.uid => Some(Written {
                generation: seen.generation,
                at: seen.at.filter(|_| seen.generation != stored.generation).or(stored.at),
                ..stored
            }),
            (seen, stored) => seen.clone().or(stored),
        };
        Tracks {
            canary: newer(&self.seen.tracks.canary, stored.canary),
            target: newer(&self.seen.tracks.target, stored.target),
        }
    }

    /// Whether this was the state of an object of a track after a write, by this controller or as the status says.
    pub(crate) fn has_written(&self, workload: &WorkloadRef, is_it: impl Fn(&Written) -> bool) -> bool {
        let stored = self.kanary.status.tracks.as_deref();
        [Some(&self.seen.tracks), stored].into_iter().flatten().any(|tracks| {
            let of_track = if *workload == self.spec.canary {
                &tracks.canary
            } else {
                &tracks.target
            };
            of_track.as_ref().is_some_and(&is_it)
        })
    }

    /// A decision that writes the draft if it contains news.
    #[must_use]
    pub(crate) fn write(&self, mut draft: Draft) -> Decision {
        report_ignored(&mut draft, self.kanary);
        Decision {
            status: draft.finish(self.kanary, self.spec),
            ..Decision::default()
        }
    }

    /// A draft of the first status of the next run. The status of the former run is cleared first, so that it never
    /// counts for the new run.
    fn next_run(&self) -> Draft {
        let former = &self.kanary.status;
        let mut draft = self.draft();
        draft.status = KanaryStatus {
            failed_templates: former.failed_templates.clone(),
            current_hash: draft.status.current_hash.take(),
            retry: draft.status.retry,
            current_traffic: Some(self.spec.traffic_key.clone()),
            verdicts: Some(Verdicts {
                present: ManualVerdicts::default(),
                stale: manual_verdicts::stale_in_next_run(self.kanary),
            }),
            run: Some(former.run_number().saturating_add(1)),
            // It identifies the former canary, which has to be deleted even if its ownerReference was removed.
            canary_uid: former.canary_uid.clone(),
            place: carried_place(former),
            latest_successful_deployment_snapshot: former.latest_successful_deployment_snapshot.clone(),
            tracks: draft.status.tracks.take(),
            // The target gets back what the former run changed before the next one begins.
            in_place: draft.status.in_place.take(),
            report: Report::default(),
            ..KanaryStatus::default()
        };
        draft
    }

    /// Restarts the run with the same template.
    pub(super) fn begin_anew(&self, reason: Reason, why: &str) -> Decision {
        let mut draft = self.next_run();
        draft.set(SCHEDULED, true, reason, why);
        draft.set(RECONCILING, true, reason, why);
        self.write(draft)
    }

    /// A changed template, `retry` or traffic starts a new run, unless the template is another one that failed before.
    pub(super) fn begin(&self) -> Decision {
        let former = &self.kanary.status;
        let mut draft = self.next_run();
        let retried = former.retry.unwrap_or_default() != self.spec.retry;
        let is_another = former.current_hash.as_ref() != Some(&self.spec.template_hash);
        if is_another && former.failed_templates.contains(&self.spec.template_hash) && !retried {
            draft.status.completed_at = Some(self.now);
            let why = "this template failed before and is not run again: change the template, or set spec.retry to \
                       another number to run it once more";
            draft.set(FAILED, true, Reason::TemplateFailedBefore, why);
            draft.set(
                RECONCILING,
                false,
                Reason::RunEnded,
                "nothing is run: this template failed before",
            );
            draft.set(STALLED, true, Reason::TemplateFailedBefore, why);
            return self.write(draft);
        }
        let why = match (is_another, retried) {
            (true, _) => "spec.template changed: a new run starts",
            (false, true) => "spec.retry changed: a new run starts",
            (false, false) if self.moves() => {
                "spec.scale.inPlace was added or removed: a new run starts, because only what ran where the spec asks for it is promoted"
            }
            (false, false) => {
                "spec.traffic or spec.serviceName changed: a new run starts, because only what had the traffic that the spec \
                 asks for is promoted"
            }
        };
        draft.set(SCHEDULED, true, Reason::NewRun, why);
        draft.set(RECONCILING, true, Reason::NewRun, "a new run starts");
        self.write(draft)
    }

    /// Whether the former run was in place and the next one is not, or the other way round.
    fn moves(&self) -> bool {
        let former = self.kanary.status.current_traffic.as_deref().unwrap_or_default();
        former.ends_with(IN_PLACE) != self.spec.scale.in_place().is_some()
    }

    /// All problems with the spec.
    #[must_use]
    pub(crate) fn unsound(&self) -> Option<Problem> {
        let problems = self.spec.problems.iter();
        Problem::all(problems.map(|invalid| Problem::new(invalid.reason, &invalid.message)))
    }

    /// Why the objects that a front end keeps beyond its runs are not as they should be. It explains other problems with them.
    #[must_use]
    pub(crate) fn blocked(&self) -> Option<&super::observation::Refusal> {
        self.refused()
            .filter(|refusal| refusal.about == self.kept_objects() && self.spec.frame.is_some())
    }

    /// The objects that a front end keeps, as the subject of a refusal.
    #[must_use]
    pub(crate) fn kept_objects(&self) -> String {
        format!("{}/{}", self.kanary.key.kind, self.kanary.key.name)
    }

    /// Whether the API server recently refused a write.
    #[must_use]
    pub(crate) fn refused(&self) -> Option<&super::observation::Refusal> {
        self.seen.refusal.as_ref().filter(|refusal| refusal.retry_at > self.now)
    }
}

/// A run that is replaced before it has ended keeps its place, also in the line. Otherwise the request only shows which
/// times are used up.
fn carried_place(former: &KanaryStatus) -> Option<RunPlace> {
    let place = former.place.clone()?;
    let has_ended = former.completed_at.is_some();
    Some(if has_ended {
        RunPlace::requested(place.requested_at, PlaceState::Left)
    } else {
        place
    })
}

/// Reports the verdicts that do not count, and how to give them again.
pub(super) fn report_ignored(draft: &mut Draft, kanary: &ParsedKanary) {
    let stale = draft.status.verdicts.as_ref().map(|verdicts| verdicts.stale.clone());
    let stale = stale.unwrap_or_default().among(&ManualVerdicts::of(&kanary.spec));
    if stale == ManualVerdicts::default() || draft.status.completed_at.is_some() {
        let why = match draft.status.completed_at {
            Some(_) => "the run has ended",
            None => "no verdict in the spec is from an earlier run any more",
        };
        draft.clear(VERDICT_IGNORED, Reason::NoneIgnored, why);
        return;
    }
    let mut which = Vec::new();
    which.extend(stale.verdict.map(|verdict| format!("spec.verdict {verdict}")));
    for (count, verdict) in [
        (stale.valid, ManualVerdict::Valid),
        (stale.invalid, ManualVerdict::Invalid),
    ] {
        match count {
            0 => {}
            1 => which.push(format!("the status {verdict} of a manual item")),
            more => which.push(format!("the status {verdict} of {more} manual items")),
        }
    }
    let why = format!(
        "{} stood in the spec before this run and does not count for it: to give a verdict for this run, remove it, wait until \
         status.observedGeneration is metadata.generation, and set it again; the opposite verdict counts at once",
        which.join(", and ")
    );
    draft.set(VERDICT_IGNORED, true, Reason::FromEarlierRun, why);
}
