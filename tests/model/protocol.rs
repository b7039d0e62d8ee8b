//! The steps of the replicas, the faults, and the arrival of requests, in any order.

use stateright::{Model, Property};

use crate::{
    Protocol, Rules,
    api::{self, end_session},
    calm, properties,
    state::{Message, Object, Replica, Request, Role, State, Story},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Now + call timeout > fence. Requests that were sent before have timed out.
    FenceEnds(usize),
    Kill(usize),
    Start(usize),
    /// A replica reads, decides, checks and sends a request in one step. The request is then in flight.
    Send(Message),
    /// The Lease names the replica's own session, so an earlier take was executed.
    Adopt(usize, usize),
    /// A request is executed and its response received.
    Arrives(Message),
    /// A request is executed. Its sender no longer waits, or the response is lost.
    ArrivesUnheard(Message),
    /// The sender stops waiting. The request is still in flight.
    TimesOut(Message),
    Lost(Message),
    /// Mutants only: reading the own session Lease counts as a renewal.
    TrustRead(usize),
    /// Mutants only: the owner uses a shard again after it sent a release that was not answered.
    Resume(usize, usize),
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = State::default();
        for replica in &mut state.replicas[..self.replicas] {
            *replica = Replica {
                up: true,
                ..Replica::default()
            };
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for replica in 0..self.replicas {
            self.session_actions(state, replica, actions);
            if state.replicas[replica].session {
                (0..self.shards).for_each(|shard| self.shard_actions(state, replica, shard, actions));
            }
        }
        if state.messages.len() >= self.limits.under_way {
            actions.retain(|a| !matches!(a, Action::Send(_)));
        }
        for message in &state.messages {
            actions.push(Action::Lost(*message));
            actions.push(Action::ArrivesUnheard(*message));
            if message.awaited {
                actions.push(Action::Arrives(*message));
                actions.push(Action::TimesOut(*message));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::FenceEnds(replica) => {
                state.replicas[replica].fence = false;
                if self.rules.fence_checked {
                    state
                        .messages
                        .iter_mut()
                        .filter(|m| m.of == replica && m.shard().is_some())
                        .for_each(|m| {
                            m.awaited = false;
                        });
                }
            }
            Action::Kill(replica) => end_session(&mut state, replica, false),
            Action::Start(replica) => state.replicas[replica].up = true,
            Action::Send(message) => {
                if let Request::Release { shard } = message.request
                    && let Role::Owner(epoch) = state.replicas[message.of].roles[shard]
                {
                    state.replicas[message.of].roles[shard] = Role::Draining(epoch);
                }
                state.messages.push(message);
            }
            Action::Adopt(replica, shard) | Action::Resume(replica, shard) => {
                state.replicas[replica].roles[shard] = Role::Owner(state.shards[shard].epoch);
            }
            Action::Arrives(message) => {
                remove(&mut state, &message);
                let answer = self.rules.execute(&mut state, &message);
                self.tell(&mut state, &message, answer);
                Rules::hear(&mut state, &message, answer);
            }
            Action::ArrivesUnheard(message) => {
                remove(&mut state, &message);
                let answer = self.rules.execute(&mut state, &message);
                self.tell(&mut state, &message, answer);
            }
            Action::TimesOut(message) => {
                remove(&mut state, &message);
                state.messages.push(Message {
                    awaited: false,
                    ..message
                });
            }
            Action::Lost(message) => remove(&mut state, &message),
            Action::TrustRead(replica) => state.replicas[replica].fence = true,
        }
        self.reduce(&mut state);
        state.steps += u32::from(self.counted);
        let late = state.messages.iter().filter(|m| !m.awaited).count();
        (late <= self.limits.late).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = properties::safety();
        if self.story {
            properties.extend(properties::story());
        }
        if self.calm {
            properties.push(calm::property());
        }
        properties
    }
}

fn remove(state: &mut State, message: &Message) {
    let at = state.messages.iter().position(|m| m == message).unwrap();
    state.messages.remove(at);
}

impl Protocol {
    fn session_actions(&self, state: &State, replica: usize, actions: &mut Vec<Action>) {
        let Replica {
            up,
            boot,
            session,
            fence,
            ..
        } = state.replicas[replica];
        let message = |request, fresh: bool, awaited| Message {
            of: replica,
            boot,
            awaited,
            fresh: fresh || !self.rules.compares(Object::Session(replica)),
            request,
        };
        let named = state.sessions[replica] == Some(boot);
        if up && !state.awaits(replica, None) {
            if session || named {
                actions.push(Action::Send(message(Request::Renew, named, true)));
            } else {
                actions.push(Action::Send(message(Request::Open, true, true)));
            }
            if session && named && !fence && !self.rules.fence_from_renewal {
                actions.push(Action::TrustRead(replica));
            }
        }
        if up && self.limits.kills {
            actions.push(Action::Kill(replica));
        }
        if !up {
            actions.push(Action::Start(replica));
        }
        if fence {
            actions.push(Action::FenceEnds(replica));
        }
        // The observers' TTL exceeds the fence of the renewal that they saw.
        let expires = !fence || !self.rules.monotonic_expiry;
        let observed = (0..self.replicas).any(|other| other != replica && state.replicas[other].up);
        if let Some(boot) = state.sessions[replica].filter(|_| expires && observed) {
            let seize = Message {
                boot,
                ..message(Request::Seize, true, false)
            };
            if !state.messages.contains(&seize) {
                actions.push(Action::Send(seize));
            }
        }
    }

    fn shard_actions(&self, state: &State, replica: usize, shard: usize, actions: &mut Vec<Action>) {
        let Replica { boot, fence, roles, .. } = state.replicas[replica];
        let lease = &state.shards[shard];
        let mine = lease.holder == Some(state.own(replica));
        let idle = !state.awaits(replica, Some(shard));
        let may_write = fence || !self.rules.fence_checked;
        let mut send = |request, fresh: bool| {
            let message = Message {
                of: replica,
                boot,
                awaited: true,
                fresh: true,
                request,
            };
            let fresh = fresh || !self.rules.compares(message.object());
            actions.push(Action::Send(Message { fresh, ..message }));
        };
        match roles[shard] {
            Role::Stranger if idle && may_write && !mine && !lease.holder.is_some_and(|h| state.live(h)) => {
                let epoch = lease.epoch + u8::from(self.rules.epoch_grows);
                send(Request::Take { shard, epoch }, true);
            }
            Role::Stranger if idle && mine && self.rules.adopts => actions.push(Action::Adopt(replica, shard)),
            Role::Owner(epoch) => {
                if idle && may_write {
                    self.effects(state, shard, epoch, |request| send(request, true));
                }
                let drained = idle || !self.rules.drains;
                if drained && may_write && self.limits.releases {
                    send(Request::Release { shard }, mine);
                }
            }
            Role::Draining(_) if idle => {
                if may_write {
                    send(Request::Release { shard }, mine);
                }
                if mine && !self.rules.release_settled {
                    actions.push(Action::Resume(replica, shard));
                }
            }
            _ => {}
        }
    }

    /// The owner's next effect after reading the shard's objects: the verdict, the promotion, or the end.
    fn effects(&self, state: &State, shard: usize, epoch: u8, mut send: impl FnMut(Request)) {
        let read = &state.shards[shard];
        if read.verdicts == 0 {
            send(Request::Verdict { shard, epoch });
        }
        if read.promotions == 0 && (read.verdicts > 0 || !self.rules.verdict_first) {
            send(Request::Promote { shard, epoch });
        }
        if read.promotions > 0 && !read.finished {
            send(Request::Finish { shard, epoch });
        }
    }

    /// Records an event for the reachability properties.
    fn tell(&self, state: &mut State, message: &Message, answer: api::Answer) {
        if let Some((shard, epoch)) = message.effect() {
            let deposed = epoch < state.shards[shard].epoch;
            state.story.late_write_refused |= deposed && answer != api::Answer::Done;
        }
        if !self.story {
            state.story = Story::default();
        }
    }

    /// Maps states that no step and no property can distinguish to one representative.
    fn reduce(&self, state: &mut State) {
        if !self.story {
            // It will be refused, and its sender does not learn of it or only reads again.
            let concludes = |m: &Message| matches!(m.request, Request::Renew | Request::Release { .. });
            state.messages.retain(|m| m.fresh || m.awaited && concludes(m));
        }
        if self.rules.lease_versions {
            // A dead holder is equivalent to none.
            for shard in 0..self.shards {
                state.shards[shard].holder = state.shards[shard].holder.filter(|holder| state.live(*holder));
            }
        }
        state.renumber_boots();
        if !self.story {
            state.forget_epochs();
        }
        state.renumber_epochs();
        if self.symmetric {
            state.reorder(self.replicas, self.shards);
        }
        state.messages.sort_unstable();
        state.messages.dedup();
    }
}
