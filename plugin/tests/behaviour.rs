//! The binary as a process, against an API server with a real controller: the embedded cluster, or the one of `hack/plane`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that does not find what it expects is to fail there and then"
)]

mod migrate;
mod support;

use serde_json::{Value, json};
use support::{Exporter, World, metrics};

#[tokio::test]
async fn status_waits_for_the_run_of_the_present_template_only() {
    let world = World::new().await;
    world.target("app").await;
    world
        .kanary(
            "batman",
            json!({"validationPeriod": "1s", "items": [{"manual": {"statusAfterDeadline": "valid"}}]}),
        )
        .await;
    let waited = world.run(&["status", "batman", "--wait", "--timeout", "1m"]).await;
    assert_eq!(waited.code, 0, "{waited:?}");
    assert!(
        waited.out.contains("DeploymentUpdated: Deployment app was updated"),
        "{waited:?}"
    );
    assert!(!waited.out.contains('\x1b'), "{waited:?}");
    let again = world.run(&["status", "batman"]).await;
    assert_eq!(again.code, 0, "{again:?}");
    // The controller is gone, so its status is about the former template.
    world.stop_controller();
    world.image("batman", "app:v3").await;
    let stale = world.run(&["status", "batman", "--wait", "--timeout", "1s"]).await;
    assert_eq!(stale.code, 4, "{stale:?}");
    assert!(stale.err.contains("has not reported on generation 2"), "{stale:?}");
    let listed = world.run(&["get"]).await;
    assert!(
        listed.out.contains("Pending") && !listed.out.contains("DeploymentUpdated"),
        "{listed:?}"
    );
    let promoted = world.run(&["promote", "batman"]).await;
    assert_eq!(promoted.code, 1, "{promoted:?}");
}

