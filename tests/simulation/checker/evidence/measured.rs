//! Measurements of each item: results, pods and times.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use kanary_core::api::{PromQlItem, ValidationItem};
use serde_json::{Value, json};

use super::{
    answer::{Pods, Proof, knows, proves},
    kanaries::{interval, items, target},
    verdict::{Finding, Verdict},
};
use crate::{checker::Invariant, heard::Query, world::NAMESPACE};

/// A part of a query: text with all other variables filled in, or the place of the pod names.
enum Part {
    Text(String),
    /// Names of pods, as a regular expression.
    Pods,
}

/// Maximum clock skew of a metrics server.
const SKEW: SignedDuration = SignedDuration::from_secs(30);

/// Pod names in a query, or `None` if it contains none.
type Named = Option<BTreeSet<String>>;

/// The fields of an item that determine its queries.
fn asks(item: &PromQlItem) -> Value {
    json!([
        item.prometheus_service,
        item.prometheus_url,
        item.query,
        item.pod_name_key,
        item.all_pods_query.unwrap_or_default(),
        item.value_in_range,
        item.discrete_value_out_of_list,
        item.continuous_value_deviation,
        item.boolean,
        item.no_result,
        item.evidence_query,
    ])
}

fn queries(spec: &Value) -> Vec<PromQlItem> {
    let items = items(spec).into_iter();
    items.filter_map(|item: ValidationItem| item.prom_ql).collect()
}

