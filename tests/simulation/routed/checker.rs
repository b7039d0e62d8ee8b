//! What must hold for canaries behind routes. The checker looks at objects, proxies and loads, and trusts no status.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use kanary_core::api::names::{IS_KANARY, ROUTE_FINALIZER, SHARES};
use kanary_sim::{
    cluster::Event,
    gateway::{Gateway, RouteName, Table},
};
use serde_json::Value;

use crate::world::{NAMESPACE, World};

use super::case::Routed;

/// A checker that the cluster calls for each change.
pub(super) type Shared = Arc<Mutex<Checker>>;

/// What is known of one Kanary.
struct Watched {
    case: Routed,
    /// Index of the highest step that was written in the present run.
    reached: Option<usize>,
    /// The share in percent that was written last.
    written: f64,
    /// The route that is in force, and since when it gives the canary its present share.
    table: Option<Arc<Table>>,
    since: Timestamp,
    /// Whether the user has asked for another run since the canary had a share.
    edited: bool,
}

/// The judge of a run.
#[derive(Default)]
pub(super) struct Checker {
    pub(super) gateway: Option<Gateway>,
    kanaries: Vec<Watched>,
    /// Number of ready endpoints of each slice, with its Service.
    slices: BTreeMap<String, (String, usize)>,
    /// When a controller changed a route last.
    pub(super) last_write: Option<Timestamp>,
    pub(super) violations: Vec<String>,
}

/// The share of a canary in the requests for production, in percent, by its backends with their weights.
fn percent(backends: &[(String, u64)], case: &Routed) -> f64 {
    let sum = |service: &str| {
        backends
            .iter()
            .filter(|(name, _)| name == service)
            .map(|(_, weight)| *weight)
            .sum::<u64>()
    };
    let (canary, production) = (sum(&case.canary()), sum(&case.service()));
    let weight = |weight: u64| f64::from(u32::try_from(weight).unwrap());
    // A rule for tagged requests leads to the canary alone.
    if production == 0 && canary > 0 && case.is_tagged {
        return 0.0;
    }
    100.0 * weight(canary) / weight(canary + production).max(1.0)
}

/// The largest share of a canary in the rules of a route.
fn written(route: &Value, case: &Routed) -> f64 {
    let rules = [
        ("/spec/rules", "backendRefs", "/name"),
        ("/spec/http", "route", "/destination/host"),
    ];
    let shares = rules.into_iter().flat_map(|(rules, backends, name)| {
        let rules = route.pointer(rules).and_then(Value::as_array).into_iter().flatten();
        rules.map(move |rule| {
            let backends = rule[backends].as_array().into_iter().flatten();
            let backends = backends.map(|backend| {
                let service = backend.pointer(name).and_then(Value::as_str).unwrap_or_default();
                (service.to_owned(), backend["weight"].as_u64().unwrap_or(1))
            });
            percent(&backends.collect::<Vec<_>>(), case)
        })
    });
    shares.fold(0.0, f64::max)
}

/// The largest share of a canary in the rules that are in force.
fn in_force(table: Option<&Table>, case: &Routed) -> f64 {
    let rules = table.map_or(&[][..], |table| table.rules.as_slice()).iter();
    let shares = rules.map(|rule| {
        let services = rule
            .destinations
            .iter()
            .filter_map(|to| Some((to.service.clone()?.1, u64::from(to.weight))));
        percent(&services.collect::<Vec<_>>(), case)
    });
    shares.fold(0.0, f64::max)
}

/// Whether any request or copy reaches the canary.
fn leads(table: Option<&Table>, case: &Routed) -> bool {
    let canary = (NAMESPACE.to_owned(), case.canary());
    let mut rules = table.into_iter().flat_map(|table| &table.rules);
    rules.any(|rule| {
        let mut to = rule.destinations.iter().filter(|to| to.weight > 0);
        to.any(|to| to.service.as_ref() == Some(&canary)) || rule.mirrors.iter().any(|mirror| mirror.service == canary)
    })
}

impl Watched {
    fn step(&self, share: f64) -> Option<usize> {
        self.case
            .steps
            .iter()
            .position(|step| (f64::from(*step) - share).abs() < 1e-9)
    }

