//! The leader: proposes which shards should change their owner, and deletes old sessions.
//!
//! Correctness does not depend on a leader. Without one, shards are still taken over and verdicts are still given; only
//! rebalancing waits, and runs that need a place under a limit on canaries. Two leaders at once propose the same, because the
//! proposal is a pure function of the Leases.

use std::{fmt, sync::Arc, time::Duration};

use kube_leader_election::{LeaseLock, LeaseLockParams, LeaseLockResult};
use tokio::time::{sleep, timeout};

use super::{Sharding, lease::LEADER, member::Member};

/// How long the leader's Lease lasts without renewal.
const TTL: Duration = Duration::from_secs(20);

/// Interval between attempts to acquire or renew it.
const INTERVAL: Duration = Duration::from_secs(8);

/// How long it leads after a renewal: shorter than the Lease.
const TERM: Duration = Duration::from_secs(15);

/// Timeout of a request.
const PATIENCE: Duration = Duration::from_secs(3);

/// How the leader is chosen.
#[derive(Clone, Default)]
pub enum Election {
    /// The replicas compete for a Lease, by their wall clocks.
    #[default]
    Lease,
    /// The function decides. For simulations, which have their own time.
    Told(Arc<dyn Fn() -> bool + Send + Sync>),
}

impl fmt::Debug for Election {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lease => "Lease",
            Self::Told(_) => "Told",
        })
    }
}

/// Competes for the Lease and leads while it holds it, forever.
pub async fn run(options: Sharding, member: Arc<Member>) {
    match &options.election {
        Election::Lease => elect(&options, &member).await,
        Election::Told(leads) => loop {
            if leads() {
                member.lead_until(options.time.now() + TERM);
                member.sweep().await;
            } else {
                member.lead_until(Duration::ZERO);
            }
            sleep(Duration::from_secs(1)).await;
        },
    }
}

async fn elect(options: &Sharding, member: &Member) {
    let lock = lock(options);
    let mut reported = false;
    loop {
        let sent = options.time.now();
        match timeout(PATIENCE, lock.try_acquire_or_renew()).await {
            // The patch has no precondition, so the holder in the response counts.
            Ok(Ok(LeaseLockResult::Acquired(lease)))
                if lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref()) == Some(&options.identity) =>
            {
                if !std::mem::replace(&mut reported, true) {
                    tracing::info!("this replica is the leader");
                }
                member.lead_until(sent + TERM);
                member.sweep().await;
            }
            Ok(Ok(_)) => reported = false,
            Ok(Err(error)) => tracing::debug!(%error, "could not read or renew the leader's Lease"),
            Err(_) => tracing::debug!("timed out reading or renewing the leader's Lease"),
        }
        sleep(INTERVAL.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
    }
}

/// Releases leadership, so that another replica can lead immediately.
pub async fn step_down(options: &Sharding) {
    if matches!(options.election, Election::Lease) {
        let _not_ours = timeout(PATIENCE, lock(options).step_down()).await;
    }
}

fn lock(options: &Sharding) -> LeaseLock {
    let params = LeaseLockParams {
        lease_name: LEADER.to_owned(),
        holder_id: options.identity.clone(),
        lease_ttl: TTL,
    };
    LeaseLock::new(options.client.clone(), &options.namespace, params)
}
