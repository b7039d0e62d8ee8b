//! Requests through a real Envoy, which follows the routes that Kanary changes. `just dataplane` runs these cases; without a data
//! plane they are skipped.

mod itself;
mod judged;
mod many;
mod marked;
mod runs;
mod walk;

mod site;

use std::time::Instant;

use jiff::Timestamp;
use kanary_dataplane::load::Answers;

/// A number of standard deviations that one in 16,000 right counts exceeds.
const TOLERANCE: f64 = 4.0;

/// How often each run is repeated: `KANARY_DATAPLANE_RUNS`, or once.
fn repetitions() -> usize {
    let runs = std::env::var("KANARY_DATAPLANE_RUNS");
    runs.map_or(1, |runs| runs.parse().expect("KANARY_DATAPLANE_RUNS is a number"))
}

/// The instant of a point in time.
fn instant(time: Timestamp) -> Instant {
    let (now, ahead) = (Instant::now(), time.duration_since(Timestamp::now()));
    let instant = if ahead.is_negative() {
        now.checked_sub(ahead.unsigned_abs())
    } else {
        now.checked_add(ahead.unsigned_abs())
    };
    instant.expect("the machine was up at that time")
}

/// Asserts that a version answered its share of the requests.
#[track_caller]
fn assert_share(answers: &Answers, version: &str, percent: f64) {
    let deviations = answers.deviations(version, percent);
    assert!(
        deviations < TOLERANCE,
        "{percent} % of these for {version}? {answers}: {deviations:.1} standard deviations"
    );
}

/// Asserts that no request failed.
#[track_caller]
fn assert_served(answers: &Answers) {
    assert!(answers.failures().is_empty(), "{answers}");
}
