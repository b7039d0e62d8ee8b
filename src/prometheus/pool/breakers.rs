//! The circuit breakers of all servers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    Account, Fault,
    breaker::{Breaker, Passage},
};

/// A server with its credentials, for all or for one namespace.
pub(super) type BreakerKey = (Arc<Account>, Option<Arc<str>>);

/// Two breakers decide about a query: that of its server, and that of its namespace and server.
#[derive(Default)]
pub(super) struct Breakers {
    all: BTreeMap<BreakerKey, Breaker>,
    /// Those that hold queries back.
    open: BTreeSet<BreakerKey>,
}

impl Breakers {
    /// Whether a query may be sent, and the breakers that it would probe.
    pub(super) fn passage(
        &self,
        account: &Arc<Account>,
        namespace: &Arc<str>,
        now: Instant,
    ) -> (Passage, Vec<BreakerKey>) {
        let mut probes = Vec::new();
        for key in [(account.clone(), None), (account.clone(), Some(namespace.clone()))] {
            match self.all.get(&key).map_or(Passage::Free, |breaker| breaker.passage(now)) {
                Passage::Free => {}
                Passage::Probe => probes.push(key),
                closed @ Passage::Closed(..) => return (closed, Vec::new()),
            }
        }
        let passage = if probes.is_empty() {
            Passage::Free
        } else {
            Passage::Probe
        };
        (passage, probes)
    }

    /// Records that a query is on its way that probes these breakers.
    pub(super) fn probe(&mut self, probes: &[BreakerKey]) {
        for key in probes {
            if let Some(breaker) = self.all.get_mut(key) {
                breaker.probe();
            }
        }
    }

    /// Records that a probe has ended, perhaps without a result.
    pub(super) fn abandon(&mut self, probes: &[BreakerKey], now: Instant) {
        for key in probes {
            if let Some(breaker) = self.all.get_mut(key) {
                breaker.abandon(now);
            }
        }
    }

    /// Records how a request for queries of these namespaces ended. A failure of the server counts for everybody, and a slow
    /// answer for the namespace that asked for it.
    pub(super) fn record(
        &mut self,
        account: &Arc<Account>,
        namespaces: &BTreeSet<Arc<str>>,
        fault: Option<(Fault, &str)>,
        now: Instant,
    ) {
        let own = namespaces.iter().cloned().map(|own| (Some(own), Fault::Slow));
        for (scope, counts) in own.chain([(None, Fault::Server)]) {
            let key = (account.clone(), scope);
            let breaker = self.all.entry(key.clone()).or_default();
            // A probe has failed whatever the fault is.
            let is_probing = breaker.is_probing();
            let failure = fault.filter(|(fault, _)| *fault == counts || is_probing);
            if failure.is_some() || fault.is_none() {
                breaker.record(failure.map(|(_, why)| why), now, fastrand::f64());
            }
            if breaker.is_open() {
                self.open.insert(key);
            } else {
                self.open.remove(&key);
            }
        }
    }

    /// The number of breakers that hold queries back.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// Forgets breakers whose past has no influence any more.
    pub(super) fn tidy(&mut self, now: Instant) {
        self.all.retain(|_, breaker| !breaker.is_idle(now));
        self.open.retain(|key| self.all.contains_key(key));
    }
}

/// Why a query to a server is not sent. `until` is when the next attempt is due, if that is known.
pub(super) fn withheld(url: &str, until: Option<Instant>, why: &str, (now, stamp): (Instant, Timestamp)) -> String {
    let until = until.map(|until| stamp.checked_add(until.duration_since(now)).unwrap_or(stamp));
    let next = until.map_or_else(
        || "until an attempt that is under way succeeds".to_owned(),
        |until| format!("until the next attempt at {until:.0}"),
    );
    format!("no query is sent to {url} {next}: {why}")
}