    /// The Kanary, if it exists.
    fn kanary(&self, world: &World) -> Option<Arc<Value>> {
        let place = (NAMESPACE.to_owned(), self.case.name.clone());
        let kanary = world
            .stack
            .cluster
            .object("kanarydeployments.kanary.k8s-operators.dev", &place);
        kanary.map(|kanary| kanary.json())
    }

    /// What is wrong about a share that a controller writes. `ready` is the number of ready endpoints of the canary.
    fn problem(&mut self, share: f64, ready: usize, now: Timestamp) -> Option<String> {
        let former = std::mem::replace(&mut self.written, share);
        if share == 0.0 {
            if self.edited {
                (self.reached, self.edited) = (None, false);
            }
            return None;
        }
        let Some(step) = self.step(share) else {
            return Some(format!("a share of {share}%, which is no step"));
        };
        if share <= former {
            return None;
        }
        if ready == 0 {
            return Some(format!("a share of {share}% while the canary has no ready endpoint"));
        }
        let next = self.reached.map_or(0, |reached| reached + 1);
        if step > next {
            return Some(format!("step {} right after step {next}", step + 1));
        }
        if step < next {
            return None;
        }
        let reached = self.reached.replace(step);
        let had = in_force(self.table.as_deref(), &self.case);
        let lasted = now.duration_since(self.since);
        let is_proven = reached.is_none_or(|reached| self.step(had) == Some(reached) && lasted >= self.case.interval);
        (!is_proven).then(|| format!("a share of {share}% although {had}% were in force for only {lasted:#}"))
    }
}

impl Checker {
    pub(super) fn watch(&mut self, case: Routed) {
        self.kanaries.push(Watched {
            case,
            reached: None,
            written: 0.0,
            table: None,
            since: Timestamp::UNIX_EPOCH,
            edited: false,
        });
    }

    fn ready(&self, service: &str) -> usize {
        let slices = self.slices.values().filter(|(of, _)| of == service);
        slices.map(|(_, ready)| ready).sum()
    }

    /// Judges a change.
    pub(super) fn look(&mut self, event: &Event) {
        self.follow();
        let name = |object: &kanary_sim::object::Object| object.meta.name.clone();
        let (old, new) = (event.change.old.as_deref(), event.change.new.as_deref());
        let ours = event.actor.starts_with("kanary-");
        match &*event.resource {
            "endpointslices.discovery.k8s.io" => self.count(event),
            "kanarydeployments.kanary.k8s-operators.dev" if !ours => {
                let (Some(old), Some(new)) = (old, new) else { return };
                let is_edited = old.json()["spec"]["template"] != new.json()["spec"]["template"];
                let edited = self
                    .kanaries
                    .iter_mut()
                    .filter(|watched| watched.case.name == name(new));
                edited.for_each(|watched| watched.edited |= is_edited);
            }
            resource if ours && (resource.starts_with("httproutes") || resource.starts_with("virtualservices")) => {
                if let Some(new) = new {
                    self.last_write = Some(event.at);
                    let route = (event.resource.clone(), (NAMESPACE.to_owned(), name(new)));
                    self.judge(&route, &new.json(), event.at);
                }
            }
            "deployments.apps" => {
                let is_canary = old.is_some_and(|old| old.meta.labels.contains_key(IS_KANARY));
                let replicas = new.map_or(0, |new| new.json()["spec"]["replicas"].as_u64().unwrap_or(1));
                if let Some(old) = old.filter(|_| is_canary && replicas == 0) {
                    self.removed(&name(old), event);
                }
            }
            _ => {}
        }
    }

    /// Notes what came into force.
    fn follow(&mut self) {
        let enforced = self.gateway.as_ref().map(Gateway::take_enforced).unwrap_or_default();
        for change in enforced {
            for watched in self
                .kanaries
                .iter_mut()
                .filter(|watched| watched.case.route() == change.route)
            {
                let shares = [watched.table.as_ref(), change.table.as_ref()]
                    .map(|table| in_force(table.map(AsRef::as_ref), &watched.case));
                if shares[0].to_bits() != shares[1].to_bits() {
                    watched.since = change.at;
                }
                watched.table.clone_from(&change.table);
            }
        }
    }

