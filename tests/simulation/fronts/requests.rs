//! What becomes of requests to an application on each of its ways, as the proxies lead them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use kanary_sim::gateway::{Gateway, Lost, Reached, Request};
use serde_json::Value;

use super::way::{Gate, Way, gate, inside, through};
use crate::world::NAMESPACE;

/// Proxies follow a route within this time.
const FOLLOWED: SignedDuration = SignedDuration::from_secs(3);
/// A controller, or the one that takes over from it, has seen what happened so long ago.
const SEEN: SignedDuration = SignedDuration::from_secs(15);
/// The same, also if it waits before it acts, is killed and has to be replaced.
const ACTED: SignedDuration = SignedDuration::from_mins(2);

/// What is known of the requests to an application that its user moves.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Requests {
    name: String,
    gateway: Gateway,
    /// The changes that were in force at the last look.
    applied: u64,
    /// What each Gateway of Gateway API does, and since when.
    gates: BTreeMap<String, (Gate, Timestamp)>,
    /// The ways that the spec asked for, with the time until which it did.
    former: Vec<(Way, Timestamp)>,
    way: Way,
    /// Whether requests of the mesh have passed the VirtualService since the spec asked for that.
    passes_mesh: bool,
    /// Whether it has been served. Before that, it need not be.
    is_up: bool,
    is_served: bool,
    /// Shares that were written, with the time until which they were.
    shares: Vec<(u64, Timestamp)>,
    share: u64,
    has_http_share: bool,
    failed: Option<Timestamp>,
}

/// What the judge knows besides.
pub(super) struct Facts<'a> {
    /// Tags of images that may get all requests.
    pub(super) proven: BTreeSet<&'a str>,
    /// Whether the first image has succeeded.
    pub(super) is_ready: bool,
    pub(super) now: Timestamp,
}

type Outcomes = Vec<(f64, Result<Reached, Lost>)>;

fn part(outcomes: &Outcomes, which: impl Fn(&Result<Reached, Lost>) -> bool) -> f64 {
    let parts = outcomes.iter().filter(|(_, outcome)| which(outcome));
    100.0 * parts.map(|(part, _)| part).sum::<f64>()
}

fn is_whole(outcomes: &Outcomes) -> bool {
    outcomes.iter().all(|(_, outcome)| outcome.is_ok())
}

impl Requests {
    pub(super) fn new(name: &str, gateway: Gateway, way: Way) -> Self {
        Self {
            name: name.to_owned(),
            gateway,
            applied: 0,
            gates: BTreeMap::new(),
            former: Vec::new(),
            way,
            passes_mesh: false,
            is_up: false,
            is_served: false,
            shares: Vec::new(),
            share: 0,
            has_http_share: false,
            failed: None,
        }
    }

    /// A Gateway of Gateway API changes.
    pub(super) fn note_gate(&mut self, name: &str, gateway: Option<&Value>, at: Timestamp) {
        let is = gate(gateway);
        let former = self.gates.get(name);
        if former.is_none_or(|(former, _)| *former != is) {
            self.gates.insert(name.to_owned(), (is, at));
        }
    }

    /// The spec and the status of the application change.
    pub(super) fn note_spec(&mut self, spec: &Value, is_failed: bool, at: Timestamp) {
        let asked = Way::ALL.into_iter().find(|way| {
            let wanted = way.spec(&self.name);
            ["parentRefs", "gateway"]
                .iter()
                .all(|field| names(&spec[*field]) == names(&wanted[*field]))
        });
        if let Some(asked) = asked.filter(|asked| *asked != self.way) {
            self.former.push((std::mem::replace(&mut self.way, asked), at));
            self.passes_mesh = false;
        }
        self.failed = is_failed.then(|| self.failed.unwrap_or(at));
    }

    /// The share of the secondary changes in a route.
    pub(super) fn note_share(&mut self, share: u64, is_http: bool, at: Timestamp) -> Option<String> {
        let former = std::mem::replace(&mut self.share, share);
        self.has_http_share = share > 0 && is_http;
        if former == share {
            return None;
        }
        self.shares.push((former, at));
        if share < former {
            return None;
        }
        if self.failed.is_some() {
            return Some(format!("a share of {share}% although the image has failed"));
        }
        self.served_in_part(SEEN, at)
            .map(|why| format!("a share of {share}%, and {why}"))
    }

    fn is_open(&self, gate: &String) -> bool {
        self.gates.get(gate).is_some_and(|(gate, _)| *gate == Gate::Open)
    }

