//! Which Kanary is next, and when. Nothing here waits or reads a clock, and no order depends on a hash.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use kanary_core::Key;
use tokio::time::Instant;

use super::seats::Seats;

/// Number of turns that a worker has for itself.
pub(super) const WORKERS: usize = 32;

/// Workers besides, for namespaces that had no slow turn lately. A namespace gets one while it has fewer workers than spare ones
/// are free. Without them, namespaces whose calls hang would make others wait each time they start many turns at once.
pub(super) const SPARE: usize = 8;

/// A turn that takes longer is slow: it goes on, but its worker takes the next one.
pub const SLOW: Duration = Duration::from_millis(500);

/// For how long a namespace gets no spare worker after a slow turn. A call that hangs is repeated sooner: its time and the
/// longest pause are 40 s.
pub(super) const LATELY: Duration = Duration::from_mins(1);

/// Number of turns that may be under way, slow ones included. Each of them has at most one call in flight (a failed canary that
/// leaves production has 16). A default API server gives the service accounts of a cluster some 245 seats together, and a call
/// that hangs in a webhook keeps its seat.
pub(super) const TURNS: usize = 128;

/// A namespace may have a third as many turns as are free: 32 if it is alone, 25 beside another one like it.
const DIVISOR: usize = 3;

/// When each key is due, and the turns that are under way.
#[derive(Debug)]
pub(super) struct Schedule {
    lanes: HashMap<Arc<str>, Lane>,
    /// Namespaces that were not due when they were last seen, with the time of their first key.
    timers: BTreeSet<(Instant, Arc<str>)>,
    /// Namespaces with a due key, in the order in which they are served.
    ring: VecDeque<Arc<str>>,
    /// When each waiting key is due.
    times: HashMap<Arc<Key>, Instant>,
    turns: HashMap<Arc<Key>, Turn>,
    /// Turns that have a worker, by their start.
    worked: BTreeSet<(Instant, Arc<Key>)>,
    /// How many of these workers are spare.
    spare: usize,
    seats: Seats,
}

/// The keys of a namespace. It exists as long as any of them waits or has a turn.
#[derive(Debug, Default)]
struct Lane {
    waiting: BTreeSet<(Instant, Arc<Key>)>,
    place: LaneState,
    /// Number of its turns, and of those that have a worker.
    turns: usize,
    worked: usize,
    /// When its last slow turn ended.
    slow: Option<Instant>,
    /// It was passed over because it had as many turns as it may have.
    is_held: bool,
}

impl Lane {
    /// Whether a turn of it is slow, or was lately.
    fn is_slow(&self, now: Instant) -> bool {
        self.turns > self.worked || self.slow.is_some_and(|slow| now < slow + LATELY)
    }
}

/// Where a namespace is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LaneState {
    #[default]
    Nowhere,
    Timers(Instant),
    Ring,
}

/// A turn under way.
#[derive(Debug)]
struct Turn {
    started: Instant,
    /// `None` if it is slow.
    worker: Option<Worker>,
    /// The key was pushed meanwhile, for this time.
    again: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worker {
    Ordinary,
    Spare,
}

/// A key whose turn starts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Started {
    pub(super) key: Key,
    /// For how long it was due.
    pub(super) waited: Duration,
}

/// What happened since the last call, for metrics.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Happened {
    /// Turns that became slow.
    pub(super) slowed: u64,
    /// Namespaces that were passed over because they had as many turns as they may have.
    pub(super) held: u64,
}

/// The state of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Keys with a time.
    pub queued: usize,
    /// Those of them whose time has come.
    pub due: usize,
    /// Turns under way.
    pub turns: usize,
    /// Those of them that are slow.
    pub slow: usize,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            lanes: HashMap::new(),
            timers: BTreeSet::new(),
            ring: VecDeque::new(),
            times: HashMap::new(),
            turns: HashMap::new(),
            worked: BTreeSet::new(),
            spare: 0,
            seats: Seats::new(TURNS, DIVISOR),
        }
    }
}

