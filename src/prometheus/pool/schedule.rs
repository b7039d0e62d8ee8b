//! Which query is sent next, and with which others. Nothing here waits, and no order depends on a hash.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::{sync::oneshot, time::Instant};

use super::{
    Account, Answered, Assignment, Budget, Flight, Operand, Waiting,
    breaker::Passage,
    breakers::{self, BreakerKey, Breakers},
    joint::Joint,
    server::{Due, Position, Server},
    starved::{Numbers, Starved},
};
use crate::queue::seats::Seats;

/// A namespace may have an eighth of the seats that are free: 28 of 256 if it is alone.
const DIVISOR: usize = 8;

/// What is not needed any more is forgotten once in so many queries.
const TIDY: u64 = 1000;

/// How long a query that spoilt a joined request is sent alone, and its namespace joined with itself only.
const APART: Duration = Duration::from_mins(10);

/// Waits for a result that is on its way.
pub(super) struct Asker<R: Answered> {
    pub(super) namespace: Arc<str>,
    pub(super) turn: oneshot::Sender<Assignment<R>>,
}

/// What a request occupies until it ends.
#[derive(Debug)]
pub(super) struct Occupied {
    pub(super) account: Arc<Account>,
    /// The namespace that pays.
    pub(super) namespace: Arc<str>,
    /// One key for each operand.
    pub(super) flying: Vec<Flight>,
    /// The breakers that the request probes.
    probes: Vec<BreakerKey>,
}

/// The right to send a request.
pub(super) struct Granted {
    pub(super) occupied: Occupied,
    pub(super) time: Timestamp,
    pub(super) operands: Vec<Operand>,
}

pub(super) struct QuerySchedule<R: Answered> {
    budget: Budget,
    start: Instant,
    number: u64,
    servers: BTreeMap<String, Server<R>>,
    seats: Seats,
    pub(super) in_flight: usize,
    pub(super) waiting: usize,
    /// Queries that a breaker held back since the last look.
    pub(super) held: u64,
    flying: BTreeMap<Flight, Vec<Asker<R>>>,
    pub(super) breakers: Breakers,
    starved: Starved,
    /// When a server may be sent the next query.
    timers: BTreeSet<(Instant, String)>,
    /// Queries that spoilt a joined request, and until when they are sent alone.
    alone: BTreeMap<(Arc<Account>, Arc<str>), Instant>,
    /// Namespaces whose queries spoilt a joined request, and until when they are not joined with others.
    apart: BTreeMap<Arc<str>, Instant>,
    /// Results of the last visit, to be sent when the lock is released.
    pub(super) granted: Vec<(oneshot::Sender<Assignment<R>>, Granted)>,
}

impl<R: Answered> QuerySchedule<R> {
    pub(super) fn new(budget: Budget, now: Instant) -> Self {
        Self {
            seats: Seats::new(budget.total, DIVISOR),
            budget,
            start: now,
            number: 0,
            servers: BTreeMap::new(),
            in_flight: 0,
            waiting: 0,
            held: 0,
            flying: BTreeMap::new(),
            breakers: Breakers::default(),
            starved: Starved::default(),
            timers: BTreeSet::new(),
            alone: BTreeMap::new(),
            apart: BTreeMap::new(),
            granted: Vec::new(),
        }
    }

    fn due(&self, now: Instant, until: SignedDuration) -> Due {
        let since = Due::try_from(now.duration_since(self.start).as_micros()).unwrap_or(Due::MAX);
        since.saturating_add(Due::try_from(until.as_micros()).unwrap_or(Due::MAX))
    }

    /// Adds a query. `stamp` is the cluster's time.
    pub(super) fn push(&mut self, waiting: Waiting<R>, now: Instant, stamp: Timestamp) {
        let query = &waiting.query;
        let key = |time| (query.account.clone(), query.text.clone(), time, 0);
        let (from, until) = (key(query.when.at), key(query.when.before));
        if from < until
            && let Some((_, askers)) = self.flying.range_mut(from..until).next()
        {
            askers.push(Asker {
                namespace: query.namespace.clone(),
                turn: waiting.turn,
            });
            return;
        }
        self.tidy(now);
        self.number += 1;
        let due = self.due(now, query.when.due.duration_since(stamp));
        let url = query.account.url.clone();
        let (number, width) = (self.number, self.budget.join);
        let server = self.servers.entry(url.clone()).or_insert_with(|| Server::new(width));
        server.push(due, number, waiting);
        self.waiting += 1;
        self.visit(&url, now, stamp);
    }

