//! Liveness: while a healthy replica exists, every shard gets an owner and every rollout ends.
//!
//! Stateright's `eventually` does not support graphs with cycles, and this one has many: sessions are renewed and shards
//! handed over without end. Instead, the property is checked for each state separately: from this state on there are no
//! more faults (requests arrive, responses are received, dead replicas stay dead), and the replicas take their preferred
//! steps. Within a fixed number of steps every shard must have an owner and its rollout must have ended. This is stronger
//! than "a state with an owner is reachable": the protocol recovers from every state that faults can lead to.

use stateright::{Model, Property};

use crate::{
    Limits, Protocol,
    protocol::Action,
    state::{Request, Role, State},
};

pub(crate) const MENDED: &str = "every state recovers without faults";

/// Upper bound for the number of steps from any state, with a margin.
const STEPS: usize = 64;

pub(crate) fn property() -> Property<Protocol> {
    Property::always(MENDED, |model: &Protocol, state: &State| {
        // The limits on the paths to a state do not apply to the paths from it.
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

/// Order of actions without faults. `None` for actions that are faults or that a replica takes only when needed.
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
