//! The controller: starts watches, workers and measurements.

mod converting;
mod feeds;
mod granting;
mod limits;
mod options;
#[cfg(test)]
mod tests;
mod traces;
mod turns;
mod watches;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use kanary_core::Key;
use kube::Client;
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

pub use self::options::Options;
use self::watches::{Named, Watcher};
use crate::{
    cache::{
        Cache, place_of,
        watch::{Heartbeat, Sink},
    },
    cluster::clock::Clock,
    metrics::Metrics,
    metrics_apis::MetricsApis,
    prometheus::Prometheus,
    queue::Queue,
    reconcile::{act::Writer, events::Events, measure::Measurer, memory::Memory, turn::Context},
    serve,
    shard::{
        Fence, Sharding,
        label::{Labelled, SlotLabels},
        leader, map,
        member::{self, Member},
        serve::{Served, Source},
    },
};

/// How long reconciles and Events that are under way may take when the controller ends.
const LAST_WORK: Duration = Duration::from_secs(2);

/// How long the collector of traces may take for the last spans after that.
const LAST_SPANS: Duration = Duration::from_secs(1);

/// Why a controller ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The admin server or the conversion webhook could not bind its address.
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
}

/// Runs until `stop` is cancelled. Then the controller releases its shards, takes no new work, and gives running reconciles and
/// the Events that wait two seconds to complete.
///
/// The future is boxed here because every program and test that polled it would compile the whole controller again.
///
/// # Errors
///
/// See [`Error`].
#[must_use]
pub fn run(client: Client, options: Options, stop: CancellationToken) -> BoxFuture<'static, Result<(), Error>> {
    run_all(client, options, stop).boxed()
}

