//! The API server: execution of a request, and the sender's reaction to the response.

use crate::{
    Rules,
    state::{Message, Object, Request, Role, State},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    /// 409 for a resourceVersion, 422 for the `test` of a JSON Patch: the object has changed since it was read.
    Conflict,
    /// 422: a replica with a higher epoch has written the status.
    Deposed,
}

impl Rules {
    /// Whether the API server checks the precondition of a request (resourceVersion, template) for this object.
    pub(crate) fn compares(&self, object: Object) -> bool {
        match object {
            Object::Session(_) | Object::Lease(_) => self.lease_versions,
            Object::Kanary(_) => self.status_versions,
            Object::Target(_) => self.template_tested,
        }
    }

    /// Executes a request, which has been removed from `state.messages`.
    pub(crate) fn execute(&self, state: &mut State, message: &Message) -> Answer {
        if !message.fresh {
            return Answer::Conflict;
        }
        if let Some((shard, epoch)) = message.effect() {
            let status = !matches!(message.request, Request::Promote { .. });
            if self.status_epochs && status && epoch < state.shards[shard].status_epoch {
                return Answer::Deposed;
            }
            let shard = &mut state.shards[shard];
            state.late_effect |= epoch < shard.effective;
            shard.effective = shard.effective.max(epoch);
            if status {
                state.late_status |= epoch < shard.status_epoch;
                shard.status_epoch = epoch;
            }
        }
        let session = (message.of, message.boot);
        match message.request {
            Request::Open | Request::Renew => state.sessions[message.of] = Some(message.boot),
            Request::Seize => {
                state.sessions[message.of] = None;
                state.story.seized = true;
            }
            Request::Take { shard, epoch } => {
                let shard = &mut state.shards[shard];
                state.epoch_twice |= epoch <= shard.granted && shard.holder != Some(session);
                state.story.handed_over |= shard.granted > 0;
                shard.granted = shard.granted.max(epoch);
                shard.epoch = epoch;
                shard.holder = Some(session);
            }
            Request::Release { shard } => state.shards[shard].holder = None,
            Request::Verdict { shard, .. } => {
                let verdicts = &mut state.shards[shard].verdicts;
                *verdicts = (*verdicts + 1).min(2);
            }
            Request::Promote { shard, epoch } => {
                let shard = &mut state.shards[shard];
                state.story.promoted_for_another |= epoch > shard.status_epoch && shard.verdicts > 0;
                shard.promotions = (shard.promotions + 1).min(2);
            }
            Request::Finish { shard, .. } => state.shards[shard].finished = true,
        }
        let object = message.object();
        if self.compares(object) {
            state
                .messages
                .iter_mut()
                .filter(|m| m.object() == object)
                .for_each(|m| m.fresh = false);
        }
        Answer::Done
    }

    /// The waiting sender receives the response.
    pub(crate) fn hear(state: &mut State, message: &Message, answer: Answer) {
        let replica = &mut state.replicas[message.of];
        match (message.request, answer) {
            (Request::Open | Request::Renew, Answer::Done) => {
                replica.session = true;
                replica.fence = true;
            }
            (Request::Renew, _) => end_session(state, message.of, true),
            (Request::Take { shard, epoch }, Answer::Done) => replica.roles[shard] = Role::Owner(epoch),
            (Request::Release { shard }, _) => replica.roles[shard] = Role::Stranger,
            (_, Answer::Deposed) => {
                if let Some(shard) = message.shard() {
                    replica.roles[shard] = Role::Stranger;
                }
            }
            // It reads the object before its next step, as always in this model.
            _ => {}
        }
    }
}

/// A replica was deposed or killed: it loses its state and receives no more responses, and its next session is a new one.
pub(crate) fn end_session(state: &mut State, replica: usize, up: bool) {
    let boot = state.replicas[replica].boot + 1;
    state.replicas[replica] = crate::state::Replica {
        up,
        boot,
        ..Default::default()
    };
    state
        .messages
        .iter_mut()
        .filter(|m| m.of == replica)
        .for_each(|m| m.awaited = false);
}
