//! Output of the controller process: its admin server and its logs.

use serde_json::{Value, json};

use crate::support::{Process, World, poll};

/// Log line for an API call without a reply. Metrics and log lines that follow a reply may then be missing.
const LOST: &str = "a request failed; retrying";

#[tokio::test]
async fn the_admin_server_tells_that_it_lives_that_it_is_ready_and_what_it_counted() {
    let world = World::unserved("seen").await;
    world.target("app", 1).await;
    let process = Process::start(&world, &[]);
    process.ready().await;
    assert_eq!(process.page("/livez").await.map(|(status, _)| status), Ok(200));
    world.kanary("batman", "app", json!({})).await;
    world.ends("batman", "DeploymentUpdated").await;
    // Counters that are raised after a reply miss writes without one. The transient and throttled results show those.
    let lost = |text: &str, write: &str| {
        let count = |result| format!("kanary_writes_total{{write=\"{write}\",result=\"{result}\"}}");
        text.contains(&count("transient")) || text.contains(&count("throttled"))
    };
    let counted = poll("/metrics counts the run", async || {
        let (_, text) = process.page("/metrics").await?;
        let ended = "kanary_runs_ended_total{phase=\"DeploymentUpdated\"} 1";
        let told = text.contains("kanary_kanaries{phase=\"DeploymentUpdated\"} 1")
            && (text.contains(ended) || lost(&text, "status"));
        if told { Ok(text) } else { Err(text) }
    })
    .await;
    let promoted = "kanary_writes_total{write=\"promote\",result=\"ok\"} 1";
    assert!(counted.contains(promoted) || lost(&counted, "promote"), "{counted}");
    for line in [
        "kanary_panics_total 0",
        "# HELP kanary_verdict_lateness_seconds",
        "kanary_api_requests_total{verb=\"watch\",resource=\"pods\",result=\"ok\"}",
        "kanary_api_request_duration_seconds_count{verb=\"patch\",resource=\"kanarydeployments/status\"}",
        "kanary_namespace_kanaries{kanary_namespace=\"_other\",phase=\"Running\"} 0",
    ] {
        assert!(counted.contains(line), "{line} is not in\n{counted}");
    }
}

#[tokio::test]
async fn the_json_log_has_one_line_for_each_phase_change() {
    let world = World::unserved("seen").await;
    world.target("app", 1).await;
    let process = Process::start(&world, &["--log-format", "json"]);
    world.kanary("batman", "app", json!({})).await;
    world.ends("batman", "DeploymentUpdated").await;
    poll("the log reports the run", async || {
        let lines = process.lines();
        let lines: Vec<Value> = lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line} is not JSON: {e}")))
            .collect();
        let changes: Vec<_> = lines
            .iter()
            .filter(|line| line["message"] == "phase changed")
            .map(|line| line["to"].as_str().unwrap_or_default().to_owned())
            .collect();
        let due = ["Running", "Succeeded", "DeploymentUpdated"];
        let lost = lines.iter().any(|line| line["message"] == LOST);
        let mut rest = due.iter();
        let some = changes.iter().all(|change| rest.any(|next| change == next));
        let told = changes == due || (lost && some);
        if told { Ok(()) } else { Err(format!("{changes:?}")) }
    })
    .await;
    let lines = process.lines().join("\n");
    assert!(
        lines.contains("\"namespace\":") && lines.contains("\"name\":\"batman\""),
        "{lines}"
    );
}

#[tokio::test]
async fn the_text_log_names_the_kanary_and_the_phase() {
    let world = World::unserved("seen").await;
    world.target("app", 1).await;
    let process = Process::start(&world, &[]);
    world.kanary("batman", "app", json!({"verdict": "invalid"})).await;
    world.ends("batman", "Failed").await;
    poll("the log reports the failure", async || {
        let lines = process.lines();
        let told = lines.iter().any(|line| {
            line.contains(LOST)
                || (line.contains("phase changed") && line.contains("batman") && line.contains("Failed"))
        });
        if told { Ok(()) } else { Err(lines.join("\n")) }
    })
    .await;
}
