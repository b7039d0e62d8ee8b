//! What must hold for front ends. The judge looks at objects, queries and times, and trusts a status only to say that a verdict was
//! stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use jiff::{SignedDuration, Timestamp};
use kanary_core::{
    api::{KanaryStatus, names::IS_KANARY},
    status::{FAILED, SUCCEEDED, find, is_true},
};
use kanary_sim::{cluster::Event, gateway::Gateway};
use serde::Deserialize;
use serde_json::Value;

use super::{
    case::{Front, Sort, is_bad},
    requests::{Facts, Requests},
    shares::Shares,
};
use crate::{
    heard::Heard,
    history::{image, text},
};

/// A judge that the cluster calls for each change.
pub(super) type Shared = Arc<Mutex<Judge>>;

/// Clocks are read to the second, and what was read last may be as old as a lost call.
const SECOND: SignedDuration = SignedDuration::from_secs(1);
const LAG: SignedDuration = SignedDuration::from_secs(15);

/// The judge of a run.
#[derive(Default)]
pub(super) struct Judge {
    pub(super) fronts: BTreeMap<String, Watched>,
    /// The queries of the controllers.
    pub(super) heard: Heard,
    pub(super) gateway: Option<Gateway>,
    /// Number of changes by controllers.
    pub(super) writes: u64,
    pub(super) violations: Vec<String>,
}

/// A version that passed.
struct Passed {
    run: i64,
    image: String,
}

/// What is known of one object of a front end.
pub(super) struct Watched {
    pub(super) front: Front,
    /// The object, if it exists.
    pub(super) object: Option<Arc<Value>>,
    uids: BTreeSet<String>,
    versions: BTreeSet<String>,
    passed: Vec<Passed>,
    /// The uid of the target and the run of each promotion.
    promoted: BTreeSet<(String, i64)>,
    /// Whether somebody else wrote the spec of the target last.
    is_edited: bool,
    canary: Canary,
    pub(super) shares: Shares,
    /// Of an application that its user moves.
    pub(super) requests: Option<Requests>,
}

/// The canary of the present version.
#[derive(Default)]
struct Canary {
    image: String,
    /// When it was available as a whole, without the span that goes on.
    spans: Vec<(Timestamp, Timestamp)>,
    since: Option<Timestamp>,
}

impl Canary {
    fn note(&mut self, workload: Option<&Value>, at: Timestamp) {
        let image = workload.map(|workload| image(&workload["spec"])).unwrap_or_default();
        if image != self.image {
            *self = Self {
                image,
                ..Self::default()
            };
        }
        match (workload.is_some_and(is_whole), self.since) {
            (true, None) => self.since = Some(at),
            (false, Some(since)) => {
                self.spans.push((since, at));
                self.since = None;
            }
            _ => {}
        }
    }

    /// For how long it has been available, and until when.
    fn available(&self, now: Timestamp) -> (SignedDuration, Option<Timestamp>) {
        let spans = self.spans.iter().copied().chain(self.since.map(|since| (since, now)));
        let spans: Vec<_> = spans.collect();
        let long = spans.iter().map(|(from, until)| until.duration_since(*from) + SECOND);
        let long = long.fold(SignedDuration::ZERO, |sum, long| sum + long);
        (long, spans.last().map(|(_, until)| *until))
    }
}

/// Whether all pods run the template and are available.
fn is_whole(workload: &Value) -> bool {
    let (spec, status, meta) = (&workload["spec"], &workload["status"], &workload["metadata"]);
    let wanted = spec["replicas"].as_u64().unwrap_or(1);
    let counts = ["replicas", "updatedReplicas", "availableReplicas"];
    wanted > 0
        && meta["deletionTimestamp"].is_null()
        && status["observedGeneration"] == meta["generation"]
        && counts.iter().all(|count| status[*count].as_u64() == Some(wanted))
}

fn status_of(object: &Value) -> KanaryStatus {
    KanaryStatus::deserialize(&object["status"]).unwrap_or_default()
}

/// The image that a spec of a front end asks for.
pub(super) fn version(object: &Value) -> String {
    let spec = &object["spec"];
    let of_app = spec["image"].as_str().map(str::to_owned);
    of_app.unwrap_or_else(|| image(spec))
}

fn is_owned(object: &Value, uids: &BTreeSet<String>) -> bool {
    let owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    owners.into_iter().any(|owner| uids.contains(text(&owner["uid"])))
}

impl Judge {
    pub(super) fn watch(&mut self, front: Front) {
        let watched = Watched {
            object: None,
            uids: BTreeSet::new(),
            versions: BTreeSet::new(),
            passed: Vec::new(),
            promoted: BTreeSet::new(),
            is_edited: false,
            canary: Canary::default(),
            shares: Shares::default(),
            requests: front.way.map(|way| {
                let gateway = self.gateway.clone().expect("a cluster with a gateway");
                Requests::new(&front.name, gateway, way)
            }),
            front: front.clone(),
        };
        self.fronts.insert(front.name, watched);
    }