    /// Sends what has become due.
    pub(super) fn wake(&mut self, now: Instant, stamp: Timestamp) {
        while self.next().is_some_and(|at| at <= now) {
            if let Some((_, url)) = self.timers.pop_first() {
                self.visit(&url, now, stamp);
            }
        }
    }

    /// When to wake next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Starts what a server may be sent now.
    fn visit(&mut self, url: &str, now: Instant, stamp: Timestamp) {
        loop {
            let Some(server) = self.servers.get_mut(url) else {
                return;
            };
            let former = mem::take(&mut server.starved);
            self.starved.remove(&former);
            if server.in_flight >= self.budget.concurrency(url) || !server.waits() {
                return;
            }
            let ready = server.rate.ready(self.budget.interval(url), now);
            if ready > now {
                self.timers.insert((ready, url.to_owned()));
                return;
            }
            if !self.start_one(url, &former, now, stamp) {
                return;
            }
        }
    }

    /// Starts the most urgent query that has a place. Those that a breaker holds back get an answer.
    fn start_one(&mut self, url: &str, former: &Numbers, now: Instant, stamp: Timestamp) -> bool {
        let interval = self.budget.interval(url);
        let Some(server) = self.servers.get(url) else {
            return false;
        };
        let order = server.ordered(interval, self.due(now, SignedDuration::ZERO));
        let (mut starved, mut is_changed) = (Numbers::new(), false);
        for (index, (namespace, place)) in order.iter().enumerate() {
            let Some(waiting) = self.servers.get(url).and_then(|server| server.get(namespace, *place)) else {
                continue;
            };
            if waiting.turn.is_closed() {
                self.remove(url, namespace, *place);
                is_changed = true;
                continue;
            }
            let account = waiting.query.account.clone();
            let (passage, probes) = self.breakers.passage(&account, namespace, now);
            if let Passage::Closed(until, why) = passage {
                is_changed = true;
                self.held += 1;
                if let Some(waiting) = self.remove(url, namespace, *place) {
                    let why = breakers::withheld(url, until, &why, (now, stamp));
                    let reply = R::held_back(why, waiting.query.when.at);
                    let _gone = waiting.turn.send(Assignment::Done(reply));
                }
            } else if self.seats.has(namespace) {
                let rest = order.get(index + 1..).unwrap_or_default();
                return self.start(url, (namespace, *place), rest, probes, now);
            } else {
                starved.insert(namespace.clone(), 0);
            }
        }
        for (namespace, number) in &mut starved {
            self.number += 1;
            // It keeps its place in the line.
            *number = former.get(namespace).copied().unwrap_or(self.number);
        }
        self.starved.add(url, &starved);
        if let Some(server) = self.servers.get_mut(url) {
            server.starved = starved;
        }
        // Others may have come into view.
        is_changed
    }

    fn start(
        &mut self,
        url: &str,
        (namespace, place): (&Arc<str>, Position),
        rest: &[(Arc<str>, Position)],
        probes: Vec<BreakerKey>,
        now: Instant,
    ) -> bool {
        let Some(leader) = self.remove(url, namespace, place) else {
            return false;
        };
        let interval = self.budget.interval(url);
        let now_due = self.due(now, SignedDuration::ZERO);
        let mut batch = Joint::new(&leader);
        if probes.is_empty() {
            self.join(url, &leader, rest, &mut batch, now);
        }
        if let Some(server) = self.servers.get_mut(url) {
            server.rate.take(interval, now);
            server.charge(namespace, interval, now_due);
            server.in_flight += 1;
        }
        self.seats.take(namespace);
        self.in_flight += 1;
        self.breakers.probe(&probes);
        self.number += 1;
        let mut flying = Vec::new();
        for (operand, askers) in batch.operands.iter().zip(batch.askers) {
            let key = (
                leader.query.account.clone(),
                operand.text.clone(),
                batch.time,
                self.number,
            );
            self.flying.insert(key.clone(), askers);
            flying.push(key);
        }
        let occupied = Occupied {
            account: leader.query.account.clone(),
            namespace: namespace.clone(),
            flying,
            probes,
        };
        let granted = Granted {
            occupied,
            time: batch.time,
            operands: batch.operands,
        };
        self.granted.push((leader.turn, granted));
        true
    }

