//! The controller: starts watches, workers and measurements.

mod feeds;
#[cfg(test)]
mod tests;
mod watches;

use std::{net::SocketAddr, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use kanary_core::decide;
use kube::Client;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use self::watches::{Named, Watcher};
use crate::{
    cache::{
        Cache,
        watch::{Heartbeat, Sink},
    },
    cluster::{clock::Clock, error::CAP},
    metrics::Metrics,
    prometheus::{Prometheus, Transport},
    queue::Queue,
    reconcile::{
        act::Writer,
        measure::Measurer,
        memory::Memory,
        turn::{Context, Decide},
    },
    serve,
    shard::{
        Fence, Sharding,
        label::SlotLabels,
        leader, map,
        member::{self, Member},
        serve::Served,
    },
};

/// Number of concurrent reconciles.
const WORKERS: usize = 32;

/// Options of a controller.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespace to serve, or all namespaces if `None`.
    pub namespace: Option<String>,
    /// Address of `/livez`, `/readyz` and `/metrics`; `None` disables the admin server. Port 0 selects a free port.
    pub admin_addr: Option<SocketAddr>,
    /// The cluster's time. A client created with this clock ([`crate::cluster::client`]) synchronizes it with the API server's
    /// clock.
    pub clock: Clock,
    /// Name of this replica, for Events.
    pub instance: String,
    /// HTTP transport for queries to Prometheus.
    pub prometheus: Transport,
    /// The decision function. Only simulations replace it, with a faulty one, to prove that they detect the fault.
    pub decide: Decide,
    /// How replicas share the work. `None` if this is the only replica, which the user must ensure.
    pub sharding: Option<Sharding>,
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
            sharding: None,
        }
    }
}

