//! The row of a pod.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cells::{age, items, name, number, or, since, text};

/// Totals over the containers of a pod.
#[derive(Default)]
struct Summary {
    ready: usize,
    restarts: i64,
    last_restart: String,
    reason: String,
}

impl Summary {
    fn count_restarts(&mut self, container: &Value) {
        self.restarts += number(&container["restartCount"]);
        let finished = text(&container["lastState"]["terminated"]["finishedAt"]);
        if finished > self.last_restart.as_str() {
            finished.clone_into(&mut self.last_restart);
        }
    }
}

pub(super) fn row(pod: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let mut summary = Summary {
        reason: or(&status["reason"], text(&status["phase"])).to_owned(),
        ..Summary::default()
    };
    if let Some(gated) = items(&status["conditions"])
        .iter()
        .find(|it| it["reason"] == "SchedulingGated")
    {
        text(&gated["reason"]).clone_into(&mut summary.reason);
    }
    let (initializing, sidecars) = init_containers(pod, &mut summary);
    if !initializing || has_condition(status, "Initialized") {
        // Once the pod runs, restarts of regular init containers no longer count.
        summary.restarts = sidecars.restarts;
        summary.last_restart = sidecars.last_restart;
        containers(status, &mut summary);
    }
    if pod["metadata"]["deletionTimestamp"].is_string() {
        if status["reason"] == "NodeLost" {
            "Unknown".clone_into(&mut summary.reason);
        } else if !matches!(text(&status["phase"]), "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut summary.reason);
        }
    }
    let sidecars = items(&spec["initContainers"])
        .iter()
        .filter(|it| it["restartPolicy"] == "Always")
        .count();
    let total = items(&spec["containers"]).len() + sidecars;
    let restarts = if summary.restarts != 0 && !summary.last_restart.is_empty() {
        format!(
            "{} ({} ago)",
            summary.restarts,
            since(&json!(summary.last_restart), now)
        )
    } else {
        summary.restarts.to_string()
    };
    vec![
        json!(name(pod)),
        json!(format!("{}/{total}", summary.ready)),
        json!(summary.reason),
        json!(restarts),
        json!(age(pod, now)),
        json!(or(&status["podIPs"][0]["ip"], or(&status["podIP"], "<none>"))),
        json!(or(&spec["nodeName"], "<none>")),
        json!(or(&status["nominatedNodeName"], "<none>")),
        json!(readiness_gates(spec, status)),
    ]
}

/// Whether the pod is still initializing, and the totals of its sidecars.
fn init_containers(pod: &Value, summary: &mut Summary) -> (bool, Summary) {
    let specs = items(&pod["spec"]["initContainers"]);
    let is_sidecar = |name: &Value| {
        specs
            .iter()
            .any(|it| &it["name"] == name && it["restartPolicy"] == "Always")
    };
    let statuses = items(&pod["status"]["initContainerStatuses"]);
    let mut sidecars = Summary::default();
    for (index, container) in statuses.iter().enumerate() {
        let (terminated, waiting) = (&container["state"]["terminated"], &container["state"]["waiting"]);
        summary.count_restarts(container);
        if is_sidecar(&container["name"]) {
            sidecars.count_restarts(container);
        }
        if terminated.is_object() && number(&terminated["exitCode"]) == 0 {
            continue;
        }
        if is_sidecar(&container["name"]) && container["started"] == true {
            summary.ready += usize::from(container["ready"] == true);
            continue;
        }
        summary.reason = if terminated.is_object() {
            format!("Init:{}", ending(terminated))
        } else if !matches!(text(&waiting["reason"]), "" | "PodInitializing") {
            format!("Init:{}", text(&waiting["reason"]))
        } else {
            format!("Init:{index}/{}", specs.len())
        };
        return (true, sidecars);
    }
    (false, sidecars)
}

fn containers(status: &Value, summary: &mut Summary) {
    let mut running = false;
    let mut failure = None;
    for container in items(&status["containerStatuses"]).iter().rev() {
        summary.count_restarts(container);
        let (terminated, waiting) = (&container["state"]["terminated"], &container["state"]["waiting"]);
        if !text(&waiting["reason"]).is_empty() {
            text(&waiting["reason"]).clone_into(&mut summary.reason);
        } else if terminated.is_object() {
            summary.reason = ending(terminated);
            if number(&terminated["exitCode"]) != 0 {
                failure = Some(summary.reason.clone());
            }
        } else if container["ready"] == true && container["state"]["running"].is_object() {
            running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" {
        summary.reason = match failure {
            _ if running && has_condition(status, "Ready") => "Running".to_owned(),
            Some(failure) => failure,
            None if running => "NotReady".to_owned(),
            None => "Completed".to_owned(),
        };
    }
}

/// Why a container terminated.
fn ending(terminated: &Value) -> String {
    match (text(&terminated["reason"]), number(&terminated["signal"])) {
        ("", 0) => format!("ExitCode:{}", number(&terminated["exitCode"])),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn has_condition(status: &Value, kind: &str) -> bool {
    items(&status["conditions"])
        .iter()
        .any(|it| it["type"] == kind && it["status"] == "True")
}

fn readiness_gates(spec: &Value, status: &Value) -> String {
    let gates = items(&spec["readinessGates"]);
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let open = gates
        .iter()
        .filter(|gate| has_condition(status, text(&gate["conditionType"])))
        .count();
    format!("{open}/{}", gates.len())
}
