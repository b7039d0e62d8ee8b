//! The traffic of the canary's pods.

use super::{
    kanaries::sources,
    spans::{length, longest, without},
    verdict::{Finding, Verdict},
};
use crate::checker::Invariant;

impl Verdict<'_> {
    /// Checks that the validated pods had the traffic that the spec asks for at all times, and no other.
    pub(super) fn had_its_traffic(&self, findings: &mut Vec<Finding>) {
        let (production, own) = sources(self.spec, &self.kanary.name);
        let wanted: Vec<_> = production.iter().chain(&own).collect();
        let (from, until) = self.counted();
        let mut wrong = |what: String| findings.push((Invariant::Traffic, what));
        for pod in self.evidence.pods_of(self.canary) {
            for service in &wanted {
                let ready = pod.ready.within(from, until);
                let behind = pod.behind.get(*service);
                let behind = behind.map(|behind| behind.within(from, until)).unwrap_or_default();
                let missed = longest(without(&ready, &behind));
                if let Some(missed) = missed.filter(|missed| length(*missed) > self.lag) {
                    let long = length(missed);
                    wrong(format!(
                        "pod {} was ready and not behind Service {service} for {long}",
                        pod.name
                    ));
                    return;
                }
            }
            // Behind the production Service, the canary gets all traffic of the target, and in place it always does.
            let others = pod
                .behind
                .iter()
                .filter(|(service, _)| production.is_none() && !self.canary.in_place && !wanted.contains(service));
            for (service, behind) in others {
                let had = longest(behind.within(from, until));
                if let Some(had) = had.filter(|had| length(*had) > self.lag) {
                    let long = length(had);
                    wrong(format!(
                        "pod {} was behind Service {service} for {long}, but should not be",
                        pod.name
                    ));
                    return;
                }
            }
        }
    }
}
