//! A controller that is killed at its writes for an object of a front end, before, after and while the API server processes them.

use std::{sync::Arc, time::Duration};

use kanary_sim::network::{Moment, NetworkFaults};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    Replicas, calm,
    case::{BAD, Front, Sort},
    told, watched,
};
use crate::{panics::caught, run::in_virtual_time, world::Wrong};

/// Upper bound for the number of writes of two runs.
const WRITES: u64 = 80;
/// Upper bound for the number of writes of four runs, including two moves.
const WRITES_OF_MOVES: u64 = 250;

/// Lets a front end live while the controller dies at a write. Returns whether it died before the end, and what went wrong.
async fn dying(front: Front, wrong: &Wrong, (nth, moment): (u64, Moment)) -> (bool, Vec<String>) {
    let (world, judge, history) = watched(nth);
    let (world, mut users) = (Arc::new(world), JoinSet::new());
    judge.lock().unwrap().watch(front.clone());
    users.spawn(super::live(world.clone(), front));
    let mut replicas = Replicas::of(&world, wrong, fastrand::Rng::with_seed(nth), NetworkFaults::default());
    replicas.start(0);
    let link = replicas.running[0].link.clone();
    link.crash_at(nth, moment);
    let died = timeout(Duration::from_mins(5), link.crashed()).await.is_ok();
    replicas.running.remove(0).kill().await;
    replicas.start(0);
    // The write in flight arrives after its successor has started and may have acted.
    sleep(Duration::from_secs(nth % 4)).await;
    link.deliver();
    calm(&world, &judge, &mut users).await;
    (died, told(&world, &judge, &history))
}

/// What goes wrong with one front end and a controller that nobody kills.
pub(super) fn alone(front: &Front, wrong: &Wrong) -> Vec<String> {
    let lives = in_virtual_time(0, dying(front.clone(), wrong, (u64::MAX, Moment::Before)));
    lives.1
}

/// Kills the controller at every write, or at every third one.
fn survives(sort: Sort, suffix: &str, every: usize) {
    kill_at_each(&Front::of_two_versions(sort, suffix), WRITES, every);
}

fn kill_at_each(front: &Front, most: u64, every: usize) {
    let moments = [Moment::Before, Moment::After, Moment::Meanwhile];
    let writes = (1..=most).step_by(every).zip(moments.into_iter().cycle());
    let (wrong, mut last) = (Wrong::default(), 0);
    for (nth, moment) in writes {
        let (died, wrongs) = caught(|| in_virtual_time(nth, dying(front.clone(), &wrong, (nth, moment))))
            .unwrap_or_else(|panicked| (true, vec![panicked.to_string()]));
        assert!(wrongs.is_empty(), "killed at write {nth} ({moment:?}): {}", wrongs[0]);
        if !died {
            break;
        }
        last = nth;
    }
    assert!((9..most - 5).contains(&last), "the last write is out of range: {last}");
}

#[test]
fn a_good_image_of_an_application_survives_a_crash_at_every_third_write() {
    survives(Sort::App, "", 3);
}

#[test]
fn a_bad_image_of_an_application_survives_a_crash_at_every_third_write() {
    survives(Sort::App, BAD, 3);
}

#[test]
fn a_good_template_of_tracks_survives_a_crash_at_every_write() {
    survives(Sort::Tracks, "", 1);
}

#[test]
fn a_bad_template_of_tracks_survives_a_crash_at_every_write() {
    survives(Sort::Tracks, BAD, 1);
}

#[test]
fn an_application_that_moves_survives_a_crash_at_every_thirteenth_write() {
    kill_at_each(&Front::of_two_moves(), WRITES_OF_MOVES, 13);
}
