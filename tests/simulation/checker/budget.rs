//! Limits on the requests of a run without network faults, and on the requests of waiting Kanaries at any time.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kanary_core::{api::names, status::Phase};
use kanary_sim::server::Entry;

use super::{Book, Checker, Invariant};
use crate::case::Truth;

/// Maximum delay of a verdict without network faults.
const LATENESS: SignedDuration = SignedDuration::from_millis(500);

/// Maximum number of requests for one Kanary in a quiet period: the number for a run that ends in that period.
const QUIET: usize = 24;

fn is_write(entry: &Entry) -> bool {
    !["get", "list", "watch"].contains(&entry.verb)
}

fn is_ours(entry: &Entry) -> bool {
    entry.user.starts_with("kanary-")
}

/// Items are measured for as long as they wait, like queries to Prometheus, which are not requests to the API server.
fn is_measurement(entry: &Entry) -> bool {
    // Labels of pods in place are read, because no watch reports them.
    let of_pods = [names::RUN, names::POD_REVISION]
        .iter()
        .any(|label| entry.selector.contains(label));
    let of_requests = entry.resource == "pods" && entry.verb == "list" && of_pods;
    entry.resource.ends_with("metrics.k8s.io") || of_requests
}

impl Checker {
    /// Records requests, except those that measure.
    pub(crate) fn hear(&mut self, entries: Vec<Entry>) {
        self.requests.extend(
            entries
                .into_iter()
                .filter(|entry| is_ours(entry) && entry.verb != "watch" && entry.resource != "leases")
                .filter(|entry| !is_measurement(entry)),
        );
    }

    /// Checks that there are no requests from `since` on, because all Kanaries have ended or wait.
    pub(crate) fn check_idle(&mut self, since: Timestamp) {
        let busy = self
            .requests
            .iter()
            .find(|entry| entry.at >= since && !(entry.verb == "list" && entry.namespace.is_empty()));
        let Some(busy) = busy.cloned() else { return };
        let name = self.kanary_of(&busy);
        let what = format!(
            "{} {} {} {} in a quiet period",
            busy.user, busy.verb, busy.resource, busy.name
        );
        self.violated(Invariant::Idle, busy.at, &name, &what);
    }

    /// Checks that requests do not continue without end after the users have stopped.
    pub(crate) fn check_quiet(&mut self, since: Timestamp) {
        let mut asked = BTreeMap::<String, Vec<Entry>>::new();
        for entry in self.requests.iter().filter(|entry| entry.at >= since) {
            asked.entry(self.kanary_of(entry)).or_default().push(entry.clone());
        }
        for (name, entries) in asked.into_iter().filter(|(name, _)| !name.is_empty()) {
            if entries.len() > QUIET {
                let mut told: Vec<_> = entries
                    .iter()
                    .map(|entry| format!("{} {} {}", entry.verb, entry.resource, entry.code))
                    .collect();
                told.truncate(12);
                let what = format!("{} requests in a quiet period: {told:?}, …", entries.len());
                self.violated(Invariant::Idle, entries[0].at, &name, &what);
            }
        }
    }

    /// The Kanary that a request belongs to, or empty if there is none or more than one.
    fn kanary_of(&self, entry: &Entry) -> String {
        let is_of = |truth: &Truth| entry.name == truth.target && entry.resource.starts_with(truth.kind.plural());
        let mut names = self
            .truths
            .iter()
            .filter(|(name, truth)| entry.name.contains(*name) || is_of(truth));
        names.next().map(|(name, _)| name.clone()).unwrap_or_default()
    }

    /// Checks the writes, requests and delay of a plain run without network faults.
    pub(crate) fn check_costs(&mut self) {
        let plain: Vec<_> = self
            .truths
            .iter()
            .filter(|(_, truth)| truth.plain)
            .map(|(name, _)| name.clone())
            .collect();
        for name in plain {
            self.check_cost(&name);
        }
    }

    /// Checks that, if replicas only fail one after the other, no Kanary is without an owner for longer than `bound`.
    /// Returns the longest such time.
    pub(crate) fn check_attended(&mut self, bound: SignedDuration) -> SignedDuration {
        let late = |book: &Book| {
            let passed = Phase::of(&book.status) != Phase::Failed && self.truths.get(&book.name)?.plain;
            let late = book.verdict?.duration_since(book.status.deadline?);
            passed.then(|| (late, book.name.clone(), book.verdict))
        };
        let Some((longest, name, Some(at))) = self.books.values().filter_map(late).max() else {
            return SignedDuration::ZERO;
        };
        if longest > bound {
            let what = format!("the verdict came {longest} after the deadline");
            self.violated(Invariant::Late, at, &name, &what);
        }
        longest
    }

    fn check_cost(&mut self, name: &str) {
        let Some(book) = self.books.values().find(|book| book.name == name) else {
            return;
        };
        let (Some(running), Some(verdict), Some(due)) = (book.running, book.verdict, book.status.deadline) else {
            return;
        };
        let (phase, ended) = (Phase::of(&book.status), book.status.completed_at);
        let ended = ended.unwrap_or(verdict).max(verdict) + SignedDuration::from_secs(1);
        if phase != Phase::Failed && verdict.duration_since(due) > LATENESS {
            let what = format!("the verdict came {} after the deadline", verdict.duration_since(due));
            self.violated(Invariant::Late, verdict, name, &what);
        }
        let ours: Vec<_> = self
            .requests
            .iter()
            .filter(|entry| self.kanary_of(entry) == name)
            .cloned()
            .collect();
        // Cleanup follows the end of a run.
        let cleans = |entry: &Entry| entry.verb == "delete" || entry.resource == "pods" || entry.resource == "events";
        let writes: Vec<_> = ours
            .iter()
            .filter(|entry| is_write(entry) && !cleans(entry) && entry.at <= ended)
            .collect();
        // What a run in place changes is stored first, with a finalizer that goes at the end.
        let more = if self.has_begun_in_place(name) { 7 } else { 0 };
        let most = more + if phase == Phase::Failed { 5 } else { 7 };
        if writes.len() > most {
            let told: Vec<_> = writes
                .iter()
                .map(|entry| format!("{} {} {}", entry.verb, entry.resource, entry.code))
                .collect();
            self.violated(
                Invariant::Cost,
                ended,
                name,
                &format!("{} writes: {told:?}", writes.len()),
            );
        }
        let from = running + SignedDuration::from_millis(500);
        let waiting = ours
            .iter()
            .find(|entry| entry.at > from && entry.at < due && entry.at < verdict);
        if let Some(asked) = waiting {
            let what = format!("{} {} {} before the deadline", asked.verb, asked.resource, asked.name);
            self.violated(Invariant::Idle, asked.at, name, &what);
        }
    }
}
