//! What becomes of a target is remembered beside what is done to it.

use jiff::{SignedDuration, Timestamp};
use kanary_core::{
    ParsedKanary,
    decision::{Action, ObjectKind},
    observation::{Likeness, Observation, Promotion},
};

use super::Context;
use crate::{
    cluster::error::{ApiError, Class},
    shard::Right,
};

impl Context {
    /// Asks whether the target has the template that the run gives it, and remembers that it has.
    pub(super) async fn compare(
        &self,
        kanary: &ParsedKanary,
        seen: &mut Observation,
        right: Right,
    ) -> Result<(), ApiError> {
        let Some(live) = &seen.live_target else { return Ok(()) };
        let likeness = self.writer.compare(kanary, &kanary.spec, live, right).await;
        self.count("dry-run", &likeness);
        match &likeness {
            // A dry run that fails is reported as a failed promotion is: the run waits for its answer.
            Err(error) => self.memory.failed(&kanary.key, error, self.clock.now()),
            Ok(_) => self.memory.succeeded(&kanary.key),
        }
        seen.likeness = likeness?;
        if seen.likeness == Likeness::Same {
            seen.promotion = Promotion::Done {
                at: None,
                template_hash: live.template_hash.clone(),
            };
            self.memory.set_promotion(&kanary.key, seen.promotion.clone());
        }
        Ok(())
    }

    /// Does one action, and remembers what the API server made of it. A promotion, and the creation of a target, is remembered
    /// before as well, because there may be no reply.
    pub(super) async fn act(
        &self,
        kanary: &ParsedKanary,
        action: &Action,
        now: Timestamp,
        right: Right,
    ) -> Result<(), ApiError> {
        if let Action::HandOver { .. } = action {
            return self.hand_over(kanary, action, right).await;
        }
        if let Action::Adopt { .. } = action {
            return self.adopt(kanary, action, now, right).await;
        }
        if !gives_template(kanary, action) {
            let is_canary = matches!(action, Action::Create { name, .. } if *name == kanary.spec.canary);
            let created = self.writer.act(kanary, action, right).await;
            if let (Action::Create { object, name, .. }, Err(_)) = (action, &created) {
                let object = format!("{}/{name}", object.as_str());
                self.memory.unmark_missing(&kanary.key, &object);
            }
            if let Some(created) = created?.filter(|_| is_canary) {
                self.memory.set_created(&kanary.key, created);
            }
            return Ok(());
        }
        let key = &kanary.key;
        let former = self.memory.begin_promotion(key);
        let done = self.writer.act(kanary, action, right).await;
        match done.as_ref().map_err(ApiError::class) {
            Ok(Some(made)) => {
                let template_hash = made.template_hash.clone();
                self.memory.set_promotion(
                    key,
                    Promotion::Done {
                        at: Some(now),
                        template_hash,
                    },
                );
            }
            // The target that was to be created was there already, or the API server says that it did not happen.
            Ok(None) | Err(Class::Conflict | Class::Invalid | Class::Fenced) => self.memory.set_promotion(key, former),
            // A timeout may ask for a pause as well: the write may have been done all the same.
            Err(Class::Transient | Class::Throttled(_)) => {}
        }
        done.map(drop)
    }

    /// Hands ownership over. What the API server refuses to have changed stays as it is: no run depends on it.
    async fn hand_over(&self, kanary: &ParsedKanary, action: &Action, right: Right) -> Result<(), ApiError> {
        match self.writer.act(kanary, action, right).await {
            Err(error) if error.class() == Class::Invalid => {
                tracing::warn!(key = %kanary.key, error = error.message(), "the target's fields stay owned by kanary");
                self.memory.keep_ownership(&kanary.key);
                Ok(())
            }
            done => done.map(drop),
        }
    }

    /// Makes a pod the Kanary's own. Where that fails it is tried again later: no run depends on it.
    async fn adopt(
        &self,
        kanary: &ParsedKanary,
        action: &Action,
        now: Timestamp,
        right: Right,
    ) -> Result<(), ApiError> {
        match self.writer.act(kanary, action, right).await {
            Err(error) if error.class() != Class::Fenced => {
                tracing::warn!(key = %kanary.key, error = error.message(), "a released pod will outlive its Kanary");
                let again = now.checked_add(ADOPT_AGAIN).ok();
                self.memory.put_off_adoption(&kanary.key, again);
                Ok(())
            }
            done => done.map(drop),
        }
    }
}

/// How soon it is tried again to make a pod the Kanary's own.
const ADOPT_AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// Whether an action gives the target a template.
fn gives_template(kanary: &ParsedKanary, action: &Action) -> bool {
    match action {
        Action::SetTemplate(_) => true,
        Action::Create {
            object: ObjectKind::Deployment,
            name,
            ..
        } => kanary.spec.target == *name,
        _ => false,
    }
}