    fn count(&mut self, event: &Event) {
        let Some(object) = event.change.new.as_ref().or(event.change.old.as_ref()) else {
            return;
        };
        let json = object.json();
        let service = object
            .meta
            .labels
            .get("kubernetes.io/service-name")
            .cloned()
            .unwrap_or_default();
        let endpoints = json["endpoints"].as_array().into_iter().flatten();
        let ready = endpoints
            .filter(|endpoint| endpoint["conditions"]["ready"] == true)
            .count();
        let ready = if event.change.new.is_some() { ready } else { 0 };
        self.slices.insert(object.meta.name.clone(), (service.clone(), ready));
        if self.ready(&service) > 0 {
            return;
        }
        let routed = self
            .kanaries
            .iter()
            .filter(|watched| watched.case.canary() == service && leads(watched.table.as_deref(), &watched.case));
        let stories = routed.map(|watched| {
            format!(
                "{}: requests still reach the canary, and it has no ready endpoint",
                watched.case.name
            )
        });
        self.violations.extend(
            stories
                .map(|story| format!("{}: {story}", event.at))
                .collect::<Vec<_>>(),
        );
    }

    fn judge(&mut self, route: &RouteName, object: &Value, now: Timestamp) {
        let ready: BTreeMap<_, _> = self
            .kanaries
            .iter()
            .map(|watched| (watched.case.name.clone(), self.ready(&watched.case.canary())))
            .collect();
        for watched in self
            .kanaries
            .iter_mut()
            .filter(|watched| watched.case.route() == *route)
        {
            let share = written(object, &watched.case);
            if let Some(problem) = watched.problem(share, ready[&watched.case.name], now) {
                self.violations.push(format!("{now}: {}: {problem}", watched.case.name));
            }
        }
    }

    fn removed(&mut self, canary: &str, event: &Event) {
        let routed = self
            .kanaries
            .iter()
            .filter(|watched| watched.case.deployment() == canary && leads(watched.table.as_deref(), &watched.case));
        let stories = routed.map(|watched| {
            let name = &watched.case.name;
            format!(
                "{}: {name}: {} removes the canary while requests still reach it",
                event.at, event.actor
            )
        });
        self.violations.extend(stories.collect::<Vec<_>>());
    }

    /// Whether all runs have ended and nothing of them is left.
    pub(super) fn is_settled(&self, world: &World) -> bool {
        self.kanaries.iter().all(|watched| {
            let kanary = watched.kanary(world);
            let is_over = kanary.is_none_or(|kanary| kanary["status"]["completedAt"].is_string() && !is_held(&kanary));
            let canary = (NAMESPACE.to_owned(), watched.case.deployment());
            is_over && world.stack.cluster.object("deployments.apps", &canary).is_none()
        })
    }

    /// The final checks. `original` has the spec of each route as its user wrote it.
    pub(super) fn finish(&mut self, world: &World, original: &BTreeMap<RouteName, Value>) {
        self.follow();
        let mut found = Vec::new();
        for watched in &self.kanaries {
            let case = &watched.case;
            let kanary = watched.kanary(world);
            let phase = kanary.as_ref().map_or("deleted", |kanary| {
                kanary["status"]["report"]["status"].as_str().unwrap_or_default()
            });
            if !case.ends.contains(&phase) {
                found.push(format!("{}: it ends as {phase} and not as {:?}", case.name, case.ends));
            }
            if kanary.is_some_and(|kanary| is_held(&kanary)) {
                found.push(format!("{}: it keeps its finalizer", case.name));
            }
            if leads(watched.table.as_deref(), case) {
                found.push(format!("{}: requests still reach the canary", case.name));
            }
        }
        for (route, spec) in original {
            let object = world.stack.cluster.object(&route.0, &route.1).unwrap().json();
            if object["spec"] != *spec {
                found.push(format!(
                    "{}: the route is {:#} and not {spec:#}",
                    route.1.1, object["spec"]
                ));
            }
            if !object["metadata"]["annotations"][SHARES].is_null() {
                found.push(format!("{}: the route keeps its annotation", route.1.1));
            }
        }
        self.violations.extend(found);
    }
}

fn is_held(kanary: &Value) -> bool {
    let finalizers = kanary["metadata"]["finalizers"].as_array();
    finalizers.is_some_and(|finalizers| finalizers.iter().any(|finalizer| finalizer == ROUTE_FINALIZER))
}