impl Schedule {
    /// Queues `key` at `at`, unless it is queued earlier. While it has a turn, it is queued when that ends.
    pub(super) fn push(&mut self, key: Key, at: Instant) {
        if let Some(turn) = self.turns.get_mut(&key) {
            turn.again = Some(turn.again.map_or(at, |again| again.min(at)));
            return;
        }
        let (key, former) = match self.times.remove_entry(&key) {
            Some((known, former)) => (known, Some(former)),
            None => (Arc::new(key), None),
        };
        let at = former.map_or(at, |former| former.min(at));
        self.times.insert(key.clone(), at);
        if former == Some(at) {
            return;
        }
        let namespace = self.enter(&key);
        let Some(lane) = self.lanes.get_mut(&namespace) else {
            return;
        };
        if let Some(former) = former {
            lane.waiting.remove(&(former, key.clone()));
        }
        lane.waiting.insert((at, key));
        self.list(&namespace);
    }

    /// The lane of a key, which is made if there is none.
    fn enter(&mut self, key: &Key) -> Arc<str> {
        if let Some((namespace, _)) = self.lanes.get_key_value(key.namespace.as_str()) {
            return namespace.clone();
        }
        let namespace: Arc<str> = key.namespace.as_str().into();
        self.lanes.insert(namespace.clone(), Lane::default());
        namespace
    }

    /// Lists a namespace that is not in the ring by the time of its first key. Drops it if it has neither keys nor turns.
    fn list(&mut self, namespace: &Arc<str>) {
        let Some(lane) = self.lanes.get_mut(namespace) else {
            return;
        };
        if lane.place == LaneState::Ring {
            return;
        }
        let place = lane
            .waiting
            .first()
            .map_or(LaneState::Nowhere, |(at, _)| LaneState::Timers(*at));
        let former = std::mem::replace(&mut lane.place, place);
        let is_over = lane.waiting.is_empty() && lane.turns == 0;
        if former != place {
            if let LaneState::Timers(at) = former {
                self.timers.remove(&(at, namespace.clone()));
            }
            if let LaneState::Timers(at) = place {
                self.timers.insert((at, namespace.clone()));
            }
        }
        if is_over {
            self.lanes.remove(namespace);
        }
    }

