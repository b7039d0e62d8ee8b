//! The least work that a canary needs, done without Kanary: a lower bound for what Kanary can reach on the same machine.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kanary_core::api::names::{IS_KANARY, KANARY_NAME, canary_name};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    api::{Api, deployments},
    board::Board,
    plan::Template,
    workload,
};

fn canary(number: usize, size: Template) -> Value {
    let name = workload::name(number);
    let mut template = workload::template(&name, workload::NEW, size);
    // Without the labels of the target, whose selector would match the pods.
    if let Some(labels) = template.pointer_mut("/metadata/labels") {
        *labels = json!({KANARY_NAME: name});
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": canary_name(&name, &name),
            "labels": {IS_KANARY: "true", KANARY_NAME: name},
        },
        "spec": {"replicas": 1, "selector": {"matchLabels": {KANARY_NAME: name}}, "template": template},
    })
}

/// Creates the canary.
pub(crate) async fn begin(api: &Api, board: &Board, number: usize, size: Template) -> kube::Result<()> {
    api.create(&deployments(&board.namespace), &canary(number, size))
        .await?;
    Ok(())
}

/// Waits until the canary is available and for the validation, promotes it and deletes it.
pub(crate) async fn finish(
    api: &Api,
    board: &Board,
    number: usize,
    size: Template,
    validation: Duration,
) -> kube::Result<()> {
    board.available(number).await;
    let wait = SignedDuration::try_from(validation).unwrap_or(SignedDuration::MAX);
    let deadline = Timestamp::now().saturating_add(wait).ok();
    board.note(number, |canary| canary.deadline = deadline);
    sleep(validation).await;
    let name = workload::name(number);
    let collection = deployments(&board.namespace);
    let patch = json!({"spec": {"template": workload::template(&name, workload::NEW, size)}});
    api.merge(&format!("{collection}/{name}"), &patch).await?;
    api.delete(&format!("{collection}/{}", canary_name(&name, &name))).await
}
