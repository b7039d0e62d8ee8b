//! Random walks, for models that are too large for exhaustive exploration.

use stateright::Chooser;

use crate::{
    Protocol,
    protocol::Action,
    state::{Request, State},
};

/// Selects a random action. Faults are less likely than steps, because a rollout makes no progress under faults alone. It
/// uses its own xorshift generator, so that a seed gives the same walk with every library version.
#[derive(Clone)]
pub(crate) struct Walker;

impl Chooser<Protocol> for Walker {
    type State = u64;

    fn new_state(&self, seed: u64) -> u64 {
        seed | 1
    }

    fn choose_initial_state(&self, _: &mut u64, _: &[State]) -> usize {
        0
    }

    fn choose_action(&self, numbers: &mut u64, _: &State, actions: &[Action]) -> usize {
        let first = below(numbers, actions.len());
        if is_fault(&actions[first]) && below(numbers, 4) > 0 {
            below(numbers, actions.len())
        } else {
            first
        }
    }
}

fn is_fault(action: &Action) -> bool {
    match action {
        Action::Arrives(_) | Action::Start(_) | Action::Adopt(..) => false,
        Action::Send(message) => matches!(message.request, Request::Release { .. } | Request::Seize),
        _ => true,
    }
}

fn below(numbers: &mut u64, end: usize) -> usize {
    *numbers ^= *numbers << 13;
    *numbers ^= *numbers >> 7;
    *numbers ^= *numbers << 17;
    usize::try_from((*numbers >> 11) % end as u64).unwrap()
}
