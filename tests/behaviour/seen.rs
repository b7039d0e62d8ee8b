//! Output for users: tables, columns, Events, conditions, explanations, logs and the admin server.

mod process;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::ChildStdout,
};

use crate::support::{DEPLOYMENT, EVENT, KANARY, World, condition, held, is_true, kanary, message, poll, reason};

/// Lines of a kubectl table, split at whitespace.
fn rows(table: &str) -> Vec<Vec<&str>> {
    table.lines().map(|line| line.split_whitespace().collect()).collect()
}

#[tokio::test]
async fn kubectl_get_shows_the_published_columns() {
    let Some(world) = World::with_kubectl("seen").await else {
        return;
    };
    world.target("myapp", 1).await;
    world.service("myapp-svc", "myapp").await;
    let spec = json!({"serviceName": "myapp-svc", "traffic": {"source": "both"}, "validation": held()});
    world.kanary("batman", "myapp", spec).await;
    world.phase("batman", "Running").await;
    for name in ["kanary", "kd", "kanarydeployment", "kanarydeployments"] {
        let table = world.kubectl(&["get", name]).await;
        let [header, row] = &rows(&table)[..] else {
            panic!("{table}")
        };
        let columns = "NAME STATUS DEPLOYMENT SERVICE SCALE TRAFFIC VALIDATION DURATION AGE";
        assert_eq!(header.join(" "), columns);
        let cells = ["batman", "Running", "myapp", "myapp-svc", "static", "both", "manual"];
        assert_eq!(row[..7], cells);
        assert!(row[7].ends_with("/1h0m0s"), "{table}");
    }
}

/// Reads the STATUS of batman from `kubectl get -w` until it is `last`.
async fn read_until(lines: &mut Lines<BufReader<ChildStdout>>, seen: &mut Vec<String>, last: &str) {
    let read = async {
        while let Some(line) = lines.next_line().await.expect("kubectl writes text") {
            let cells: Vec<_> = line.split_whitespace().collect();
            if let ["batman", status, ..] = cells[..] {
                seen.push(status.to_owned());
                if status == last {
                    return;
                }
            }
        }
    };
    crate::support::waited(&format!("kubectl -w shows {last}"), String::new, read).await;
}

#[tokio::test]
async fn kubectl_get_watch_reads_as_published() {
    let Some(world) = World::with_kubectl("seen").await else {
        return;
    };
    world.target("myapp", 1).await;
    let mut kubectl = world
        .kubectl_command(&["get", "kanary", "-w"])
        .spawn()
        .expect("kubectl is in PATH");
    let mut lines = BufReader::new(kubectl.stdout.take().expect("it is piped")).lines();
    let mut seen = Vec::new();
    // The Kanary is paused until kubectl watches, so that kubectl receives every state.
    world.kanary("batman", "myapp", json!({"paused": true})).await;
    read_until(&mut lines, &mut seen, "Scheduled").await;
    world.edit("batman", json!({"paused": false})).await;
    read_until(&mut lines, &mut seen, "DeploymentUpdated").await;
    seen.dedup();
    assert_eq!(seen, ["Scheduled", "Running", "Succeeded", "DeploymentUpdated"]);
}

#[tokio::test]
async fn kubectl_explain_documents_the_fields() {
    let Some(world) = World::with_kubectl("seen").await else {
        return;
    };
    for (field, words) in [
        ("kanarydeployment.spec.scale", "How many canary pods run"),
        (
            "kanarydeployment.spec.scale.percent",
            "A percentage of the target's replicas",
        ),
        (
            "kanarystatefulset.spec.validation.items.promQL.query",
            "evaluated as an instant query",
        ),
        ("kanarydeployment.status.report", "Summary of the run for `kubectl get`"),
    ] {
        // An API server publishes the schema of a new CRD some time after it serves it.
        poll(&format!("{field} is explained"), async || {
            let said = world.try_kubectl(&["explain", field], "").await;
            let told = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
            let explained = told.contains(words);
            if explained { Ok(()) } else { Err(told + &said.err) }
        })
        .await;
    }
    let said = world.kubectl(&["explain", "kanarydeployment.spec.scale"]).await;
    for field in ["static", "percent", "hpa"] {
        assert!(said.contains(field), "{said}");
    }
}

