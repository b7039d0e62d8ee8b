//! Clusters in which other clients may do anything at any time: users, GitOps tools, administrators with policies and
//! quotas, and Prometheus servers that are healthy, failing, slow, incomplete or wrong in turn. The result of a run is
//! not predictable, so only the invariants are checked.

mod admins;
mod edits;
mod gitops;
mod hand;
mod metrics;
mod schema;
mod users;

pub(crate) use self::admins::CHECKED;
use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::Instant};

use crate::{
    case::{Case, Maker},
    checker::Shared,
    kinds,
    world::World,
};

/// The end of all interference.
const OVER: Duration = Duration::from_secs(170);

/// The part of a scenario besides replicas and network faults.
#[derive(Clone)]
pub(crate) struct Hostility {
    rng: fastrand::Rng,
    /// Whether a policy stays until the end, so that no final state is predictable.
    pub(crate) for_good: bool,
}

impl Hostility {
    pub(crate) fn of(rng: &mut fastrand::Rng) -> Self {
        Self {
            for_good: rng.u8(..12) == 0,
            rng: rng.fork(),
        }
    }
}

/// The Kanaries of a seed: unpredictable ones, of which two may share a target, and one that must succeed after the
/// interference ends unless a policy stays.
pub(crate) fn cases(rng: &mut fastrand::Rng, hostility: &Hostility) -> Vec<Case> {
    let number = rng.usize(3..=7);
    let mut cases: Vec<_> = (0..number)
        .map(|index| {
            let shares = index > 0 && rng.u8(..6) == 0;
            let target = if shares { index - 1 } else { index };
            edits::case(rng, index, format!("app{target:02}"))
        })
        .collect();
    let mut make = Maker {
        rng,
        name: "k99".to_owned(),
        target: "app99".to_owned(),
        suffix: "",
    };
    let mut last = kinds::passes(&mut make).with(|truth| {
        truth.what = "runs last";
        (truth.plain, truth.hostile) = (false, hostility.for_good);
    });
    last.created = OVER + Duration::from_secs(1);
    cases.push(last);
    cases
}

/// Starts all actions of users and administrators. Users stop after their last action.
pub(crate) fn start(
    world: &Arc<World>,
    checker: &Shared,
    hostility: &mut Hostility,
    cases: &[(Case, i32)],
    users: &mut JoinSet<()>,
) {
    let (rng, end) = (&mut hostility.rng, Instant::now() + OVER);
    metrics::start(world, rng, end);
    let (checker, chance) = (checker.clone(), rng.fork());
    users.spawn(admins::meddle(world.clone(), checker, chance, end, hostility.for_good));
    for (case, replicas) in cases {
        if case.created > OVER {
            users.spawn(crate::user::live(world.clone(), case.clone(), *replicas));
            continue;
        }
        users.spawn(users::live(world.clone(), case.clone(), *replicas, rng.fork(), end));
        if rng.u8(..3) == 0 {
            users.spawn(gitops::sync(world.clone(), case.clone(), *replicas, rng.fork(), end));
        }
    }
}
