//! Starts the queries that are due.

use jiff::Timestamp;
use kanary_core::{
    ParsedKanary,
    decision::Decision,
    observation::{Observation, Pod},
    validation::{Item, Window, metric::PodSelector, promql::Vars},
};

use super::Context;
use crate::{
    reconcile::{
        check::{Check, Question, when},
        traced::{Measuring, Place},
    },
    shard::Right,
};

impl Context {
    /// Starts the queries that are due. Each one queues its Kanary again when it completes.
    pub(super) fn ask(
        &self,
        kanary: &ParsedKanary,
        seen: &Observation,
        decision: &Decision,
        at: Timestamp,
        right: Right,
    ) {
        if decision.checks.is_empty() {
            return;
        }
        let spec = &kanary.spec;
        let status = decision.status.as_ref().unwrap_or(&kanary.status);
        let window = Window::of_step(status);
        let weight = status.traffic.as_ref().map_or(0, |traffic| traffic.weight).to_string();
        let place = Place::of(&self.traces, kanary, status, right);
        let names = |is_wanted: fn(&Pod) -> bool| -> Vec<&str> {
            let wanted = seen.pods.iter().filter(|pod| is_wanted(pod));
            wanted.map(|pod| pod.name.as_str()).collect()
        };
        let (ready, all) = (names(|pod| pod.ready), names(|pod| pod.ready || !pod.terminating));
        let vars = Vars {
            deployment: &spec.target.name,
            // In place, pods of the target are the canary.
            canary: match spec.scale.in_place() {
                Some(_) => &spec.target.name,
                None => &spec.canary.name,
            },
            service: spec.service.as_deref().unwrap_or_default(),
            namespace: &kanary.key.namespace,
            kanary: &kanary.key.name,
            weight: &weight,
            pods: &ready,
            all_pods: &all,
        };
        for &index in &decision.checks {
            let Some(item) = spec.validation.items.get(index) else {
                continue;
            };
            let Some(question) = question(item, kanary, seen, window, &vars) else {
                continue;
            };
            let run = kanary.marker(spec);
            self.memory.mark_pending(&kanary.key, &run, index);
            let check = Check {
                key: kanary.key.clone(),
                run,
                index,
                when: when(question.terms(), window, at),
                question,
                pods: ready.iter().map(|&pod| pod.to_owned()).collect(),
                all_pods: all.iter().map(|&pod| pod.to_owned()).collect(),
                canary: seen
                    .canary
                    .as_ref()
                    .map(|kanary| kanary.uid.clone())
                    .unwrap_or_default(),
                trace: place.map(|place| Measuring::begin(&self.traces, place, index, at)),
            };
            // The receiver lives as long as the workers.
            let _closed_while_stopping = self.checks.send(check);
        }
    }
}

/// What an item asks, if it is one that is measured.
fn question(
    item: &Item,
    kanary: &ParsedKanary,
    seen: &Observation,
    window: Option<Window>,
    vars: &Vars<'_>,
) -> Option<Question> {
    match item {
        Item::PromQl(query) => Some(Question::PromQl {
            query: query.clone(),
            text: query.render(vars),
            evidence: query.render_evidence(vars),
        }),
        Item::Metric(metric) => {
            // A value that is partly from before an outage of the canary proves nothing.
            let available = seen.canary.as_ref().and_then(|canary| canary.available_since);
            let started = window.map(|window| window.start);
            Some(Question::Metric {
                metric: metric.clone(),
                pods: match kanary.spec.scale.in_place() {
                    Some(_) => PodSelector::of_revision(&seen.revised.as_ref()?.revision.name),
                    None => PodSelector::of_run(kanary.key.kind, &kanary.key.name, &kanary.run(&kanary.spec)),
                },
                since: started.max(available).unwrap_or(Timestamp::MAX),
            })
        }
        Item::Manual { .. } | Item::LabelWatch { .. } | Item::Unreadable(_) => None,
    }
}
