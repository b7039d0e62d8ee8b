//! The guarantees of `decide`, with a short case for each sentence of the API reference.
//!
//! A case consists of short YAML (`input.rs` describes the format) and the decision as text (`output.rs`). All times are
//! relative to [`input::T0`]. By default, a case has the KanaryDeployment `batman` in `shop` with the target `myapp`,
//! whose 3 replicas run the template `t1`.

#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them so")]

mod activation;
mod adopt;
mod arbitrary;
mod arbitrary_spec;
mod arbitrary_status;
mod arbitrary_traffic;
mod bad_input;
mod bad_items;
mod canary_changed;
mod carried;
mod clean_up;
mod clocks;
mod converted;
mod created_target;
mod daemon_set;
mod deleted;
mod disowned;
mod dry_run;
mod edited_badly;
mod edited_periods;
mod events;
mod failed_templates;
mod forged_epoch;
mod forward;
mod in_place;
mod input;
mod input_traffic;
mod keda;
mod known_templates;
mod label_watch;
mod leave;
mod leftovers;
mod manual;
mod measured;
mod measuring;
mod missing_target;
mod model;
mod not_coming_up;
mod old_manual_verdicts;
mod old_verdicts;
mod other_traffic;
mod outages;
mod output;
mod overruled;
mod paused;
mod places;
mod problems;
mod prom_ql;
mod prom_ql_at_the_deadline;
mod promotion;
mod properties;
mod reading;
mod reserved_names;
mod resumed;
mod retained;
mod rollback;
mod rolling_out;
mod routed;
mod routed_specs;
mod runs;
mod scale;
mod schedule;
mod services;
mod shielded;
mod stateful_set;
mod stored;
mod too_late;
mod traces;
mod tracked;
mod traffic;
mod traffic_lost;
mod truthful;
mod under_way;
mod unopposed;
mod verdict;
mod waiting;
mod waits;

pub(crate) use input::merge;

use expect_test::Expect;
use serde_json::Value;

use super::decide;

/// Decides on the input and compares the decision with the expected one.
#[allow(clippy::needless_pass_by_value, reason = "cases read better without a reference")]
fn check(yaml: &str, expected: Expect) {
    let input = input::read(yaml);
    let decision = decide(&input.kanary, &input.seen, input.now);
    expected.assert_eq(&output::text(&input, &decision));
    let again = decide(&input.kanary, &input.seen, input.now);
    assert_eq!(
        format!("{decision:?}"),
        format!("{again:?}"),
        "the same input gives the same output"
    );
    if let Some(status) = decision.status {
        events::are_documented(&status);
        comes_to_rest(&input, &status);
    }
}

/// After a status is stored, another decision at the same time must not write a further status, unless the phase changed.
fn comes_to_rest(input: &input::Input, status: &crate::api::KanaryStatus) {
    use super::status::Phase;
    let stored: Value = serde_json::to_value(status).unwrap();
    let mut canary = input.kanary.clone();
    let former = std::mem::replace(&mut canary.status, serde_json::from_value(stored).unwrap());
    if former.run != canary.status.run || Phase::of(&former) != Phase::of(&canary.status) {
        return;
    }
    let next = decide(&canary, &input.seen, input.now);
    assert_eq!(next.status, None, "a status that was just written is written again");
}