/// The host that an item queries.
fn host(item: &PromQlItem) -> String {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let address = given(&item.prometheus_service)
        .or_else(|| given(&item.prometheus_url))
        .unwrap_or_default();
    let rest = address.split_once("://").map_or(address.as_str(), |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default().to_owned()
}

/// The names in a regular expression of alternatives.
fn listed(regex: &str) -> BTreeSet<String> {
    let plain: String = regex
        .replace("?:", "")
        .chars()
        .filter(|char| !"()^$\\".contains(*char))
        .collect();
    plain.split('|').map(str::to_owned).collect()
}

/// Whether a text is an instance of the query, and the pod names in it.
fn reads(parts: &[Part], text: &str) -> Option<Named> {
    let mut rest = text;
    let mut named: Named = None;
    let mut open = false;
    for part in parts {
        match part {
            Part::Pods => open = true,
            Part::Text(text) if text.is_empty() => {}
            Part::Text(text) if open => {
                let (pods, after) = rest.split_once(text.as_str())?;
                named.get_or_insert_default().extend(listed(pods));
                (rest, open) = (after, false);
            }
            Part::Text(text) => rest = rest.strip_prefix(text.as_str())?,
        }
    }
    if open {
        named.get_or_insert_default().extend(listed(rest));
        rest = "";
    }
    rest.is_empty().then_some(named)
}

/// A measurement and the checker's own result for it.
struct Measured {
    query: Query,
    proof: Proof,
    /// Whether it names pods of the canary and no others.
    names_its_pods: bool,
}

impl Verdict<'_> {
    fn parts(&self, item: &PromQlItem) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut rest = item.query.as_str();
        let name = &self.kanary.name;
        let service = self.spec["serviceName"].as_str().unwrap_or_default();
        let mut text = String::new();
        while let Some((before, (variable, after))) = rest
            .split_once("{{")
            .and_then(|(before, opened)| Some((before, opened.split_once("}}")?)))
        {
            text.push_str(before);
            match variable.trim() {
                "deployment.name" => text.push_str(&target(self.spec, &Value::Null, name).1),
                "canary.name" => text.push_str(&self.canary.name),
                "service.name" => text.push_str(service),
                "namespace" => text.push_str(NAMESPACE),
                "kanary.name" => text.push_str(name),
                _ => {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                    parts.push(Part::Pods);
                }
            }
            rest = after;
        }
        text.push_str(rest);
        parts.push(Part::Text(text));
        parts
    }

    /// Since when an item has had its current query.
    fn asked_since(&self, item: &PromQlItem) -> Timestamp {
        let wanted = asks(item);
        let has_it = |spec: &Value| queries(spec).iter().any(|item| asks(item) == wanted);
        let since = self.kanary.known_since(self.index, self.lag, has_it);
        since
            .map_or(self.at, |since| self.kanary.written(since))
            .max(self.canary.created)
    }

    /// The canary pods that were ready at the time of a query and known to be ready by a replica.
    fn due(&self, query: &Query) -> Pods<'_> {
        let mut pods = Pods {
            due: BTreeSet::new(),
            all: BTreeSet::new(),
        };
        for pod in self.evidence.pods_of(self.canary) {
            pods.all.insert(&pod.name);
            let (asked, answered) = (pod.ready.since(query.asked), pod.ready.since(query.answered));
            if asked.is_some_and(|since| query.asked.duration_since(since) > self.lag && Some(since) == answered) {
                pods.due.insert(&pod.name);
            }
        }
        pods
    }

    /// The measurements of an item.
    fn measured(&self, item: &PromQlItem) -> Vec<Measured> {
        let (parts, heard) = (self.parts(item), &self.evidence.heard);
        let within = (self.asked_since(item), self.sent);
        let found = heard.queries(&host(item), within, |text| reads(&parts, text));
        let judged = found.into_iter().map(|(named, query)| {
            let pods = self.due(&query);
            let answer = query.answer.as_ref().map(|(status, body)| (*status, body.as_slice()));
            let mut proof = answer.map_or(Proof::None, |answer| proves(item, answer, &pods));
            let names_its_pods = named
                .as_ref()
                .is_some_and(|named| named.iter().all(|pod| pods.all.contains(pod.as_str())));
            let asks_about_all = named.is_none_or(|named| pods.due.iter().all(|pod| named.contains(*pod)));
            let unknown = || item.no_result.is_some() && !self.is_known(item, &parts, &query, &pods);
            // An answer by a clock that is far off refers to another time. The skew is known to a second or two.
            let (skew, near) = (query.skew(), SignedDuration::from_secs(2));
            let is_odd = match proof {
                Proof::Good => skew > SKEW + near || !asks_about_all || unknown(),
                _ => skew > SKEW - near,
            };
            if is_odd {
                proof = Proof::None;
            }
            Measured {
                query,
                proof,
                names_its_pods,
            }
        });
        judged.collect()
    }

    /// Whether another answer for the same time shows that Prometheus has data of the pods. Without such data, an empty
    /// result is no evidence.
    fn is_known(&self, item: &PromQlItem, parts: &[Part], query: &Query, pods: &Pods<'_>) -> bool {
        let others = self.evidence.heard.about(&host(item), query.time, self.sent);
        let mut others = others.iter().filter(|(text, _)| reads(parts, text).is_none());
        others.any(|(_, other)| {
            let answer = other.answer.as_ref().map(|(status, body)| (*status, body.as_slice()));
            answer.is_some_and(|answer| knows(item, answer, pods))
        })
    }

    /// Checks that every item was measured often enough, at the right times, and with good results.
    pub(super) fn was_measured(&self, findings: &mut Vec<Finding>) {
        if self.is_ended_by_verdict() {
            return;
        }
        for item in queries(self.spec) {
            let measured = self.measured(&item);
            let what = self
                .too_few(&item, &measured)
                .or_else(|| self.too_bad(&item, &measured));
            if let Some(what) = what.or_else(|| self.too_seldom(&item, &measured)) {
                findings.push((
                    Invariant::Measured,
                    format!("it passed, but for `{}` {what}", item.query),
                ));
            }
        }
    }

    fn too_few(&self, item: &PromQlItem, measured: &[Measured]) -> Option<String> {
        let good = || measured.iter().filter(|measured| measured.proof == Proof::Good);
        let (number, needed) = (good().count(), item.min_samples.unwrap_or(1));
        if number < usize::try_from(needed).unwrap_or(usize::MAX) {
            let asked = measured.len();
            return Some(format!(
                "{number} of {asked} measurements were good, but {needed} are required"
            ));
        }
        let deadline = self.deadline.filter(|_| !self.is_ended_by_a_person())?;
        let at_deadline = |query: &Query| {
            // Evaluated at the time of the query or a little earlier, because clocks are read to the second.
            let fresh = query.time <= query.answered + self.tolerance;
            deadline <= query.time && deadline <= query.asked + self.tolerance && fresh
        };
        let is_there = good().any(|measured| at_deadline(&measured.query));
        (!is_there).then(|| format!("no measurement at or after the deadline {deadline} was good"))
    }

    /// Reports an item with more bad measurements than tolerated if the replica that stored the verdict knew of them.
    fn too_bad(&self, item: &PromQlItem, measured: &[Measured]) -> Option<String> {
        let in_charge = self.in_charge.unwrap_or(Timestamp::MIN);
        // The replica may have used an earlier spec for a while.
        let since = match self.asked_since(item) {
            written if written > self.canary.created => written + self.lag,
            _ => self.canary.created,
        };
        let known = |query: &Query| {
            query.actor == self.actor && query.answered < self.read && query.asked > in_charge.max(since)
        };
        let bad = measured
            .iter()
            .filter(|measured| measured.proof == Proof::Bad && known(&measured.query));
        let bad: Vec<_> = bad.collect();
        let (number, tolerated) = (bad.len(), item.failure_limit.unwrap_or(0));
        let too_many = number > usize::try_from(tolerated).unwrap_or(usize::MAX);
        let is_own = |bad: &&Measured| bad.names_its_pods;
        if !too_many || !(bad.iter().all(is_own) || self.is_not_foreign(item)) {
            return None;
        }
        Some(format!(
            "{number} measurements were bad, but only {tolerated} are tolerated"
        ))
    }

    /// Whether no other Kanary has the same query, so that its measurements can be attributed.
    fn is_not_foreign(&self, item: &PromQlItem) -> bool {
        let names_itself = ["canary.name", "kanary.name"]
            .iter()
            .any(|name| item.query.contains(name));
        let same = |other: &PromQlItem| other.query == item.query && host(other) == host(item);
        let others = self.evidence.kanaries.values();
        let others = others.filter(|other| other.name != self.kanary.name);
        let mut specs = others.flat_map(|other| other.specs.iter());
        names_itself || !specs.any(|(_, object)| queries(&object["spec"]).iter().any(same))
    }

    /// Checks that without network faults no gap between measurements is much longer than the interval.
    fn too_seldom(&self, item: &PromQlItem, measured: &[Measured]) -> Option<String> {
        let deadline = self
            .deadline
            .filter(|_| self.lag == super::FAIR && !self.is_ended_by_a_person())?;
        let most = interval(self.spec);
        let most = item
            .interval
            .and_then(|own| SignedDuration::try_from(own.0).ok())
            .map_or(most, |own| own.min(most));
        let (from, _) = self.counted();
        let from = from.max(self.asked_since(item));
        let held = |spec: &Value| spec["paused"] == true;
        let all = (from, deadline);
        let is_rough = self.evidence.rough.fair(&[all]) != [all];
        let is_odd = is_rough
            || !self.kanary.when((from, deadline), held).is_empty()
            || self.canary.whole.within(from, deadline).len() != 1
            || measured
                .iter()
                .any(|measured| measured.query.answered.duration_since(measured.query.asked) > self.lag);
        if is_odd {
            return None;
        }
        let asked = measured.iter().map(|measured| measured.query.asked);
        let asked = asked.filter(|asked| (from..deadline).contains(asked)).chain([deadline]);
        let mut last = from;
        for asked in asked {
            let pause = asked.duration_since(last);
            if pause > most + self.lag * 2 {
                return Some(format!(
                    "there was no measurement for {pause}, but the interval is {most}"
                ));
            }
            last = asked;
        }
        None
    }
}