#[tokio::test]
async fn the_crds_that_the_program_prints_are_applied_by_a_plain_kubectl_apply() {
    let Some(world) = World::with_kubectl("seen").await else {
        return;
    };
    let printed = tokio::process::Command::new(env!("CARGO_BIN_EXE_kanary"))
        .arg("crds")
        .output();
    let printed = printed.await.expect("the program runs");
    let crds = String::from_utf8(printed.stdout).expect("it prints text");
    let said = world.try_kubectl(&["apply", "-f", "-"], &crds).await;
    assert!(said.ok, "{}", said.err);
    for plural in ["kanarydeployments", "kanarystatefulsets"] {
        assert!(said.out.contains(plural), "{}", said.out);
    }
}

#[tokio::test]
async fn a_manifest_can_be_applied_twice_and_the_users_spec_is_never_written() {
    let Some(world) = World::with_kubectl("seen").await else {
        return;
    };
    world.target("app", 1).await;
    let manifest = kanary("batman", "app", json!({})).to_string();
    let said = world.try_kubectl(&["apply", "-f", "-"], &manifest).await;
    assert!(said.out.contains("created"), "{said:?}");
    let ended = world.ends("batman", "DeploymentUpdated").await;
    let said = world.try_kubectl(&["apply", "-f", "-"], &manifest).await;
    assert!(said.out.contains("unchanged"), "{said:?}");
    let written: Value = serde_json::from_str(&manifest).expect("the annotation is JSON");
    assert_eq!(
        ended["spec"], written["spec"],
        "the spec is stored as written, without defaults"
    );
    assert_eq!(ended["metadata"]["generation"], 1);
}

#[tokio::test]
async fn kubectl_wait_and_kstatus_see_the_end_of_a_run() {
    let Some(world) = World::with_kubectl("seen").await else {
        return;
    };
    world.target("app", 1).await;
    world.kanary("good", "app", json!({})).await;
    world.kanary("bad", "app", json!({"verdict": "invalid"})).await;
    world
        .kubectl(&[
            "wait",
            "--for=condition=DeploymentUpdated",
            "--timeout=90s",
            "kanary/good",
        ])
        .await;
    world
        .kubectl(&["wait", "--for=condition=Failed", "--timeout=90s", "kanary/bad"])
        .await;
    let good = world.ends("good", "DeploymentUpdated").await;
    assert!(!is_true(&good, "Reconciling") && !is_true(&good, "Stalled"), "{good:#}");
    assert_eq!(good["status"]["observedGeneration"], good["metadata"]["generation"]);
    let bad = world.ends("bad", "Failed").await;
    assert!(!is_true(&bad, "Reconciling") && is_true(&bad, "Stalled"), "{bad:#}");
}

#[tokio::test]
async fn conditions_are_standard_ones() {
    let world = World::new("seen").await;
    world.target("app", 1).await;
    world.kanary("batman", "app", json!({})).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    let known = [
        "Scheduled",
        "Activated",
        "Traffic",
        "Running",
        "Succeeded",
        "Failed",
        "DeploymentUpdated",
        "Errored",
        "Reconciling",
        "Stalled",
    ];
    let conditions = ended["status"]["conditions"].as_array().expect("there are conditions");
    for condition in conditions {
        let name = condition["type"].as_str().unwrap_or_default();
        assert!(known.contains(&name), "{name}");
        assert!(
            condition["reason"].as_str().is_some_and(|reason| !reason.is_empty()),
            "{condition}"
        );
        assert!(condition["lastTransitionTime"].is_string(), "{condition}");
    }
    for (name, holds) in [("Running", false), ("Succeeded", true), ("DeploymentUpdated", true)] {
        assert_eq!(is_true(&ended, name), holds, "{name}: {}", condition(&ended, name));
    }
    assert!(message(&ended, "DeploymentUpdated").contains("Deployment app"));
}

/// Reasons of a Kanary's Events.
async fn events(world: &World, kanary: &str) -> Vec<(String, String)> {
    let mut events = world.list(&EVENT, "").await;
    events.retain(|event| event["regarding"]["name"] == kanary);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    events
        .iter()
        .map(|event| (text(&event["reason"]), text(&event["type"])))
        .collect()
}

