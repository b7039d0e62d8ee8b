//! Tallies in the input of a case.

use serde_json::{Value, json};

use super::input::{number, text, time};
use crate::validation::{Outcome, Sample, Tally};

/// `last` is an outcome and a message: `Pass 0.2 on pod x`. All pods were ready at the measurement, unless `pods` lists
/// the ready ones.
pub(super) fn tally(value: &Value, pods: &Value) -> Tally {
    let all = || {
        let names = pods.as_array().into_iter().flatten();
        names.map(|pod| text(&pod["name"]).unwrap_or("x".to_owned())).collect()
    };
    let pods = serde_json::from_value(value["pods"].clone()).unwrap_or_else(|_| all());
    let last = value["last"].as_str().map(|last| {
        let (outcome, message) = last.split_once(' ').unwrap_or((last, ""));
        let outcome = match outcome {
            "Pass" => Outcome::Pass,
            "Fail" => Outcome::Fail,
            "NoData" => Outcome::NoData,
            "Error" => Outcome::Error,
            "Invalid" => Outcome::Invalid,
            other => panic!("there is no outcome {other}"),
        };
        Sample {
            outcome,
            value: None,
            message: message.to_owned(),
        }
    });
    let is_empty = u32::from(last.as_ref().is_some_and(|last| last.outcome == Outcome::NoData));
    Tally {
        good: number(&value["good"]).unwrap_or_default(),
        bad: number(&value["bad"]).unwrap_or_default(),
        empty: number(&value["empty"]).unwrap_or(is_empty),
        errors: number(&value["errors"]).unwrap_or_default(),
        silence: number(&value["silence"]).unwrap_or(is_empty),
        answers: number(&value["answers"]).unwrap_or_default(),
        last,
        last_check: time(&value["at"]),
        pods,
        pending: value["pending"] == json!(true),
        resumed: value["resumed"] == json!(true),
        ..Tally::default()
    }
}
