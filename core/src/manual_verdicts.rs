//! Verdicts in the spec that count. A verdict that is left over from an earlier run was given for that run: otherwise a
//! template that changes without it, for example through a GitOps tool, would be promoted or deleted although nobody has
//! looked at it.

use super::{kanary::ParsedKanary, spec::Spec, validation::Item};
use crate::api::{KanaryStatus, ManualVerdict, ManualVerdicts, Verdicts};

impl ManualVerdicts {
    /// The verdicts in a spec.
    #[must_use]
    pub(crate) fn of(spec: &Spec) -> Self {
        let count = |word: ManualVerdict| {
            let items = spec.validation.items.iter();
            let given =
                items.filter(|item| matches!(item, Item::Manual { status: Some(status), .. } if *status == word));
            u32::try_from(given.count()).unwrap_or(u32::MAX)
        };
        Self {
            verdict: spec.verdict,
            valid: count(ManualVerdict::Valid),
            invalid: count(ManualVerdict::Invalid),
        }
    }

    /// The verdicts that are also in `others`. Manual items are counted and not identified, so that adding, removing and
    /// reordering them never turns an old verdict into a new one.
    #[must_use]
    pub(crate) fn among(&self, others: &Self) -> Self {
        Self {
            verdict: self.verdict.filter(|verdict| others.verdict == Some(*verdict)),
            valid: self.valid.min(others.valid),
            invalid: self.invalid.min(others.invalid),
        }
    }
}

/// The verdicts in the spec that do not count for the run in the status.
#[must_use]
pub(crate) fn stale(kanary: &ParsedKanary) -> ManualVerdicts {
    let verdicts = kanary.status.verdicts.as_ref();
    verdicts.map_or_else(ManualVerdicts::default, |verdicts| {
        verdicts.stale.among(&ManualVerdicts::of(&kanary.spec))
    })
}

/// The verdicts in the spec that do not count for a run that starts now: those that were already there in the previous
/// run. A status without `currentTraffic`, from an invalid spec or an older version, does not record which those are. In
/// that case every `valid` may be old; an `invalid` counts, because deleting a canary is safe.
#[must_use]
pub(crate) fn stale_in_next_run(kanary: &ParsedKanary) -> ManualVerdicts {
    let present = ManualVerdicts::of(&kanary.spec);
    let former = &kanary.status;
    let stood = former.verdicts.as_ref().map(|verdicts| verdicts.present.clone());
    let stood = stood.unwrap_or_default().among(&present);
    if former.current_traffic.is_some() {
        return stood;
    }
    ManualVerdicts {
        verdict: present
            .verdict
            .filter(|verdict| *verdict == ManualVerdict::Valid)
            .or(stood.verdict),
        valid: present.valid,
        invalid: stood.invalid,
    }
}

/// Whether a status has to be written to record the verdicts. Without that record, an old verdict could not be recognized
/// later.
pub(super) fn are_to_be_recorded(kanary: &ParsedKanary) -> bool {
    let status = &kanary.status;
    let is_edited = status.observed_generation != Some(kanary.generation);
    // A verdict that was created with the Kanary existed before any run.
    let may_be_old = status.current_hash.is_some() || kanary.generation > 1;
    is_edited
        && (status.verdicts.is_some() || may_be_old && ManualVerdicts::of(&kanary.spec) != ManualVerdicts::default())
}

/// Updates the record for the spec that a status responds to.
pub(super) fn record(status: &mut KanaryStatus, kanary: &ParsedKanary) {
    let spec = &kanary.spec;
    let now = ManualVerdicts::of(spec);
    let former = status.verdicts.take().unwrap_or_default();
    let is_of_this_run = status.current_hash.as_ref() == Some(&spec.template_hash)
        && status.retry.unwrap_or_default() == spec.retry
        || spec.template_hash.is_empty();
    let present = if spec.is_sound() || is_of_this_run {
        now.clone()
    } else {
        // A verdict set together with an invalid template belongs to that template, except for one that already took
        // effect.
        ManualVerdicts {
            invalid: now.invalid,
            verdict: now
                .verdict
                .filter(|verdict| *verdict == ManualVerdict::Invalid || former.present.verdict == now.verdict),
            ..former.present.among(&now)
        }
    };
    let stale = former.stale.among(&now);
    let verdicts = Verdicts { present, stale };
    status.verdicts = Some(verdicts).filter(|verdicts| *verdicts != Verdicts::default());
}

impl Spec {
    /// The spec without the verdicts that do not count.
    #[must_use]
    pub(crate) fn without(&self, stale: &ManualVerdicts) -> Self {
        let mut spec = self.clone();
        spec.verdict = spec.verdict.filter(|verdict| stale.verdict != Some(*verdict));
        let present = ManualVerdicts::of(self);
        for item in &mut spec.validation.items {
            if let Item::Manual { status, ignored, .. } = item {
                let counts = match status {
                    Some(ManualVerdict::Valid) => stale.valid == 0,
                    Some(ManualVerdict::Invalid) => present.invalid > stale.invalid,
                    None => true,
                };
                if !counts {
                    *ignored = status.take();
                }
            }
        }
        spec
    }
}
