//! Starts the queries that are due.

use jiff::Timestamp;
use kanary_core::{
    ParsedKanary,
    decision::Decision,
    observation::{Observation, Pod},
    validation::{Item, Window, promql::Vars},
};

use super::Context;
use crate::{
    reconcile::{
        check::{Check, when},
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
        for &index in &decision.checks {
            let Some(Item::PromQl(query)) = spec.validation.items.get(index) else {
                continue;
            };
            let run = kanary.marker(spec);
            self.memory.mark_pending(&kanary.key, &run, index);
            let vars = Vars {
                deployment: &spec.target.name,
                canary: &spec.canary.name,
                service: spec.service.as_deref().unwrap_or_default(),
                namespace: &kanary.key.namespace,
                kanary: &kanary.key.name,
                weight: &weight,
                pods: &ready,
                all_pods: &all,
            };
            let check = Check {
                key: kanary.key.clone(),
                run,
                index,
                text: query.render(&vars),
                evidence: query.render_evidence(&vars),
                query: (**query).clone(),
                pods: ready.iter().map(|&pod| pod.to_owned()).collect(),
                all_pods: all.iter().map(|&pod| pod.to_owned()).collect(),
                when: when(query, window, at),
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