    /// Starts every turn that may start now: all that is due, the namespaces in turn, and within a namespace what was due first.
    pub(super) fn start(&mut self, now: Instant, happened: &mut Happened) -> Vec<Started> {
        self.release_workers(now, happened);
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, namespace)) = self.timers.pop_first() else {
                break;
            };
            if let Some(lane) = self.lanes.get_mut(&namespace) {
                lane.place = LaneState::Ring;
                self.ring.push_back(namespace);
            }
        }
        std::iter::from_fn(|| self.start_next(now, happened)).collect()
    }

    fn start_next(&mut self, now: Instant, happened: &mut Happened) -> Option<Started> {
        if self.worked.len() >= WORKERS + SPARE || self.turns.len() >= TURNS {
            return None;
        }
        let mut found = None;
        for index in 0..self.ring.len() {
            if let Some(worker) = self.worker_for(index, now, happened) {
                found = Some((index, worker));
                break;
            }
        }
        let (index, worker) = found?;
        let namespace = self.ring.remove(index)?;
        let lane = self.lanes.get_mut(&namespace)?;
        let (at, key) = lane.waiting.pop_first()?;
        (lane.turns, lane.worked) = (lane.turns + 1, lane.worked + 1);
        lane.place = LaneState::Nowhere;
        if lane.waiting.first().is_some_and(|(at, _)| *at <= now) {
            lane.place = LaneState::Ring;
            self.ring.push_back(namespace.clone());
        }
        self.list(&namespace);
        self.seats.take(&namespace);
        self.times.remove(&key);
        self.worked.insert((now, key.clone()));
        self.spare += usize::from(worker == Worker::Spare);
        let turn = Turn {
            started: now,
            worker: Some(worker),
            again: None,
        };
        self.turns.insert(key.clone(), turn);
        Some(Started {
            key: (*key).clone(),
            waited: now.saturating_duration_since(at),
        })
    }

    /// The worker for the namespace at this index of the ring, if it may have a turn more.
    fn worker_for(&mut self, index: usize, now: Instant, happened: &mut Happened) -> Option<Worker> {
        let namespace = self.ring.get(index)?;
        let has_place = self.seats.has(namespace);
        let lane = self.lanes.get_mut(namespace)?;
        if !has_place && !lane.is_held {
            happened.held += 1;
        }
        lane.is_held = !has_place;
        if !has_place {
            None
        } else if self.worked.len() - self.spare < WORKERS {
            Some(Worker::Ordinary)
        } else {
            let may = lane.worked < SPARE - self.spare && !lane.is_slow(now);
            may.then_some(Worker::Spare)
        }
    }

    /// Lets the workers of slow turns take others.
    fn release_workers(&mut self, now: Instant, happened: &mut Happened) {
        while let Some((started, _)) = self.worked.first()
            && *started + SLOW <= now
            && let Some((_, key)) = self.worked.pop_first()
        {
            happened.slowed += 1;
            let turn = self.turns.get_mut(&key);
            let worker = turn.and_then(|turn| turn.worker.take());
            self.spare -= usize::from(worker == Some(Worker::Spare));
            if let Some(lane) = self.lanes.get_mut(key.namespace.as_str()) {
                lane.worked -= 1;
            }
        }
    }

    /// Ends the turn of `key`. It is queued at `wake`, or earlier if it was pushed in the meantime.
    pub(super) fn done(&mut self, key: &Key, wake: Option<Instant>, now: Instant) {
        let Some((key, turn)) = self.turns.remove_entry(key) else {
            return;
        };
        let namespace = self.enter(&key);
        if let Some(lane) = self.lanes.get_mut(&namespace) {
            lane.turns -= 1;
            lane.worked -= usize::from(turn.worker.is_some());
            if turn.started + SLOW <= now {
                lane.slow = Some(now);
            }
        }
        self.spare -= usize::from(turn.worker == Some(Worker::Spare));
        self.worked.remove(&(turn.started, key.clone()));
        self.seats.give(&namespace);
        match [turn.again, wake].into_iter().flatten().min() {
            Some(at) => self.push((*key).clone(), at.max(now)),
            None => self.list(&namespace),
        }
    }

    /// When to look again if nothing is pushed and no turn ends; `None` if there is no such time.
    pub(super) fn wake(&self) -> Option<Instant> {
        let due = self.timers.first().map(|(at, _)| *at);
        let slow = self.worked.first().map(|(started, _)| *started + SLOW);
        [due, slow.filter(|_| !self.ring.is_empty())]
            .into_iter()
            .flatten()
            .min()
    }

    /// How many keys wait, and how many turns are under way.
    pub(super) fn depth(&self, now: Instant) -> Depth {
        let due = |lane: &Lane| lane.waiting.iter().take_while(|(at, _)| *at <= now).count();
        let has_worker = |(started, _): &&(Instant, Arc<Key>)| *started + SLOW > now;
        Depth {
            queued: self.times.len(),
            due: self.lanes.values().map(due).sum(),
            turns: self.turns.len(),
            slow: self.turns.len() - self.worked.iter().filter(has_worker).count(),
        }
    }
}

#[cfg(test)]
impl Schedule {
    /// Turns that started at least `age` ago.
    pub(super) fn turns_older_than(&self, age: Duration, now: Instant) -> Vec<Key> {
        let old = self.turns.iter().filter(|(_, turn)| turn.started + age <= now);
        let mut old: Vec<_> = old.map(|(key, _)| (**key).clone()).collect();
        old.sort();
        old
    }

    /// Number of turns under way.
    pub(super) fn turns(&self) -> usize {
        self.turns.len()
    }

    /// Number of workers that are not spare and work.
    pub(super) fn ordinary(&self) -> usize {
        self.worked.len() - self.spare
    }

    /// Whether nothing is kept about anything.
    pub(super) fn is_idle(&self) -> bool {
        self.lanes.is_empty()
            && self.timers.is_empty()
            && self.ring.is_empty()
            && self.times.is_empty()
            && self.turns.is_empty()
            && self.worked.is_empty()
            && self.spare == 0
    }
}