#[tokio::test]
async fn a_run_has_two_events_of_one_reason_per_fact() {
    let Some(world) = World::with_kubectl("seen").await else {
        return;
    };
    world.target("app", 1).await;
    world
        .kanary("good", "app", json!({"rollout": {"onTargetChange": "promote"}}))
        .await;
    world
        .kanary(
            "dry",
            "app",
            json!({"rollout": {"mode": "dry-run", "onTargetChange": "promote"}}),
        )
        .await;
    let promote = json!({"onTargetChange": "promote"});
    world
        .kanary("bad", "app", json!({"validation": held(), "rollout": promote}))
        .await;
    world.phase("bad", "Running").await;
    world.edit("bad", json!({"verdict": "invalid"})).await;
    let normal = |reason: &str| (reason.to_owned(), "Normal".to_owned());
    let mut all = Vec::new();
    for (name, ends, last) in [
        ("good", "DeploymentUpdated", normal("Promoted")),
        ("dry", "Succeeded", normal("Succeeded")),
        ("bad", "Failed", ("Failed".to_owned(), "Warning".to_owned())),
    ] {
        world.ends(name, ends).await;
        world
            .until_all(&EVENT, "", &format!("the last Event of {name}"), |events| {
                events
                    .iter()
                    .any(|event| event["regarding"]["name"] == name && event["reason"] == last.0)
            })
            .await;
        let told = events(&world, name).await;
        let facts: BTreeSet<_> = told.iter().cloned().collect();
        assert_eq!(facts.len(), told.len(), "{name}: each Event once: {told:?}");
        // An Event whose write is lost is not repeated.
        assert!(
            facts.is_subset(&BTreeSet::from([normal("Started"), last])),
            "{name}: {told:?}"
        );
        all.extend(told);
    }
    assert!(all.contains(&normal("Started")), "{all:?}");
    let described = world.kubectl(&["describe", "kanary", "good"]).await;
    assert!(
        described.contains("Promoted"),
        "kubectl describe shows the Events: {described}"
    );
}

#[tokio::test]
async fn an_error_is_reported_by_an_event() {
    let world = World::new("seen").await;
    world.target("app", 1).await;
    let spec = json!({"serviceName": "nowhere", "traffic": {"source": "service"}});
    world.kanary("batman", "app", spec).await;
    let errored = world.phase("batman", "Errored").await;
    assert_eq!(reason(&errored, "Errored"), "ServiceNotFound");
    world
        .until_all(&EVENT, "", "an Event reports the error", |events| {
            events.iter().any(|event| {
                event["reason"] == "Errored" && event["note"].to_string().contains("Service nowhere does not exist")
            })
        })
        .await;
}

#[tokio::test]
async fn kubectl_patch_and_delete_do_what_they_say() {
    let Some(world) = World::with_kubectl("seen").await else {
        return;
    };
    world.target("app", 1).await;
    world
        .kanary("batman", "app", json!({"validation": {"validationPeriod": "1h"}}))
        .await;
    world.phase("batman", "Running").await;
    let invalid = r#"{"spec": {"verdict": "invalid"}}"#;
    let patched = world
        .kubectl(&["patch", "kanary", "batman", "--type=merge", "-p", invalid])
        .await;
    assert!(patched.contains("batman patched"), "{patched}");
    world.ends("batman", "Failed").await;
    let verdict = r#"[{"op": "remove", "path": "/spec/verdict"}, {"op": "add", "path": "/spec/retry", "value": 1}]"#;
    world
        .kubectl(&["patch", "kanary", "batman", "--type=json", "-p", verdict])
        .await;
    world.phase("batman", "Running").await;
    world.get(&DEPLOYMENT, "app-kanary-batman").await;
    let deleted = world.kubectl(&["delete", "kanary", "batman", "--timeout=90s"]).await;
    assert!(deleted.contains("deleted"), "{deleted}");
    assert_eq!(world.find(&KANARY, "batman").await, None);
    world.gone(&DEPLOYMENT, "app-kanary-batman").await;
}

#[tokio::test]
async fn a_kanary_in_another_namespace_is_left_to_others() {
    let world = World::new("seen").await;
    let other = world.sibling("seen").await;
    for world in [&world, &other] {
        world.target("app", 1).await;
        world.kanary("batman", "app", json!({})).await;
    }
    world.ends("batman", "DeploymentUpdated").await;
    let theirs = other.get(&KANARY, "batman").await;
    assert_eq!(
        theirs["status"]["conditions"],
        Value::Null,
        "--namespace limits the controller"
    );
    assert!(other.requests().await.is_empty());
}
