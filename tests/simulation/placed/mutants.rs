//! Controllers with bugs that show only in place. The checker must catch each.

use std::num::NonZeroU32;

use jiff::SignedDuration;
use kanary::reconcile::turn::Decide;
use kanary_core::{
    api::names::IN_PLACE_FINALIZER,
    decide,
    decision::{Action, Decision, SetTemplate},
    observation::Pod,
};

use super::{deleted, hotfixed, restarted};
use crate::{
    checker::Invariant::{Available, Early, Exposed, Orphan, Overruled, Proof, Sample, Trespass},
    kinds::{Kind, passes, traffic_fails},
    mutants::{decides, is_caught_in},
    scenario::Scenario,
    target_kinds::Targets,
};

/// Scenarios of this kind, with targets of only this kind.
fn only(kind: Kind) -> impl Fn(u64) -> Scenario {
    move |seed| Scenario::of_targets(seed, &[kind], Targets::InPlace)
}

/// The decision with its writes of targets changed.
fn with_writes(mut decision: Decision, change: impl Fn(&mut SetTemplate)) -> Decision {
    for action in &mut decision.actions {
        if let Action::SetTemplate(write) = action {
            change(write);
        }
    }
    decision
}

fn begins(write: &SetTemplate) -> bool {
    write.marker.ends_with("/in-place")
}

fn takes_back(write: &SetTemplate) -> bool {
    write.marker.ends_with("/rolled-back")
}

#[test]
fn a_promotion_that_keeps_the_partition_of_the_run_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        with_writes(decide(kanary, seen, now), |write| {
            if !begins(write) && !takes_back(write) {
                write.partition = None;
            }
        })
    };
    is_caught_in(only(passes), &decides(wrong), &[Trespass]);
}

#[test]
fn a_failure_that_leaves_the_template_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        with_writes(decide(kanary, seen, now), |write| {
            if takes_back(write) {
                write.template.clone_from(&write.former);
            }
        })
    };
    is_caught_in(only(traffic_fails), &decides(wrong), &[Overruled]);
}

#[test]
fn a_failure_that_is_taken_back_late_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        let mut decision = decide(kanary, seen, now);
        let late = kanary
            .status
            .completed_at
            .map(|ended| ended + SignedDuration::from_mins(1));
        if let Some(late) = late.filter(|late| now < *late) {
            decision
                .actions
                .retain(|action| !matches!(action, Action::SetTemplate(write) if takes_back(write)));
            decision.wake = Some(late);
        }
        decision
    };
    is_caught_in(only(traffic_fails), &decides(wrong), &[Exposed]);
}

#[test]
fn a_kanary_that_goes_and_leaves_its_template_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        if kanary.deleting && kanary.finalizers.iter().any(|name| name == IN_PLACE_FINALIZER) {
            return Decision {
                actions: vec![Action::ReleaseInPlace],
                ..Decision::default()
            };
        }
        decide(kanary, seen, now)
    };
    is_caught_in(only(deleted), &decides(wrong), &[Exposed, Orphan]);
}

/// The run then seems to be complete from its first write on.
#[test]
fn a_verdict_about_pods_of_the_former_template_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        let mut seen = seen.clone();
        if let (Some(placed), Some(target), Some(known)) = (&kanary.status.in_place, &seen.target, &mut seen.revised) {
            let name = &kanary.spec.target.name;
            known.pods = (placed.partition..target.replicas)
                .map(|ordinal| Pod {
                    name: format!("{name}-{ordinal}"),
                    ready: true,
                    ready_second: NonZeroU32::new(u32::try_from(placed.since.as_second()).unwrap()),
                    labels: target.pod_labels.clone(),
                    ..Pod::default()
                })
                .collect();
        }
        decide(kanary, &seen, now)
    };
    is_caught_in(only(passes), &decides(wrong), &[Early, Available, Proof]);
}

#[test]
fn a_first_write_that_nothing_holds_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        let mut kanary = kanary.clone();
        kanary.finalizers.push(IN_PLACE_FINALIZER.into());
        decide(&kanary, seen, now)
    };
    is_caught_in(only(passes), &decides(wrong), &[Proof]);
}

#[test]
fn a_template_on_more_pods_than_asked_for_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        with_writes(decide(kanary, seen, now), |write| {
            if begins(write) {
                write.partition = write.partition.map(|partition| partition - 1);
            }
        })
    };
    is_caught_in(only(passes), &decides(wrong), &[Sample, Proof]);
}

#[test]
fn an_addition_of_somebody_else_that_is_overwritten_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        let former = seen.former_template.clone();
        with_writes(decide(kanary, seen, now), |write| {
            if takes_back(write)
                && let Some(former) = &former
            {
                write.template.clone_from(former);
            }
        })
    };
    is_caught_in(only(restarted), &decides(wrong), &[Overruled]);
}

#[test]
fn a_template_of_somebody_else_that_all_pods_get_is_caught() {
    let wrong: Decide = |kanary, seen, now| {
        let tried = seen.tried_template.clone();
        with_writes(decide(kanary, seen, now), |write| {
            if takes_back(write) && tried.as_ref().is_some_and(|tried| *tried != write.former) {
                write.template.clone_from(&write.former);
            }
        })
    };
    is_caught_in(only(hotfixed), &decides(wrong), &[Overruled]);
}
