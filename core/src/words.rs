//! Which verdicts in the spec count. One that stood there in an earlier run, and still does, was given for that run: a template
//! that changes under it, as a GitOps tool changes it, would be promoted, or taken away, without anybody having looked at it.

use super::{kanary::ParsedKanary, spec::Spec, validation::Item};
use crate::api::{KanaryStatus, Verdicts, Word, Words};

impl Words {
    /// The verdicts in a spec.
    #[must_use]
    pub fn of(spec: &Spec) -> Self {
        let count = |word: Word| {
            let items = spec.validation.items.iter();
            let given =
                items.filter(|item| matches!(item, Item::Manual { status: Some(status), .. } if *status == word));
            u32::try_from(given.count()).unwrap_or(u32::MAX)
        };
        Self {
            verdict: spec.verdict,
            valid: count(Word::Valid),
            invalid: count(Word::Invalid),
        }
    }

    /// Those of them that are also among `others`. Manual items are counted and not named, so that adding, removing and
    /// reordering them never makes an old verdict a new one.
    #[must_use]
    pub fn among(&self, others: &Self) -> Self {
        Self {
            verdict: self.verdict.filter(|verdict| others.verdict == Some(*verdict)),
            valid: self.valid.min(others.valid),
            invalid: self.invalid.min(others.invalid),
        }
    }
}

/// The verdicts in the spec that do not count for the run that the status is about.
#[must_use]
pub fn stale(kanary: &ParsedKanary) -> Words {
    let verdicts = kanary.status.verdicts.as_ref();
    verdicts.map_or_else(Words::default, |verdicts| {
        verdicts.stale.among(&Words::of(&kanary.spec))
    })
}

/// The verdicts in the spec that do not count for a run that begins now: those that stood there in the former one. A status
/// without `currentTraffic`, of a spec that could not be run or of a version that recorded nothing, does not say which. Then it
/// may be every `valid`; an `invalid` counts, because to take a canary away is safe.
#[must_use]
pub fn stale_in_next_run(kanary: &ParsedKanary) -> Words {
    let present = Words::of(&kanary.spec);
    let former = &kanary.status;
    let stood = former.verdicts.as_ref().map(|verdicts| verdicts.present.clone());
    let stood = stood.unwrap_or_default().among(&present);
    if former.current_traffic.is_some() {
        return stood;
    }
    Words {
        verdict: present
            .verdict
            .filter(|verdict| *verdict == Word::Valid)
            .or(stood.verdict),
        valid: present.valid,
        invalid: stood.invalid,
    }
}

/// Whether a status is to be written for the sake of its record: one that does not know of a verdict cannot tell later that it is
/// old.
pub(super) fn are_to_be_recorded(kanary: &ParsedKanary) -> bool {
    let status = &kanary.status;
    let is_edited = status.observed_generation != Some(kanary.generation);
    // One that came with the Kanary was there before any run.
    let may_be_old = status.current_hash.is_some() || kanary.generation > 1;
    is_edited && (status.verdicts.is_some() || may_be_old && Words::of(&kanary.spec) != Words::default())
}

/// Keeps the record in step with the spec that a status answers.
pub(super) fn record(status: &mut KanaryStatus, kanary: &ParsedKanary) {
    let spec = &kanary.spec;
    let now = Words::of(spec);
    let former = status.verdicts.take().unwrap_or_default();
    let is_of_this_run = status.current_hash.as_ref() == Some(&spec.template_hash)
        && status.retry.unwrap_or_default() == spec.retry
        || spec.template_hash.is_empty();
    let present = if spec.is_sound() || is_of_this_run {
        now.clone()
    } else {
        // A verdict that comes with a template that cannot be run yet is about that template, but for one that was taken.
        Words {
            invalid: now.invalid,
            verdict: now
                .verdict
                .filter(|verdict| *verdict == Word::Invalid || former.present.verdict == now.verdict),
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
    pub fn without(&self, stale: &Words) -> Self {
        let mut spec = self.clone();
        spec.verdict = spec.verdict.filter(|verdict| stale.verdict != Some(*verdict));
        let present = Words::of(self);
        for item in &mut spec.validation.items {
            if let Item::Manual { status, ignored, .. } = item {
                let counts = match status {
                    Some(Word::Valid) => stale.valid == 0,
                    Some(Word::Invalid) => present.invalid > stale.invalid,
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