/// Why a controller ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The admin server could not bind its address.
    #[error("could not listen on {addr}")]
    Listen {
        /// The configured address.
        addr: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// A task ended that must run as long as the controller.
    #[error("the task {0} ended unexpectedly")]
    TaskEnded(&'static str),
    /// This replica cannot join the others.
    #[error(transparent)]
    Member(member::Error),
}

struct Parts {
    context: Arc<Context>,
    queue: Arc<Queue>,
    watches: Vec<(&'static str, Heartbeat)>,
    /// This replica's membership, if several replicas share the work.
    member: Option<Arc<Member>>,
    /// Stops the workers.
    halt: CancellationToken,
}

/// Runs until `stop` is cancelled. Then the controller releases its shards, takes no new work, and gives running reconciles two
/// seconds to complete.
///
/// # Errors
///
/// See [`Error`].
pub async fn run(client: Client, options: Options, stop: CancellationToken) -> Result<(), Error> {
    // Dropping this future drops the set and aborts every task.
    let mut tasks = JoinSet::new();
    // The admin server starts first, so that liveness probes do not kill a replica that waits for the API server.
    let pages = serve::Pages::default();
    if let Some(addr) = options.admin_addr {
        let listener = serve::listen(addr).await;
        let listener = listener.map_err(|source| Error::Listen { addr, source })?;
        spawn(&mut tasks, "admin", serve::serve(listener, pages.clone()));
    }
    let fence = match &options.sharding {
        None => Fence::standalone(),
        Some(sharding) => {
            let scope = options.namespace.as_deref().unwrap_or_default();
            let agreed = map::known(&sharding.client, &sharding.namespace, sharding.shards, scope);
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                layout = agreed => Fence::new(layout, sharding.time.clone()),
            }
        }
    };
    let parts = start(client, options, Arc::new(fence), &pages, &mut tasks);
    let mut workers = JoinSet::new();
    let ended = tokio::select! {
        // Checked first, because the workers also end when a stop is requested.
        biased;
        () = farewell(&parts, &stop) => None,
        Some(ended) = tasks.join_next() => Some(ended),
        () = work_all(&parts, &mut workers) => Some(Ok(Ended::Task("worker"))),
    };
    match ended {
        None => {}
        Some(Ok(Ended::Member(error))) => return Err(Error::Member(error)),
        Some(Ok(Ended::Task(name))) => return Err(Error::TaskEnded(name)),
        Some(Err(_)) => return Err(Error::TaskEnded("that panicked")),
    }
    parts.halt.cancel();
    let drained = tokio::time::timeout(Duration::from_secs(2), async {
        while workers.join_next().await.is_some() {}
    });
    if drained.await.is_err() {
        tracing::warn!("some reconciles did not complete in time and were aborted");
    }
    Ok(())
}

/// Waits for `stop`, and then lets the other replicas take over before it returns.
async fn farewell(parts: &Parts, stop: &CancellationToken) {
    stop.cancelled().await;
    if let Some(member) = &parts.member {
        member.drain().await;
    }
}

/// Why a task ended.
enum Ended {
    Task(&'static str),
    Member(member::Error),
}

type Tasks = JoinSet<Ended>;

/// Starts all tasks except the workers.
fn start(client: Client, options: Options, fence: Arc<Fence>, pages: &serve::Pages, tasks: &mut Tasks) -> Parts {
    let (checks, due) = mpsc::unbounded_channel();
    let cache = Arc::new(Cache::default());
    let metrics = Arc::new(Metrics::default());
    let queue = Arc::new(Queue::default());
    let memory = Arc::new(Memory::default());
    let context = Arc::new(Context {
        writer: Writer::new(client.clone(), cache.clone(), fence.clone(), options.instance.clone()),
        client: client.clone(),
        cache: cache.clone(),
        memory: memory.clone(),
        clock: options.clock.clone(),
        metrics: metrics.clone(),
        checks,
        decide: options.decide,
        fence,
    });
    let mut parts = Parts {
        watches: Vec::new(),
        member: None,
        halt: CancellationToken::new(),
        context,
        queue: queue.clone(),
    };
    let mut watcher = Watcher {
        client: client.clone(),
        namespace: options.namespace.clone(),
        sink: Sink::new(cache, queue, metrics),
    };
    let served = match options.sharding {
        None => {
            parts.watch(watcher.all(), tasks);
            None
        }
        Some(sharding) => Some(parts.share(&mut watcher, sharding, &options.clock, tasks)),
    };
    pages.connect(serve::Sources {
        context: parts.context.clone(),
        queue: parts.queue.clone(),
        watches: parts.watches.clone(),
        shards: parts.member.clone().zip(served),
    });
    let prometheus = Prometheus::new(client, options.prometheus, options.clock);
    let measurer = Measurer {
        prometheus,
        memory,
        queue: parts.queue.clone(),
        metrics: parts.context.metrics.clone(),
    };
    spawn(tasks, "measure", measurer.run(due));
    parts
}

impl Parts {
    fn watch(&mut self, watches: Vec<Named>, tasks: &mut Tasks) {
        for Named { name, heartbeat, run } in watches {
            self.watches.push((name, heartbeat));
            spawn(tasks, name, run);
        }
    }

    /// Shares the work with other replicas.
    fn share(&mut self, watcher: &mut Watcher, sharding: Sharding, clock: &Clock, tasks: &mut Tasks) -> Arc<Served> {
        let (fence, metrics) = (self.context.fence.clone(), self.context.metrics.clone());
        let labels = Arc::new(SlotLabels::new(watcher.client.clone(), fence.clone(), metrics.clone()));
        let filter = labels.clone();
        watcher.sink.filter = Some(Arc::new(move |kind, kanary| filter.check(kind, kanary)));
        let changed = Arc::new(Notify::new());
        let (of_shard, layout) = (watcher.clone(), fence.layout());
        let watch = Box::new(move |shard| of_shard.of_shard(layout, shard));
        let (queue, cache, woken) = (self.queue.clone(), self.context.cache.clone(), labels.clone());
        let opened = Box::new(move |shard| {
            cache.each_kanary(|kanary| {
                if layout.shard_of(kanary.slot) == shard {
                    queue.push(kanary.key.clone());
                }
            });
            woken.wake();
        });
        let served = Arc::new(Served::new(fence.clone(), watch, opened, changed.clone()));
        let member = Member::new(sharding.clone(), clock.clone(), fence, served.clone(), metrics, changed);
        let member = Arc::new(member);
        self.watch(watcher.common(&labels), tasks);
        let leases = watcher.leases(sharding.client.clone(), &sharding.namespace, member.clone());
        self.watch(vec![leases], tasks);
        spawn(tasks, "labels", labels.run());
        let failing = served.clone();
        spawn(tasks, "watch of a shard", async move { failing.failed().await });
        let (known, this) = (self.watches.clone(), member.clone());
        tasks.spawn(async move {
            // A replica takes a shard only after it has listed all other sessions and the objects that its Kanaries may need.
            for (_, heartbeat) in known {
                heartbeat.wait().await;
            }
            Ended::Member(this.run().await)
        });
        spawn(tasks, "leader", leader::run(sharding, member.clone()));
        self.member = Some(member);
        served
    }
}

fn spawn(tasks: &mut Tasks, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    tasks.spawn(async move {
        task.await;
        Ended::Task(name)
    });
}

/// Runs the workers until one of them ends. No decision is made before every watch has completed its initial list, because
/// objects that are not listed yet would look missing.
async fn work_all(parts: &Parts, workers: &mut JoinSet<()>) {
    for (_, heartbeat) in &parts.watches {
        heartbeat.wait().await;
    }
    for _ in 0..WORKERS {
        workers.spawn(work(parts.context.clone(), parts.queue.clone(), parts.halt.clone()));
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
            tracing::error!(key = %key, "a reconcile panicked; retrying");
            Some(Instant::now() + context.memory.back_off(&key, CAP) + Duration::from_secs(1))
        });
        queue.done(key, wake);
    }
}