#[tokio::test]
async fn a_person_promotes_and_aborts_and_retries() {
    let world = World::new().await;
    world.target("app").await;
    world
        .kanary("batman", json!({"validationPeriod": "1h", "items": [{"manual": {}}]}))
        .await;
    world.phase("batman", "Running").await;
    let tried = world.run(&["promote", "batman", "--dry-run"]).await;
    assert!(tried.out.contains("nothing was stored"), "{tried:?}");
    let wrong = world.run(&["abort", "batman", "--run", "7"]).await;
    assert_eq!(wrong.code, 1, "{wrong:?}");
    let aborted = world.run(&["abort", "batman"]).await;
    assert_eq!((aborted.code, aborted.err.as_str()), (0, ""), "{aborted:?}");
    let failed = world.run(&["status", "batman", "--wait", "--timeout", "1m"]).await;
    assert_eq!(failed.code, 3, "{failed:?}");
    let over = world.run(&["promote", "batman"]).await;
    assert_eq!(over.code, 1, "{over:?}");
    assert!(over.err.contains("retry batman"), "{over:?}");
    let retried = world.run(&["retry", "batman"]).await;
    assert!(retried.out.contains("spec.retry is 1"), "{retried:?}");
    world.phase("batman", "Running").await;
    // The verdict of the first run stands in the spec, and has to be given again.
    let again = world.run(&["abort", "batman"]).await;
    assert!(again.out.contains("of an earlier run was removed"), "{again:?}");
    assert_eq!(
        world.run(&["status", "batman", "--wait", "--timeout", "1m"]).await.code,
        3
    );
    world.run(&["retry", "batman"]).await;
    world.phase("batman", "Running").await;
    let promoted = world.run(&["promote", "batman"]).await;
    assert!(promoted.out.contains("manual[0] is `valid`"), "{promoted:?}");
    let ended = world.run(&["status", "batman", "--wait", "--timeout", "1m"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[tokio::test]
async fn without_a_manual_item_only_an_explicit_overrule_promotes() {
    let world = World::new().await;
    world.target("app").await;
    let watch = json!({"labelWatch": {"podInvalidationLabels": {"bad": "yes"}}});
    world
        .kanary("batman", json!({"validationPeriod": "1h", "items": [watch]}))
        .await;
    world.phase("batman", "Running").await;
    let refused = world.run(&["promote", "batman"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("--overrule"), "{refused:?}");
    let paused = world.run(&["pause", "batman"]).await;
    assert!(paused.out.contains("paused: the run is held, with 59m"), "{paused:?}");
    let overruled = world.run(&["promote", "batman", "--overrule"]).await;
    assert!(overruled.out.contains("kubectl kanary resume batman"), "{overruled:?}");
    let waiting = world.run(&["status", "batman", "--wait", "--timeout", "1s"]).await;
    assert_eq!(waiting.code, 4, "{waiting:?}");
    world.run(&["resume", "batman"]).await;
    assert_eq!(
        world.run(&["status", "batman", "--wait", "--timeout", "1m"]).await.code,
        0
    );
}

#[tokio::test]
async fn a_kanary_that_goes_or_gets_another_run_ends_the_wait() {
    let world = World::new().await;
    world.target("app").await;
    let absent = world.run(&["status", "batman", "--wait"]).await;
    assert_eq!(absent.code, 5, "{absent:?}");
    assert!(absent.err.contains("there is no Kanary batman"), "{absent:?}");
    // Each has a name of its own: a canary that the garbage collector has not removed yet would hold the next run.
    for (name, is_deleted, why) in [("batman", false, "another template"), ("robin", true, "was deleted")] {
        world.kanary(name, json!({"validationPeriod": "1h"})).await;
        world.phase(name, "Running").await;
        let waiting = world.spawn(&["status", name, "--wait"]);
        let waiting = waiting.says("Running").await;
        if is_deleted {
            world.delete(name).await;
        } else {
            world.image(name, "app:v3").await;
        }
        let gone = waiting.ended().await;
        assert_eq!(gone.code, 5, "{gone:?}");
        assert!(gone.err.contains(why), "{gone:?}");
        if !is_deleted {
            world.delete(name).await;
        }
    }
}

#[tokio::test]
async fn the_wait_outlives_a_connection_that_is_lost() {
    let world = World::new().await;
    world.target("app").await;
    world
        .kanary("batman", json!({"validationPeriod": "1h", "items": [{"manual": {}}]}))
        .await;
    world.phase("batman", "Running").await;
    let waiting = ["status", "batman", "--wait", "--timeout", "2m"];
    let (line, waiting) = world.spawn_behind_a_line(&waiting).await;
    let waiting = waiting.says("Running").await;
    line.cut();
    let promoted = world.run(&["promote", "batman"]).await;
    assert_eq!(promoted.code, 0, "{promoted:?}");
    world.phase("batman", "DeploymentUpdated").await;
    line.mend();
    let ended = waiting.ended().await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.err.contains("the API server does not answer"), "{ended:?}");
}

#[tokio::test]
async fn get_shows_the_published_columns_and_follows_changes() {
    let world = World::new().await;
    world.target("app").await;
    let none = world.run(&["get"]).await;
    assert_eq!((none.code, none.out.as_str()), (0, ""), "{none:?}");
    assert!(none.err.contains("No Kanaries"), "{none:?}");
    world.kanary("batman", json!({"validationPeriod": "1h"})).await;
    world.phase("batman", "Running").await;
    let listed = world.run(&["get", "batman"]).await;
    let lines: Vec<Vec<&str>> = listed
        .out
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let heads = "NAMESPACE NAME STATUS DEPLOYMENT SERVICE SCALE TRAFFIC VALIDATION DURATION";
    assert_eq!(lines[0].join(" "), heads);
    assert_eq!(
        lines[1][..7],
        [
            world.namespace(),
            "batman",
            "Running",
            "app",
            "static",
            "none",
            "manual"
        ],
        "{listed:?}"
    );
    let watching = world.spawn(&["get", "-w"]).says("Running").await;
    world.delete("batman").await;
    watching.says("Deleted").await.kill().await;
}

#[tokio::test]
async fn bad_connections_are_explained() {
    let world = World::new().await;
    for (arguments, why) in [
        (&["get", "--context", "nowhere"] as &[&str], "nowhere"),
        (
            &["get", "--kubeconfig", "/nonexistent"],
            "could not read --kubeconfig /nonexistent",
        ),
        (&["status", "deployment/app"], "is not a kind of Kanary"),
    ] {
        let refused = world.run(arguments).await;
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.err.contains(why), "{refused:?}");
    }
    assert_eq!(world.run(&["status"]).await.code, 2);
}

/// The requests of a canary in Istio's metrics, per second: those with code 200 and 503, and the share of all that takes up to
/// 250 ms.
fn istio(world: &World, workload: &str, pod: &str, (good, bad, fast): (f64, f64, f64)) -> Vec<(String, f64)> {
    let at = format!(
        "destination_workload=\"{workload}\",destination_workload_namespace=\"{}\",pod=\"{pod}\"",
        world.namespace()
    );
    let mut series = Vec::new();
    for (code, rate) in [("200", good), ("503", bad)] {
        for reporter in ["source", "destination"] {
            let labels = format!("reporter=\"{reporter}\",{at},response_code=\"{code}\"");
            series.push((format!("istio_requests_total{{{labels}}}"), rate));
            for (le, share) in [("100", 0.0), ("250", fast), ("500", 1.0), ("+Inf", 1.0)] {
                let bucket = format!("istio_request_duration_milliseconds_bucket{{{labels},le=\"{le}\"}}");
                series.push((bucket, rate * share));
            }
        }
    }
    series
}

#[tokio::test]
async fn generate_writes_what_the_cluster_takes_for_each_kind_of_target() {
    let world = World::new().await;
    let labels = json!({"app": "db"});
    let template =
        json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "db:v1"}]}});
    let spec = json!({"selector": {"matchLabels": labels}, "template": template});
    for (kind, of_kanary) in [("StatefulSet", "KanaryStatefulset"), ("DaemonSet", "KanaryDeployment")] {
        let mut workload = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "db"}, "spec": spec});
        if kind == "StatefulSet" {
            workload["spec"]["serviceName"] = json!("db");
        }
        world.create(workload).await;
        let target = format!("{}/db", kind.to_lowercase());
        let generated = world.run(&["generate", &target, "-o", "json"]).await;
        assert_eq!(generated.code, 0, "{generated:?}");
        assert!(
            generated.err.contains(&format!("--target-kinds={kind}")),
            "{generated:?}"
        );
        let kanary: Value = serde_json::from_str(&generated.out).unwrap();
        assert_eq!(kanary["kind"], of_kanary);
        world.create(kanary).await;
    }
    let missing = world.run(&["generate", "db"]).await;
    assert_eq!(missing.code, 5, "{missing:?}");
    assert!(
        missing.err.contains("write statefulset/db or daemonset/db"),
        "{missing:?}"
    );
    let wrong = world.run(&["generate", "job/db"]).await;
    assert_eq!(wrong.code, 2, "{wrong:?}");
    assert!(wrong.err.contains("job is no kind of target"), "{wrong:?}");
}