    /// Adds to a batch what may go with it: the same queries, and others that can be joined.
    fn join(
        &mut self,
        url: &str,
        leader: &Waiting<R>,
        rest: &[(Arc<str>, Position)],
        batch: &mut Joint<R>,
        now: Instant,
    ) {
        let most = self.budget.join;
        let width = self.servers.get_mut(url).map_or(1, |server| server.width(most, now));
        let account = &leader.query.account;
        let can_join = |this: &Self, waiting: &Waiting<R>| {
            let query = &waiting.query;
            let alone = this.alone.get(&(account.clone(), query.text.clone()));
            query.shape.is_some() && alone.is_none_or(|until| *until <= now)
        };
        let is_apart = |this: &Self, namespace: &str| this.apart.get(namespace).is_some_and(|until| *until > now);
        let leads = can_join(self, leader);
        for (namespace, place) in rest {
            let Some(waiting) = self.servers.get(url).and_then(|server| server.get(namespace, *place)) else {
                continue;
            };
            if waiting.query.account != *account || waiting.turn.is_closed() {
                continue;
            }
            let is_same = batch.position(&waiting.query.text);
            let mixes = *namespace == leader.query.namespace
                || !(is_apart(self, namespace) || is_apart(self, &leader.query.namespace));
            let joins = leads && mixes && batch.operands.len() < width && can_join(self, waiting);
            if !(is_same.is_some() || joins && batch.has_room(&waiting.query.text)) || !batch.fits(&waiting.query.when)
            {
                continue;
            }
            if self.breakers.passage(account, namespace, now).0 != Passage::Free {
                continue;
            }
            if let Some(waiting) = self.remove(url, namespace, *place) {
                batch.add(is_same, waiting);
            }
        }
    }

    fn remove(&mut self, url: &str, namespace: &str, place: Position) -> Option<Waiting<R>> {
        let removed = self.servers.get_mut(url)?.remove(namespace, place);
        self.waiting -= usize::from(removed.is_some());
        removed
    }

    /// Limits the number of queries in one request to a server for a while.
    pub(super) fn narrow(&mut self, url: &str, width: usize, until: Instant) {
        if let Some(server) = self.servers.get_mut(url) {
            server.width = width.max(1);
            server.wider = Some(until);
        }
    }

    /// Marks a query that spoilt a joined request.
    pub(super) fn separate(
        &mut self,
        account: &Arc<Account>,
        text: &Arc<str>,
        namespaces: &BTreeSet<Arc<str>>,
        now: Instant,
    ) {
        self.alone.insert((account.clone(), text.clone()), now + APART);
        for namespace in namespaces {
            self.apart.insert(namespace.clone(), now + APART);
        }
    }

    /// Those who wait for a result.
    pub(super) fn land(&mut self, key: &Flight) -> Vec<Asker<R>> {
        self.flying.remove(key).unwrap_or_default()
    }

    /// The namespaces that wait for a result, besides that of the request.
    pub(super) fn namespaces(&self, key: &Flight) -> BTreeSet<Arc<str>> {
        let askers = self.flying.get(key).into_iter().flatten();
        askers.map(|asker| asker.namespace.clone()).collect()
    }

    /// Takes the next time for a further request of a batch.
    pub(super) fn reserve(&mut self, url: &str, now: Instant) -> Instant {
        let interval = self.budget.interval(url);
        self.servers
            .get_mut(url)
            .map_or(now, |server| server.rate.take(interval, now))
    }

    /// Frees what a request occupied, and starts what waited for it.
    pub(super) fn release(&mut self, occupied: &Occupied, now: Instant, stamp: Timestamp) {
        for key in &occupied.flying {
            self.flying.remove(key);
        }
        self.breakers.abandon(&occupied.probes, now);
        self.seats.give(&occupied.namespace);
        self.in_flight -= 1;
        let url = &occupied.account.url;
        if let Some(server) = self.servers.get_mut(url) {
            server.in_flight -= 1;
        }
        // Each visit takes a place or removes the server from the line.
        while let Some(url) = self.starved.next(&self.seats) {
            self.visit(&url, now, stamp);
        }
        self.visit(url, now, stamp);
    }

    /// Forgets now and then what has no influence any more.
    fn tidy(&mut self, now: Instant) {
        if !self.number.is_multiple_of(TIDY) {
            return;
        }
        self.servers.retain(|_, server| !server.is_idle(now));
        self.breakers.tidy(now);
        self.alone.retain(|_, until| *until > now);
        self.apart.retain(|_, until| *until > now);
    }
}