    /// Judges a change.
    pub(super) fn look(&mut self, event: &Event) {
        let ours = event.actor.starts_with("kanary-");
        let Some(object) = event.change.new.as_ref().or(event.change.last.as_ref()) else {
            return;
        };
        if ["events", "leases.coordination.k8s.io", "configmaps"].contains(&&*event.resource) {
            return;
        }
        self.writes += u64::from(ours);
        let name = object.meta.name.split('-').next().unwrap_or_default();
        let heard = self.heard.clone();
        for watched in self.fronts.values_mut() {
            let mut problem = None;
            if watched.front.name == name {
                problem = watched.look(event, &object.json(), ours, &heard);
            }
            let problem = problem.or_else(|| watched.look_at_requests(event.at));
            self.violations
                .extend(problem.map(|what| format!("{} at {}: {what}", watched.front.name, event.at)));
        }
    }
}

impl Watched {
    fn look(&mut self, event: &Event, object: &Value, ours: bool, heard: &Heard) -> Option<String> {
        let is_front = event.resource.starts_with("canary");
        let mut problem = if ours && !is_front {
            self.trespass(event, object)
        } else {
            None
        };
        if is_front {
            problem = problem.or(self.look_at_front(event, object, ours, heard));
        } else if &*event.resource == "deployments.apps" && object["metadata"]["name"] == self.front.target() {
            problem = problem.or(self.look_at_target(event, object, ours));
        } else if &*event.resource == "deployments.apps" && object["metadata"]["name"] == self.front.canary() {
            problem = problem.or(self.look_at_canary(event, object, ours));
        } else if ["virtualservices", "httproutes"]
            .iter()
            .any(|kind| event.resource.starts_with(kind))
        {
            problem = problem.or(self.look_at_route(event, object, ours));
        } else if &*event.resource == "gateways.gateway.networking.k8s.io"
            && let Some(requests) = &mut self.requests
        {
            let there = event.change.new.as_ref().map(|_| object);
            requests.note_gate(text(&object["metadata"]["name"]), there, event.at);
        }
        let is_wide = &*event.resource == "services"
            && object["metadata"]["name"] == *self.front.name
            && object["spec"]["selector"]["service"].is_null();
        let requests = self.requests.as_ref();
        let requests = requests.filter(|_| is_wide && ours && event.change.new.is_some());
        problem = problem.or_else(|| requests.and_then(Requests::widened));
        problem.or_else(|| self.look_at_deletion(event, ours))
    }

    fn look_at_route(&mut self, event: &Event, route: &Value, ours: bool) -> Option<String> {
        let mut problem = None;
        if event.change.new.is_none() {
            self.shares.forget(&event.resource);
        } else if ours {
            let is_ready = self.canary.since.is_some();
            let when = (event.at, self.front.seconds);
            problem = self.shares.written((&event.resource, route), when, is_ready);
        }
        let share = self.shares.present();
        let is_http = event.resource.starts_with("httproutes");
        let requests = self.requests.as_mut();
        problem.or(requests.and_then(|requests| requests.note_share(share, is_http, event.at)))
    }

    /// Objects of a former spec go once they are out of use.
    fn look_at_deletion(&self, event: &Event, ours: bool) -> Option<String> {
        let requests = self.requests.as_ref()?;
        (ours && event.change.new.is_none() && self.is_wanted())
            .then(|| requests.deleted(&event.resource, event.at))
            .flatten()
    }

    fn look_at_requests(&mut self, now: Timestamp) -> Option<String> {
        let is_wanted = self.is_wanted();
        let requests = self.requests.as_mut().filter(|_| is_wanted)?;
        let images = self
            .passed
            .iter()
            .map(|passed| &passed.image)
            .chain([&self.front.first]);
        requests.look(&Facts {
            proven: images.filter_map(|image| Some(image.split_once(':')?.1)).collect(),
            is_ready: !self.passed.is_empty(),
            now,
        })
    }

    /// Whether it exists and is not being deleted.
    fn is_wanted(&self) -> bool {
        let object = self.object.as_ref();
        object.is_some_and(|object| object["metadata"]["deletionTimestamp"].is_null())
    }

    /// Every object that the controller writes belongs to the front end, except that it removes labels from pods of a canary.
    fn trespass(&self, event: &Event, object: &Value) -> Option<String> {
        let what = || format!("{} {}", event.resource, text(&object["metadata"]["name"]));
        if &*event.resource == "pods" {
            let is_canary = object["metadata"]["labels"][IS_KANARY] == "true";
            return (!is_canary || event.change.new.is_none()).then(|| format!("{} is written", what()));
        }
        let was = event.change.old.as_ref().map(|old| old.json());
        let is_own = is_owned(object, &self.uids) && was.is_none_or(|was| is_owned(&was, &self.uids));
        (!is_own).then(|| format!("{} is written, which belongs to somebody else", what()))
    }

