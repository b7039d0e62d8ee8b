use super::*;
use crate::shard::lease::Read;

const TTL: u64 = 15;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(1000 + seconds)
}

fn session(name: &str, version: u64) -> Session {
    Session {
        identity: name.to_owned(),
        holder: format!("{name}/1"),
        version: Some(version.to_string()),
        since: 5000,
        ttl: i32::try_from(TTL).unwrap(),
        ..Session::default()
    }
}

/// The session of one that is about to end.
fn draining(name: &str) -> Session {
    Session {
        draining: true,
        ..session(name, 2)
    }
}

fn shard(index: u16, holder: &str, version: u64) -> Shard {
    Shard {
        index,
        holder: holder.to_owned(),
        epoch: 7,
        next: None,
        version: Some(version.to_string()),
    }
}

/// What replica `name` knows of itself.
fn own(name: &str) -> Own {
    Own {
        session: format!("{name}/1"),
        since: at(0),
        seconds: 5100,
        ..Own::default()
    }
}

/// Four shards: the first two of a, the others of b.
fn divided() -> LeaseTable {
    let mut table = LeaseTable::new(4);
    for name in ["a", "b"] {
        table.put(Read::Session(session(name, 1)), at(0));
    }
    for (index, holder) in ["a/1", "a/1", "b/1", "b/1"].into_iter().enumerate() {
        table.put(Read::Shard(shard(u16::try_from(index).unwrap(), holder, 1)), at(0));
    }
    table
}

fn taken(plan: &Plan) -> Vec<(u16, i64)> {
    let takes = plan.steps.iter().filter_map(|step| match step {
        LeaseStep::Take(shard) => Some((shard.index, shard.epoch)),
        _ => None,
    });
    takes.collect()
}

#[test]
fn nothing_is_done_while_everything_is_as_it_should_be() {
    let plan = divided().plan(&own("a"), at(14));
    assert_eq!(plan.steps, []);
    assert_eq!(plan.wake, Some(at(TTL)), "b may have to be looked at then");
}

#[test]
fn a_session_is_seized_when_it_was_not_seen_renewed_for_its_whole_time() {
    let mut table = divided();
    assert_eq!(
        table.plan(&own("a"), at(TTL)).steps,
        [LeaseStep::Seize(session("b", 1))]
    );
    table.put(Read::Session(session("b", 2)), at(TTL));
    assert_eq!(table.plan(&own("a"), at(TTL + 14)).steps, []);
}

#[test]
fn who_was_out_of_reach_looks_for_a_whole_time_again() {
    let mut table = divided();
    table.look_anew(at(60));
    assert_eq!(table.plan(&own("a"), at(74)).steps, []);
    assert_eq!(table.plan(&own("a"), at(75)).steps, [LeaseStep::Seize(session("b", 1))]);
}

#[test]
fn shards_of_a_session_that_is_over_are_taken_with_the_next_epoch() {
    let mut table = divided();
    let ended = Session {
        version: Some("2".to_owned()),
        ..session("b", 1).ended()
    };
    table.put(Read::Session(ended), at(20));
    assert_eq!(taken(&table.plan(&own("a"), at(20))), [(2, 8), (3, 8)]);
}

#[test]
fn a_replica_that_is_started_again_takes_up_what_it_had_at_once_and_the_others_leave_it() {
    let mut table = divided();
    let again = Session {
        holder: "b/2".to_owned(),
        ..session("b", 2)
    };
    table.put(Read::Session(again), at(20));
    assert_eq!(taken(&table.plan(&own("a"), at(20))), []);
    let again = Own {
        session: "b/2".to_owned(),
        since: at(20),
        ..own("b")
    };
    assert_eq!(taken(&table.plan(&again, at(20))), [(2, 8), (3, 8)]);
}

#[test]
fn what_is_left_lying_is_taken_by_others_in_their_turn() {
    let mut table = divided();
    table.put(Read::Shard(shard(3, "", 2)), at(20));
    let first = table.plan(&own("a"), at(20));
    assert_eq!(taken(&first), [], "it is b's to take");
    let wake = first.wake.unwrap();
    assert!(wake > at(20) && wake <= at(23), "{wake:?}");
    assert_eq!(taken(&table.plan(&own("a"), wake)), [(3, 8)]);
}

