//! The leader: advises which shards should change their owner, and deletes old sessions.
//!
//! Nothing rests on it. Without one every shard is still taken over, and every verdict given; only the balance waits. Two
//! at once give the same advice, which is a pure function of what they see.

use std::{fmt, sync::Arc, time::Duration};

use kube_leader_election::{LeaseLock, LeaseLockParams, LeaseLockResult};
use tokio::time::{sleep, timeout};

use super::{Sharding, lease::LEADER, member::Member};

/// How long the leader's Lease lasts unrenewed.
const TTL: Duration = Duration::from_secs(20);

/// How often it is renewed, or asked for.
const INTERVAL: Duration = Duration::from_secs(8);

/// How long it leads after a renewal: it stops earlier than its Lease.
const TERM: Duration = Duration::from_secs(15);

/// Longest call.
const PATIENCE: Duration = Duration::from_secs(3);

/// Who leads.
#[derive(Clone, Default)]
pub enum Election {
    /// A Lease that the replicas compete for, by their wall clocks.
    #[default]
    Lease,
    /// Whoever is told so: in a simulation, which has a time of its own.
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

/// Leads whenever it is this replica's turn, for ever.
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
    let mut told = false;
    loop {
        let sent = options.time.now();
        match timeout(PATIENCE, lock.try_acquire_or_renew()).await {
            // It patches without a precondition: what counts is who holds the Lease afterwards.
            Ok(Ok(LeaseLockResult::Acquired(lease)))
                if lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref()) == Some(&options.identity) =>
            {
                if !std::mem::replace(&mut told, true) {
                    tracing::info!("this replica leads");
                }
                member.lead_until(sent + TERM);
                member.sweep().await;
            }
            Ok(Ok(_)) => told = false,
            Ok(Err(error)) => tracing::debug!(%error, "no word about who leads"),
            Err(_) => tracing::debug!("no word about who leads in time"),
        }
        sleep(INTERVAL.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
    }
}

/// Lets another replica lead at once.
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
