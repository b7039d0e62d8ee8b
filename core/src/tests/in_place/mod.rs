//! Runs in place: a model of a StatefulSet and of an API server, on which decisions act until nothing is left to do.

mod cases;
mod crashes;
mod interfered;
mod set;
mod storms;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use self::set::{Set, stored, v1, version};
use super::input::{merge, t0};
use crate::{
    ParsedKanary,
    api::{Kanary, KanaryKind, KanaryStatus, names},
    decide,
    decision::{Action, Decision, Need, SetTemplate},
    hash, in_place,
    observation::{Likeness, LiveTarget, Observation, Promotion, RevisedPods},
    status::{Phase, is_true},
};

/// What happens to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is done, and answered.
    Done,
    /// The controller dies before it.
    Before,
    /// The controller dies after it.
    After,
}

/// The cluster, and a controller.
struct Place {
    set: Option<Set>,
    spec: Value,
    status: Option<Value>,
    metadata: Value,
    version: u64,
    now: Timestamp,
    gone: bool,
    /// What the controller remembers.
    promotion: Promotion,
    remembered: String,
    revised: Option<RevisedPods>,
    /// Every write.
    writes: Vec<String>,
    /// The write that is about to be counted, and what happens to it.
    fate: Option<(usize, Fate)>,
    /// A first write that nobody has heard of any more.
    late: Option<SetTemplate>,
    /// The template of the last run.
    tried: Option<Value>,
    loses_first: bool,
}

fn spec(pods: i32) -> Value {
    json!({
        "statefulSetName": "myapp",
        "template": {"spec": {"template": version(2)}},
        "scale": {"inPlace": {"replicas": pods}},
        "validation": {"validationPeriod": "10m", "items": [{"manual": {"statusAfterDeadline": "valid"}}]},
    })
}

impl Place {
    fn new(replicas: usize, pods: i32) -> Self {
        Self {
            set: Some(Set::new(replicas)),
            spec: spec(pods),
            status: None,
            metadata: json!({"name": "batman", "namespace": "shop", "uid": "uid-batman", "generation": 1}),
            version: 1,
            now: t0(),
            gone: false,
            promotion: Promotion::NotYet,
            remembered: String::new(),
            revised: None,
            writes: Vec::new(),
            fate: None,
            late: None,
            tried: None,
            loses_first: false,
        }
    }

    fn set(&self) -> &Set {
        self.set.as_ref().unwrap()
    }

    fn kanary(&self) -> ParsedKanary {
        let mut metadata = self.metadata.clone();
        metadata["resourceVersion"] = json!(self.version.to_string());
        let object = Kanary {
            metadata: serde_json::from_value(metadata).unwrap(),
            spec: self.spec.clone(),
            status: self.status.clone(),
        };
        ParsedKanary::parse(KanaryKind::Deployment, &object).unwrap()
    }

    fn stored(&self) -> KanaryStatus {
        self.kanary().status
    }

    fn phase(&self) -> Phase {
        Phase::of(&self.stored())
    }

    fn is(&self, condition: &str) -> bool {
        is_true(&self.stored(), condition)
    }

    fn edit(&mut self, change: &Value) {
        merge(&mut self.spec, change);
        self.metadata["generation"] = json!(self.metadata["generation"].as_i64().unwrap() + 1);
        self.version += 1;
    }

    fn delete(&mut self) {
        self.version += 1;
        let is_kept = self.metadata["finalizers"]
            .as_array()
            .is_some_and(|finalizers| !finalizers.is_empty());
        if is_kept {
            self.metadata["deletionTimestamp"] = json!(self.now);
        } else {
            self.gone = true;
        }
    }

    /// The controller dies, and another one takes over.
    fn crash(&mut self) {
        let has_ended = self.phase() > Phase::Running;
        self.promotion = if has_ended {
            Promotion::Unknown
        } else {
            Promotion::NotYet
        };
        self.revised = None;
    }

    fn seen(&mut self, kanary: &ParsedKanary) -> Observation {
        // What is remembered is about one run.
        let run = kanary.marker(&kanary.spec);
        if self.remembered != run {
            self.remembered = run;
            self.promotion = Promotion::NotYet;
        }
        let mut seen = Observation {
            target: self.set.as_ref().map(Set::workload),
            promotion: self.promotion.clone(),
            // As the controller does, which has no pods of a target for a run beside it.
            revised: self.revised.clone().filter(|_| kanary.spec.scale.in_place().is_some()),
            ..Observation::default()
        };
        in_place::complete(kanary, &mut seen);
        seen
    }

