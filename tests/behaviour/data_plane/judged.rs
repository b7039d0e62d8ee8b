//! Canaries that are judged by the requests that reach them, as a Prometheus of a mesh knows them.

use kanary_dataplane::load::{Failure, Running};
use serde_json::{Value, json};

use super::site::{GATEWAY_API, Site, until_answered};
use crate::support::{DEPLOYMENT, World, merge, reason};

/// Two steps, with an item about the share of errors among the canary's answers.
fn judged(world: &World) -> Value {
    let requests = |labels: &str| {
        let of = "destination_workload_namespace=\"{{ namespace }}\",destination_workload=\"{{ canary.name }}\"";
        format!("sum(rate(istio_requests_total{{{of}{labels}}}[5s]))")
    };
    let errors = requests(",response_code=~\"5..\"");
    let query = json!({
        "prometheusURL": world.plane.prometheus(), "allPodsQuery": true, "interval": "1s",
        "query": format!("({errors} or vector(0)) / ({} > 0)", requests("")),
        "valueInRange": {"min": 0, "max": 0.1},
    });
    json!({
        "serviceName": "app",
        "traffic": {"source": "weighted", "weighted": {"steps": [20, 50], "interval": "10s"}},
        "validation": {"validationPeriod": "15s", "items": [{"promQL": query}]},
    })
}

/// A target under load, behind a route that leads to it alone. `None` without a data plane.
async fn loaded() -> Option<(Site, Running)> {
    let mut site = Site::new().await?;
    let rule = (GATEWAY_API.split)(&[("app", 1)]);
    site.route(GATEWAY_API, json!([rule])).await;
    site.start().await;
    let load = site.requests(GATEWAY_API).start().unwrap();
    until_answered(&load, 100).await;
    Some((site, load))
}

#[tokio::test]
async fn a_canary_that_answers_well_is_promoted() {
    let Some((site, load)) = loaded().await else { return };
    site.world.kanary("batman", "app", judged(&site.world)).await;
    site.world.ends("batman", "DeploymentUpdated").await;
    let answers = load.stop().await;
    super::assert_served(&answers);
    assert!(answers.of("v2") > 0, "{answers}");
}

#[tokio::test]
async fn a_canary_that_answers_errors_is_not_promoted() {
    let Some((site, load)) = loaded().await else { return };
    let mut spec = judged(&site.world);
    let broken = json!({"metadata": {"annotations": {"kanary.test/error-rate": "0.5"}}});
    merge(&mut spec, json!({"template": {"spec": {"template": broken}}}));
    site.world.kanary("batman", "app", spec).await;
    let ended = site.world.ends("batman", "Failed").await;
    assert_eq!(reason(&ended, "Failed"), "PromQLFailed", "{ended:#}");
    let answers = load.stop().await;
    let app = site.world.get(&DEPLOYMENT, "app").await;
    assert_eq!(app["spec"]["template"]["spec"]["containers"][0]["image"], "app:v1");
    // Half of the answers of the canary, and nothing else.
    let errors = answers.failures();
    assert!(
        errors.keys().all(|failure| *failure == Failure::Status(500)),
        "{answers}"
    );
    let failed: usize = errors.values().sum();
    assert!(failed > 0 && failed < answers.total() / 8, "{answers}");
}
