//! A controller that is killed before, after and in the midst of each of its writes, on every way that a run may take.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use kanary_sim::network::{Line, Moment};
use tokio::time::{sleep, timeout};

use crate::{
    case::{Case, Maker},
    checker::{Checker, Violation},
    kinds::{self, Kind},
    panics::caught,
    run::{in_virtual_time, measure, watched},
    user::live,
    world::{Replica, World, Wrong},
};

/// More writes than any run makes.
const WRITES: u64 = 16;

fn case(kind: Kind) -> Case {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut make = Maker {
        rng: &mut rng,
        name: "k00".to_owned(),
        target: "app00".to_owned(),
        suffix: "",
    };
    let mut case = kind(&mut make);
    case.created = Duration::from_secs(1);
    case
}

/// One run whose controller dies at its write number `nth`. Whether it came to that, and what was wrong.
fn die(case: &Case, nth: u64, moment: Moment) -> (bool, Vec<Violation>) {
    let run = || in_virtual_time(nth, dying(case, nth, moment));
    caught(run).unwrap_or_else(|panicked| (true, vec![panicked]))
}

async fn dying(case: &Case, nth: u64, moment: Moment) -> (bool, Vec<Violation>) {
    let truths = [(case.name.clone(), case.truth.clone())].into();
    let (checker, _, hook) = watched(Checker::new(truths));
    let world = Arc::new(World::start(nth, hook));
    measure(&world);
    if case.spoils {
        checker
            .lock()
            .unwrap()
            .spoil
            .insert(case.name.clone(), world.spoiled.clone());
    }
    let wrong = Wrong::default();
    let first = Replica::start(&world, "kanary-1", 1, SignedDuration::ZERO, &wrong, None);
    first.link.crash_at(nth, moment);
    let user = tokio::spawn(live(world.clone(), case.clone(), 2));
    let died = timeout(Duration::from_secs(400), first.link.crashed()).await.is_ok();
    let former = first.link.clone();
    first.kill().await;
    let second = Replica::start(&world, "kanary-2", 2, SignedDuration::ZERO, &wrong, None);
    // The write that was on its way arrives when its successor has looked around, and maybe acted.
    sleep(Duration::from_secs(nth % 4)).await;
    former.deliver();
    user.await.unwrap();
    for _ in 0..80 {
        sleep(Duration::from_secs(10)).await;
        if checker.lock().unwrap().is_settled(&world.cluster) {
            break;
        }
    }
    sleep(Duration::from_secs(30)).await;
    second.link.set_line(Line::Frozen);
    let mut checker = checker.lock().unwrap();
    checker.finish(&world.cluster);
    (died, std::mem::take(&mut checker.violations))
}

/// Every write of a run, in every moment.
fn survives(kind: Kind) {
    let case = case(kind);
    let mut deaths = 0;
    for moment in [Moment::Before, Moment::After, Moment::Meanwhile] {
        for nth in 1..=WRITES {
            let (died, violations) = die(&case, nth, moment);
            let what = case.truth.what;
            assert!(
                violations.is_empty(),
                "{what}: killed at write {nth} ({moment:?}): {}",
                violations[0]
            );
            if !died {
                break;
            }
            deaths += 1;
        }
    }
    assert!(deaths >= 9, "a run has writes to die at: {deaths}");
}

#[test]
fn a_success_survives_a_crash_at_every_write() {
    survives(kinds::passes);
}

#[test]
fn a_failure_survives_a_crash_at_every_write() {
    survives(kinds::traffic_fails);
}

#[test]
fn a_dry_run_survives_a_crash_at_every_write() {
    survives(kinds::dry_run);
}

#[test]
fn a_changed_target_survives_a_crash_at_every_write() {
    survives(kinds::target_changed);
}

#[test]
fn a_run_with_traffic_survives_a_crash_at_every_write() {
    survives(kinds::traffic_passes);
}

#[test]
fn an_autoscaled_run_survives_a_crash_at_every_write() {
    survives(kinds::autoscaled);
}

#[test]
fn a_missing_target_survives_a_crash_at_every_write() {
    survives(kinds::target_missing);
}

#[test]
fn a_roll_back_survives_a_crash_at_every_write() {
    survives(kinds::rolled_back);
}

#[test]
fn a_second_run_survives_a_crash_at_every_write() {
    survives(kinds::edited_after_failure);
}
