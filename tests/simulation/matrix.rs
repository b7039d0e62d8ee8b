//! A controller that is killed before, after and during each of its writes, for every kind of run.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use kanary_sim::network::Moment;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::{
    case::{Case, Maker, merge},
    checker::{Checker, Violation, owners::Owners},
    daemons, keda,
    kinds::{self, Kind},
    panics::caught,
    run::{in_virtual_time, last_words, measure, watched},
    target_kinds::{TargetKind, needed},
    user::live,
    world::{Replica, Sharing, World, Wrong},
};

/// Upper bound for the number of writes in a run.
const WRITES: u64 = 16;

/// The same including writes of Leases, whose renewals continue without end.
const WRITES_WITH_LEASES: u64 = 60;

/// Enough shards for one to be taken while the other is not.
const SHARDS: u16 = 2;

/// A case for a Deployment, whose Kanary is of the usual group.
pub(crate) fn case(kind: Kind) -> Case {
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

/// The same for a StatefulSet, whose pods have volumes.
fn of_set(kind: Kind) -> Case {
    let mut rng = fastrand::Rng::with_seed(4);
    let case = case(kind).on(&mut rng, TargetKind::named("StatefulSet"));
    assert!(case.target_patch["spec"]["volumeClaimTemplates"].is_array());
    case
}

/// The same for a DaemonSet on four nodes.
fn of_daemon_set(kind: Kind) -> Case {
    let mut seeds = (0..).map(fastrand::Rng::with_seed);
    let cases = seeds
        .by_ref()
        .map(|mut rng| case(kind).on(&mut rng, TargetKind::named("DaemonSet")));
    let has_nodes = |case: &Case| case.beside.iter().filter(|object| object["kind"] == "Node").count() == 4;
    cases.into_iter().find(has_nodes).unwrap()
}

/// The same with a Kanary of the group in which the API was published first.
fn of_old_group(kind: Kind) -> Case {
    let mut case = case(kind);
    case.manifest["apiVersion"] = json!("kanary.k8s.io/v1alpha1");
    case.manifest["kind"] = json!("KanaryDeployment");
    case
}

/// When and how a controller dies.
#[derive(Clone, Copy)]
struct Death {
    /// Number of the write at which it dies.
    nth: u64,
    moment: Moment,
    /// Identities of the controller and its successor, where replicas share the work.
    identities: Option<[&'static str; 2]>,
}

/// Runs a case whose controller dies. Returns whether it died before the end, and the violations.
fn die(case: &Case, death: Death) -> (bool, Vec<Violation>) {
    let run = || in_virtual_time(death.nth, dying(case, death));
    caught(run).unwrap_or_else(|panicked| (true, vec![panicked]))
}

fn start(world: &World, number: u64, identity: Option<&str>) -> Replica {
    let (name, skew) = (format!("kanary-{number}"), SignedDuration::ZERO);
    let sharing = identity.map(Sharing::of);
    Replica::start(world, &name, number, skew, &Wrong::default(), sharing.as_ref())
}

async fn dying(case: &Case, death: Death) -> (bool, Vec<Violation>) {
    let truths = [(case.name.clone(), case.truth.clone())].into();
    let mut checker = Checker::new(truths);
    checker.owners = Owners::of(SHARDS);
    let (checker, _, hook) = watched(checker);
    let mut world = World::start(death.nth, hook);
    world.shards = SHARDS;
    world.sent = checker.lock().unwrap().sent.clone();
    world.heard = checker.lock().unwrap().evidence.heard.clone();
    measure(&world);
    world.kinds = needed([case].into_iter());
    keda::serve(&mut world, [case].into_iter());
    let world = Arc::new(world);
    if case.spoils {
        let spoiled = (case.name.clone(), world.spoiled.clone());
        checker.lock().unwrap().spoil.extend([spoiled]);
    }
    let [former, latter] = death.identities.map_or([None; 2], |names| names.map(Some));
    let first = start(&world, 1, former);
    first.link.crash_at(death.nth, death.moment);
    let user = tokio::spawn(live(world.clone(), case.clone(), 2));
    let died = timeout(Duration::from_secs(400), first.link.crashed()).await.is_ok();
    let over = death.identities.is_some() && checker.lock().unwrap().is_settled(&world.stack.cluster);
    let link = first.link.clone();
    first.kill().await;
    let second = start(&world, 2, latter);
    // The write in flight arrives after its successor has started and may have acted.
    sleep(Duration::from_secs(death.nth % 4)).await;
    link.deliver();
    user.await.unwrap();
    for _ in 0..80 {
        sleep(Duration::from_secs(10)).await;
        if checker.lock().unwrap().is_settled(&world.stack.cluster) {
            break;
        }
    }
    (died && !over, last_words(&checker, &world, &second).await)
}

/// The last of these writes at which the controller died and the run survived, for a moment of death.
fn survives_at(
    case: &Case,
    writes: impl Iterator<Item = u64>,
    moment: Moment,
    identities: Option<[&'static str; 2]>,
) -> u64 {
    let mut last = 0;
    for nth in writes {
        let death = Death {
            nth,
            moment,
            identities,
        };
        let (died, violations) = die(case, death);
        let what = case.truth.what;
        assert!(
            violations.is_empty(),
            "{what}: killed at write {nth} ({moment:?}, {identities:?}): {}",
            violations[0]
        );
        if !died {
            break;
        }
        last = nth;
    }
    last
}

/// Kills the controller at every write of a run, at every moment.
pub(crate) fn survives(case: &Case) {
    let moments = [Moment::Before, Moment::After, Moment::Meanwhile].into_iter();
    let deaths: u64 = moments.map(|moment| survives_at(case, 1..=WRITES, moment, None)).sum();
    assert!(deaths >= 9, "too few writes to die at: {deaths}");
}

/// Kills a controller with Leases at every write, or every second one, including those of its session, its shards and the
/// slot label. Its successor is a restarted container, which takes over the session, or another replica, which has to
/// wait.
fn survives_with_leases(mut case: Case, every: usize) {
    // Short, because renewals are writes as well.
    let short = json!({"initialDelay": "0s", "validationPeriod": "8s"});
    merge(&mut case.manifest["spec"]["validation"], &short);
    for (moment, identities) in [
        (Moment::Before, ["one", "one"]),
        (Moment::After, ["one", "one"]),
        (Moment::Meanwhile, ["one", "one"]),
        (Moment::Meanwhile, ["one", "two"]),
    ] {
        let writes = (1..=WRITES_WITH_LEASES).step_by(every);
        let last = survives_at(&case, writes, moment, Some(identities));
        let run = 9..WRITES_WITH_LEASES - 2;
        assert!(run.contains(&last), "the last write of the run is out of range: {last}");
    }
}

#[test]
fn a_success_with_leases_survives_a_crash_at_every_write() {
    survives_with_leases(case(kinds::passes), 1);
}

#[test]
fn a_failure_with_leases_survives_a_crash_at_every_second_write() {
    survives_with_leases(case(kinds::traffic_fails), 2);
}

#[test]
fn a_success_survives_a_crash_at_every_write() {
    survives(&case(kinds::passes));
}

#[test]
fn a_failure_survives_a_crash_at_every_write() {
    survives(&case(kinds::traffic_fails));
}

#[test]
fn a_dry_run_survives_a_crash_at_every_write() {
    survives(&case(kinds::dry_run));
}

#[test]
fn a_changed_target_survives_a_crash_at_every_write() {
    survives(&case(kinds::target_changed));
}

#[test]
fn a_run_with_traffic_survives_a_crash_at_every_write() {
    survives(&case(kinds::traffic_passes));
}

#[test]
fn an_autoscaled_run_survives_a_crash_at_every_write() {
    survives(&case(kinds::autoscaled));
}

#[test]
fn a_run_scaled_by_keda_survives_a_crash_at_every_write() {
    survives(&case(keda::scaled));
}

#[test]
fn a_missing_target_survives_a_crash_at_every_write() {
    survives(&case(kinds::target_missing));
}

#[test]
fn a_roll_back_survives_a_crash_at_every_write() {
    survives(&case(kinds::rolled_back));
}

#[test]
fn a_second_run_survives_a_crash_at_every_write() {
    survives(&case(kinds::edited_after_failure));
}

#[test]
fn a_success_of_a_stateful_set_survives_a_crash_at_every_write() {
    survives(&of_set(kinds::passes));
}

#[test]
fn a_failure_of_a_stateful_set_survives_a_crash_at_every_write() {
    survives(&of_set(kinds::traffic_fails));
}

#[test]
fn a_missing_stateful_set_survives_a_crash_at_every_write() {
    survives(&of_set(kinds::target_missing));
}

#[test]
fn a_roll_back_of_a_stateful_set_survives_a_crash_at_every_write() {
    survives(&of_set(kinds::rolled_back));
}

#[test]
fn a_second_run_of_a_stateful_set_survives_a_crash_at_every_write() {
    survives(&of_set(kinds::edited_after_failure));
}

#[test]
fn a_stateful_set_with_leases_survives_a_crash_at_every_third_write() {
    survives_with_leases(of_set(kinds::passes), 3);
}

#[test]
fn a_success_of_a_daemon_set_survives_a_crash_at_every_write() {
    survives(&of_daemon_set(kinds::passes));
}

#[test]
fn a_failure_of_a_daemon_set_survives_a_crash_at_every_write() {
    survives(&of_daemon_set(kinds::traffic_fails));
}

#[test]
fn a_missing_daemon_set_survives_a_crash_at_every_write() {
    survives(&of_daemon_set(kinds::target_missing));
}

#[test]
fn a_roll_back_of_a_daemon_set_survives_a_crash_at_every_write() {
    survives(&of_daemon_set(kinds::rolled_back));
}

#[test]
fn a_canary_that_gets_nodes_survives_a_crash_at_every_write() {
    survives(&case(daemons::gets_nodes));
}

#[test]
fn a_canary_that_loses_nodes_survives_a_crash_at_every_write() {
    survives(&case(daemons::loses_nodes));
}

#[test]
fn a_kanary_of_the_old_group_survives_a_crash_at_every_write() {
    survives(&of_old_group(kinds::passes));
    survives(&of_old_group(kinds::traffic_fails));
}
