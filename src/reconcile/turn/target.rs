//! Actions on a target, with the results in memory.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kanary_core::{
    ParsedKanary,
    api::WorkloadRef,
    decision::{Action, Keep, ObjectKind},
    observation::{Likeness, Observation, Promotion, RouteFound},
};

use super::Context;
use crate::{
    cluster::error::{ApiError, Class},
    reconcile::traced::Write,
    shard::Right,
};

impl Context {
    /// Checks whether the target already has the run's template, and records it if so.
    pub(super) async fn compare(
        &self,
        kanary: &ParsedKanary,
        seen: &mut Observation,
        right: Right,
    ) -> Result<(), ApiError> {
        let Some(live) = &seen.live_target else { return Ok(()) };
        let write = Write {
            label: "dry-run",
            object: (kanary.spec.target.kind.as_str(), &kanary.spec.target.name),
            status: None,
        };
        let sent = self.writer.compare(kanary, &kanary.spec, live, right);
        let likeness = self.write(kanary, right, write, sent).await;
        match &likeness {
            // A failed dry run is reported like a failed promotion, because the run waits for its result.
            Err(error) => self.memory.failed(&kanary.key, error, &self.clock),
            Ok(_) => self.memory.answered(&kanary.key),
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

    /// Executes one action and records the result. A promotion or the creation of a target is also recorded before it is sent,
    /// because its response may be lost.
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
        if let Action::SetRoute { .. } = action {
            return self.set_route(kanary, action, right).await;
        }
        if let Action::Keep(keep) = action {
            return self.keep_object(kanary, keep, right).await;
        }
        if let Action::Adopt { .. } = action {
            return self.adopt(kanary, action, now, right).await;
        }
        if let Some(workload) = track(kanary, action) {
            return self.write_track((kanary, &workload), action, now, right).await;
        }
        if !gives_template(kanary, action) {
            let is_canary = matches!(action, Action::Create { name, .. } if *name == kanary.spec.canary.name);
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
            // A target that has back what it had before is not promoted.
            Ok(Some(_)) if takes_back(kanary, action) => self.memory.set_promotion(key, Promotion::NotYet),
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
            // The target to create already existed, or the API server reported that the write did not happen.
            Ok(None) | Err(Class::Conflict | Class::Invalid | Class::Fenced) => self.memory.set_promotion(key, former),
            // The response of a timeout may also ask for a pause: the write may have been executed.
            Err(Class::Transient | Class::Throttled(_)) => {}
        }
        done.map(drop)
    }

    /// Writes an object of a track, and remembers it as the API server returned it.
    async fn write_track(
        &self,
        (kanary, workload): (&ParsedKanary, &WorkloadRef),
        action: &Action,
        now: Timestamp,
        right: Right,
    ) -> Result<(), ApiError> {
        let done = self.writer.act(kanary, action, right).await;
        if done.is_err() && matches!(action, Action::Create { .. }) {
            self.memory.unmark_missing(&kanary.key, &workload.key());
        }
        if let Some(made) = done? {
            let is_canary = *workload == kanary.spec.canary;
            let is_as_before = matches!(action, Action::Update(update) if update.generation == made.generation);
            let at = (!is_as_before).then_some(now);
            self.memory.set_track(&kanary.key, is_canary, made, at);
        }
        Ok(())
    }

    /// Writes an object of a front end, and remembers it as the API server returned it.
    async fn keep_object(&self, kanary: &ParsedKanary, keep: &Keep, right: Right) -> Result<(), ApiError> {
        let done = self.writer.keep(&kanary.key.namespace, keep, right).await;
        match done {
            Ok(object) => {
                let now = self.clock.now();
                self.memory.kept_written(&kanary.key, keep.key(), object, now);
                Ok(())
            }
            Err(error) => {
                self.memory.forget_kept(&kanary.key);
                Err(error)
            }
        }
    }

    /// Changes a route, and remembers it as the API server returned it.
    async fn set_route(&self, kanary: &ParsedKanary, action: &Action, right: Right) -> Result<(), ApiError> {
        let Action::SetRoute {
            route, patch, clears, ..
        } = action
        else {
            return Ok(());
        };
        let done = self.writer.set_route(&kanary.key.namespace, route, patch, right).await;
        match done {
            Ok(object) => {
                let found = RouteFound::There(route.clone(), Arc::new(object));
                self.memory.route_written(&kanary.key, found, *clears, self.clock.now());
                Ok(())
            }
            Err(error) => {
                self.memory.forget_route(&kanary.key);
                Err(error)
            }
        }
    }

    /// Transfers field ownership. If the API server refuses it, the ownership stays as it is: no run depends on it.
    async fn hand_over(&self, kanary: &ParsedKanary, action: &Action, right: Right) -> Result<(), ApiError> {
        match self.writer.act(kanary, action, right).await {
            Err(error) if error.class() == Class::Invalid => {
                tracing::warn!(key = %kanary.key, error = error.message(), "kanary remains the owner of the target's fields");
                self.memory.keep_ownership(&kanary.key);
                Ok(())
            }
            done => done.map(drop),
        }
    }

    /// Adopts a pod. A failure is retried later: no run depends on it.
    async fn adopt(
        &self,
        kanary: &ParsedKanary,
        action: &Action,
        now: Timestamp,
        right: Right,
    ) -> Result<(), ApiError> {
        match self.writer.act(kanary, action, right).await {
            Err(error) if error.class() != Class::Fenced => {
                tracing::warn!(key = %kanary.key, error = error.message(), "could not adopt a pod; retrying later");
                let again = now.checked_add(ADOPT_AGAIN).ok();
                self.memory.put_off_adoption(&kanary.key, again);
                Ok(())
            }
            done => done.map(drop),
        }
    }
}

/// How soon the adoption of a pod is retried.
const ADOPT_AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// The object of a track that an action writes, if the canary exists between runs.
fn track(kanary: &ParsedKanary, action: &Action) -> Option<WorkloadRef> {
    kanary.spec.tracked.as_ref()?;
    match action {
        Action::Update(update) => Some(update.workload.clone()),
        Action::Create {
            object: ObjectKind::Workload(kind),
            name,
            ..
        } => Some(WorkloadRef::new(*kind, name.clone())),
        _ => None,
    }
}

/// Whether an action gives the target back what a run in place changed.
fn takes_back(kanary: &ParsedKanary, action: &Action) -> bool {
    let record = kanary.status.in_place.as_deref();
    matches!(action, Action::SetTemplate(change) if record.is_some_and(|record| record.undone() == change.marker))
}

/// Whether an action writes a template to the target.
fn gives_template(kanary: &ParsedKanary, action: &Action) -> bool {
    match action {
        Action::SetTemplate(_) => true,
        Action::Create {
            object: ObjectKind::Workload(_),
            name,
            ..
        } => kanary.spec.target.name == *name,
        _ => false,
    }
}
