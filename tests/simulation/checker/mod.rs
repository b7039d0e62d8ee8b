//! The checker of all writes. It does not depend on the controller's implementation.

mod budget;
mod evidence;
mod kanaries;
mod last;
mod limit;
mod nodes;
pub(crate) mod owners;
mod placed;
mod targets;
mod volumes;

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
    target_kinds::TargetKind,
    world::{SHARDS, Sent},
};

/// The invariants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Invariant {
    /// Nothing is promoted without a stored verdict, and no image that must not pass.
    Proof,
    /// The canary ran the promoted template at all times.
    Template,
    /// A canary that is a DaemonSet runs on a sample of its target's nodes, and keeps those that stay.
    Sample,
    /// A canary that passes had the requested traffic, and its target keeps its own.
    Traffic,
    /// A canary that passes was measured as required, with good results.
    Measured,
    /// A manual verdict applies to its own run and to no other.
    Verdict,
    /// A canary that passes was fully available for as long as required.
    Available,
    /// A bad canary is removed from production traffic.
    Exposed,
    /// No verdict is early.
    Early,
    /// Without network faults, no verdict is late.
    Late,
    /// No effect happens twice.
    Doubled,
    /// Every Kanary reaches an allowed final state.
    Lost,
    /// No object is left over.
    Orphan,
    /// A verdict does not change.
    Flip,
    /// A run only moves forward, and its times do not change.
    Backward,
    /// The controller does not change objects that belong to others.
    Trespass,
    /// The controller does not overwrite another client's change to the target.
    Overruled,
    /// The requests of a run stay within their limit.
    Cost,
    /// A waiting Kanary causes no requests.
    Idle,
    /// No Kanary has two owners at a time, epochs increase, and slots do not change.
    Owner,
    /// No more canaries run at the same time than the limit allows.
    Limit,
    /// The controller keeps running, and nothing panics.
    Alive,
}

/// A violated invariant.
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
    /// The violation for a panic, even if it was caught.
    pub(crate) fn panicked(what: &str) -> Self {
        Self {
            invariant: Invariant::Alive,
            story: format!("{:?}: {what}", Invariant::Alive),
        }
    }
}

/// The history of a Kanary object.
pub(crate) struct Book {
    pub(crate) name: String,
    /// Number of Kanaries before it, with any name.
    number: usize,
    pub(crate) object: Arc<Value>,
    pub(crate) status: KanaryStatus,
    pub(crate) deleted: bool,
    /// Image of each run that passed.
    passed: BTreeMap<i64, String>,
    /// All its specs.
    specs: Vec<Arc<Value>>,
    /// Number of its runs.
    runs: i64,
    /// When Running and the verdict of the last run were written.
    pub(crate) running: Option<Timestamp>,
    pub(crate) verdict: Option<Timestamp>,
    /// Whether it was ever paused.
    paused: bool,
}

/// The history of a canary.
#[derive(Default)]
struct Tried {
    /// When it was first fully available.
    available: Option<Timestamp>,
    /// Images of the target when the run started or shortly before.
    started_on: Vec<String>,
    image: String,
    created: u32,
    /// When the controller last deleted it.
    deleted: Option<Timestamp>,
    /// Whether another client deleted it, so that the controller may create a new one.
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
    /// Kanaries by UID.
    pub(crate) books: BTreeMap<String, Book>,
    /// Canaries by the UID of their Kanary and their run.
    tried: BTreeMap<(String, String), Tried>,
    /// Images of each target, by kind and name, with the time of each change.
    targets: BTreeMap<(String, String), Vec<(Timestamp, String)>>,
    /// The volume claims that exist.
    claims: volumes::Claims,
    nodes: nodes::Nodes,
    places: placed::Places,
    /// Images of targets that the controller created.
    bootstrapped: BTreeSet<String>,
    /// Promotions by the value of their annotation.
    promoted: BTreeMap<String, Promoted>,
    /// Number of Events by the UID of their Kanary and their reason.
    announced: BTreeMap<(String, String), u32>,
    pub(crate) requests: Vec<Entry>,
    /// Shard owners, where replicas share the work.
    pub(crate) owners: owners::Owners,
    /// When the write was sent whose change is being checked.
    pub(crate) sent: Sent,
    /// Maximum time by which a verdict may seem early, because clocks are read to the second.
    pub(crate) tolerance: SignedDuration,
    /// Kanaries whose image becomes bad after its promotion, by name.
    pub(crate) spoil: BTreeMap<String, crate::world::Spoiled>,
    /// The evidence for verdicts.
    pub(crate) evidence: Evidence,
    /// Whether a policy stays until the end, so that what it refuses never happens.
    pub(crate) obstructed: bool,
    /// The canaries that exist, if their number is limited.
    pub(crate) canaries: limit::Canaries,
}

