//! Whole runs through a route: a model of the API server, the gateway and its proxies, with crashes between any two writes.

mod api_server;
mod cases;
mod cut_off;
mod refused;
mod storms;
mod unserved;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::input::{observation, parse, t0};
use crate::{
    ParsedKanary,
    api::{KanaryStatus, RouteKind, RouteRef, names},
    decide,
    decision::{Action, Decision, Need, ObjectKind},
    kanary::HeldRoute,
    observation::{Endpoints, Observation, Promotion, RouteFound, RouteSeen},
    status::Phase,
    validation::{Item, Outcome, Sample, Tally},
};

/// Proxies follow a route this long after it was written.
const PROXIES: SignedDuration = SignedDuration::from_secs(3);
/// The canary becomes available this long after its creation.
const START_UP: SignedDuration = SignedDuration::from_secs(10);
const CANARY: &str = "svc-kanary-batman";

/// A Kanary, its route, and everything around them.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct World {
    spec: Value,
    metadata: Value,
    status: Option<Value>,
    /// The Kanary is gone.
    gone: bool,
    route: Option<Value>,
    /// The route as its user wrote it.
    original: Value,
    /// What a read yields instead of the route.
    instead: Option<RouteFound>,
    /// Rules with the time since when proxies follow them.
    proxies: Vec<(Timestamp, Value)>,
    /// When the gateway reported last, and how long it takes. `None` hangs.
    gateway: Option<SignedDuration>,
    written_at: Timestamp,
    /// What the controller remembers.
    memory: Option<RouteSeen>,
    endpoints: Option<Endpoints>,
    /// A port that the canary's pods do not have.
    lacking: Option<String>,
    tallies: Vec<Tally>,
    is_new: bool,
    canary: Option<Timestamp>,
    /// Pods of the canary are ready.
    ready: bool,
    /// When they were ready again after an outage.
    back: Option<Timestamp>,
    service: bool,
    /// The selector of the canary's own Service.
    selector: Value,
    /// What somebody made of the canary's own Service, as the fields of an observation.
    meddled: Value,
    promoted: bool,
    /// When the target has rolled out.
    rolled_out: Option<Timestamp>,
    outcome: Outcome,
    now: Timestamp,
    writes: Vec<String>,
    /// The controller crashes before the write with this number.
    crash_at: Option<usize>,
    /// The highest weight that proxies had.
    highest: u64,
    /// The run to which the share belongs that proxies have.
    run: i64,
}

fn rules() -> Value {
    json!([{"matches": [{"path": {"value": "/"}}], "timeouts": {"request": "3s"}, "backendRefs": [{"name": "svc", "port": 80}]}])
}

impl World {
    fn new(traffic: &Value) -> Self {
        let route = json!({
            "metadata": {"name": "shop", "namespace": "shop", "uid": "r", "resourceVersion": "1", "generation": 1},
            "spec": {"parentRefs": [{"name": "gw"}], "rules": rules()},
        });
        let mut world = Self {
            spec: json!({
                "deploymentName": "myapp", "serviceName": "svc", "traffic": traffic,
                "template": {"spec": {"template": {
                    "metadata": {"labels": {"app": "myapp"}}, "spec": {"containers": [{"name": "a", "image": "myapp:v2"}]},
                }}},
                "validation": {"validationPeriod": "30s", "items": [{"promQL": {
                    "prometheusService": "p:9090", "query": "up{pod=~\"{{ pods }}\"}", "boolean": {}, "interval": "5s",
                }}]},
            }),
            metadata: json!({"resourceVersion": "1"}),
            status: None,
            gone: false,
            proxies: vec![(t0(), route["spec"]["rules"].clone())],
            original: route.clone(),
            route: Some(route),
            instead: None,
            gateway: Some(SignedDuration::from_secs(1)),
            written_at: t0(),
            memory: None,
            endpoints: None,
            lacking: None,
            tallies: vec![Tally::default()],
            is_new: true,
            canary: None,
            ready: true,
            back: None,
            service: false,
            selector: json!({}),
            meddled: json!({}),
            promoted: false,
            rolled_out: None,
            outcome: Outcome::Pass,
            now: t0(),
            writes: Vec::new(),
            crash_at: None,
            highest: 0,
            run: 1,
        };
        world.report();
        world
    }

    fn kanary(&self) -> ParsedKanary {
        parse(&self.spec, self.status.clone(), &self.metadata)
    }

    fn stored(&self) -> KanaryStatus {
        self.status
            .clone()
            .map_or_else(KanaryStatus::default, |status| serde_json::from_value(status).unwrap())
    }

    fn phase(&self) -> Phase {
        Phase::of(&self.stored())
    }

