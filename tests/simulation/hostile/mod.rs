//! Clusters in which anybody may do anything at any time: users, GitOps tools, administrators with their policies and
//! quotas, and servers of metrics that are well, ill, slow, incomplete or wrong by turns. Nothing is expected of a Kanary
//! there but what must never be wrong: how its run ends is not known before.

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

/// Until when anything happens.
const OVER: Duration = Duration::from_secs(170);

/// What a seed means, beside replicas and network faults.
#[derive(Clone)]
pub(crate) struct Hostility {
    rng: fastrand::Rng,
    /// A policy stays for good, so nobody knows where anything ends.
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

/// The Kanaries of a seed: some of which nothing is known, two of which may have one target, and one that comes to its
/// good end once all is over, if nothing stays in its way.
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
        truth.what = "comes last";
        (truth.plain, truth.hostile) = (false, hostility.for_good);
    });
    last.created = OVER + Duration::from_secs(1);
    cases.push(last);
    cases
}

/// Begins everything that users and administrators do; users end with their last act.
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
