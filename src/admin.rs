//! The admin server: `/livez`, `/readyz` and `/metrics`, for probes and Prometheus. It changes nothing.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router, extract,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;

use crate::{
    canary::status::Phase,
    metrics,
    queue::Queue,
    reconcile::Context,
    shard::{member::Member, serve::Served},
    watch::Pulse,
};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the pages tell about.
#[derive(Clone)]
pub struct State {
    /// What is known and counted.
    pub context: Arc<Context>,
    /// Who waits.
    pub queue: Arc<Queue>,
    /// How the watches are.
    pub watches: Vec<(&'static str, Pulse)>,
    /// Where several replicas share the work: this one, and what it reads for it.
    pub shards: Option<(Arc<Member>, Arc<Served>)>,
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

/// Ready is who could act at once on all that it owns. It owns nothing if others do all the work, as in a rolling update.
async fn ready(extract::State(state): extract::State<State>) -> (StatusCode, String) {
    let unlisted = state.watches.iter().filter(|(_, pulse)| !pulse.get());
    let unlisted: Vec<_> = unlisted.map(|(name, _)| *name).collect();
    let mut lacks = Vec::new();
    if !unlisted.is_empty() {
        lacks.push(format!("not listed yet: {}", unlisted.join(", ")));
    }
    let mut owns = String::new();
    if let Some((member, served)) = &state.shards {
        let unread = numbers(served.unread());
        if !unread.is_empty() {
            lacks.push(format!("shards not listed yet: {unread}"));
        }
        let margin = state.context.fence.margin();
        match member.problem() {
            Some(problem) => lacks.push(problem),
            None if margin.is_zero() => lacks.push("the session was not renewed in time".to_owned()),
            None => {}
        }
        let shards = numbers(state.context.fence.owned().into_keys());
        let session = member.session();
        owns = format!(
            "session: {session}\nshards: {shards}\nmargin: {:.1} s\n",
            margin.as_secs_f64()
        );
    }
    if lacks.is_empty() {
        return (StatusCode::OK, format!("ok\n{owns}"));
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n{owns}", lacks.join("\n")))
}

fn numbers(shards: impl IntoIterator<Item = u16>) -> String {
    let shards: Vec<_> = shards.into_iter().map(|shard| shard.to_string()).collect();
    shards.join(",")
}

async fn metrics(extract::State(state): extract::State<State>) -> impl IntoResponse {
    let metrics = &state.context.metrics;
    let phases = [
        Phase::Scheduled,
        Phase::Running,
        Phase::Succeeded,
        Phase::Failed,
        Phase::DeploymentUpdated,
    ];
    let mut counts = phases.map(|phase| (phase, 0_i64));
    state.context.cache.each_kanary(|canary| {
        let phase = Phase::of(&canary.status);
        counts
            .iter_mut()
            .filter(|(of, _)| *of == phase)
            .for_each(|(_, count)| *count += 1);
    });
    for (phase, count) in counts {
        let labels = metrics::Phase { phase: phase.as_str() };
        metrics.kanaries.get_or_create(&labels).set(count);
    }
    metrics.queued.set(i64::try_from(state.queue.len()).unwrap_or(i64::MAX));
    set_watches(&state);
    set_shards(&state);
    ([(CONTENT_TYPE, OPEN_METRICS)], metrics.encode())
}

/// How long ago each watch was heard of; of the shards' watches, the one that was not heard of for longest.
fn set_watches(state: &State) {
    let ages = &state.context.metrics.watch_age;
    let set = |watch: &str, age: Duration| {
        let watch = watch.to_owned();
        ages.get_or_create(&metrics::Watch { watch }).set(age.as_secs_f64());
    };
    for (name, pulse) in &state.watches {
        set(name, pulse.age());
    }
    if let Some((_, served)) = &state.shards {
        let mut oldest = Duration::ZERO;
        served.each_pulse(|pulse| oldest = oldest.max(pulse.age()));
        set("shards", oldest);
    }
}

fn set_shards(state: &State) {
    let (fence, metrics) = (&state.context.fence, &state.context.metrics);
    if fence.is_standalone() {
        return;
    }
    let owned = fence.owned();
    metrics.shard_epoch.clear();
    for (shard, held) in &owned {
        let labels = metrics::Shard { shard: *shard };
        metrics.shard_epoch.get_or_create(&labels).set(held.epoch);
    }
    metrics.shards_owned.set(i64::try_from(owned.len()).unwrap_or(i64::MAX));
    metrics.fence_margin.set(fence.margin().as_secs_f64());
}
