//! Computes this replica's next steps from the known sessions and shards. Pure: the time is an argument.

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, time::Duration};

use super::{
    assign::{Candidate, assign, order},
    lease::{Session, Shard, identity},
    table::{LeaseTable, Owner, ttl},
};

/// How long a new replica waits before it takes free shards, because other replicas may have started at the same time.
const SETTLE: Duration = Duration::from_secs(1);

/// Delay of each further candidate after the first, before it takes a free shard.
const STEP: Duration = Duration::from_millis(300);

/// After this time, even replicas that already have their share take a free shard.
const LONG: Duration = Duration::from_secs(5);

/// How long a replica that shuts down waits until the next owners have read its shards.
const PATIENCE: Duration = Duration::from_secs(8);

/// A step of this replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseStep {
    /// End the session of a replica that has stopped renewing it.
    Seize(Session),
    /// Check in the API server whether an unknown session that owns a shard is alive.
    Look(String),
    /// Take the shard, with the new epoch.
    Take(Shard),
    /// Store the proposed next owner.
    Hint(Shard),
    /// Release the shard, after the last write.
    Release(Shard),
    /// Read the shard's objects, so that it can be taken immediately.
    Warm(u16),
    /// Drop the shard's objects.
    Cool(u16),
}

/// The steps, and when to plan again without an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps to execute.
    pub steps: Vec<LeaseStep>,
    /// When to plan again.
    pub wake: Option<Duration>,
}

/// What this replica knows about itself.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// Its session, `<identity>/<boot>`.
    pub session: String,
    /// When the session began, by the monotonic clock.
    pub since: Duration,
    /// When shutdown was requested. The session already says so; otherwise the leader would rebalance released shards at once.
    pub draining: Option<Duration>,
    /// It is the leader and makes proposals.
    pub leads: bool,
    /// Shards whose objects it has read or is reading.
    pub served: BTreeSet<u16>,
    /// The API server's time in seconds, used as the first epoch of a new Lease. This prevents a Lease that was deleted manually
    /// from reusing its epochs.
    pub seconds: i64,
}

impl LeaseTable {
    /// This replica's steps for now.
    pub fn plan(&mut self, own: &Own, now: Duration) -> Plan {
        self.note(own, now);
        let members = self.members();
        let wanted = assign(&self.effective(own, &members, now), &members);
        let mut plan = Plan::default();
        self.seize(own, now, &mut plan);
        plan.steps.extend(self.unknown(own).into_iter().map(LeaseStep::Look));
        for (index, wanted) in (0..self.shards).zip(&wanted) {
            let step = match self.owners.get(&index) {
                None => self.found(index, wanted.as_ref(), own, now, &mut plan),
                Some(shard) => match self.owner(shard, own, now) {
                    Owner::Me => self.keep_or_give(shard, wanted.as_ref(), own, now, &mut plan),
                    Owner::Other(_) => Self::of_other(shard, wanted.as_ref(), own),
                    Owner::Nobody => self.free(shard, wanted.as_ref(), own, &members, now, &mut plan),
                },
            };
            let keeps = match &step {
                // The objects of a released shard are dropped only after the response to its last write.
                Some(LeaseStep::Take(_) | LeaseStep::Warm(_) | LeaseStep::Release(_)) => true,
                _ => self.is_served(index, own),
            };
            plan.steps.extend(step);
            if !keeps && own.served.contains(&index) {
                plan.steps.push(LeaseStep::Cool(index));
            }
        }
        plan
    }

    /// Whether this replica needs the objects of a shard.
    fn is_served(&self, index: u16, own: &Own) -> bool {
        let shard = self.owners.get(&index);
        shard.is_some_and(|shard| shard.holder == own.session || shard.next.as_ref() == Some(&own.session))
    }

    fn seize(&self, own: &Own, now: Duration, plan: &mut Plan) {
        for seen in self.sessions.values() {
            let session = &seen.session;
            if session.holder.is_empty() || session.identity == identity(&own.session) {
                continue;
            }
            let over = seen.changed + ttl(session);
            if over <= now {
                plan.steps.push(LeaseStep::Seize(session.clone()));
            } else {
                plan.wake_at(over);
            }
        }
    }