    /// A Gateway that has served nothing for so long, while another one serves the route. Nobody could judge the image.
    fn served_in_part(&self, long: SignedDuration, at: Timestamp) -> Option<String> {
        let mut gates = self.way.gates(&self.name).into_iter();
        gates
            .any(|gate| self.is_open(&gate))
            .then(|| self.unserved_by(long, at))
            .flatten()
    }

    /// A Gateway that the spec has named and that has served nothing for so long.
    pub(super) fn unserved_by(&self, long: SignedDuration, at: Timestamp) -> Option<String> {
        if self.recent(long, at).count() > 1 {
            return None;
        }
        let named = self.way.gates(&self.name).into_iter();
        let mut shut = named.filter_map(|name| {
            let (gate, since) = self.gates.get(&name)?;
            Some((name, at.duration_since(*since))).filter(|_| *gate != Gate::Open)
        });
        let (name, lasts) = shut.find(|(_, lasts)| *lasts > long)?;
        Some(format!("{name} has not served it for {lasts:#}"))
    }

    /// The ways that the spec has asked for lately.
    fn recent(&self, long: SignedDuration, now: Timestamp) -> impl Iterator<Item = Way> + '_ {
        let former = self.former.iter();
        let former = former.filter(move |(_, until)| now.duration_since(*until) < long);
        former.map(|(way, _)| *way).chain([self.way])
    }

    fn outcomes(&self, request: &Request) -> Outcomes {
        self.gateway.outcomes(request)
    }

    /// Whether requests of the mesh pass the VirtualService.
    fn is_in_mesh(&self) -> bool {
        let place = (NAMESPACE.to_owned(), self.name.clone());
        let table = self.gateway.in_force("virtualservices.networking.istio.io", &place);
        table.is_some_and(|table| table.entrances.iter().any(|entrance| entrance.gateway.is_none()))
    }

    /// Whether requests are served on a way by what the spec asks for.
    fn serves(&self, way: Way) -> bool {
        let name = &self.name;
        match way {
            Way::Istio => is_whole(&self.outcomes(&through(name, name))),
            Way::Mesh => self.is_in_mesh() && is_whole(&self.outcomes(&inside(name))),
            Way::Web | Way::Both => {
                let mut gates = way.gates(name).into_iter();
                gates.all(|gate| is_whole(&self.outcomes(&through(&gate, name))))
            }
        }
    }

    /// Whether a Gateway has changed so lately that nobody can know it.
    fn is_changing(&self, long: SignedDuration, now: Timestamp) -> bool {
        self.gates.values().any(|(_, since)| now.duration_since(*since) < long)
    }

    /// What is wrong about an object of a former spec that a controller deletes.
    pub(super) fn deleted(&self, resource: &str, now: Timestamp) -> Option<String> {
        if !self.is_up || self.is_changing(SEEN, now) {
            return None;
        }
        let is_replaced = |of_gateway_api: bool| {
            let mut ways = self
                .recent(SEEN, now)
                .filter(|way| way.is_of_gateway_api() == of_gateway_api);
            ways.any(|way| self.serves(way))
        };
        let place = (NAMESPACE.to_owned(), self.name.clone());
        let kind = resource.split('.').next().unwrap_or_default();
        match kind {
            "virtualservices" if !is_replaced(true) => {
                Some(format!("{kind} goes although no Gateway serves the new route"))
            }
            "httproutes" if !is_replaced(false) => {
                Some(format!("{kind} goes although Istio does not serve the new route"))
            }
            "destinationrules"
                if self
                    .gateway
                    .in_force("virtualservices.networking.istio.io", &place)
                    .is_some() =>
            {
                Some(format!("{kind} goes while the VirtualService leads to it"))
            }
            "gateways" if !self.is_lost(&through(&self.name, &self.name)) => {
                Some(format!("{kind} goes while the VirtualService is in force there"))
            }
            _ => None,
        }
    }

    /// What is wrong about the Service, which a controller makes lead to the pods of both.
    pub(super) fn widened(&self) -> Option<String> {
        let place = (NAMESPACE.to_owned(), self.name.clone());
        let is_followed = self
            .gateway
            .in_force("httproutes.gateway.networking.k8s.io", &place)
            .is_some();
        (self.is_up && is_followed).then(|| "the Service leads to both while proxies follow the HTTPRoute".to_owned())
    }

    fn is_lost(&self, request: &Request) -> bool {
        let is_unrouted = |outcome: &Result<Reached, Lost>| *outcome == Err(Lost::NoRoute);
        self.outcomes(request).iter().all(|(_, outcome)| is_unrouted(outcome))
    }

    /// What is wrong about what becomes of requests now.
    pub(super) fn look(&mut self, facts: &Facts<'_>) -> Option<String> {
        let applied = self.gateway.applied();
        let is_late = |since: Option<Timestamp>| since.is_some_and(|since| facts.now.duration_since(since) > ACTED);
        if self.share > 0 && is_late(self.failed) {
            return Some(format!("it keeps {}% although it has failed", self.share));
        }
        if let Some(why) = self.served_in_part(ACTED, facts.now).filter(|_| self.share > 0) {
            return Some(format!("it keeps {}%, and {why}", self.share));
        }
        if std::mem::replace(&mut self.applied, applied) == applied {
            return None;
        }
        self.passes_mesh |= self.way == Way::Mesh && self.is_in_mesh();
        self.is_up |= facts.is_ready && self.serves(self.way);
        let shares = self.shares.iter();
        let lately = shares.filter(|(_, until)| facts.now.duration_since(*until) < FOLLOWED);
        let allowed = lately
            .map(|(share, _)| *share)
            .max()
            .unwrap_or_default()
            .max(self.share);
        let name = self.name.clone();
        let mut gates = vec![name.clone()];
        gates.extend(Way::Both.gates(&name));
        let mut requests: Vec<_> = gates.iter().map(|gate| (gate.as_str(), through(gate, &name))).collect();
        if self.passes_mesh || self.has_http_share {
            requests.push(("the mesh", inside(&name)));
        }
        let mut problems = requests
            .iter()
            .filter_map(|(way, request)| self.wrong(way, request, allowed, facts));
        let problem = problems.next();
        drop(problems);
        problem.or_else(|| self.unserved(facts.now))
    }

    /// What is wrong about requests on one way.
    fn wrong(&self, way: &str, request: &Request, allowed: u64, facts: &Facts<'_>) -> Option<String> {
        let outcomes = self.outcomes(request);
        let is_unproven = |outcome: &Result<Reached, Lost>| {
            outcome
                .as_ref()
                .is_ok_and(|reached| !facts.proven.contains(reached.version.as_str()))
        };
        let unproven = part(&outcomes, is_unproven);
        let allowed = f64::from(u32::try_from(allowed).unwrap());
        if unproven > allowed + 1e-6 {
            return Some(format!(
                "{unproven:.1}% of the requests through {way} reach an image that is not proven, and {allowed}% may"
            ));
        }
        let is_failure = |outcome: &Result<Reached, Lost>| outcome.as_ref().is_err_and(|lost| *lost != Lost::NoRoute);
        let failed = part(&outcomes, is_failure);
        (self.is_up && failed > 1e-6).then(|| format!("{failed:.1}% of the requests through {way} fail: {outcomes:?}"))
    }

    /// Whether it is served no more, by no fault of its user.
    fn unserved(&mut self, now: Timestamp) -> Option<String> {
        if !self.is_up {
            return None;
        }
        let name = &self.name;
        let mut is_served = self.serves(Way::Istio);
        is_served |= Way::Both
            .gates(name)
            .iter()
            .any(|gate| is_whole(&self.outcomes(&through(gate, name))));
        let has_mesh = self.recent(ACTED, now).any(|way| way == Way::Mesh);
        is_served |= has_mesh && is_whole(&self.outcomes(&inside(name)));
        let was_served = std::mem::replace(&mut self.is_served, is_served);
        // Its user has closed the last Gateway, or named others that are closed.
        let gates = self.way.gates(name);
        let is_closed = !gates.is_empty() && !gates.iter().any(|gate| self.is_open(gate));
        let is_meant = is_closed || self.is_changing(FOLLOWED, now);
        (was_served && !is_served && !is_meant).then(|| "no route serves it any more".to_owned())
    }

    /// What is wrong in the end.
    pub(super) fn last(&self) -> Option<String> {
        (!self.serves(self.way)).then(|| format!("its requests are not served by {:?}", self.way))
    }
}

/// The names in a field of a spec.
fn names(field: &Value) -> Vec<&str> {
    let listed = field.as_array().into_iter().flatten();
    let listed = listed.filter_map(|entry| entry["name"].as_str());
    listed.chain(field.as_str()).collect()
}
