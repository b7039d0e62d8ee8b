//! Checks of a promotion: it writes the validated template, the user still wants it, and the target keeps its traffic.

use jiff::Timestamp;
use kanary_core::api::ManualVerdict;
use kanary_sim::object::string_map;
use serde_json::Value;

use super::{
    Evidence,
    canaries::labels_of,
    kanaries::{Kanary, Run, is_dry_run},
    manual::{Age, Given},
    services::selects,
    template::content,
    verdict::{Finding, Write},
};
use crate::checker::Invariant;

/// A promotion at the time of the write.
struct Promotion<'a> {
    evidence: &'a Evidence,
    kanary: &'a Kanary,
    number: i64,
    run: &'a Run,
    /// The controller must know everything that happened before this time.
    known: Timestamp,
}

impl Evidence {
    /// Problems with a promotion by a run of a Kanary that changed the target from `old` to `new`.
    pub(in crate::checker) fn promotion(
        &self,
        (uid, run): (&str, &str),
        (old, new): (&Value, &Value),
        write: &Write,
    ) -> Vec<Finding> {
        let number = run
            .rsplit('-')
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or_default();
        // A missing verdict is reported elsewhere.
        let known = self
            .kanaries
            .get(uid)
            .and_then(|kanary| Some((kanary, kanary.runs.get(&number)?)));
        let Some((kanary, run)) = known else { return Vec::new() };
        let promotion = Promotion {
            evidence: self,
            kanary,
            number,
            run,
            known: write.sent - self.rough.lag(write.at),
        };
        let mut findings = Vec::new();
        findings.extend(
            promotion
                .of_another_template(&new["spec"]["template"])
                .map(|what| (Invariant::Template, what)),
        );
        findings.extend(promotion.unwanted().map(|what| (Invariant::Verdict, what)));
        findings.extend(promotion.loses_traffic(old, new).map(|what| (Invariant::Traffic, what)));
        findings
    }
}

impl Promotion<'_> {
    fn of_another_template(&self, promoted: &Value) -> Option<String> {
        let Some(passed) = &self.run.passed else {
            return Some("a template was promoted that no canary ran".to_owned());
        };
        let canary = self.evidence.canaries.get(&passed.canary)?;
        let tried = canary.templates.first()?;
        if !self.evidence.is_mutated && content(tried) != content(promoted) {
            return Some(format!("the promoted template differs from that of {}", canary.name));
        }
        let wanted = &self.kanary.spec_at(passed.spec)["template"]["spec"]["template"];
        let labels = string_map(&wanted["metadata"]["labels"]);
        (!self.evidence.is_mutated && labels != labels_of(promoted))
            .then(|| "the labels of the promoted template differ from the spec's".to_owned())
    }

    /// Whether the user's spec has satisfied `is_so` long enough for every controller to know.
    fn is_known(&self, is_so: impl Fn(&Value) -> bool) -> bool {
        let since = self.kanary.standing_since(self.kanary.last(), is_so);
        since.is_some_and(|since| self.kanary.written(since) < self.known)
    }

    /// Why the user no longer wants the promotion.
    fn unwanted(&self) -> Option<String> {
        let kanary = self.kanary;
        if kanary.gone.is_some_and(|gone| gone < self.known) {
            return Some("it was promoted after its Kanary was deleted".to_owned());
        }
        let spec = kanary.spec();
        let given = Given::by_verdict(spec)
            .filter(|(_, value)| *value == ManualVerdict::Invalid)
            .map(|(given, _)| given);
        for given in given.into_iter().chain(Given::by_items(spec, ManualVerdict::Invalid)) {
            let age = given.age(
                kanary,
                self.number,
                kanary.last(),
                &self.evidence.rough,
                self.evidence.rough.lag(self.known),
            );
            if age == Age::Fresh && self.is_known(|spec| given.stands_in(spec)) {
                return Some(format!("it was promoted despite a manual verdict: {given:?}"));
            }
        }
        if self.is_known(|spec| spec["paused"] == true) {
            return Some("it was promoted while its Kanary was paused".to_owned());
        }
        if self.is_known(is_dry_run) {
            return Some("it was promoted although its Kanary is a dry-run".to_owned());
        }
        let passed = self.run.passed.as_ref()?;
        let tried = &kanary.spec_at(passed.spec)["template"]["spec"]["template"];
        let is_another = |spec: &Value| spec["template"]["spec"]["template"] != *tried;
        self.is_known(is_another)
            .then(|| "it was promoted after the template of its Kanary had changed".to_owned())
    }

    /// Reports Services that selected the target's old pods and do not select the new ones.
    fn loses_traffic(&self, old: &Value, new: &Value) -> Option<String> {
        let (before, after) = (labels_of(&old["spec"]["template"]), labels_of(&new["spec"]["template"]));
        let services = self
            .evidence
            .services
            .iter()
            .filter(|(_, service)| service.owner.is_none());
        for (name, service) in services {
            let known = service.selector.since().is_some_and(|since| since < self.known);
            let Some(selector) = service.selector.last().filter(|_| known) else {
                continue;
            };
            if selects(selector, &before) && !selects(selector, &after) {
                return Some(format!("Service {name} does not select pods of the promoted template"));
            }
        }
        None
    }
}