    fn provide(&mut self, kanary: &ParsedKanary, need: Need, seen: &mut Observation) {
        match need {
            Need::RevisedPods | Need::LiveCanary => {
                self.revised = Some(self.set().revised(self.now));
                *seen = self.seen(kanary);
                seen.confirmed = need == Need::LiveCanary;
            }
            Need::Target => seen.target_confirmed = true,
            Need::LiveKanary => seen.confirmed = true,
            Need::LiveTarget | Need::FormerTemplate => {
                let set = self.set();
                if need == Need::FormerTemplate {
                    let wanted = kanary.status.in_place.as_ref().map(|record| record.former_hash.clone());
                    let with_hash = |wanted: Option<&String>| {
                        let mut history = set.history.iter().map(|(template, _)| template);
                        history.find(|template| Some(&hash::of(template)) == wanted).cloned()
                    };
                    let former = with_hash(wanted.as_ref());
                    seen.former_template.clone_from(&former);
                    let tried = in_place::written(kanary, seen);
                    seen.tried_template = if tried.is_some() {
                        with_hash(tried)
                    } else {
                        let begun = kanary.status.in_place.as_ref().map(|record| record.begun());
                        let mut marked = set
                            .history
                            .iter()
                            .filter(|(_, marker)| marker.is_some() && *marker == begun);
                        marked.next().map(|(template, _)| template.clone())
                    };
                    seen.no_former_template = former.is_none();
                }
                seen.live_target = Some(LiveTarget {
                    uid: set.uid.clone(),
                    template: set.template.clone(),
                    template_hash: hash::of(&set.template),
                    resource_version: Some(set.version.to_string()),
                    generation: Some(set.generation),
                    annotated: true,
                    promoted_by: set.promoted_by.clone(),
                    ..LiveTarget::default()
                });
            }
            Need::SameTemplate => {
                let is_same = stored(&kanary.spec.template.pod_template()) == self.set().template;
                seen.likeness = if is_same { Likeness::Same } else { Likeness::Other };
            }
            other => panic!("a run in place reads no {other:?}"),
        }
    }

    /// One turn. Returns whether there is something to do at once, and the next time.
    fn turn(&mut self) -> (bool, Option<Timestamp>) {
        let kanary = self.kanary();
        let mut seen = self.seen(&kanary);
        let mut decision = decide(&kanary, &seen, self.now);
        for _ in 0..6 {
            let Some(need) = decision.needs else { break };
            self.provide(&kanary, need, &mut seen);
            decision = decide(&kanary, &seen, self.now);
        }
        assert_eq!(decision.needs, None, "a decision needs no more than six reads");
        let Decision {
            actions, status, wake, ..
        } = decision;
        let acts = !actions.is_empty() || status.is_some();
        for action in actions {
            if !self.sent(&format!("{action:?}"), |place| place.act(&kanary, &action)) {
                return (true, None);
            }
        }
        if let Some(status) = status {
            self.sent("status", |place| {
                if kanary.resource_version == place.version.to_string() {
                    place.status = Some(serde_json::to_value(&status).unwrap());
                    place.version += 1;
                }
            });
        }
        (acts, wake)
    }

    /// Sends a write. Returns whether the controller still lives.
    fn sent(&mut self, what: &str, write: impl FnOnce(&mut Self)) -> bool {
        self.writes.push(what.to_owned());
        let fate = self.fate.filter(|(number, _)| *number == self.writes.len());
        let fate = fate.map_or(Fate::Done, |(_, fate)| fate);
        if fate != Fate::Before {
            write(self);
        }
        if fate != Fate::Done {
            self.crash();
        }
        fate == Fate::Done
    }

    fn act(&mut self, kanary: &ParsedKanary, action: &Action) {
        match action {
            Action::SetTemplate(change) => self.set_template(kanary, change),
            Action::HoldInPlace => {
                self.metadata["finalizers"] = json!([names::IN_PLACE_FINALIZER]);
                self.version += 1;
            }
            Action::ReleaseInPlace => {
                self.metadata["finalizers"] = json!([]);
                self.version += 1;
                self.gone = kanary.deleting;
            }
            other => panic!("a run in place writes no {other:?}"),
        }
    }

    fn set_template(&mut self, kanary: &ParsedKanary, change: &SetTemplate) {
        let record = self.stored().in_place.expect("what is changed is stored first");
        let is_first = change.marker == record.begun();
        let is_kept = kanary.finalizers.iter().any(|name| name == names::IN_PLACE_FINALIZER);
        assert!(is_kept || !is_first, "the finalizer comes first");
        if is_first && self.loses_first {
            self.late = Some(change.clone());
            self.promotion = Promotion::Unknown;
            return;
        }
        if is_first {
            self.tried = Some(stored(&change.template));
        }
        if change.marker == record.undone() {
            let is_proven = self
                .tried
                .as_ref()
                .is_none_or(|tried| hash::of(tried) == record.former_hash);
            assert!(
                is_proven || self.tried != Some(stored(&change.template)) || change.partition.is_none(),
                "nothing proves the template that all pods get"
            );
        }
        if change.marker == record.run {
            assert_eq!(self.phase(), Phase::Succeeded, "the verdict is written ahead");
        }
        let now = self.now;
        if self.set.as_mut().unwrap().write(change, now) {
            let template_hash = hash::of(&self.set().template);
            self.promotion = if change.marker == record.undone() {
                Promotion::NotYet
            } else {
                Promotion::Done {
                    at: Some(now),
                    template_hash,
                }
            };
        }
    }

    /// Lets the controller act until it waits for something. Returns until when.
    fn settle(&mut self) -> Option<Timestamp> {
        for _ in 0..60 {
            if self.gone {
                return None;
            }
            let (acts, wake) = self.turn();
            if !acts {
                return wake;
            }
        }
        panic!("it never comes to rest: {:#?}", self.writes);
    }

    /// Lets time pass until nothing is left to do.
    fn end(&mut self) {
        for _ in 0..60 {
            let Some(wake) = self.settle() else { return };
            self.now = self.now.max(wake) + SignedDuration::from_millis(1);
        }
        panic!("it never ends: {:?}", self.status);
    }

    /// Lets time pass until the canary is judged.
    fn until_running(&mut self) {
        for _ in 0..20 {
            let wake = self.settle();
            if self.phase() == Phase::Running {
                return;
            }
            self.now = self.now.max(wake.expect("it waits for something")) + SignedDuration::from_millis(1);
        }
        panic!("it never runs: {:?}", self.status);
    }
}
