//! Reads what is written, and knows nothing of how the controller works.

mod budget;
mod evidence;
mod kanaries;
mod last;
pub(crate) mod owners;
mod targets;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex},
};

use jiff::{SignedDuration, Timestamp};
use kanary_core::api::KanaryStatus;
use kanary_sim::{cluster::Event, server::Entry};
use serde_json::Value;

pub(crate) use self::evidence::Rough;
use self::evidence::{Evidence, Write};
use crate::{
    case::Truth,
    history::History,
    world::{SHARDS, Sent},
};

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Invariant {
    /// Nothing is promoted without a stored verdict, nor what must not pass.
    Proof,
    /// What is promoted is what the canary ran, all the time.
    Template,
    /// A canary that passes had the traffic that was asked for, and its target keeps its own.
    Traffic,
    /// A canary that passes was measured as it had to be, and was good.
    Measured,
    /// What people said about a run is heeded, and what they said about another is not.
    Verdict,
    /// A canary that passes was available as a whole for as long as it had to be.
    Available,
    /// A bad canary leaves production.
    Exposed,
    /// No verdict before its time.
    Early,
    /// A verdict in fair network faults comes at its time.
    Late,
    /// Nothing is done twice.
    Doubled,
    /// Every Kanary comes to an end that is allowed.
    Lost,
    /// Nothing is left behind.
    Orphan,
    /// A verdict stays.
    Flip,
    /// A run goes forward, and its times stay.
    Backward,
    /// What belongs to others is left alone.
    Trespass,
    /// Who changed the target is not overruled.
    Overruled,
    /// A run costs no more than it may.
    Cost,
    /// Who waits costs nothing.
    Idle,
    /// Two do not act on one Kanary, epochs grow, and slots stay.
    Owner,
    /// The controller goes on, and nothing panics.
    Alive,
}

/// Something that must not be.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: Invariant,
    story: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.story)
    }
}

impl Violation {
    /// Something panicked, whoever caught it.
    pub(crate) fn panicked(what: &str) -> Self {
        Self {
            invariant: Invariant::Alive,
            story: format!("{:?}: {what}", Invariant::Alive),
        }
    }
}

/// What is known of one Kanary object.
pub(crate) struct Book {
    pub(crate) name: String,
    /// How many there were before it, of any name.
    number: usize,
    pub(crate) object: Arc<Value>,
    pub(crate) status: KanaryStatus,
    pub(crate) deleted: bool,
    /// Image of each run that passed.
    passed: BTreeMap<i64, String>,
    /// Every spec that it had.
    specs: Vec<Arc<Value>>,
    /// How many runs there were.
    runs: i64,
    /// When Running and the verdict were written, of the last run.
    pub(crate) running: Option<Timestamp>,
    pub(crate) verdict: Option<Timestamp>,
    /// Paused at least once.
    paused: bool,
}

/// What is known of one canary Deployment.
#[derive(Default)]
struct Tried {
    /// When it was first available as a whole.
    available: Option<Timestamp>,
    /// Images that the target had when the run started, or shortly before.
    started_on: Vec<String>,
    image: String,
    created: u32,
    /// Somebody else took it away, so that another may take its place.
    lost: bool,
}

/// A promotion.
struct Promoted {
    at: Timestamp,
    image: String,
    former: String,
}

/// The checker.
pub(crate) struct Checker {
    pub(crate) history: History,
    pub(crate) violations: Vec<Violation>,
    truths: BTreeMap<String, Truth>,
    /// Kanaries by uid.
    pub(crate) books: BTreeMap<String, Book>,
    /// Canaries by the uid of their Kanary and their run.
    tried: BTreeMap<(String, String), Tried>,
    /// Images of each target, and since when.
    targets: BTreeMap<String, Vec<(Timestamp, String)>>,
    /// Images of targets that did not exist and were created.
    bootstrapped: BTreeSet<String>,
    /// Promotions by what the annotation says.
    promoted: BTreeMap<String, Promoted>,
    /// Events by the uid of their Kanary and their reason.
    said: BTreeMap<(String, String), u32>,
    pub(crate) requests: Vec<Entry>,
    /// Who owns what, where replicas share the work.
    pub(crate) owners: owners::Owners,
    /// When the write was sent that makes the change which is looked at.
    pub(crate) sent: Sent,
    /// How much earlier than its time a verdict may be, because clocks are read to the second.
    pub(crate) tolerance: SignedDuration,
    /// Kanaries whose promoted image is to break, by name.
    pub(crate) spoil: BTreeMap<String, crate::world::Spoiled>,
    /// What verdicts rest on.
    pub(crate) evidence: Evidence,
    /// A policy stays for good: what it refuses is never done.
    pub(crate) obstructed: bool,
}

