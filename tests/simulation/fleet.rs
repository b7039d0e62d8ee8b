//! Several replicas and a fleet of Kanaries: distribution of shards, time without an owner, and requests of waiting
//! Kanaries. All times are virtual.

mod watches;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use kanary::shard::lease::identity;
use kanary_sim::network::Line;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    case::{End, Maker},
    checker::{Checker, Shared, owners::Owners},
    history::text,
    panics,
    run::{in_virtual_time, measure, watched},
    world::{NAMESPACE, Replica, Sharing, World, Wrong},
};

/// Replicas that share a cluster.
struct Fleet {
    world: World,
    checker: Shared,
    /// Replicas with their identities.
    replicas: Vec<Option<(String, Replica)>>,
    started: u64,
    /// The session TTL.
    ttl: Duration,
}

/// The default number of shards.
const PARTS: u16 = 32;

/// The session TTL: the default, and that of the fast profile.
const TTL: Duration = Duration::from_secs(15);
const FAST: Duration = Duration::from_secs(6);

impl Fleet {
    async fn of(replicas: usize, ttl: Duration) -> Self {
        let mut checker = Checker::new([].into());
        checker.owners = Owners::of(PARTS);
        let (checker, _, hook) = watched(checker);
        let mut world = World::start(1, hook);
        world.shards = PARTS;
        world.sent = checker.lock().unwrap().sent.clone();
        world.heard = checker.lock().unwrap().evidence.heard.clone();
        measure(&world);
        let mut fleet = Self {
            world,
            checker,
            replicas: Vec::new(),
            started: 0,
            ttl,
        };
        for index in 0..replicas {
            fleet.start(&format!("kanary-{index}"), "old", index == 0);
        }
        fleet.until(is_balanced).await;
        sleep(Duration::from_secs(10)).await;
        fleet
    }

    /// Starts a replica and returns its index.
    fn start(&mut self, identity: &str, template: &str, leads: bool) -> usize {
        self.started += 1;
        let sharing = Sharing {
            template: template.to_owned(),
            ttl: self.ttl,
            leads: Arc::new(move || leads),
            ..Sharing::of(identity)
        };
        let name = format!("kanary-{}", self.started);
        let (seed, skew) = (self.started, SignedDuration::ZERO);
        let replica = Replica::start(&self.world, &name, seed, skew, &Wrong::default(), Some(&sharing));
        self.replicas.push(Some((identity.to_owned(), replica)));
        self.replicas.len() - 1
    }

    fn take(&mut self, index: usize) -> Replica {
        self.replicas[index].take().unwrap().1
    }

    /// The session that owns each shard, or empty.
    fn holders(&self) -> Vec<String> {
        let checker = self.checker.lock().unwrap();
        let holder = |shard| checker.owners.shards.get(&shard).map(|(holder, _, _)| holder.clone());
        (0..PARTS).map(|shard| holder(shard).unwrap_or_default()).collect()
    }

    /// The replica that owns each shard.
    fn owners(&self) -> Vec<String> {
        let holders = self.holders().into_iter();
        holders.map(|holder| identity(&holder).to_owned()).collect()
    }

    /// Number of shards of each running replica's session, or `None` if one has no session or a shard has no such owner.
    fn shares(&self) -> Option<BTreeMap<String, u16>> {
        let live = self
            .replicas
            .iter()
            .flatten()
            .filter(|(_, replica)| !replica.has_ended());
        let mut shares: BTreeMap<_, _> = live.map(|(identity, _)| (self.session(identity), 0)).collect();
        if shares.contains_key("") {
            return None;
        }
        for holder in self.holders() {
            *shares.get_mut(&holder)? += 1;
        }
        Some(shares)
    }

    fn of_replica(&self, identity: &str) -> usize {
        self.owners().iter().filter(|owner| *owner == identity).count()
    }

    /// The longest time that a shard had no owner after `since`, according to its Lease.
    fn gap(&self, since: Timestamp) -> SignedDuration {
        let checker = self.checker.lock().unwrap();
        let gaps = checker.owners.gaps.iter().filter(|(_, from, _)| *from >= since);
        gaps.map(|(_, from, to)| to.duration_since(*from))
            .max()
            .unwrap_or_default()
    }

    fn moves(&self) -> u32 {
        self.checker.lock().unwrap().owners.moves
    }

    /// The holder of a replica's session Lease, or empty if the session has ended or not started.
    fn session(&self, identity: &str) -> String {
        let place = (NAMESPACE.to_owned(), format!("kanary-session-{identity}"));
        let lease = self.world.stack.cluster.object("leases.coordination.k8s.io", &place);
        let holder = lease.map(|lease| text(&lease.json()["spec"]["holderIdentity"]).to_owned());
        holder.unwrap_or_default()
    }

