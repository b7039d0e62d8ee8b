//! Checks of volume claims: those of a target belong to its user, and those of a canary go with it and are never handed on.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kanary_core::api::names::{IS_KANARY, KANARY_NAME};
use kanary_sim::cluster::Event;
use serde_json::Value;

use super::{Checker, Invariant, is_ours, last::named};

/// The kinds of workloads whose pods have claims of their own.
const HAS_CLAIMS: [&str; 1] = ["statefulsets.apps"];

/// The claims that exist, and the workloads that they are for.
#[derive(Default)]
pub(super) struct Claims {
    there: BTreeMap<String, Claim>,
    /// The Kanary of each canary, and none for another workload, by name. A later one may have the same name.
    workloads: BTreeMap<String, Option<String>>,
}

struct Claim {
    created: Timestamp,
    /// The Kanary whose canary it was created for.
    kanary: Option<String>,
}

/// The workload whose pods a claim is for: `web` for `data-web-0`. `None` if it is not named like one.
fn workload(claim: &str) -> Option<&str> {
    let (_, pod) = claim.split_once('-')?;
    let (workload, ordinal) = pod.rsplit_once('-')?;
    ordinal.parse::<u32>().is_ok().then_some(workload)
}

impl Claims {
    /// Records whose a workload is.
    pub(super) fn note(&mut self, event: &Event) {
        let Some(new) = event
            .change
            .new
            .as_ref()
            .filter(|_| HAS_CLAIMS.contains(&&*event.resource))
        else {
            return;
        };
        let labels = &new.meta.labels;
        let kanary = labels.get(KANARY_NAME).filter(|_| labels.contains_key(IS_KANARY));
        self.workloads.insert(new.meta.name.clone(), kanary.cloned());
    }
}

impl Checker {
    pub(super) fn look_at_claim(&mut self, event: &Event) {
        let change = &event.change;
        let Some(object) = change.new.as_ref().or(change.last.as_ref()) else {
            return;
        };
        let name = object.meta.name.clone();
        let claims = &mut self.claims;
        let of = workload(&name)
            .and_then(|workload| claims.workloads.get(workload))
            .cloned();
        let claim = claims.there.entry(name.clone()).or_insert_with(|| Claim {
            created: event.at,
            kanary: of.flatten(),
        });
        let is_kept = claim.kanary.is_none() && event.actor.starts_with("system:");
        if change.new.is_none() {
            claims.there.remove(&name);
        }
        let goes = change.new.as_ref().is_none_or(|new| new.meta.deleting);
        let mut wrong = |what: String| self.violated(Invariant::Trespass, event.at, &name, &what);
        if is_ours(event) {
            wrong(format!("the controller wrote the volume claim {name}"));
        } else if is_kept && goes {
            wrong(format!("the volume claim {name} of a target goes"));
        }
    }

    /// Checks that no claim exists under the name of one of a new canary: its pod would get the data of an earlier one. A claim that
    /// was created after the request was sent belongs to a canary that another request created.
    pub(super) fn check_volumes(&mut self, event: &Event, name: &str, canary: &Value) {
        let (workload_name, sent) = (named(canary, "name"), self.write(event, name).sent);
        let mut there = self.claims.there.iter();
        let left = there.find(|(claim, is)| workload(claim) == Some(&workload_name) && is.created < sent);
        let has_claims = canary["spec"]["volumeClaimTemplates"].is_array();
        if let Some((claim, _)) = left.filter(|_| has_claims) {
            let what = format!("a canary was created that gets the data in {claim}");
            self.violated(Invariant::Template, event.at, name, &what);
        }
    }

    /// Claims of canaries whose runs have ended, by the name of their Kanary.
    pub(super) fn left_claims(&self) -> Vec<(String, String)> {
        let of_canaries = self.claims.there.iter();
        let of_canaries = of_canaries.filter_map(|(claim, is)| Some((claim, is.kanary.as_ref()?)));
        of_canaries
            .filter(|(_, kanary)| self.is_over(kanary) && !self.retains(kanary))
            .map(|(claim, kanary)| (kanary.clone(), format!("volume claim {claim} is left")))
            .collect()
    }
}