#[tokio::test]
async fn what_generate_writes_for_istio_is_judged_by_prometheus() {
    let world = World::new().await;
    let exporter = Exporter::start(world.namespace()).await;
    for (name, requests, end) in [
        ("good", (97.0, 3.0, 1.0), "DeploymentUpdated"),
        ("slow", (100.0, 0.0, 0.98), "Failed"),
        ("broken", (94.0, 6.0, 1.0), "Failed"),
    ] {
        world.target(name).await;
        world
            .create(json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                "spec": {"selector": {"app": name}, "ports": [{"port": 80}]},
            }))
            .await;
        let generated = [
            "generate",
            name,
            "--service",
            name,
            "--traffic",
            "service",
            "-o",
            "json",
        ];
        let istio_items = [
            "--validation-promql-istio-quantile=P99<310",
            "--validation-promql-istio-success=0.95",
            &format!("--validation-promql-server={}", metrics().server()),
            "--validation-period=2s",
        ];
        let generated = world.run(&[&generated[..], &istio_items].concat()).await;
        assert_eq!(generated.code, 0, "{generated:?}");
        let mut kanary: Value = serde_json::from_str(&generated.out).unwrap();
        // Shorter than a user would have it, and with requests from the start.
        kanary["spec"]["validation"]["initialDelay"] = json!("0s");
        kanary["spec"]["validation"]["maxIntervalPeriod"] = json!("500ms");
        world.create(kanary).await;
        world.phase(name, "Running").await;
        let pod = world.pod(name).await;
        exporter.grow(istio(&world, &format!("{name}-kanary-{name}"), &pod, requests));
        world.phase(name, end).await;
    }
    for (name, said) in [
        // Counters that are scraped are never exact.
        ("slow", ["promQL[0]: 37", "outside [0, 310] on pod"]),
        ("broken", ["promQL[1]: 0.9", "outside [0.95, 1] on pod"]),
    ] {
        let why = world.run(&["explain", name]).await;
        assert!(said.iter().all(|part| why.out.contains(part)), "{why:?}");
    }
}
