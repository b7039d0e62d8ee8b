//! Which session should own which shard: sticky, balanced, and for what has to move by rendezvous hashing.
//!
//! Everything here is a pure function that does not look at the order of the members, so that every replica computes
//! the same from the same leases.
//!
//! While all members run one pod template, each gets its equal share. During a rolling update, a shard that moves to a
//! pod of the old template moves again later. So
//! - the cap of each member is the equal share without the surge pod: a new pod takes nothing from a healthy old one
//!   that is within it, and waits for the old pod that it replaces to drain. Which one that will be nobody knows before;
//!   shards taken evenly from all old pods leave the drained one with some that only other old pods have room for;
//! - what is free then goes to the newest template first.
//!
//! As the cap is the same for both templates, an old pod that restarts in the middle of an update, and so looks like the
//! newest, moves nothing.

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
    /// It is about to end: gets nothing, and gives away what it has.
    pub draining: bool,
}

/// For every shard the session that should own it; None if there is no member that may.
///
/// The answer is a fixed point: given as `owners` with the same members, it comes back unchanged.
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
    // First how many each gets, then which: whom a shard fits best comes before who has the fewest so far.
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

/// Sessions in the order in which they would take a shard that is free, best first (rendezvous hash of shard and
/// session; draining ones left out).
#[must_use]
pub fn order(shard: u16, members: &[Candidate]) -> Vec<&str> {
    let mut sessions: Vec<&str> = staying(members).map(|member| member.session.as_str()).collect();
    sessions.sort_by_key(|session| rank(shard.into(), session));
    sessions
}

/// A member that may own shards.
struct Seat<'a> {
    session: &'a str,
    /// It runs the template to which shards go first.
    newest: bool,
    /// The shards it owns.
    shards: Vec<u64>,
    /// How many it should own.
    share: usize,
}

fn staying(members: &[Candidate]) -> impl Iterator<Item = &Candidate> {
    members.iter().filter(|member| !member.draining)
}

/// The members that may own shards, with those that they own.
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

/// Takes from each member what it has too much. Returns the cap that no member may exceed; there is always room for all
/// shards below it.
fn give_away(seats: &mut [Seat<'_>], shards: usize) -> usize {
    let updating = seats.iter().any(|seat| !seat.newest);
    let members = seats.len();
    // Without the surge pod.
    let cap = shards.div_ceil(members.saturating_sub(usize::from(updating)).max(1));
    // With one template, some have a shard more than others: those who have the most already, for that moves the least.
    let larger = if updating { members } else { shards % members.max(1) };
    seats.sort_by_key(|seat| (Reverse(seat.shards.len()), seat.session));
    for (place, seat) in seats.iter_mut().enumerate() {
        // What fits it least goes first.
        seat.shards.sort_by_key(|&shard| Reverse(score(shard, seat.session)));
        seat.shards
            .truncate(if place < larger { cap } else { shards / members });
        seat.share = seat.shards.len();
    }
    cap
}

/// Lower is better; no two sessions rank the same.
fn rank(shard: u64, session: &str) -> (Reverse<u64>, &str) {
    (Reverse(score(shard, session)), session)
}

/// How well a shard and a session fit: a hash of both.
fn score(shard: u64, session: &str) -> u64 {
    stable_hash(session.bytes().chain(shard.to_be_bytes()))
}

#[cfg(test)]
mod tests;