    /// The replicas' writes since the last call, by resource.
    fn writes(&self) -> Vec<String> {
        let entries = self.world.stack.server.take_entries();
        let ours = entries.iter().filter(|entry| entry.user.starts_with("kanary-"));
        let writes = ours.filter(|entry| !["get", "list", "watch"].contains(&entry.verb));
        writes
            .map(|entry| format!("{} {}", entry.verb, entry.resource))
            .collect()
    }

    /// Waits until `what` holds and returns how long that took.
    async fn until(&self, what: impl Fn(&Self) -> bool) -> Duration {
        let start = tokio::time::Instant::now();
        while !what(self) {
            assert!(start.elapsed() < Duration::from_mins(5), "{:?}", self.owners());
            sleep(Duration::from_millis(10)).await;
        }
        start.elapsed()
    }

    fn end(self) {
        assert!(
            self.shares().is_some(),
            "a dead replica owns a shard: {:?}",
            self.owners()
        );
        assert!(panics::none(), "a caught panic is printed above");
        let violations = std::mem::take(&mut self.checker.lock().unwrap().violations);
        assert!(violations.is_empty(), "{violations:?}");
    }
}

/// Whether every running replica has its share and no other session owns a shard.
fn is_balanced(fleet: &Fleet) -> bool {
    let Some(shares) = fleet.shares() else { return false };
    let (least, most) = (shares.values().min(), shares.values().max());
    least.zip(most).is_some_and(|(least, most)| most - least <= 1)
}

#[test]
fn the_first_replicas_divide_everything_and_waiting_costs_their_sessions_only() {
    in_virtual_time(1, async {
        let fleet = Fleet::of(5, TTL).await;
        assert!(is_balanced(&fleet), "{:?}", fleet.owners());
        fleet.writes();
        sleep(Duration::from_mins(5)).await;
        let writes = fleet.writes();
        assert!(writes.iter().all(|write| write == "update leases"), "{writes:?}");
        let most = 5 * 300 / 3 * 12 / 10;
        assert!(writes.len() < most, "{} writes in 300 s", writes.len());
        println!("5 replicas, {PARTS} shards, idle: {} writes in 300 s", writes.len());
        fleet.end();
    });
}

#[test]
fn a_replica_that_joins_gets_its_share_by_the_fewest_moves() {
    in_virtual_time(2, async {
        let mut fleet = Fleet::of(3, TTL).await;
        let before = fleet.moves();
        fleet.start("joins", "old", false);
        fleet
            .until(|fleet| fleet.of_replica("joins") == usize::from(PARTS) / 4)
            .await;
        sleep(Duration::from_mins(1)).await;
        assert!(is_balanced(&fleet), "{:?}", fleet.owners());
        assert_eq!(fleet.moves() - before, u32::from(PARTS) / 4, "the minimum");
        fleet.end();
    });
}

#[test]
fn a_replica_that_stops_leaves_no_gap() {
    in_virtual_time(3, async {
        let mut fleet = Fleet::of(3, TTL).await;
        let (since, before) = (fleet.world.now(), fleet.moves());
        let owned = fleet.of_replica("kanary-1");
        let start = tokio::time::Instant::now();
        fleet.take(1).terminate().await;
        let took = start.elapsed();
        println!("terminated: session ended after {took:?}");
        assert!(
            took < Duration::from_secs(1),
            "{took:?}: the other replicas confirm at once"
        );
        assert_eq!(
            fleet.session("kanary-1"),
            "",
            "the session is released, not left to expire"
        );
        fleet
            .until(|fleet| fleet.of_replica("kanary-1") == 0 && is_balanced(fleet))
            .await;
        let gap = fleet.gap(since);
        println!("terminated: longest gap {gap}");
        assert!(gap <= SignedDuration::from_millis(300), "{gap}");
        assert_eq!(fleet.moves() - before, u32::try_from(owned).unwrap(), "the minimum");
        fleet.end();
    });
}

#[test]
fn a_container_that_is_started_again_takes_up_what_it_had() {
    in_virtual_time(4, async {
        let mut fleet = Fleet::of(3, TTL).await;
        let before = fleet.owners();
        fleet.take(1).kill().await;
        sleep(Duration::from_secs(1)).await;
        let epochs = fleet.moves();
        fleet.start("kanary-1", "old", false);
        let owned = fleet.of_replica("kanary-1");
        let took = fleet
            .until(|fleet| fleet.moves() == epochs + u32::try_from(owned).unwrap())
            .await;
        println!("restarted: all shards owned again after {took:?}");
        assert!(took <= Duration::from_secs(2), "{took:?}, one second before");
        assert_eq!(fleet.owners(), before);
        fleet.end();
    });
}

