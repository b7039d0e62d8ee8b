//! Bad canaries that stay in production.

use jiff::{SignedDuration, Timestamp};
use kanary_core::api::ManualVerdict;
use serde_json::Value;

use super::{
    Evidence,
    canaries::Canary,
    kanaries::{Kanary, initial_delay, items},
    manual::{Age, Given, matches},
    spans::{length, longest, total, without},
};

/// Time limit for removing a bad canary from production traffic.
pub(in crate::checker) const LEAVING: SignedDuration = SignedDuration::from_secs(10);

/// A bad canary that stayed in production: since when it is bad, and the finding.
pub(in crate::checker) struct Exposed {
    pub(in crate::checker) kanary: String,
    pub(in crate::checker) at: Timestamp,
    pub(in crate::checker) long: SignedDuration,
    pub(in crate::checker) what: String,
}

impl Evidence {
    /// Bad canaries that kept production traffic for too long although a replica could have removed it.
    pub(in crate::checker) fn exposed(&self, now: Timestamp) -> Vec<Exposed> {
        let mut found = Vec::new();
        for canary in self.canaries.values() {
            let Some(kanary) = self.kanaries.get(&canary.owner) else {
                continue;
            };
            let Some((bad, why)) = self.bad_since(kanary, canary, now) else {
                continue;
            };
            if canary.in_place {
                if let Some((from, until)) = self.kept_in_place(canary, bad, now) {
                    let long = until.duration_since(from);
                    found.push(Exposed {
                        kanary: kanary.name.clone(),
                        at: until,
                        long,
                        what: format!("{} kept the template in place for {long} after {why}", canary.name),
                    });
                }
                continue;
            }
            for pod in self.pods_of(canary) {
                let services = pod.behind.iter().filter(|(name, _)| self.is_of_users(name));
                for (service, behind) in services {
                    let had = self.rough.fair(&behind.within(bad, now));
                    let Some((from, until)) = longest(had) else { continue };
                    let long = until.duration_since(from);
                    found.push(Exposed {
                        kanary: kanary.name.clone(),
                        at: until,
                        long,
                        what: format!("pod {} was behind Service {service} for {long} after {why}", pod.name),
                    });
                }
            }
        }
        found
    }

    fn is_of_users(&self, service: &str) -> bool {
        self.services
            .get(service)
            .is_some_and(|service| service.owner.is_none())
    }

    /// Since when and why a canary is known to be bad or is no longer wanted.
    fn bad_since(&self, kanary: &Kanary, canary: &Canary, now: Timestamp) -> Option<(Timestamp, &'static str)> {
        let number = canary
            .run
            .rsplit('-')
            .next()
            .and_then(|number| number.parse::<i64>().ok())?;
        let run = kanary.runs.get(&number);
        let failed = run.and_then(|run| run.failed).map(|at| (at, "it had failed"));
        let gone = kanary.gone.map(|at| (at, "its Kanary was deleted"));
        let given = self
            .refused_since(kanary, number)
            .map(|at| (at, "a manual verdict marked it as invalid"));
        let matched = self
            .matched_since(kanary, canary, now)
            .map(|at| (at, "it had labels that fail it"));
        let given_up = canary.in_place.then(|| kanary.given_up_since(number, now)).flatten();
        let given_up = given_up.map(|at| (at, "its Kanary no longer asked for it"));
        [failed, gone, given, matched, given_up].into_iter().flatten().min()
    }

    /// When a user marked the canary as bad, for this run and during the run.
    fn refused_since(&self, kanary: &Kanary, number: i64) -> Option<Timestamp> {
        let run = kanary.runs.get(&number)?;
        let next = kanary
            .runs
            .contains_key(&(number + 1))
            .then(|| kanary.first_of(number + 1).0);
        let end = run
            .passed
            .as_ref()
            .map(|passed| passed.spec + 1)
            .into_iter()
            .chain(next);
        let end = end.min().unwrap_or(kanary.specs.len());
        // An edit that was reverted before a replica observed it does not count.
        let is_seen = |index: &usize| {
            let at = kanary.written(*index);
            let until = kanary.specs.get(index + 1).map_or(Timestamp::MAX, |(until, _)| *until);
            let answered = kanary.writes.iter().any(|(spec, _)| spec == index);
            answered || until.duration_since(at) > self.rough.lag(at)
        };
        (kanary.first_of(number).0..end).filter(is_seen).find_map(|index| {
            let spec = kanary.spec_at(index);
            let verdict = Given::by_verdict(spec)
                .filter(|(_, value)| *value == ManualVerdict::Invalid)
                .map(|(given, _)| given);
            let mut given = verdict.into_iter().chain(Given::by_items(spec, ManualVerdict::Invalid));
            let at = kanary.written(index);
            given
                .any(|given| given.age(kanary, number, index, &self.rough, self.rough.lag(at)) == Age::Fresh)
                .then_some(at)
        })
    }

    /// Since when it had labels that fail it, during its validation.
    fn matched_since(&self, kanary: &Kanary, canary: &Canary, now: Timestamp) -> Option<Timestamp> {
        let number = canary
            .run
            .rsplit('-')
            .next()
            .and_then(|number| number.parse::<i64>().ok())?;
        let run = kanary.runs.get(&number)?;
        if run.passed.is_some() {
            return None;
        }
        let spec = kanary.spec_at(run.first);
        let available = canary.whole.first()?;
        // A pause, and possibly an outage, delays the start.
        let paused = kanary.when((available, now), |spec| spec["paused"] == true);
        let gaps = without(&[(available, now)], &canary.whole.within(available, now));
        let from = available + initial_delay(spec) + total(&paused) + total(&gaps);
        let watches = items(spec).into_iter().filter_map(|item| item.label_watch);
        let found = watches.filter_map(|watch| {
            let wanted = serde_json::to_value(&watch).ok();
            let is_asked = |spec: &Value| {
                let mut watches = items(spec).into_iter().filter_map(|item| item.label_watch);
                watches.any(|watch| serde_json::to_value(watch).ok() == wanted)
            };
            let spans = matches(self, canary, &watch, (from, now)).into_iter();
            let mut spans = spans.flat_map(|(_, span)| kanary.when(span, is_asked));
            // A label that was removed before a replica observed it does not count.
            let (since, _) = spans.find(|span| length(*span) > self.rough.lag(span.0))?;
            Some(since)
        });
        found.min()
    }
}