async fn run_all(client: Client, options: Options, stop: CancellationToken) -> Result<(), Error> {
    // Dropping this future drops the set and aborts every task.
    let mut tasks = JoinSet::new();
    // The admin server starts first, so that liveness probes do not kill a replica that waits for the API server.
    let pages = serve::Pages::default();
    if let Some(addr) = options.admin_addr {
        let listener = serve::listen(addr).await;
        let listener = listener.map_err(|source| Error::Listen { addr, source })?;
        spawn(&mut tasks, "admin", serve::serve(listener, pages.clone()));
    }
    let conversions = converting::listen(options.conversion.as_ref()).await?;
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
    let conversions = conversions.map(|listener| (listener, stop.clone()));
    let parts = start(client, options, Arc::new(fence), &pages, conversions, &mut tasks);
    let mut turns = JoinSet::new();
    let ended = tokio::select! {
        biased;
        () = farewell(&parts, &stop) => None,
        Some(ended) = tasks.join_next() => Some(ended),
        () = turns::work(&parts, &mut turns) => Some(Ok(Ended::Task("worker"))),
    };
    match ended {
        None => {}
        Some(Ok(Ended::Member(error))) => return Err(Error::Member(error)),
        Some(Ok(Ended::Task(name))) => return Err(Error::TaskEnded(name)),
        Some(Err(_)) => return Err(Error::TaskEnded("that panicked")),
    }
    let drained = tokio::time::timeout(LAST_WORK, async {
        while turns.join_next().await.is_some() {}
        parts.context.events.sent().await;
    });
    if drained.await.is_err() {
        tracing::warn!("some reconciles or Events did not complete in time and were aborted");
    }
    parts.context.traces.finish(LAST_SPANS).await;
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

/// Starts all tasks except the turns.
fn start(
    client: Client,
    mut options: Options,
    fence: Arc<Fence>,
    pages: &serve::Pages,
    conversions: Option<(TcpListener, CancellationToken)>,
    tasks: &mut Tasks,
) -> Parts {
    let (checks, due) = mpsc::unbounded_channel();
    let (cache, memory) = (Arc::new(Cache::default()), Arc::new(Memory::default()));
    let metrics = Arc::new(Metrics::new(&options.calls));
    let queue = Arc::new(Queue::new(metrics.clone()));
    let traces = traces::start(options.traces.take(), &options.clock, &metrics, tasks);
    let events = Arc::new(Events::new(metrics.clone()).traced(traces.clone()));
    let writer = Writer::new(client.clone(), cache.clone(), fence.clone(), options.instance.clone());
    let context = Arc::new(Context {
        writer: writer.traced(traces.are_on()),
        client: client.clone(),
        cache: cache.clone(),
        memory: memory.clone(),
        clock: options.clock.clone(),
        metrics: metrics.clone(),
        events: events.clone(),
        checks,
        decide: options.decide,
        fence,
        places: granting::places(&options, &queue, &metrics),
        routes: options.routes,
        kinds: options.target_kinds.clone(),
        keda: options.keda,
        traces: traces.clone(),
    });
    let mut parts = Parts::new(context, queue.clone());
    let mut watcher = Watcher::new(&client, &options, Sink::new(cache, queue, metrics));
    let leases = options.sharding.as_ref().map(|sharding| sharding.client.clone());
    let served = parts.follow(&mut watcher, options.sharding, &options.clock, tasks);
    let leases = leases.unwrap_or_else(|| client.clone());
    let of_places = parts.grant(&watcher, leases.clone(), tasks);
    let conversion = options.conversion.take().zip(conversions);
    let conversion = conversion.map(|asked| parts.convert(asked, leases, &options.clock, &options.kinds, tasks));
    pages.connect(serve::Sources {
        context: parts.context.clone(),
        queue: parts.queue.clone(),
        watches: parts.watches.iter().cloned().chain(of_places).collect(),
        shards: parts.member.clone().zip(served),
        conversion,
    });
    let limits = (parts.budget(options.queries), options.allow);
    let metrics = parts.context.metrics.clone();
    let metrics_apis = || MetricsApis::new(client.clone(), options.clock.clone(), &limits.0, &metrics);
    let measurer = Measurer {
        metrics_apis: options.metrics_apis.then(metrics_apis),
        prometheus: Prometheus::new(client, options.prometheus, options.clock, limits, &metrics),
        memory,
        queue: parts.queue.clone(),
        metrics,
        traces,
    };
    spawn(tasks, "measure", measurer.run(due));
    spawn(tasks, "events", events.run(parts.context.writer.clone()));
    parts
}

impl Parts {
    fn new(context: Arc<Context>, queue: Arc<Queue>) -> Self {
        Self {
            context,
            queue,
            watches: Vec::new(),
            member: None,
        }
    }

    fn watch(&mut self, watches: Vec<Named>, tasks: &mut Tasks) {
        for Named { name, heartbeat, run } in watches {
            self.watches.push((name, heartbeat));
            spawn(tasks, name, run);
        }
    }

    /// Watches all Kanaries, or those of the shards of this replica.
    fn follow(
        &mut self,
        watcher: &mut Watcher,
        sharding: Option<Sharding>,
        clock: &Clock,
        tasks: &mut Tasks,
    ) -> Option<Arc<Served>> {
        if let Some(sharding) = sharding {
            return Some(self.share(watcher, sharding, clock, tasks));
        }
        self.watch(watcher.all(), tasks);
        None
    }

    /// Starts a run with the response to the write of a slot label, without waiting for the watch.
    fn labelled(&self, served: Arc<Served>) -> Labelled {
        let (queue, context) = (self.queue.clone(), self.context.clone());
        Box::new(move |kind, kanary, right| {
            let Some((part, epoch)) = served.part(right.shard()).zip(right.epoch) else {
                return;
            };
            match context.cache.admit_kanary(kind, kanary, part) {
                Ok(true) => {
                    let key = Key::at(kind, place_of(kanary));
                    context.memory.mark_current(&key, epoch);
                    queue.push(key);
                }
                Ok(false) => {}
                Err(error) => tracing::error!(kind = %kind, error, "could not parse the response to a slot label"),
            }
        })
    }

    /// Shares the work with other replicas.
    fn share(&mut self, watcher: &mut Watcher, sharding: Sharding, clock: &Clock, tasks: &mut Tasks) -> Arc<Served> {
        let (fence, metrics) = (self.context.fence.clone(), self.context.metrics.clone());
        let labels = Arc::new(SlotLabels::new(watcher.client.clone(), fence.clone(), metrics.clone()));
        let (filter, writing) = (labels.clone(), labels.clone());
        watcher.sink.filter = Some(Arc::new(move |kind, kanary| filter.check(kind, kanary)));
        watcher.sink.awaited = Some(Arc::new(move |key| writing.is_being_written(key)));
        let changed = Arc::new(Notify::new());
        let (opener, reader, layout) = (watcher.clone(), watcher.clone(), fence.layout());
        let source = Source {
            open: Box::new(move || opener.part()),
            watch: Box::new(move |shards| reader.of_shards(layout, shards)),
        };
        let (queue, cache, woken) = (self.queue.clone(), self.context.cache.clone(), labels.clone());
        let when_listed = Box::new(move |shard| {
            cache.each_kanary(|kanary| {
                if layout.shard_of(kanary.slot) == shard {
                    queue.push(kanary.key.clone());
                }
            });
            woken.wake();
        });
        let served = Arc::new(Served::new(fence.clone(), source, when_listed, changed.clone()));
        let member = Member::new(sharding.clone(), clock.clone(), fence, served.clone(), metrics, changed);
        let member = Arc::new(member);
        self.watch(watcher.common(&labels), tasks);
        let leases = watcher.leases(sharding.client.clone(), &sharding.namespace, member.clone());
        self.watch(vec![leases], tasks);
        spawn(tasks, "labels", labels.run(self.labelled(served.clone())));
        spawn(tasks, "shared watches", served.clone().share());
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
