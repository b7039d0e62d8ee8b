//! Turns arbitrary input into a run in progress.

use std::sync::Arc;

use serde_json::json;

use super::input::{T0, UID, t0, template};
use crate::{
    ParsedKanary,
    api::{GoDuration, names::RUN},
    hash,
    observation::{Observation, Service, Versions},
    traffic::service_selector,
};

/// Fixes everything that would prevent the validation or the promotion of a run.
pub(super) fn under_way(canary: &mut ParsedKanary, seen: &mut Observation, decided: bool) {
    let spec = Arc::make_mut(&mut canary.spec);
    spec.paused = false;
    spec.schedule = None;
    let status = &mut canary.status;
    status.current_hash = Some(spec.template_hash.clone());
    status.retry = Some(spec.retry);
    status.current_traffic = Some(spec.traffic_key.clone());
    status.initial_delay = Some(GoDuration(spec.validation.initial_delay));
    status.validation_period = Some(GoDuration(spec.validation.period));
    status.target_hash = Some(hash::of(&template("t1")));
    status.completed_at = None;
    let phase = if decided { "Succeeded" } else { "Running" };
    let condition = json!({"type": phase, "status": "True", "reason": "", "message": "", "lastTransitionTime": T0});
    status.conditions = vec![serde_json::from_value(condition).unwrap()];
    status.available_at = Some(t0());
    status.validation_start_time.get_or_insert(t0());
    status.deadline.get_or_insert(t0());
    let run = canary.run(&canary.spec);
    if let Some(target) = &mut seen.target {
        (target.owner, target.owner_name) = (None, None);
        target.labels.clear();
        target.pod_labels.clear();
        target.deleting = false;
        target.created_by = None;
        target.selector = None;
        target.template_hash = hash::of(&template("t1"));
    }
    if let Some(made) = &mut seen.canary {
        made.deleting = false;
        made.versions = Versions::One;
        made.available_since.get_or_insert(t0());
        made.owner = Some(UID.to_owned());
        made.labels.insert(RUN.to_owned(), run);
    }
    let owned = [&mut seen.kanary_service, &mut seen.hpa, &mut seen.scaled_object];
    for owned in owned.into_iter().flatten() {
        owned.owner = Some(UID.to_owned());
        owned.deleting = false;
    }
    traffic_flows(canary, seen);
    seen.pods.iter_mut().for_each(|pod| pod.edited = false);
    seen.refusal = None;
}

/// Routes exactly the requested traffic to the canary's pods.
fn traffic_flows(canary: &mut ParsedKanary, seen: &mut Observation) {
    seen.kanary_selector = service_selector(canary, &canary.spec);
    seen.services.clear();
    seen.other_pods.clear();
    seen.target_is_canary_of = None;
    let service = Service {
        name: "svc".to_owned(),
        selector: [("app".to_owned(), "myapp".to_owned())].into(),
        ports: vec![json!({"port": 80})],
        ..Service::default()
    };
    let spec = Arc::make_mut(&mut canary.spec);
    if spec.in_production() {
        let mut pods = spec.template.pod_template();
        pods["metadata"]["labels"] = json!(service.selector);
        spec.template = spec.template.clone().with_pods(pods);
    }
    for pod in &mut seen.pods {
        pod.labels.remove("app");
        if spec.in_production() {
            pod.labels.extend(service.selector.clone());
        }
    }
    seen.service = Some(service);
}