#[test]
fn the_shards_of_a_lost_node_are_taken_over_in_time() {
    lose_a_node(TTL, Duration::from_secs(17));
}

#[test]
fn the_shards_of_a_lost_node_are_taken_over_sooner_in_the_fast_profile() {
    lose_a_node(FAST, Duration::from_secs(7));
}

fn lose_a_node(ttl: Duration, most: Duration) {
    in_virtual_time(5, async move {
        let mut fleet = Fleet::of(3, ttl).await;
        fleet.take(1).kill().await;
        let took = fleet.until(|fleet| fleet.of_replica("kanary-1") == 0).await;
        println!("sessions of {ttl:?}, node lost: all shards taken over after {took:?}");
        assert!(took <= most, "{took:?}");
        sleep(Duration::from_secs(30)).await;
        assert!(is_balanced(&fleet), "{:?}", fleet.owners());
        fleet.end();
    });
}

#[test]
fn in_a_rolling_update_every_shard_moves_once_and_is_never_left() {
    in_virtual_time(6, async {
        let mut fleet = Fleet::of(3, TTL).await;
        let (since, before) = (fleet.world.now(), fleet.moves());
        for index in 0..3 {
            fleet.start(&format!("new-{index}"), "new", index == 0);
            sleep(Duration::from_secs(10)).await;
            fleet.take(index).terminate().await;
            assert_eq!(fleet.session(&format!("kanary-{index}")), "");
            sleep(Duration::from_secs(5)).await;
        }
        fleet.until(is_balanced).await;
        let (gap, moves) = (fleet.gap(since), fleet.moves() - before);
        println!("rolling update of 3: {moves} moves of {PARTS} shards, longest gap {gap}");
        assert!(gap <= SignedDuration::from_millis(300), "{gap}");
        assert!(moves <= u32::from(PARTS) + 1, "{moves} moves");
        fleet.end();
    });
}

/// Kanaries whose deadline falls into an outage that ends before any session expires, or after that.
fn outage_at_the_deadline(seed: u64, long: Duration) {
    in_virtual_time(seed, async move {
        let fleet = Fleet::of(2, TTL).await;
        for index in 0..10 {
            let mut rng = fastrand::Rng::with_seed(seed + index);
            let mut maker = Maker {
                rng: &mut rng,
                name: format!("k{index}"),
                target: format!("app{index}"),
                suffix: "",
            };
            let items = json!([{"manual": {"statusAfterDeadline": "valid"}}]);
            let spec = json!({"validation": {"validationPeriod": "20s", "initialDelay": null}});
            let case = maker.case("passes", items, spec, &[End::Updated]);
            fleet.world.create(&case.target(1)).await;
            fleet.checker.lock().unwrap().expect(&case.name, case.truth);
            fleet.world.create(&case.manifest).await;
        }
        // Each is available within 4 s.
        sleep(Duration::from_secs(19)).await;
        for line in [Line::Refusing, Line::Up] {
            for (_, replica) in fleet.replicas.iter().flatten() {
                replica.set_line(line);
            }
            if line == Line::Refusing {
                sleep(long).await;
            }
        }
        let passed = |fleet: &Fleet| {
            let checker = fleet.checker.lock().unwrap();
            checker.books.values().filter(|book| book.verdict.is_some()).count()
        };
        assert!(passed(&fleet) < 10, "the outage is at the deadline");
        let took = fleet.until(|fleet| passed(fleet) == 10).await;
        println!("outage of {long:?}: all verdicts {took:?} after it");
        assert!(took <= Duration::from_secs(4), "{took:?}");
        fleet.end();
    });
}

#[test]
fn verdicts_that_fall_into_an_outage_come_soon_after_it() {
    outage_at_the_deadline(8, Duration::from_secs(9));
    outage_at_the_deadline(9, Duration::from_secs(40));
}

#[test]
fn an_outage_that_is_longer_than_any_session_moves_nothing() {
    in_virtual_time(7, async {
        let fleet = Fleet::of(3, TTL).await;
        let (before, moves) = (fleet.owners(), fleet.moves());
        for line in [Line::Refusing, Line::Up] {
            for (_, replica) in fleet.replicas.iter().flatten() {
                replica.set_line(line);
            }
            sleep(Duration::from_mins(1)).await;
        }
        assert_eq!((fleet.owners(), fleet.moves()), (before, moves));
        fleet.end();
    });
}
