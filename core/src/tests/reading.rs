//! Answers of the model cluster to reads that a decision requests.

use serde_json::Value;

use super::{input::template, model::Model};
use crate::{
    decide,
    decision::{Decision, Need},
    hash,
    observation::{Claims, Endpoints, Likeness, LiveTarget, NodesFound, Promotion, RouteFound, RouteSeen},
};

impl Model {
    /// Decides, performs the requested reads, and decides again.
    pub(super) fn decision(&mut self) -> Decision {
        self.seen.live_target = None;
        self.seen.route = None;
        self.seen.former_template = None;
        self.seen.target_confirmed = false;
        self.seen.likeness = Likeness::Unasked;
        let forget = self.seen.target.is_some() || self.kanary.spec.paused;
        self.seen.target_missing_since = self.seen.target_missing_since.filter(|_| !forget);
        let mut decision = decide(&self.kanary, &self.seen, self.now);
        for _ in 0..6 {
            let Some(need) = decision.needs else { break };
            self.provide(need);
            decision = decide(&self.kanary, &self.seen, self.now);
        }
        (self.seen.confirmed, self.seen.target_confirmed) = (false, false);
        decision
    }

    /// Performs the read that a decision requested.
    fn provide(&mut self, need: Need) {
        let target = self.seen.target.as_ref();
        match need {
            Need::LiveCanary | Need::LiveKanary => self.seen.confirmed = true,
            Need::Target => self.seen.target_confirmed = true,
            Need::Route => {
                let seen = RouteSeen::next(None, RouteFound::Disabled, self.now);
                self.seen.route = Some(RouteSeen { live: true, ..seen });
            }
            Need::Endpoints => self.seen.endpoints = Some(Endpoints::next(None, (0, None), self.now)),
            Need::LivePods => self.seen.pods_confirmed = true,
            Need::Claims => self.seen.claims = Some(Claims::default()),
            Need::Kept => unreachable!("only front ends keep objects"),
            Need::Nodes => self.seen.nodes = Some(NodesFound::Found(Vec::new())),
            Need::RevisedPods => unreachable!("only a run in place asks for these pods"),
            Need::MissingTarget => {
                self.seen.target_missing_since.get_or_insert(self.now);
                self.seen.confirmed = target.is_none();
            }
            Need::SameTemplate => {
                let given = called(&self.kanary.spec.template.pod_template());
                let same = target.filter(|target| target.template_hash == given);
                self.seen.likeness = same.map_or(Likeness::Other, |_| Likeness::Same);
                if let Some(target) = same {
                    self.seen.promotion = Promotion::Done {
                        at: None,
                        template_hash: target.template_hash.clone(),
                    };
                }
            }
            Need::LiveTarget | Need::FormerTemplate => self.read_target(need),
        }
    }

    fn read_target(&mut self, need: Need) {
        let Some(target) = &self.seen.target else { return };
        self.seen.live_target = Some(LiveTarget {
            generation: None,
            resource_version: None,
            strategy_is_bare: false,
            created: target.created,
            created_by: target.created_by.clone(),
            uid: target.uid.clone(),
            template: template(&target.template_hash),
            template_hash: target.template_hash.clone(),
            annotated: true,
            promoted_by: target.promoted_by.clone(),
            was_promoted: false,
        });
        if need == Need::FormerTemplate {
            self.seen.former_template = self.kanary.status.target_hash.as_deref().map(template);
            self.seen.no_former_template = self.seen.former_template.is_none();
        }
    }
}

/// The model's hash of a template.
pub(super) fn called(template: &Value) -> String {
    let name = template["called"].as_str();
    name.map_or_else(|| hash::of(template), str::to_owned)
}
