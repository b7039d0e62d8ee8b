//! Two hundred Kanaries at the same time.

use std::{collections::BTreeMap, time::Instant};

use serde_json::{Value, json};

use crate::support::{DEPLOYMENT, World, create_fleet, fleet_ends, message, phase, template, time};

const FLEET: usize = 200;

/// Every fourth Kanary gets the label that fails it.
fn is_bad(number: usize) -> bool {
    number.is_multiple_of(4)
}

fn spec(number: usize) -> Value {
    let mut pod = template(&format!("app-{number}"), "v2");
    if is_bad(number) {
        pod["metadata"]["labels"]["validation"] = json!("failed");
    }
    let watch = json!({"labelWatch": {"podInvalidationLabels": {"validation": "failed"}}});
    json!({
        "template": {"spec": {"template": pod}},
        "validation": {"validationPeriod": "3s", "items": [watch]},
    })
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the index is within the fleet"
    )]
    let index = ((sorted.len() - 1) as f64 * share) as usize;
    sorted[index]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_kanaries_at_once_all_end_as_they_must() {
    let world = World::alone("fleet").await;
    world.start_controller();
    let start = Instant::now();
    create_fleet(&world, FLEET, spec).await;
    let created = start.elapsed();
    let all = fleet_ends(&world, FLEET).await;
    let took = start.elapsed();
    let mut late = Vec::new();
    let mut ends = BTreeMap::<&str, usize>::new();
    for kanary in &all {
        let name = kanary["metadata"]["name"].as_str().unwrap_or_default();
        let number: usize = name
            .trim_start_matches("fleet-")
            .parse()
            .expect("the name has the fleet's prefix");
        let expected = if is_bad(number) { "Failed" } else { "DeploymentUpdated" };
        assert_eq!(phase(kanary), expected, "{name}: {}", message(kanary, "Failed"));
        *ends.entry(expected).or_default() += 1;
        if !is_bad(number) {
            let succeeded = crate::support::since(kanary, "Succeeded");
            late.push(succeeded.duration_since(time(kanary, "/status/deadline")).as_secs_f64());
        }
    }
    late.sort_by(f64::total_cmp);
    println!("{FLEET} Kanaries created in {created:?}, all ended after {took:?}: {ends:?}");
    println!(
        "verdict after the deadline: median {:.1} s, worst {:.1} s",
        percentile(&late, 0.5),
        percentile(&late, 1.0)
    );
    world
        .none_left(&DEPLOYMENT, "kanary.k8s-operators.dev/iskanary=true")
        .await;
    for target in world.list(&DEPLOYMENT, "").await {
        let name = target["metadata"]["name"].as_str().unwrap_or_default();
        let number: usize = name
            .trim_start_matches("app-")
            .parse()
            .expect("the name has the fleet's prefix");
        let generation = if is_bad(number) { 1 } else { 2 };
        assert_eq!(target["metadata"]["generation"], generation, "{name}");
    }
    let writes = world
        .requests()
        .await
        .iter()
        .filter(|request| request.is_write() && !request.is_event())
        .count();
    println!("{writes} writes, without Events");
    assert!(writes <= FLEET * 7, "{writes} writes for {FLEET} runs");
}