    /// The gateway writes the status of the route, once it has seen its generation.
    fn report(&mut self) {
        let seen = self.gateway.is_some_and(|lag| self.written_at + lag <= self.now);
        let Some(route) = self.route.as_mut().filter(|_| seen || self.now == t0()) else {
            return;
        };
        let generation = route["metadata"]["generation"].clone();
        if route.pointer("/status/parents/0/conditions/0/observedGeneration") == Some(&generation) {
            return;
        }
        let condition = |name: &str| json!({"type": name, "status": "True", "observedGeneration": generation});
        route["status"] = json!({"parents": [{
            "parentRef": {"name": "gw"}, "controllerName": "example.com/gateway",
            "conditions": [condition("Accepted"), condition("ResolvedRefs")],
        }]});
        raise(&mut route["metadata"]);
    }

    /// Weights of the canary in rules.
    fn weight(rules: &Value) -> u64 {
        let backends = rules.as_array().into_iter().flatten();
        let backends = backends.flat_map(|rule| rule["backendRefs"].as_array().into_iter().flatten());
        backends
            .filter(|one| one["name"] == CANARY)
            .map(|one| one["weight"].as_u64().unwrap_or(100))
            .sum()
    }

    fn routed(&self) -> u64 {
        self.route
            .as_ref()
            .map_or(0, |route| Self::weight(&route["spec"]["rules"]))
    }

    /// The rules that proxies follow now.
    fn in_force(&self) -> &Value {
        let known = self.proxies.iter().rfind(|(since, _)| *since <= self.now);
        &known.unwrap_or(&self.proxies[0]).1
    }

    fn is_up(&self) -> bool {
        self.canary.is_some_and(|created| created + START_UP <= self.now) && self.ready
    }

    /// The canary's own Service leads to its pods.
    fn is_led_to(&self) -> bool {
        let kanary = self.kanary();
        let is_of_run = self.selector[names::RUN] == kanary.run(&kanary.spec);
        self.service && is_of_run && self.meddled == json!({})
    }

    fn seen(&mut self, kanary: &ParsedKanary) -> Observation {
        let mut short = json!({"confirmed": false});
        if let Some(created) = self.canary {
            let up = self.back.unwrap_or(created + START_UP);
            short["canary"] =
                json!({"created": created.to_string(), "available": self.is_up().then(|| up.to_string())});
            if !self.is_up() && up <= self.now {
                short["canary"]["unavailable"] = json!(up.to_string());
            }
            short["pods"] = json!([{"name": "x", "ready": self.is_up()}]);
        }
        if self.service {
            short["kanaryService"] = json!({});
            short["kanarySelector"] = self.selector.clone();
            super::input::merge(&mut short, &self.meddled);
        }
        if self.promoted {
            let rolled_out = self.rolled_out.is_some_and(|at| at <= self.now);
            short["target"] = json!({"promotedBy": "this run", "rolledOut": rolled_out});
        }
        let mut seen = observation(kanary, &kanary.spec, &short);
        if !self.promoted && self.phase() > Phase::Running {
            seen.promotion = Promotion::NotYet;
        }
        let since = kanary.status.traffic.as_ref().and_then(|traffic| traffic.since);
        if let (true, Some(Item::PromQl(query))) = (self.is_new, kanary.spec.validation.items.first()) {
            let stored = kanary.status.items.first();
            self.tallies = vec![stored.map_or_else(Tally::default, |item| Tally::resume(&query.terms.id, item))];
        }
        if let Some(since) = since {
            self.tallies[0].begin(since, self.is_new);
        }
        self.is_new = false;
        seen.tallies = self.tallies.clone();
        seen.route = self.memory.clone();
        seen.route_settling = SignedDuration::from_secs(5).try_into().unwrap();
        seen
    }

    /// One decision with all reads that it needs.
    fn decision(&mut self) -> (ParsedKanary, Decision) {
        let kanary = self.kanary();
        let mut seen = self.seen(&kanary);
        for _ in 0..6 {
            let decision = decide(&kanary, &seen, self.now);
            match decision.needs {
                None => return (kanary, decision),
                Some(Need::Route) => seen.route = Some(self.read()),
                Some(Need::Endpoints) => {
                    let ready = usize::from(self.is_up() && self.is_led_to() && self.lacking.is_none());
                    let lacking = self.lacking.clone().filter(|_| self.is_up());
                    self.endpoints = Some(Endpoints::next(self.endpoints.take(), (ready, lacking), self.now));
                    seen.endpoints = self.endpoints.clone();
                }
                Some(Need::LiveCanary | Need::LiveKanary) => seen.confirmed = true,
                Some(Need::LiveTarget) => {
                    let live = observation(&kanary, &kanary.spec, &json!({"live": {}}));
                    seen.live_target = live.live_target;
                }
                Some(Need::LivePods) => seen.pods_confirmed = true,
                Some(need) => panic!("nobody expects {need:?}"),
            }
        }
        panic!("the decision needs ever more reads");
    }

