//! The controller: watches, workers and measurements, put together.

#[cfg(test)]
mod tests;

use std::{net::SocketAddr, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{Pod, Service},
    },
};
use kube::{Api, Client, Resource};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    act::Writer,
    admin,
    api::{KanaryKind, names::IS_KANARY},
    cache::Cache,
    canary::decide,
    clock::Clock,
    measure,
    memory::Memory,
    metrics::Metrics,
    prometheus::{Prometheus, Transport},
    queue::Queue,
    reconcile::{Context, Decide},
    watch::{self, Pulse, Sink},
};

/// Kanaries that are looked at, and so API calls that are under way, at once.
const WORKERS: usize = 32;

/// How a controller runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only this namespace; all of them if `None`.
    pub namespace: Option<String>,
    /// Where `/livez`, `/readyz` and `/metrics` are served; nowhere if `None`. Port 0 takes any free one.
    pub admin_addr: Option<SocketAddr>,
    /// The cluster's time. A client that reports to it ([`crate::client`]) makes it follow the API server's clock.
    pub clock: Clock,
    /// Name of this replica, for Events.
    pub instance: String,
    /// What carries queries to the Prometheus servers.
    pub prometheus: Transport,
    /// What decides. Only a simulation that proves itself puts something wrong in its place.
    pub decide: Decide,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespace: None,
            admin_addr: None,
            clock: Clock::default(),
            instance: String::new(),
            prometheus: Transport::default(),
            decide,
        }
    }
}

/// Why a controller ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The admin server could not listen.
    #[error("could not listen on {addr}")]
    Listen {
        /// The address that was asked for.
        addr: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// A task that must never end did.
    #[error("the task {0} ended, so the controller ends as well")]
    TaskEnded(&'static str),
}

struct Parts {
    context: Arc<Context>,
    queue: Arc<Queue>,
    sink: Sink,
    watches: Vec<(&'static str, Pulse)>,
}

impl Parts {
    /// The pulse of a new watch.
    fn pulse(&mut self, name: &'static str) -> Pulse {
        let pulse = Pulse::default();
        self.watches.push((name, pulse.clone()));
        pulse
    }
}

/// Runs until `stop` is cancelled: then no new work is taken, and what is under way has two seconds to end.
///
/// # Errors
///
/// See [`Error`].
pub async fn run(client: Client, options: Options, stop: CancellationToken) -> Result<(), Error> {
    let (checks, due) = mpsc::unbounded_channel();
    let cache = Arc::new(Cache::default());
    let metrics = Arc::new(Metrics::default());
    let queue = Arc::new(Queue::default());
    let context = Arc::new(Context {
        writer: Writer::new(client.clone(), cache.clone(), options.instance.clone()),
        client: client.clone(),
        cache: cache.clone(),
        memory: Memory::default(),
        clock: options.clock.clone(),
        metrics: metrics.clone(),
        checks,
        decide: options.decide,
    });
    let mut parts = Parts {
        sink: Sink::new(cache, queue.clone(), metrics),
        watches: Vec::new(),
        context,
        queue,
    };
    // Whoever drops this future, drops the set and with it every task.
    let mut tasks = JoinSet::new();
    watch_all(&client, &options, &mut parts, &mut tasks);
    if let Some(addr) = options.admin_addr {
        let state = admin::State {
            metrics: parts.sink.metrics.clone(),
            cache: parts.sink.cache.clone(),
            queue: parts.queue.clone(),
            watches: parts.watches.clone(),
        };
        let listener = admin::listen(addr)
            .await
            .map_err(|source| Error::Listen { addr, source })?;
        spawn(&mut tasks, "admin", admin::serve(listener, state));
    }
    let prometheus = Prometheus::new(client, options.prometheus);
    let measuring = measure::run(parts.context.clone(), parts.queue.clone(), prometheus, due);
    spawn(&mut tasks, "measure", measuring);
    let mut workers = JoinSet::new();
    tokio::select! {
        // First, because workers end as well once they are asked to stop.
        biased;
        () = stop.cancelled() => {}
        Some(ended) = tasks.join_next() => return Err(Error::TaskEnded(ended.unwrap_or("that panicked"))),
        () = work_all(&parts, &mut workers, &stop) => return Err(Error::TaskEnded("worker")),
    }
    let drained = tokio::time::timeout(Duration::from_secs(2), async {
        while workers.join_next().await.is_some() {}
    });
    if drained.await.is_err() {
        tracing::warn!("some calls did not end in time and are abandoned");
    }
    Ok(())
}

fn spawn(tasks: &mut JoinSet<&'static str>, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    tasks.spawn(async move {
        task.await;
        name
    });
}

fn watch_all(client: &Client, options: &Options, parts: &mut Parts, tasks: &mut JoinSet<&'static str>) {
    fn api<K>(client: &Client, options: &Options) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + k8s_openapi::Resource<Scope = NamespaceResourceScope>,
    {
        match &options.namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        }
    }
    for kind in KanaryKind::ALL {
        let api = match &options.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind),
            None => Api::all_with(client.clone(), &kind),
        };
        let pulse = parts.pulse(kind.plural());
        let watch = watch::kanaries(kind, api, None, parts.sink.clone(), pulse);
        spawn(tasks, kind.plural(), watch);
    }
    let ours = Some(format!("{IS_KANARY}=true"));
    let [deployments, services, autoscalers, pods] =
        ["deployments", "services", "horizontalpodautoscalers", "pods"].map(|name| (name, parts.pulse(name)));
    let sink = || parts.sink.clone();
    let targets = api::<Deployment>(client, options);
    let watch = watch::objects(targets, None, sink(), deployments.1);
    spawn(tasks, deployments.0, watch);
    let watch = watch::objects(api::<Service>(client, options), None, sink(), services.1);
    spawn(tasks, services.0, watch);
    let scalers = api::<HorizontalPodAutoscaler>(client, options);
    let watch = watch::objects(scalers, None, sink(), autoscalers.1);
    spawn(tasks, autoscalers.0, watch);
    let watch = watch::objects(api::<Pod>(client, options), ours, sink(), pods.1);
    spawn(tasks, pods.0, watch);
}

/// Sets the workers to work, until one of them ends. Nothing is decided before every watch has listed once: a cache that
/// is half filled looks like a cluster where things are missing.
async fn work_all(parts: &Parts, workers: &mut JoinSet<()>, stop: &CancellationToken) {
    for (_, pulse) in &parts.watches {
        pulse.wait().await;
    }
    for _ in 0..WORKERS {
        workers.spawn(work(parts.context.clone(), parts.queue.clone(), stop.clone()));
    }
    workers.join_next().await;
}

/// Takes Kanaries from the queue, one at a time.
async fn work(context: Arc<Context>, queue: Arc<Queue>, stop: CancellationToken) {
    loop {
        let key = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            key = queue.next() => key,
        };
        let turn = AssertUnwindSafe(context.reconcile(&key)).catch_unwind();
        let wake = turn.await.unwrap_or_else(|_| {
            context.metrics.panics.inc();
            tracing::error!(key = %key, "a reconcile panicked; it is tried again");
            Some(Instant::now() + context.memory.back_off(&key) + Duration::from_secs(1))
        });
        queue.done(key, wake);
    }
}
