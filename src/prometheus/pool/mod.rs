//! The queries of a replica: which are sent, when, and with which others.
//!
//! All shards of a replica share one pool for each kind of server. A server gets a limited number of queries at a time and per second, the earliest
//! deadline first. Namespaces share the server and the places of the process fairly. What waits is late at worst: it never
//! turns into an error. Only a circuit breaker answers in place of a server, after too many failures.

mod breaker;
mod breakers;
mod bytes;
mod joint;
mod rate;
mod schedule;
mod server;
mod starved;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, mem,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use kanary_core::validation::promql::Shape;
use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, sleep_until},
};

pub(crate) use self::bytes::{Large, LargeRead};
use self::schedule::{Occupied, QuerySchedule};
use crate::{
    cluster::clock::Clock,
    metrics::{OutcomeLabels, QueryMetrics},
};

/// How long a server that does not answer joined queries correctly is asked one by one.
const UNJOINED: Duration = Duration::from_hours(1);

/// How long fewer queries are joined after a joined request took too long.
const NARROWED: Duration = Duration::from_mins(1);

/// Limits of the queries.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Maximum number of concurrent queries of all replicas to one URL. At least 1.
    pub concurrency: usize,
    /// Maximum number of queries per second of all replicas to one URL. At least 1.
    pub per_second: u32,
    /// Maximum number of concurrent queries of this replica to all URLs. At least 1.
    pub total: usize,
    /// Maximum number of queries that are joined into one. 1 sends each by itself.
    pub join: usize,
    /// Other limits for some URLs: the number of concurrent queries, and of queries per second.
    pub endpoints: BTreeMap<String, (usize, u32)>,
    /// The part that this replica has of what all replicas may do.
    pub share: FleetShare,
}

/// A part of a whole that may change: two numbers.
#[derive(Clone)]
pub struct FleetShare(Arc<dyn Fn() -> (u16, u16) + Send + Sync>);

impl FleetShare {
    /// The part that `source` returns.
    pub fn from_source(source: impl Fn() -> (u16, u16) + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// The part, which is never nothing, and the whole.
    fn get(&self) -> (u32, u32) {
        let (part, all) = (self.0)();
        (u32::from(part.max(1)), u32::from(all.max(part).max(1)))
    }
}

impl Default for FleetShare {
    fn default() -> Self {
        Self::from_source(|| (1, 1))
    }
}

impl fmt::Debug for FleetShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FleetShare").field(&self.get()).finish()
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            concurrency: 10,
            per_second: 20,
            total: 256,
            join: 32,
            endpoints: BTreeMap::new(),
            share: FleetShare::default(),
        }
    }
}

impl Budget {
    fn concurrency(&self, url: &str) -> usize {
        let own = self.endpoints.get(url).map(|(concurrency, _)| *concurrency);
        let (part, all) = self.share.get();
        let [part, all] = [part, all].map(|number| usize::try_from(number).unwrap_or(1));
        own.unwrap_or(self.concurrency)
            .saturating_mul(part)
            .div_ceil(all)
            .max(1)
    }

    /// The average time between two queries to a URL.
    fn interval(&self, url: &str) -> Duration {
        let own = self.endpoints.get(url).map(|(_, per_second)| *per_second);
        let (part, all) = self.share.get();
        Duration::from_secs(1) * all / own.unwrap_or(self.per_second).max(1) / part
    }
}

/// When a query is evaluated, and by when its answer is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    /// The earliest evaluation time.
    pub at: Timestamp,
    /// The evaluation time must be before this. A query may share its request with others whose times overlap.
    pub before: Timestamp,
    /// When the answer is due. Among queries that wait, the one with the earliest time is sent first.
    pub due: Timestamp,
}

impl When {
    /// At this time and no other.
    #[must_use]
    pub fn exactly(at: Timestamp) -> Self {
        let before = at.checked_add(SignedDuration::from_nanos(1)).unwrap_or(at);
        Self { at, before, due: at }
    }
}

/// A server and the credentials for it. Queries of one account may share requests.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Account {
    pub(crate) url: String,
    /// The namespace of the Secrets, and which they are.
    pub(crate) login: Option<(String, String)>,
}