    fn read(&mut self) -> RouteSeen {
        let name = RouteRef {
            kind: RouteKind::Http,
            name: "shop".to_owned(),
        };
        let found = match (&self.instead, &self.route) {
            (Some(found), _) => found.clone(),
            (None, Some(route)) => RouteFound::There(name, Arc::new(route.clone())),
            (None, None) => RouteFound::Missing(name),
        };
        let seen = RouteSeen::next(self.memory.as_ref(), found, self.now);
        self.memory = Some(seen.clone());
        RouteSeen { live: true, ..seen }
    }

    /// Forgets everything that is not stored.
    fn crash(&mut self) {
        (self.memory, self.endpoints, self.is_new) = (None, None, true);
        self.tallies = vec![Tally::default()];
    }

    /// Whether the write goes out. Its reply is lost in a crash.
    fn write(&mut self, what: String) -> bool {
        let crashes = self.crash_at == Some(self.writes.len());
        self.writes.push(what);
        if crashes {
            self.crash_at = None;
            self.crash();
        }
        !crashes
    }

    /// Decides and acts until nothing is left to do at this time. Returns when to look again.
    fn rest(&mut self) -> Option<Timestamp> {
        for _ in 0..20 {
            if self.gone {
                return None;
            }
            self.report();
            let (kanary, decision) = self.decision();
            let idle = decision.actions.is_empty() && decision.status.is_none() && decision.checks.is_empty();
            if idle {
                assert!(
                    decision.wake.is_none_or(|wake| wake > self.now),
                    "a wake in the past: {decision:?}"
                );
                return decision.wake;
            }
            self.apply(&kanary, &decision);
            self.check();
        }
        panic!("keeps writing: {:#?}", self.writes);
    }

    /// What has to hold at any time.
    fn check(&mut self) {
        let steps = self
            .spec
            .pointer("/traffic/weighted/steps")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let reached = self.stored().traffic.map_or(0, |traffic| traffic.step);
        let next = usize::try_from(reached).unwrap().min(steps.len().saturating_sub(1));
        let most = steps.get(next).and_then(Value::as_u64).unwrap_or(100);
        let weight = Self::weight(self.in_force());
        // Proxies may still follow what the route said before.
        let mut pending = self.proxies.iter().filter(|(since, _)| *since > self.now);
        if weight == 0 && self.routed() == 0 && !pending.any(|(_, rules)| Self::weight(rules) > 0) {
            self.run = self.stored().run_number();
        }
        // The share of a run that was replaced is on its way out.
        let is_of_run = self.run == self.stored().run_number();
        assert!(
            !is_of_run || weight <= most,
            "{weight} at step {reached}: {:#?}",
            self.writes
        );
        self.highest = self.highest.max(weight);
    }

    /// Lets time pass until nothing happens any more, or `until`.
    fn run(&mut self, until: SignedDuration) {
        let end = self.now + until;
        while self.now < end {
            let wake = self.rest();
            self.check();
            if self.gone {
                return;
            }
            let starts = self.canary.map(|created| created + START_UP);
            let times = [wake, starts, self.rolled_out].into_iter().flatten();
            let report = self.gateway.map(|lag| self.written_at + lag);
            let next = times.chain(report).filter(|at| *at > self.now).min();
            self.now = next.unwrap_or(end).min(end);
        }
    }

    /// A GitOps tool puts the route back as its user wrote it.
    fn revert(&mut self) {
        let spec = self.original["spec"].clone();
        self.edit(|route| route["spec"] = spec);
    }

    /// Somebody changes the route, and proxies follow at once.
    fn edit(&mut self, change: impl FnOnce(&mut Value)) {
        let route = self.route.as_mut().unwrap();
        change(route);
        route["metadata"]["generation"] = json!(route["metadata"]["generation"].as_i64().unwrap() + 1);
        raise(&mut route["metadata"]);
        self.written_at = self.now;
        self.proxies.push((self.now, route["spec"]["rules"].clone()));
    }

    /// The route is as it began.
    fn is_restored(&self) {
        let Some(route) = &self.route else { return };
        assert_eq!(route["spec"], self.original["spec"], "{:#?}", self.writes);
        assert_eq!(route.pointer("/metadata/annotations"), None, "{:#?}", self.writes);
        let finalizers = self.metadata.get("finalizers");
        assert!(finalizers.is_none_or(|all| *all == json!([])), "{:#?}", self.writes);
    }
}

fn raise(metadata: &mut Value) {
    let version: u64 = metadata["resourceVersion"].as_str().unwrap().parse().unwrap();
    metadata["resourceVersion"] = json!((version + 1).to_string());
}
