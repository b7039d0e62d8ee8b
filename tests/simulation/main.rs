//! The real controller on the embedded cluster, in virtual time and with faults. A checker verifies every write.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod case;
mod checker;
mod daemons;
mod false_verdicts;
mod fleet;
mod fronts;
mod gitops;
mod heard;
mod history;
mod hostile;
mod keda;
mod kinds;
mod matrix;
mod metrics_apis;
mod mutants;
mod panics;
mod placed;
mod resources;
mod rivals;
mod routed;
mod run;
mod scenario;
mod sets;
mod target_kinds;
mod target_mutants;
mod tenants;
mod trials;
mod user;
mod world;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use scenario::Scenario;
use world::Wrong;

/// Half of the run time goes into allocations, where mimalloc is faster than the system allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Number of seeds in a plain `cargo test`, which is not optimized. CI runs others by the thousand, optimized (`just simulate`).
const SEEDS: u64 = 24;

/// Number of threads.
const WORKERS: u64 = 2;

/// From this number of seeds on, a run is limited only by time.
const ENDLESS: u64 = 1_000_000;

/// A number from the environment.
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Prints the replicas' log, filtered by `KANARY_LOG`.
fn log_if_asked() {
    if let Ok(filter) = std::env::var("KANARY_LOG") {
        tracing_subscriber::fmt().with_env_filter(filter).init();
    }
}

/// The scenario of a seed. Every fourth has hostile users, or all with `KANARY_HOSTILE=1`. Every eighth limits the number of
/// canaries, or all with `KANARY_LIMITS=1`. With `KANARY_TARGETS=1`, targets and Kanaries are of all kinds.
fn scenario(seed: u64) -> Scenario {
    if asked("KANARY_TARGETS").is_some() {
        return if seed % 4 == 3 {
            Scenario::mixed_and_hostile(seed)
        } else {
            Scenario::mixed(seed)
        };
    }
    if seed % 8 == 5 || asked("KANARY_LIMITS").is_some() {
        return Scenario::limited(seed);
    }
    if seed % 4 == 3 || asked("KANARY_HOSTILE").is_some() {
        Scenario::hostile(seed)
    } else {
        Scenario::of(seed)
    }
}

fn told(seed: u64, outcome: &run::Outcome) -> String {
    let stories: Vec<_> = outcome.violations.iter().map(ToString::to_string).collect();
    let stories = stories.join("\n");
    let hostile = asked("KANARY_HOSTILE").map_or("", |_| "KANARY_HOSTILE=1 ");
    let limits = asked("KANARY_LIMITS").map_or("", |_| "KANARY_LIMITS=1 ");
    let targets = asked("KANARY_TARGETS").map_or("", |_| "KANARY_TARGETS=1 ");
    format!(
        "seed {seed}: {stories}\nreplay: {hostile}{limits}{targets}KANARY_SEED={seed} cargo test --test simulation one_seed -- --nocapture"
    )
}

/// Runs seeds from `first` on, on all threads, until `seeds` of them have run, the time is up, or `KANARY_FAILURES` of
/// them have failed. Returns the number of runs and the failures.
fn storm(make: impl Fn(u64) -> Scenario + Sync, first: u64, seeds: u64, time: Duration) -> (u64, Vec<String>) {
    let (next, ran, failed) = (AtomicU64::new(first), AtomicU64::new(0), Mutex::new(Vec::new()));
    let most = asked("KANARY_FAILURES").unwrap_or(5);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let enough = failed.lock().unwrap().len() as u64 >= most;
                    if seed >= first.saturating_add(seeds) || start.elapsed() > time || enough {
                        return;
                    }
                    let outcome = run::run(make(seed), &Wrong::default());
                    ran.fetch_add(1, Ordering::Relaxed);
                    if !outcome.violations.is_empty() {
                        failed.lock().unwrap().push(told(seed, &outcome));
                    }
                }
            });
        }
    });
    (ran.into_inner(), failed.into_inner().unwrap())
}

#[test]
fn nothing_goes_wrong_in_any_storm() {
    let first = asked("KANARY_SEED").unwrap_or(0);
    let time = Duration::from_secs(asked("KANARY_SECONDS").unwrap_or(240));
    let seeds = asked("KANARY_SEEDS").unwrap_or(SEEDS);
    assert!(seeds > 0, "no seeds to run");
    let start = Instant::now();
    let (ran, failed) = storm(scenario, first, seeds, time);
    let took = start.elapsed();
    println!("{ran} of {seeds} seeds in {took:?}");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    // A slow machine may run fewer seeds, but not less than a tenth.
    let tenth = if seeds < ENDLESS { seeds / 10 } else { 0 };
    let least = if took > time {
        tenth.max(WORKERS).min(seeds)
    } else {
        seeds
    };
    assert!(
        ran >= least,
        "{ran} of {seeds} seeds within {time:?}, expected at least {least}"
    );
}

/// Runs `KANARY_FLEETS` fleets of `KANARY_KANARIES` Kanaries on three to eight replicas, from `KANARY_SEED` on.
#[test]
fn a_fleet_outlives_its_replicas() {
    let kanaries = usize::try_from(asked("KANARY_KANARIES").unwrap_or(60)).unwrap();
    let first = asked("KANARY_SEED").unwrap_or(0);
    let fleets = asked("KANARY_FLEETS").unwrap_or(2);
    assert!(fleets > 0 && kanaries > 0, "{fleets} fleets of {kanaries} Kanaries");
    log_if_asked();
    for seed in first..first + fleets {
        let scenario = Scenario::fleet(seed, kanaries);
        let (replicas, start) = (scenario.sharing.len(), Instant::now());
        let outcome = run::run(scenario, &Wrong::default());
        println!(
            "fleet {seed}: {kanaries} Kanaries, {replicas} replicas, {} changes, {} of them late, unattended for {} at \
             most, in {:?}",
            outcome.changes,
            outcome.late,
            outcome.unattended,
            start.elapsed()
        );
        let stories: Vec<_> = outcome.violations.iter().map(ToString::to_string).collect();
        assert!(
            stories.is_empty(),
            "{}\nreplay: KANARY_SEED={seed} KANARY_FLEETS=1 KANARY_KANARIES={kanaries} cargo test --test simulation a_fleet -- --nocapture",
            stories.join("\n")
        );
    }
}

/// Runs the seed `KANARY_SEED`.
#[test]
fn one_seed() {
    let seed = asked("KANARY_SEED").unwrap_or(1);
    log_if_asked();
    let start = Instant::now();
    let first = run::run(scenario(seed), &Wrong::default());
    let (changes, history) = (first.changes, first.history);
    println!(
        "seed {seed}: {changes} changes, {} of them late, history {history:016x}, in {:?}",
        first.late,
        start.elapsed()
    );
    assert!(first.violations.is_empty(), "{}", told(seed, &first));
    let second = run::run(scenario(seed), &Wrong::default());
    assert_eq!(
        (first.history, first.changes),
        (second.history, second.changes),
        "runs with the same seed have the same history"
    );
}