/// A query that waits for its turn.
#[derive(Clone)]
pub(crate) struct Query {
    pub(crate) account: Arc<Account>,
    pub(crate) namespace: Arc<str>,
    pub(crate) text: Arc<str>,
    pub(crate) when: When,
    /// What its result is, if it may be joined with others.
    pub(crate) shape: Option<Shape>,
}

/// What those who wait for a query get.
pub(crate) trait Answered: Clone + Send + 'static {
    /// The reply to a query for the time `at` that is not sent, for this reason.
    fn held_back(why: String, at: Timestamp) -> Self;
}

struct Waiting<R: Answered> {
    query: Query,
    turn: oneshot::Sender<Assignment<R>>,
}

/// One of the queries of a request.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    pub(crate) text: Arc<str>,
    pub(crate) shape: Option<Shape>,
}

/// A query in flight: its account, text and evaluation time, and the number of its request.
type Flight = (Arc<Account>, Arc<str>, Timestamp, u64);

/// Why a request failed, if not because of its queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server does not work, whatever it is asked.
    Server,
    /// The answer took too long or broke off, which may be due to the query.
    Slow,
}

/// What becomes of a query.
pub(crate) enum Assignment<R: Answered> {
    /// It is to be sent, perhaps with others.
    Lead(Box<Batch<R>>),
    /// It was answered.
    Done(R),
}

/// The queries to servers of one kind, whose answers become an `R`.
pub(crate) struct QueryPool<R: Answered> {
    state: Mutex<State<R>>,
    clock: Clock,
    metrics: QueryMetrics,
}

struct State<R: Answered> {
    schedule: QuerySchedule<R>,
    /// When the next timer fires.
    armed: Option<Instant>,
}

impl<R: Answered> QueryPool<R> {
    pub(crate) fn new(budget: Budget, clock: Clock, metrics: QueryMetrics) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                schedule: QuerySchedule::new(budget, Instant::now()),
                armed: None,
            }),
            clock,
            metrics,
        })
    }

    /// Waits for the turn of a query.
    pub(crate) async fn turn(self: &Arc<Self>, query: &Query) -> Assignment<R> {
        let since = Instant::now();
        loop {
            let (turn, mine) = oneshot::channel();
            let waiting = Waiting {
                query: query.clone(),
                turn,
            };
            self.with(|schedule, now, stamp| schedule.push(waiting, now, stamp));
            // If nobody answers, the one who sent the query has given up, and it starts again.
            if let Ok(turn) = mine.await {
                if matches!(turn, Assignment::Lead(_)) {
                    self.metrics.wait.observe(since.elapsed().as_secs_f64());
                }
                return turn;
            }
        }
    }

    /// Changes the schedule, and starts what became possible by that.
    fn with<T>(self: &Arc<Self>, change: impl FnOnce(&mut QuerySchedule<R>, Instant, Timestamp) -> T) -> T {
        let (now, stamp) = (Instant::now(), self.clock.now());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut state.schedule, now, stamp);
        let granted = mem::take(&mut state.schedule.granted);
        let next = state.schedule.next();
        if let Some(at) = next.filter(|at| state.armed.is_none_or(|armed| *at < armed)) {
            // Without a runtime the program ends.
            if let Ok(runtime) = Handle::try_current() {
                state.armed = Some(at);
                runtime.spawn(fire(Arc::downgrade(self), at));
            }
        }
        self.show(&mut state.schedule);
        drop(state);
        for (turn, granted) in granted {
            let batch = Batch {
                pool: self.clone(),
                occupied: granted.occupied,
                time: granted.time,
                operands: granted.operands,
            };
            // If nobody waits any more, dropping the batch gives everything back.
            let _unused = turn.send(Assignment::Lead(Box::new(batch)));
        }
        result
    }

    /// Counts a request that has ended, and for how long it took.
    pub(crate) fn asked(&self, result: &'static str, took: Duration) {
        self.metrics.duration.observe(took.as_secs_f64());
        let labels = OutcomeLabels { result };
        self.metrics.requests.get_or_create(&labels).inc();
    }

    /// Counts queries that were answered by one request.
    pub(super) fn joined(&self, queries: usize) {
        self.metrics.joined.inc_by(u64::try_from(queries).unwrap_or(u64::MAX));
    }

    fn show(&self, schedule: &mut QuerySchedule<R>) {
        let number = |number| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.waiting.set(number(schedule.waiting));
        self.metrics.in_flight.set(number(schedule.in_flight));
        self.metrics.breakers_open.set(number(schedule.breakers.open()));
        self.metrics.held.inc_by(mem::take(&mut schedule.held));
    }
}