    fn look_at_front(&mut self, event: &Event, object: &Value, ours: bool, heard: &Heard) -> Option<String> {
        if event.change.new.is_none() {
            self.object = None;
            return None;
        }
        let object = Arc::new(object.clone());
        let former = self.object.replace(object.clone());
        self.uids.insert(text(&object["metadata"]["uid"]).to_owned());
        let version = version(&object);
        self.versions.insert(version.clone());
        let was = former.map(|former| status_of(&former)).unwrap_or_default();
        let is = status_of(&object);
        if let Some(requests) = &mut self.requests {
            requests.note_spec(&object["spec"], is_true(&is, FAILED), event.at);
        }
        if was.run != is.run {
            self.shares.begin();
        }
        let run = is.run.unwrap_or(1);
        let is_new = was.run.unwrap_or(1) != run || !is_true(&was, SUCCEEDED);
        if !ours || !is_true(&is, SUCCEEDED) || !is_new {
            return None;
        }
        let is_first = find(&is, SUCCEEDED).is_some_and(|passed| passed.reason == "TargetCreated");
        let is_first = is_first && self.front.sort == Sort::App && self.passed.is_empty();
        // An image that passed before needs no other proof.
        let is_same = self.requests.is_some() && self.released() == Some(version.as_str());
        let problem = if is_first || is_same {
            None
        } else {
            self.unproven(&version, event.at, heard)
        };
        self.passed.push(Passed { run, image: version });
        problem
    }

    /// Why a version must not pass now.
    fn unproven(&self, version: &str, at: Timestamp, heard: &Heard) -> Option<String> {
        if is_bad(version) {
            return Some(format!("{version} passes, but must not"));
        }
        let needed = SignedDuration::from_secs(i64::from(self.front.seconds));
        let (available, until) = self.canary.available(at);
        let is_there = until.is_some_and(|until| at.duration_since(until) < LAG);
        if self.canary.image != version || !is_there || available < needed {
            return Some(format!(
                "{version} passes, and the canary runs {} and was available for {available:#}",
                self.canary.image
            ));
        }
        if self.front.sort == Sort::Tracks {
            return None;
        }
        let unserved = self
            .requests
            .as_ref()
            .and_then(|requests| requests.unserved_by(LAG, at));
        if let Some(why) = unserved {
            return Some(format!("{version} passes, and {why}"));
        }
        let since = match self.shares.proven(at, needed - SECOND) {
            Ok(since) => since,
            Err(had) => return Some(format!("{version} passes after {had}")),
        };
        let is_meant = |query: &str| query.contains(&self.front.canary()).then_some(());
        let answers = heard.queries("good:9090", (since, at), is_meant);
        let is_answered = answers
            .iter()
            .any(|((), query)| query.answer.as_ref().is_some_and(|(code, _)| *code == 200));
        (!is_answered).then(|| format!("{version} passes without an answer about the last share"))
    }

    fn look_at_target(&mut self, event: &Event, target: &Value, ours: bool) -> Option<String> {
        let is_edit = |old: &Value| old["spec"] != target["spec"];
        let old = event.change.old.as_ref().map(|old| old.json());
        event.change.new.as_ref()?;
        if !ours {
            self.is_edited |= event.actor.as_ref() == "user" && old.as_ref().is_none_or(|old| is_edit(old));
            return None;
        }
        let (before, after) = (old.as_ref().map(|old| image(&old["spec"])), image(&target["spec"]));
        let was_edited = std::mem::take(&mut self.is_edited);
        if before.as_ref() == Some(&after) {
            return None;
        }
        let Some(passed) = self.passed.last() else {
            let is_first = self.front.sort == Sort::App && self.versions.contains(&after) && old.is_none();
            return (!is_first).then(|| format!("the target gets {after}, and nothing has passed"));
        };
        if passed.image != after {
            return Some(format!("the target gets {after}, and {} passed last", passed.image));
        }
        let place = (text(&target["metadata"]["uid"]).to_owned(), passed.run);
        let is_first = self.promoted.insert(place);
        (!is_first && !was_edited).then(|| format!("the target gets {after} twice"))
    }

    fn look_at_canary(&mut self, event: &Event, canary: &Value, ours: bool) -> Option<String> {
        let there = event.change.new.as_ref().map(|_| canary);
        self.canary.note(there, event.at);
        if !ours {
            return None;
        }
        let image = image(&canary["spec"]);
        let is_restored = self.front.sort == Sort::Tracks && self.passed.iter().any(|passed| passed.image == image);
        if there.is_some() && !self.versions.contains(&image) && !is_restored {
            return Some(format!("the canary gets {image}, which its user never wanted"));
        }
        let leaves = there.is_none_or(|canary| canary["spec"]["replicas"] == 0);
        let share = self.shares.present();
        (self.front.sort == Sort::App && leaves && self.is_wanted() && share > 0)
            .then(|| format!("the canary is removed while it gets {share}% of the requests"))
    }

    /// The version that passed last.
    pub(super) fn released(&self) -> Option<&str> {
        self.passed.last().map(|passed| passed.image.as_str())
    }
}