/// A checker that is told of changes and asked for its findings.
pub(crate) type Shared = Arc<Mutex<Checker>>;

impl Checker {
    /// One that has seen nothing.
    pub(crate) fn new(truths: BTreeMap<String, Truth>) -> Self {
        Self {
            history: History::default(),
            violations: Vec::new(),
            truths,
            books: BTreeMap::new(),
            tried: BTreeMap::new(),
            targets: BTreeMap::new(),
            bootstrapped: BTreeSet::new(),
            promoted: BTreeMap::new(),
            said: BTreeMap::new(),
            requests: Vec::new(),
            owners: owners::Owners::of(SHARDS),
            sent: Sent::default(),
            tolerance: SignedDuration::ZERO,
            spoil: BTreeMap::new(),
            evidence: Evidence::default(),
            obstructed: false,
        }
    }

    /// One Kanary more.
    pub(crate) fn expect(&mut self, name: &str, truth: Truth) {
        self.truths.insert(name.to_owned(), truth);
    }

    /// Takes in a change.
    pub(crate) fn look(&mut self, event: &Event) {
        self.history.note(event);
        self.check_owner(event);
        self.evidence.look(event);
        match &*event.resource {
            "leases.coordination.k8s.io" => self.look_at_lease(event),
            // How many shards there are, written once.
            "configmaps" if event.change.old.is_none() => {}
            "kanarydeployments.kanary.k8s-operators.dev" | "kanarystatefulsets.kanary.k8s-operators.dev" => {
                self.look_at_kanary(event);
            }
            "deployments.apps" => self.look_at_deployment(event),
            "events" => self.look_at_event(event),
            _ => self.look_at_other(event),
        }
    }

    fn violated(&mut self, invariant: Invariant, at: Timestamp, name: &str, what: &str) {
        // The first tell the story; the rest follow from them.
        if self.violations.len() >= 5 {
            return;
        }
        let target = self.truths.get(name).map_or("-", |truth| &truth.target);
        let about = self.truths.get(name).map_or("-", |truth| truth.what);
        let story = format!(
            "{invariant:?}: {what}\n  at {} by the cluster's clock, Kanary {name} ({about}) on {target}\n{}",
            self.history.time(at),
            self.history.story(&[name, target])
        );
        self.violations.push(Violation { invariant, story });
    }

    /// A controller ended by itself.
    pub(crate) fn died(&mut self, at: Timestamp) {
        self.violated(Invariant::Alive, at, "-", "a controller ended");
    }

    /// A replica's write, for whoever looks at what it rests on.
    fn write(&self, event: &Event, name: &str) -> Write {
        let sent = self.sent.lock().unwrap().unwrap_or(event.at);
        let shard = self.truths.get(name).map(|truth| self.owners.shard_of(&truth.target));
        Write {
            actor: event.actor.to_string(),
            at: event.at,
            sent,
            in_charge: shard.and_then(|shard| self.owners.in_charge(shard, &event.actor, sent)),
            tolerance: self.tolerance,
        }
    }

    fn truth(&self, name: &str) -> Truth {
        self.truths.get(name).cloned().unwrap_or_default()
    }

    /// An Event says something: about a run, once.
    fn look_at_event(&mut self, event: &Event) {
        let (Some(new), None) = (&event.change.new, &event.change.old) else {
            return;
        };
        let value = new.json();
        let uid = crate::history::text(&value["involvedObject"]["uid"]).to_owned();
        let reason = crate::history::text(&value["reason"]).to_owned();
        if self.books.contains_key(&uid) {
            *self.said.entry((uid, reason)).or_default() += 1;
        }
    }
}

/// Whether the controller wrote.
fn is_ours(event: &Event) -> bool {
    event.actor.starts_with("kanary-")
}
