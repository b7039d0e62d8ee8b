//! Computes which session should own which shard. The assignment is sticky and balanced, and uses rendezvous hashing for the
//! shards that have to move.
//!
//! All functions here are pure and independent of the order of the members, so that every replica computes the same assignment
//! from the same Leases.
//!
//! While all members run the same pod template, each gets an equal share. During a rolling update, a shard that moves to a pod
//! of the old template has to move again later. Therefore:
//! - The cap of each member is the equal share without the surge pod. A new pod takes nothing from a healthy old pod below the
//!   cap, and waits until the old pod that it replaces drains. Nobody knows in advance which pod that will be. If shards were
//!   taken evenly from all old pods, only other old pods would have room for some shards of the drained pod.
//! - Free shards then go to the newest template first.
//!
//! The cap is the same for both templates. An old pod that restarts during an update, and therefore looks like the newest, does
//! not move any shards.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use kanary_core::api::stable_hash;

/// A session that may own shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The name of the session, unique among the members.
    pub session: String,
    /// Hash of the pod template it runs (empty if unknown).
    pub template: String,
    /// When the session began, seconds.
    pub since: i64,
    /// It is shutting down: it gets no shards and gives up those it has.
    pub draining: bool,
}

/// The session that should own each shard; `None` if no member may own shards.
///
/// The result is a fixed point: with it as `owners` and the same members, the function returns it unchanged.
#[must_use]
pub fn assign(owners: &[Option<String>], members: &[Candidate]) -> Vec<Option<String>> {
    let mut seats = seats(owners, members);
    let cap = give_away(&mut seats, owners.len());
    let mut next: BTreeMap<u64, &str> = seats
        .iter()
        .flat_map(|seat| seat.shards.iter().map(|&shard| (shard, seat.session)))
        .collect();

    let free: Vec<u64> = (0..)
        .take(owners.len())
        .filter(|shard| !next.contains_key(shard))
        .collect();
    // Compute the number of shards per member before choosing which shards: the rendezvous rank takes precedence over the
    // current count.
    for &shard in &free {
        let open = seats.iter_mut().filter(|seat| seat.share < cap);
        if let Some(seat) = open.min_by_key(|seat| (!seat.newest, seat.share, rank(shard, seat.session))) {
            seat.share += 1;
        }
    }
    for &shard in &free {
        let open = seats.iter_mut().filter(|seat| seat.shards.len() < seat.share);
        if let Some(seat) = open.min_by_key(|seat| rank(shard, seat.session)) {
            seat.shards.push(shard);
            next.insert(shard, seat.session);
        }
    }
    (0..)
        .take(owners.len())
        .map(|shard| next.get(&shard).map(|&session| session.to_owned()))
        .collect()
}

/// Sessions in the order in which they would take a free shard, best first (rendezvous hash of shard and session). Draining
/// sessions are left out.
#[must_use]
pub fn order(shard: u16, members: &[Candidate]) -> Vec<&str> {
    let mut sessions: Vec<&str> = staying(members).map(|member| member.session.as_str()).collect();
    sessions.sort_by_key(|session| rank(shard.into(), session));
    sessions
}

/// A member that may own shards.
struct Seat<'a> {
    session: &'a str,
    /// It runs the newest template, which gets shards first.
    newest: bool,
    /// The shards it owns.
    shards: Vec<u64>,
    /// How many it should own.
    share: usize,
}

fn staying(members: &[Candidate]) -> impl Iterator<Item = &Candidate> {
    members.iter().filter(|member| !member.draining)
}

/// The members that may own shards, with the shards they own.
fn seats<'a>(owners: &[Option<String>], members: &'a [Candidate]) -> Vec<Seat<'a>> {
    let newest = staying(members)
        .max_by_key(|member| (member.since, &member.session))
        .map(|member| &member.template);
    staying(members)
        .map(|member| Seat {
            session: &member.session,
            newest: Some(&member.template) == newest,
            shards: (0..)
                .zip(owners)
                .filter(|(_, owner)| owner.as_deref() == Some(&member.session))
                .map(|(shard, _)| shard)
                .collect(),
            share: 0,
        })
        .collect()
}

/// Takes surplus shards from each member. Returns the cap that no member may exceed; below the cap there is always room for all
/// shards.
fn give_away(seats: &mut [Seat<'_>], shards: usize) -> usize {
    let updating = seats.iter().any(|seat| !seat.newest);
    let members = seats.len();
    // Without the surge pod.
    let cap = shards.div_ceil(members.saturating_sub(usize::from(updating)).max(1));
    // With one template, some members have one shard more than others. These are the members with the most shards, because that
    // moves the fewest.
    let larger = if updating { members } else { shards % members.max(1) };
    seats.sort_by_key(|seat| (Reverse(seat.shards.len()), seat.session));
    for (place, seat) in seats.iter_mut().enumerate() {
        // Worst fit first.
        seat.shards.sort_by_key(|&shard| Reverse(score(shard, seat.session)));
        seat.shards
            .truncate(if place < larger { cap } else { shards / members });
        seat.share = seat.shards.len();
    }
    cap
}

/// Sort key of a session for a shard, lower is better. It is unique per session.
fn rank(shard: u64, session: &str) -> (Reverse<u64>, &str) {
    (Reverse(score(shard, session)), session)
}

/// How well a shard and a session fit: a hash of both.
fn score(shard: u64, session: &str) -> u64 {
    stable_hash(session.bytes().chain(shard.to_be_bytes()))
}

#[cfg(test)]
mod tests;
