//! The webhook of Istio's control plane, which validates VirtualServices.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use crate::admission::{Attempt, Effect, Policy};

const NAME: &str = "rev.validation.istio.io";

/// The kind that the webhook validates.
const VIRTUAL_SERVICES: &str = "virtualservices.networking.istio.io";

/// How long the API server waits for a webhook.
const TIMEOUT: Duration = Duration::from_secs(10);

fn applies(attempt: &Attempt<'_>) -> bool {
    attempt.resource == VIRTUAL_SERVICES && attempt.verb != "delete" && attempt.subresource.is_empty()
}

/// The webhook of a control plane that works.
pub(super) fn answering() -> Policy {
    let check = |object: Option<&Value>, _: Option<&Value>| match object.and_then(problem) {
        Some(why) => Err(Effect::denied(
            NAME,
            400,
            "",
            &format!("configuration is invalid: {why}"),
        )),
        None => Ok(()),
    };
    Policy::new(NAME, applies, Effect::Check(Arc::new(check)))
}

/// The webhook of a control plane that hangs: each write fails after the API server's timeout.
pub(super) fn hanging() -> Policy {
    Policy::new(NAME, applies, Effect::Hang(TIMEOUT))
}

/// The first problem of a VirtualService.
fn problem(object: &Value) -> Option<String> {
    let http = object["spec"]["http"].as_array().into_iter().flatten();
    http.map(problem_of_rule).find_map(|problem| problem)
}

fn problem_of_rule(rule: &Value) -> Option<String> {
    let routes = rule["route"].as_array().map_or(&[][..], Vec::as_slice);
    let answers = ["redirect", "directResponse", "delegate"];
    if routes.is_empty() && answers.iter().all(|field| rule[field].is_null()) {
        return Some("HTTP route, redirect or direct_response is required".to_owned());
    }
    let has_mirrors = rule["mirrors"].as_array().is_some_and(|mirrors| !mirrors.is_empty());
    if has_mirrors && !rule["mirror"].is_null() {
        return Some("HTTP route cannot contain both mirror and mirrors".to_owned());
    }
    let mirrors = rule["mirrors"].as_array().into_iter().flatten();
    let percentages = mirrors.map(|mirror| ("mirror percentage", &mirror["percentage"]));
    let percentages = percentages.chain([("mirror_percentage", &rule["mirrorPercentage"])]);
    let mut percentages = percentages.filter_map(|(what, percentage)| Some((what, percentage["value"].as_f64()?)));
    let wrong = percentages.find_map(|(what, value)| match value {
        over if over > 100.0 => Some(format!("{what} must have a max value of 100 (it has {over:.6})")),
        under if under < 0.0 => Some(format!("{what} must have a min value of 0 (it has {under:.6})")),
        _ => None,
    });
    wrong.or_else(|| problem_of_weights(routes))
}

fn problem_of_weights(routes: &[Value]) -> Option<String> {
    let weights = routes.iter().map(|route| route["weight"].as_i64().unwrap_or_default());
    if let Some(weight) = weights.clone().find(|weight| *weight < 0) {
        return Some(format!("weight {weight} < 0"));
    }
    let total: i64 = weights.sum();
    (routes.len() > 1 && total == 0).then(|| "total destination weight = 0".to_owned())
}
