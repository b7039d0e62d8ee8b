//! A model of a StatefulSet.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::input::t0;
use crate::{
    decision::SetTemplate,
    hash,
    labels::{Labels, Selector},
    observation::{Pod, RevisedPods, SelectorView, SetRevision, SetView, Workload},
};

/// The template that the target has at first.
pub(super) fn v1() -> Value {
    json!({"metadata": {"labels": {"app": "myapp"}}, "spec": {"containers": [{"name": "app", "image": "app:v1"}]}})
}

pub(super) fn version(number: u32) -> Value {
    let mut template = v1();
    template["spec"]["containers"][0]["image"] = json!(format!("app:v{number}"));
    template
}

/// A template as the API server stores it.
pub(super) fn stored(template: &Value) -> Value {
    let mut template = template.clone();
    template["spec"]["restartPolicy"] = json!("Always");
    template
}

/// A StatefulSet, whose controller replaces pods at once.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) uid: String,
    pub(super) generation: i64,
    pub(super) version: u64,
    pub(super) template: Value,
    pub(super) partition: i32,
    /// The ordinal of the first pod.
    pub(super) start: usize,
    pub(super) on_delete: bool,
    pub(super) forgets: bool,
    /// Its controller has not seen its newest spec.
    pub(super) lags: bool,
    pub(super) promoted_by: Option<String>,
    /// The template of each pod, and when it became ready.
    pub(super) pods: Vec<(Value, Timestamp)>,
    /// Each template that it had, with the annotation that it had then.
    pub(super) history: Vec<(Value, Option<String>)>,
    /// Labels that somebody gave its pods.
    pub(super) labels: Labels,
}

impl Set {
    pub(super) fn new(replicas: usize) -> Self {
        let template = stored(&v1());
        Self {
            uid: "uid-set".to_owned(),
            generation: 1,
            version: 1,
            partition: 0,
            start: 0,
            on_delete: false,
            forgets: false,
            lags: false,
            promoted_by: None,
            pods: vec![(template.clone(), t0() - SignedDuration::from_hours(1)); replicas],
            history: vec![(template.clone(), None)],
            labels: Labels::default(),
            template,
        }
    }

    /// Somebody changes the spec.
    pub(super) fn edit(&mut self, now: Timestamp, change: impl FnOnce(&mut Self)) {
        change(self);
        self.generation += 1;
        self.version += 1;
        if !self.history.iter().any(|(template, _)| *template == self.template) {
            self.history.push((self.template.clone(), self.promoted_by.clone()));
        }
        let first = usize::try_from(self.partition).unwrap().min(self.pods.len());
        for pod in &mut self.pods[first..] {
            if pod.0 != self.template {
                *pod = (self.template.clone(), now);
            }
        }
    }

    pub(super) fn scale(&mut self, now: Timestamp, replicas: usize) {
        self.edit(now, |set| {
            let (former, partition) = (set.pods[0].0.clone(), usize::try_from(set.partition).unwrap());
            set.pods.truncate(replicas);
            for ordinal in set.pods.len()..replicas {
                let template = if ordinal < partition { &former } else { &set.template };
                set.pods.push((template.clone(), now));
            }
        });
    }

    /// Whether Kubernetes calls its template the current one.
    pub(super) fn is_at_rest(&self) -> bool {
        self.updated() == self.pods.len()
    }

    pub(super) fn updated(&self) -> usize {
        self.pods
            .iter()
            .filter(|(template, _)| *template == self.template)
            .count()
    }

    /// Images of the pods.
    pub(super) fn images(&self) -> Vec<&str> {
        let images = self
            .pods
            .iter()
            .map(|(template, _)| template["spec"]["containers"][0]["image"].as_str());
        images.map(Option::unwrap).collect()
    }

    pub(super) fn revision(&self) -> SetRevision {
        let count = |number: usize| i32::try_from(number).unwrap();
        let all = count(self.pods.len());
        SetRevision {
            name: hash::of(&self.template).into(),
            pods: [all, all, all, count(self.updated())],
        }
    }

    pub(super) fn workload(&self) -> Workload {
        let selected = Labels::from([("app".to_owned(), "myapp".to_owned())]);
        let selector = Selector::parse(crate::api::LabelMatch::Labels(selected.clone())).unwrap();
        Workload {
            uid: self.uid.clone(),
            generation: self.generation,
            created: t0() - SignedDuration::from_hours(2),
            pod_labels: selected,
            replicas: i32::try_from(self.pods.len()).unwrap(),
            selector: Some(SelectorView {
                keys: vec!["app".to_owned()],
                shown: "app=myapp".to_owned(),
                selector,
            }),
            template_hash: hash::of(&self.template),
            promoted_by: self.promoted_by.clone(),
            rolled_out: self.updated() == self.pods.len(),
            set: Some(Box::new(SetView {
                on_delete: self.on_delete,
                forgets: self.forgets,
                partition: self.partition,
                at_rest: self.is_at_rest(),
                start: i32::try_from(self.start).unwrap(),
                revision: (!self.lags).then(|| self.revision()),
                ..SetView::default()
            })),
            ..Workload::default()
        }
    }

    pub(super) fn revised(&self, now: Timestamp) -> RevisedPods {
        let pods = self
            .pods
            .iter()
            .enumerate()
            .filter(|(_, (template, _))| *template == self.template);
        let pods = pods.map(|(ordinal, (_, since))| Pod {
            name: format!("myapp-{}", self.start + ordinal),
            ready: true,
            ready_second: u32::try_from(since.as_second()).unwrap().try_into().ok(),
            labels: [("app".to_owned(), "myapp".to_owned())]
                .into_iter()
                .chain(self.labels.clone())
                .collect(),
            ..Pod::default()
        });
        RevisedPods {
            revision: self.revision(),
            at: now,
            pods: pods.collect(),
        }
    }

    /// What the API server does with the write.
    pub(super) fn write(&mut self, change: &SetTemplate, now: Timestamp) -> bool {
        let is_current = change.uid == self.uid && change.generation == Some(self.generation);
        if !is_current
            || change
                .version
                .as_ref()
                .is_some_and(|version| *version != self.version.to_string())
        {
            return false;
        }
        let (former, partition) = (self.template.clone(), change.partition.unwrap_or(self.partition));
        let template = stored(&change.template);
        self.promoted_by = Some(change.marker.clone());
        if template == former && partition == self.partition {
            self.version += 1;
        } else {
            self.edit(now, |set| (set.template, set.partition) = (template, partition));
        }
        true
    }
}