    /// A shard without a Lease: on the very first start, or after the Lease was deleted manually.
    fn found(
        &self,
        index: u16,
        wanted: Option<&String>,
        own: &Own,
        now: Duration,
        plan: &mut Plan,
    ) -> Option<LeaseStep> {
        if own.draining.is_some() || wanted != Some(&own.session) {
            return None;
        }
        // If replicas were already running, the former owner may not know yet that it owns nothing.
        let since = own.seconds - i64::try_from(self.longest().as_secs()).unwrap_or(i64::MAX);
        let mut others = self.sessions.values().filter(|seen| seen.session.holder != own.session);
        let ran = self.founded.contains(&index) || others.any(|seen| seen.session.since < since);
        let wait = if ran { self.longest() } else { SETTLE };
        let at = self.missing.get(&index).copied().unwrap_or(now) + wait;
        if now < at {
            plan.wake_at(at);
            return None;
        }
        Some(LeaseStep::Take(Shard {
            index,
            holder: own.session.clone(),
            epoch: own.seconds,
            next: None,
            version: None,
        }))
    }

    fn keep_or_give(
        &self,
        shard: &Shard,
        wanted: Option<&String>,
        own: &Own,
        now: Duration,
        plan: &mut Plan,
    ) -> Option<LeaseStep> {
        let released = || {
            Some(LeaseStep::Release(Shard {
                holder: String::new(),
                ..shard.clone()
            }))
        };
        let next = shard.next.as_ref().filter(|next| **next != own.session);
        let next = next.and_then(|next| {
            self.sessions
                .get(identity(next))
                .filter(|seen| seen.session.holder == *next)
        });
        if next.is_some_and(|next| next.session.ready.contains(&shard.index)) {
            return released();
        }
        if let Some(since) = own.draining {
            let Some(wanted) = wanted.filter(|wanted| **wanted != own.session) else {
                // No replica can take it.
                return released();
            };
            if since + PATIENCE <= now {
                return released();
            }
            plan.wake_at(since + PATIENCE);
            return hint(shard, wanted);
        }
        wanted.filter(|_| own.leads).and_then(|wanted| hint(shard, wanted))
    }

    fn of_other(shard: &Shard, wanted: Option<&String>, own: &Own) -> Option<LeaseStep> {
        if shard.next.as_ref() == Some(&own.session) {
            return (!own.served.contains(&shard.index)).then_some(LeaseStep::Warm(shard.index));
        }
        wanted.filter(|_| own.leads).and_then(|wanted| hint(shard, wanted))
    }

    fn free(
        &self,
        shard: &Shard,
        wanted: Option<&String>,
        own: &Own,
        members: &[Candidate],
        now: Duration,
        plan: &mut Plan,
    ) -> Option<LeaseStep> {
        let place = order(shard.index, members)
            .iter()
            .position(|session| *session == own.session)?;
        let mine = self.owners.values().filter(|shard| shard.holder == own.session).count();
        let fair = usize::from(self.shards).div_ceil(members.len().max(1)) + 1;
        let again = identity(&shard.holder) == identity(&own.session);
        let at = if wanted == Some(&own.session) {
            if again || shard.next.as_ref() == Some(&own.session) {
                now
            } else {
                own.since + SETTLE
            }
        } else {
            // The preferred candidate has not taken it.
            let since = self.free.get(&shard.index).copied().unwrap_or(now).max(own.since);
            let turn = STEP * u32::try_from(place + 1).unwrap_or(u32::MAX);
            since + if mine < fair { SETTLE + turn } else { LONG + turn }
        };
        if now < at {
            plan.wake_at(at);
            return None;
        }
        Some(LeaseStep::Take(Shard {
            holder: own.session.clone(),
            epoch: shard.epoch + 1,
            next: None,
            ..shard.clone()
        }))
    }
}

fn hint(shard: &Shard, wanted: &String) -> Option<LeaseStep> {
    let hinted = shard.next.as_ref() == Some(wanted) || (shard.next.is_none() && shard.holder == *wanted);
    (!hinted).then(|| {
        LeaseStep::Hint(Shard {
            // The shard returns to its owner, so clear the proposal.
            next: Some(wanted.clone()).filter(|wanted| shard.holder != *wanted),
            ..shard.clone()
        })
    })
}

impl Plan {
    fn wake_at(&mut self, at: Duration) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}
