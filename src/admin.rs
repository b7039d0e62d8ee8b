//! The admin server: `/livez`, `/readyz` and `/metrics`, for probes and Prometheus. It changes nothing.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router, extract,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;

use crate::{
    cache::Cache,
    canary::status::Phase,
    metrics::{self, Metrics},
    queue::Queue,
    watch::Pulse,
};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the pages tell about.
#[derive(Clone)]
pub struct State {
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is known.
    pub cache: Arc<Cache>,
    /// Who waits.
    pub queue: Arc<Queue>,
    /// How the watches are.
    pub watches: Vec<(&'static str, Pulse)>,
}

/// Takes the address. What it is in the end is in the log: port 0 takes any free one.
///
/// # Errors
///
/// The address is taken, or not of this machine.
pub async fn listen(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(addr).await?;
    tracing::info!(addr = %listener.local_addr()?, "admin server listens");
    Ok(listener)
}

/// Serves until the program ends.
pub async fn serve(listener: TcpListener, state: State) {
    let pages = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(state);
    if let Err(error) = axum::serve(listener, pages).await {
        tracing::error!(%error, "the admin server ended");
    }
}

async fn ready(extract::State(state): extract::State<State>) -> (StatusCode, String) {
    let waiting: Vec<_> = state
        .watches
        .iter()
        .filter(|(_, pulse)| !pulse.get())
        .map(|(name, _)| *name)
        .collect();
    if waiting.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    (
        StatusCode::SERVICE_UNAVAILABLE,
        format!("not listed yet: {}\n", waiting.join(", ")),
    )
}

async fn metrics(extract::State(state): extract::State<State>) -> impl IntoResponse {
    let phases = [
        Phase::Scheduled,
        Phase::Running,
        Phase::Succeeded,
        Phase::Failed,
        Phase::DeploymentUpdated,
    ];
    let mut counts = phases.map(|phase| (phase, 0_i64));
    state.cache.each_kanary(|canary| {
        let phase = Phase::of(&canary.status);
        counts
            .iter_mut()
            .filter(|(of, _)| *of == phase)
            .for_each(|(_, count)| *count += 1);
    });
    for (phase, count) in counts {
        let labels = metrics::Phase { phase: phase.as_str() };
        state.metrics.kanaries.get_or_create(&labels).set(count);
    }
    let queued = i64::try_from(state.queue.len()).unwrap_or(i64::MAX);
    state.metrics.queued.set(queued);
    ([(CONTENT_TYPE, OPEN_METRICS)], state.metrics.encode())
}