/// Wakes the schedule at a time, unless the pool is gone.
async fn fire<R: Answered>(pool: Weak<QueryPool<R>>, at: Instant) {
    sleep_until(at).await;
    let Some(pool) = pool.upgrade() else { return };
    {
        let mut state = pool.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.armed.take_if(|armed| *armed <= at);
    }
    pool.with(QuerySchedule::wake);
}

/// The right to send a request. Dropping it frees what it occupies.
pub(crate) struct Batch<R: Answered> {
    pool: Arc<QueryPool<R>>,
    occupied: Occupied,
    /// The evaluation time.
    pub(crate) time: Timestamp,
    /// The queries. The first one is that of whoever holds the batch.
    pub(crate) operands: Vec<Operand>,
}

impl<R: Answered> Batch<R> {
    pub(crate) fn namespace(&self) -> &Arc<str> {
        &self.occupied.namespace
    }

    /// Answers those who wait for an operand.
    pub(crate) fn answer(&self, index: usize, reply: &R) {
        let Some(key) = self.occupied.flying.get(index) else {
            return;
        };
        let askers = self.pool.with(|schedule, _, _| schedule.land(key));
        let shared = u64::try_from(askers.len()).unwrap_or(u64::MAX);
        self.pool.metrics.shared.inc_by(shared);
        for asker in askers {
            // Some may not wait any more.
            let _gone = asker.turn.send(Assignment::Done(reply.clone()));
        }
    }

    /// The namespaces that asked for some operands.
    fn namespaces(&self, operands: std::ops::Range<usize>) -> BTreeSet<Arc<str>> {
        let mut all = BTreeSet::new();
        if operands.contains(&0) {
            all.insert(self.occupied.namespace.clone());
        }
        let keys = self.occupied.flying.get(operands).unwrap_or_default();
        self.pool.with(|schedule, _, _| {
            for key in keys {
                all.append(&mut schedule.namespaces(key));
            }
        });
        all
    }

    /// Records how a request for some operands ended. A fault of joined queries is recorded when they were sent one by one,
    /// unless it is the server's.
    pub(crate) fn record(&self, operands: std::ops::Range<usize>, fault: Option<(Fault, &str)>) {
        if operands.len() > 1 && fault.is_some_and(|(fault, _)| fault == Fault::Slow) {
            return;
        }
        let namespaces = self.namespaces(operands);
        let account = &self.occupied.account;
        self.pool
            .with(|schedule, now, _| schedule.breakers.record(account, &namespaces, fault, now));
    }

    /// Waits for the time of a further request.
    pub(super) async fn another(&self) {
        let url = &self.occupied.account.url;
        let at = self.pool.with(|schedule, now, _| schedule.reserve(url, now));
        sleep_until(at).await;
    }

    /// Records that an operand spoilt a joined request.
    pub(super) fn spoilt_by(&self, index: usize) {
        let Some(operand) = self.operands.get(index) else {
            return;
        };
        let namespaces = self.namespaces(index..index + 1);
        let account = &self.occupied.account;
        self.pool
            .with(|schedule, now, _| schedule.separate(account, &operand.text, &namespaces, now));
    }

    /// Records that a request for so many queries took too long.
    pub(super) fn was_slow(&self, joined: usize) {
        let url = &self.occupied.account.url;
        self.pool
            .with(|schedule, now, _| schedule.narrow(url, joined / 2, now + NARROWED));
    }

    /// Records that the server does not answer joined queries as it should.
    pub(super) fn cannot_join(&self) {
        let url = &self.occupied.account.url;
        self.pool
            .with(|schedule, now, _| schedule.narrow(url, 1, now + UNJOINED));
    }
}

impl<R: Answered> Drop for Batch<R> {
    fn drop(&mut self) {
        let occupied = &self.occupied;
        self.pool
            .with(|schedule, now, stamp| schedule.release(occupied, now, stamp));
    }
}