#[test]
fn a_session_whose_lease_was_deleted_by_hand_keeps_its_shards_for_its_whole_time() {
    let mut table = divided();
    table.remove_named("kanary-session-b");
    assert_eq!(table.plan(&own("a"), at(10)).steps, [LeaseStep::Look("b/1".to_owned())]);
    table.look("b/1", None, at(20));
    assert_eq!(table.plan(&own("a"), at(34)).steps, []);
    assert_eq!(taken(&table.plan(&own("a"), at(35))), [(2, 8), (3, 8)]);
}

/// A watch may be slow, and a shard's Lease be known from the reply to a call.
#[test]
fn a_session_of_which_nothing_is_known_is_looked_at_before_its_shards_are_taken() {
    let mut table = divided();
    table.put(Read::Shard(shard(3, "b/2", 5)), at(1));
    table.put(Read::Shard(shard(1, "c/1", 5)), at(1));
    let look = |session: &str| LeaseStep::Look(session.to_owned());
    for second in [1, 14] {
        assert_eq!(table.plan(&own("a"), at(second)).steps, [look("b/2"), look("c/1")]);
    }
    let again = Session {
        holder: "b/2".to_owned(),
        ..session("b", 4)
    };
    table.look("b/2", Some(again.clone()), at(14));
    table.look("c/1", Some(session("c", 6).ended()), at(14));
    assert_eq!(taken(&table.plan(&own("a"), at(14))), [(1, 8)], "b lives, and c ended");
    // What b had in its former session is its own to take up.
    assert_eq!(table.shard(2).unwrap().holder, "b/1");
    let ended = Session {
        version: Some("7".to_owned()),
        ..again.ended()
    };
    table.put(Read::Session(ended), at(15));
    assert_eq!(taken(&table.plan(&own("a"), at(15))), [(1, 8), (2, 8), (3, 8)]);
}

#[test]
fn a_shard_whose_lease_was_deleted_by_hand_waits_and_gets_an_epoch_that_never_was() {
    let mut table = divided();
    table.remove_named("kanary-shard-4-2");
    table.remove_named("kanary-session-b");
    assert_eq!(taken(&table.plan(&own("a"), at(20))), []);
    assert_eq!(taken(&table.plan(&own("a"), at(35)))[0], (2, 5100));
}

#[test]
fn the_very_first_start_waits_for_no_other_replica() {
    let mut table = LeaseTable::new(4);
    let young = Session {
        since: 5099,
        ..session("a", 1)
    };
    table.put(Read::Session(young), at(0));
    let plan = table.plan(&own("a"), at(0));
    assert_eq!((taken(&plan).len(), plan.wake), (0, Some(at(1))));
    assert_eq!(taken(&table.plan(&own("a"), at(1))).len(), 4);
}

#[test]
fn only_the_leader_advises() {
    let mut table = divided();
    table.put(Read::Session(session("c", 1)), at(0));
    table.put(Read::Session(session("d", 1)), at(0));
    assert_eq!(table.plan(&own("a"), at(1)).steps, []);
    let leader = Own {
        leads: true,
        ..own("a")
    };
    let hints: Vec<_> = table.plan(&leader, at(1)).steps;
    assert_eq!(hints.len(), 2, "{hints:?}");
    for hint in hints {
        let LeaseStep::Hint(shard) = hint else {
            panic!("{hint:?}")
        };
        assert!(["c/1", "d/1"].contains(&shard.next.as_deref().unwrap()));
        table.put(
            Read::Shard(Shard {
                version: Some("2".to_owned()),
                ..shard
            }),
            at(1),
        );
    }
    assert_eq!(table.plan(&leader, at(2)).steps, [], "an advice is given once");
}

/// Shard 0 of a, which b is to have.
fn advised() -> LeaseTable {
    let mut table = divided();
    let advised = Shard {
        next: Some("b/1".to_owned()),
        ..shard(0, "a/1", 2)
    };
    table.put(Read::Shard(advised), at(0));
    table
}