/// A checker that receives changes and is later asked for violations.
pub(crate) type Shared = Arc<Mutex<Checker>>;

impl Checker {
    /// A checker without history.
    pub(crate) fn new(truths: BTreeMap<String, Truth>) -> Self {
        Self {
            history: History::default(),
            violations: Vec::new(),
            truths,
            books: BTreeMap::new(),
            tried: BTreeMap::new(),
            targets: BTreeMap::new(),
            claims: volumes::Claims::default(),
            nodes: nodes::Nodes::default(),
            places: placed::Places::default(),
            bootstrapped: BTreeSet::new(),
            promoted: BTreeMap::new(),
            announced: BTreeMap::new(),
            requests: Vec::new(),
            owners: owners::Owners::of(SHARDS),
            sent: Sent::default(),
            tolerance: SignedDuration::ZERO,
            spoil: BTreeMap::new(),
            evidence: Evidence::default(),
            obstructed: false,
            canaries: limit::Canaries::default(),
        }
    }

    /// Adds a Kanary.
    pub(crate) fn expect(&mut self, name: &str, truth: Truth) {
        self.truths.insert(name.to_owned(), truth);
    }

    /// Checks a change.
    pub(crate) fn look(&mut self, event: &Event) {
        self.history.note(event);
        self.check_owner(event);
        self.evidence.look(event);
        match &*event.resource {
            "leases.coordination.k8s.io" => self.look_at_lease(event),
            // The number of shards, written once.
            "configmaps" if event.change.old.is_none() => {}
            "configmaps"
                if self.canaries.limit.is_some() && last::named(&changed(event), "name") == "kanary-places" => {}
            resource if resource.starts_with("kanary") => self.look_at_kanary(event),
            resource if TargetKind::of_resource(resource).is_some() => {
                self.check_limit(event);
                self.look_at_workload(event);
            }
            "persistentvolumeclaims" => self.look_at_claim(event),
            "pods" if !is_ours(event) => self.look_at_pod(event),
            "nodes" if !is_ours(event) => self.look_at_node(event),
            "events" => self.look_at_event(event),
            _ => self.look_at_other(event),
        }
    }

    fn violated(&mut self, invariant: Invariant, at: Timestamp, name: &str, what: &str) {
        // Later violations usually follow from the first ones.
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

    /// Records that a controller ended by itself.
    pub(crate) fn died(&mut self, at: Timestamp) {
        self.violated(Invariant::Alive, at, "-", "a controller ended by itself");
    }

    /// A replica's write, for the checks of its evidence.
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

    /// Checks that an Event is sent once per run.
    fn look_at_event(&mut self, event: &Event) {
        let (Some(new), None) = (&event.change.new, &event.change.old) else {
            return;
        };
        let value = new.json();
        let uid = crate::history::text(&value["involvedObject"]["uid"]).to_owned();
        let reason = crate::history::text(&value["reason"]).to_owned();
        if self.books.contains_key(&uid) {
            *self.announced.entry((uid, reason)).or_default() += 1;
        }
    }
}

/// The changed object.
fn changed(event: &Event) -> Arc<Value> {
    let object = event.change.new.as_ref().or(event.change.last.as_ref());
    object.map(|object| object.json()).unwrap_or_default()
}

/// Whether the controller made the change.
fn is_ours(event: &Event) -> bool {
    event.actor.starts_with("kanary-")
}
