//! No shard stays without an owner, and no rollout without an end, while a healthy replica lives.
//!
//! Stateright's `eventually` says nothing about graphs with cycles, and here are many: sessions are renewed for ever,
//! and a shard may be handed to and fro for ever. So the question is asked of every state by itself: from here on the
//! faults cease (requests arrive, answers are heard, who is dead stays dead), and the replicas take their steps. Then,
//! within a fixed number of steps, every shard is owned, and its rollout has come to its end. This is more than
//! "an owner can be reached", as the steps are the ones that replicas prefer by themselves, and says what is meant: no
//! state that faults can lead to is one that calm does not mend.

use stateright::{Model, Property};

use crate::{
    Limits, Protocol,
    protocol::Action,
    state::{Request, Role, State},
};

pub(crate) const MENDED: &str = "calm mends every state";

/// The most steps that any state needs, with room.
const STEPS: usize = 64;

pub(crate) fn property() -> Property<Protocol> {
    Property::always(MENDED, |model: &Protocol, state: &State| {
        // What is bounded on the way to a state is not on the way from it.
        let limits = Limits {
            under_way: usize::MAX,
            late: usize::MAX,
            ..model.limits
        };
        mended(
            &Protocol {
                limits,
                ..model.clone()
            },
            state.clone(),
        )
    })
}

fn mended(model: &Protocol, mut state: State) -> bool {
    if state.replicas.iter().all(|r| !r.up) {
        return true;
    }
    for _ in 0..STEPS {
        if (0..model.shards).all(|shard| settled(&state, shard)) {
            return true;
        }
        let mut actions = vec![];
        model.actions(&state, &mut actions);
        let Some(next) = actions
            .into_iter()
            .filter_map(|a| Some((preference(&state, &a)?, a)))
            .min_by_key(|a| a.0)
        else {
            return false;
        };
        state = model.next_state(&state, next.1).unwrap();
    }
    false
}

fn settled(state: &State, shard: usize) -> bool {
    let owned = state.shards[shard].holder.is_some_and(|(replica, boot)| {
        let owner = &state.replicas[replica];
        owner.up && owner.boot == boot && owner.fence && matches!(owner.roles[shard], Role::Owner(_))
    });
    owned && state.shards[shard].finished
}

/// What happens first when there are no faults, or `None` for what only a fault, or no need, brings about.
fn preference(state: &State, action: &Action) -> Option<u8> {
    match action {
        Action::Arrives(_) => Some(0),
        Action::ArrivesUnheard(message) if !message.awaited => Some(1),
        Action::Adopt(..) => Some(2),
        Action::Send(message) => {
            let sender = &state.replicas[message.of];
            match message.request {
                Request::Renew => (!sender.fence).then_some(3),
                Request::Open => Some(3),
                Request::Take { .. } | Request::Verdict { .. } | Request::Promote { .. } | Request::Finish { .. } => {
                    Some(4)
                }
                Request::Release { shard } => matches!(sender.roles[shard], Role::Draining(_)).then_some(4),
                Request::Seize => (!sender.up).then_some(5),
            }
        }
        _ => None,
    }
}
