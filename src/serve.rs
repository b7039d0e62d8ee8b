//! The admin server: `/livez`, `/readyz` and `/metrics`, for probes and Prometheus. All endpoints are read-only.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router, extract,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use kanary_core::status::Phase;
use tokio::net::TcpListener;

use crate::{
    cache::watch::Heartbeat,
    metrics,
    queue::Queue,
    reconcile::turn::Context,
    shard::{Fence, map, member::Member, serve::Served},
    webhook::Webhook,
};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The sources of the pages.
#[derive(Clone)]
pub struct Sources {
    /// Shared state and metrics.
    pub context: Arc<Context>,
    /// The work queue.
    pub queue: Arc<Queue>,
    /// Heartbeats of the watches.
    pub watches: Vec<(&'static str, Heartbeat)>,
    /// Membership and served shards, if several replicas share the work.
    pub shards: Option<(Arc<Member>, Arc<Served>)>,
    /// The conversion webhook, if it is on.
    pub conversion: Option<Arc<Webhook>>,
}

/// The pages. Until the number of shards is known, they only report that the process is alive.
#[derive(Clone, Default)]
pub struct Pages(Arc<OnceLock<Sources>>);

impl Pages {
    /// Sets the sources of the pages.
    pub fn connect(&self, state: Sources) {
        let _told_before = self.0.set(state);
    }
}

/// Binds the address and logs it, because port 0 selects a free port.
///
/// # Errors
///
/// The address is in use, or does not belong to this machine.
pub async fn listen(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(addr).await?;
    tracing::info!(addr = %listener.local_addr()?, "admin server listens");
    Ok(listener)
}

/// Serves until the process exits.
pub async fn serve(listener: TcpListener, state: Pages) {
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(state);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the admin server stopped");
    }
}

/// A replica is ready if it can act on all shards that it owns. It may own none, as during a rolling update.
async fn ready(extract::State(pages): extract::State<Pages>) -> (StatusCode, String) {
    let Some(state) = pages.0.get() else {
        return not_yet();
    };
    let unlisted = state.watches.iter().filter(|(_, heartbeat)| !heartbeat.get());
    let unlisted: Vec<_> = unlisted.map(|(name, _)| *name).collect();
    let mut lacks = Vec::new();
    if !unlisted.is_empty() {
        lacks.push(format!("not listed yet: {}", unlisted.join(", ")));
    }
    let mut shares = String::new();
    if let Some((member, served)) = &state.shards {
        lacks.extend(lacks_of(member, served, &state.context.fence));
        shares = shares_of(state, member);
    }
    let conversion = state.conversion.as_ref().and_then(|webhook| webhook.problem());
    lacks.extend(conversion.map(|problem| format!("conversion webhook: {problem}")));
    let watches: Vec<_> = ages(state)
        .map(|(watch, age)| format!("{watch} {:.1} s", age.as_secs_f64()))
        .collect();
    let facts = format!("{shares}watches heard of: {}\n", watches.join(", "));
    if lacks.is_empty() {
        return (StatusCode::OK, format!("ok\n{facts}"));
    }
    (
        StatusCode::SERVICE_UNAVAILABLE,
        format!("{}\n{facts}", lacks.join("\n")),
    )
}

/// Reasons why a replica that shares the work is not ready.
fn lacks_of(member: &Member, served: &Served, fence: &Fence) -> Vec<String> {
    let mut lacks = Vec::new();
    let unread = numbers(served.unread());
    if !unread.is_empty() {
        lacks.push(format!("shards not listed yet: {unread}"));
    }
    match member.problem() {
        Some(problem) => lacks.push(problem),
        None if fence.margin().is_zero() => lacks.push("the session was not renewed in time".to_owned()),
        None => {}
    }
    lacks
}

/// Facts about this replica's shards, session and counts.
fn shares_of(state: &Sources, member: &Member) -> String {
    let (fence, metrics) = (&state.context.fence, &state.context.metrics);
    let handovers = ["taken", "released", "lost", "seized"].map(|what| {
        let counted = metrics.handovers.get(&metrics::HandoverLabels { what });
        format!("{what} {}", counted.map_or(0, |count| count.get()))
    });
    format!(
        "session: {}\nshards: {}\nmargin: {:.1} s\nhandovers: {}\nwrites refused: {}\n",
        member.session(),
        numbers(fence.owned().into_keys()),
        fence.margin().as_secs_f64(),
        handovers.join(", "),
        metrics.writes_refused()
    )
}

fn not_yet() -> (StatusCode, String) {
    let why = format!("ConfigMap {} was not read yet: see the log for the reason\n", map::NAME);
    (StatusCode::SERVICE_UNAVAILABLE, why)
}

fn numbers(shards: impl IntoIterator<Item = u16>) -> String {
    let shards: Vec<_> = shards.into_iter().map(|shard| shard.to_string()).collect();
    shards.join(",")
}

async fn metrics(extract::State(pages): extract::State<Pages>) -> Response {
    let Some(state) = pages.0.get() else {
        return not_yet().into_response();
    };
    let metrics = &state.context.metrics;
    let mut census = metrics::Census::default();
    state
        .context
        .cache
        .each_kanary(|kanary| census.add(&kanary.key.namespace, Phase::of(&kanary.status)));
    metrics.show_kanaries(&census);
    set_queue(state);
    set_watches(state);
    set_shards(state);
    ([(CONTENT_TYPE, OPEN_METRICS)], metrics.encode()).into_response()
}

fn set_queue(state: &Sources) {
    let (depth, metrics) = (state.queue.depth(), &state.context.metrics);
    let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    metrics.queued.set(number(depth.queued));
    metrics.due.set(number(depth.due));
    for (pace, turns) in [("prompt", depth.turns - depth.slow), ("slow", depth.slow)] {
        let labels = metrics::PaceLabels { pace };
        metrics.reconciles.get_or_create(&labels).set(number(turns));
    }
    metrics.events_waiting.set(number(state.context.events.waiting()));
    let places = state.context.places.as_ref();
    metrics
        .places_waiting
        .set(number(places.map_or(0, |places| places.waiting())));
}

/// Time since each watch last received something. For the shards' watches, the longest time.
fn ages(state: &Sources) -> impl Iterator<Item = (&'static str, Duration)> {
    let shards = state.shards.as_ref().map(|(_, served)| {
        let mut oldest = Duration::ZERO;
        served.each_pulse(|heartbeat| oldest = oldest.max(heartbeat.age()));
        ("shards", oldest)
    });
    let watches = state.watches.iter().map(|(name, heartbeat)| (*name, heartbeat.age()));
    watches.chain(shards)
}

fn set_watches(state: &Sources) {
    for (watch, age) in ages(state) {
        let watch = watch.to_owned();
        let gauge = state
            .context
            .metrics
            .watch_age
            .get_or_create(&metrics::WatchLabels { watch });
        gauge.set(age.as_secs_f64());
    }
}

fn set_shards(state: &Sources) {
    let (fence, metrics) = (&state.context.fence, &state.context.metrics);
    if fence.is_standalone() {
        return;
    }
    let owned = fence.owned();
    metrics.shard_epoch.clear();
    for (shard, held) in &owned {
        let labels = metrics::ShardLabels { shard: *shard };
        metrics.shard_epoch.get_or_create(&labels).set(held.epoch);
    }
    metrics.shards.set(i64::from(fence.layout().shards()));
    metrics.shards_owned.set(i64::try_from(owned.len()).unwrap_or(i64::MAX));
    metrics.fence_margin.set(fence.margin().as_secs_f64());
}