#[test]
fn a_shard_is_given_away_when_its_next_owner_has_read_it() {
    let mut table = advised();
    assert_eq!(table.plan(&own("b"), at(1)).steps, [LeaseStep::Warm(0)]);
    assert_eq!(table.plan(&own("a"), at(1)).steps, []);
    let ready = Session {
        ready: BTreeSet::from([0]),
        ..session("b", 2)
    };
    table.put(Read::Session(ready), at(1));
    let given = Shard {
        holder: String::new(),
        next: Some("b/1".to_owned()),
        ..shard(0, "a/1", 2)
    };
    let knowing = Own {
        served: BTreeSet::from([0, 1]),
        ..own("a")
    };
    let steps = table.plan(&knowing, at(1)).steps;
    assert_eq!(
        steps,
        [LeaseStep::Release(given.clone())],
        "its last write may be under way"
    );
    let given = Shard {
        version: Some("3".to_owned()),
        ..given
    };
    table.put(Read::Shard(given), at(1));
    assert_eq!(taken(&table.plan(&own("b"), at(1))), [(0, 8)]);
    assert_eq!(table.plan(&knowing, at(1)).steps, [LeaseStep::Cool(0)]);
}

#[test]
fn a_replica_that_ends_says_who_is_next_and_waits_for_them_for_a_while() {
    let mut table = divided();
    table.put(Read::Session(draining("a")), at(0));
    let ends = Own {
        draining: Some(at(0)),
        ..own("a")
    };
    let steps = table.plan(&ends, at(0)).steps;
    let to_b = |step: &LeaseStep| matches!(step, LeaseStep::Hint(shard) if shard.next.as_deref() == Some("b/1"));
    assert!(steps.len() == 2 && steps.iter().all(to_b), "{steps:?}");
    let steps = table.plan(&ends, at(0) + PATIENCE).steps;
    assert!(
        steps.iter().all(|step| matches!(step, LeaseStep::Release(_))),
        "{steps:?}"
    );
    assert_eq!(steps.len(), 2);
}

#[test]
fn the_last_replica_that_ends_does_not_wait() {
    let mut table = LeaseTable::new(1);
    table.put(Read::Session(draining("a")), at(0));
    table.put(Read::Shard(shard(0, "a/1", 1)), at(0));
    let ends = Own {
        draining: Some(at(0)),
        ..own("a")
    };
    assert!(matches!(table.plan(&ends, at(0)).steps[..], [LeaseStep::Release(_)]));
    table.put(Read::Shard(shard(0, "", 2)), at(0));
    assert_eq!(
        table.plan(&ends, at(0) + LONG * 9).steps,
        [],
        "it takes nothing any more"
    );
}

#[test]
fn what_is_no_longer_to_be_taken_is_forgotten() {
    let mut table = divided();
    let reads = Own {
        served: BTreeSet::from([0, 1, 2]),
        ..own("a")
    };
    assert_eq!(table.plan(&reads, at(1)).steps, [LeaseStep::Cool(2)]);
}

#[test]
fn an_older_version_that_arrives_late_changes_nothing() {
    let mut table = divided();
    table.put(Read::Shard(shard(0, "b/1", 10)), at(1));
    table.put(Read::Shard(shard(0, "a/1", 9)), at(1));
    assert_eq!(table.shard(0).unwrap().holder, "b/1");
    table.put(Read::Session(session("b", 10)), at(1));
    table.put(Read::Session(session("b", 9).ended()), at(2));
    assert_eq!(table.session("b").unwrap().holder, "b/1");
}

#[test]
fn a_replica_that_counts_the_shards_otherwise_is_noticed_as_long_as_it_may_live() {
    let mut table = divided();
    assert_eq!(
        table.counting_otherwise(at(0)),
        None,
        "one that does not say counts like us"
    );
    let of_eight = Session {
        shards: 8,
        ..session("b", 2)
    };
    table.put(Read::Session(of_eight.clone()), at(1));
    assert_eq!(table.counting_otherwise(at(TTL)), Some(&of_eight));
    assert_eq!(table.counting_otherwise(at(1 + TTL)), None, "it was not seen renewed");
    let ended = Session {
        version: Some("3".to_owned()),
        ..of_eight.ended()
    };
    table.put(Read::Session(ended), at(2));
    assert_eq!(table.counting_otherwise(at(2)), None);
}
