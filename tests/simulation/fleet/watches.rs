//! How many watches replicas have open, as the API server sees it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use kanary_core::{api::Slot, status::Phase};
use serde_json::json;
use tokio::time::sleep;

use super::{Fleet, TTL, is_balanced};
use crate::{
    case::{End, Maker, deployment},
    run::in_virtual_time,
    world::NAMESPACE,
};

/// A watch is opened anew after this time at the latest.
const LONGEST: Duration = Duration::from_secs(95);

/// The watches of all shards, of a kind each, and the common ones.
const SHARED: usize = 5;
const COMMON: usize = 5;

/// Kinds and selectors that each replica watches, by user.
async fn watches(fleet: &Fleet) -> BTreeMap<String, BTreeSet<(String, String)>> {
    drop(fleet.world.stack.server.take_entries());
    sleep(LONGEST).await;
    let mut open = BTreeMap::<_, BTreeSet<_>>::new();
    for entry in fleet.world.stack.server.take_entries() {
        if entry.user.starts_with("kanary-") && entry.verb == "watch" {
            let watched = (entry.resource, entry.selector);
            open.entry(entry.user.to_string()).or_default().insert(watched);
        }
    }
    open
}

/// The slots in the selectors of a replica for Kanaries.
fn slots(open: &BTreeSet<(String, String)>) -> Vec<&str> {
    let selectors = open
        .iter()
        .filter(|(resource, selector)| resource == "kanarydeployments" && selector.contains(" in ("));
    let mut slots: Vec<_> = selectors
        .filter_map(|(_, selector)| selector.split_once(" in (")?.1.strip_suffix(')'))
        .flat_map(|slots| slots.split(','))
        .collect();
    slots.sort_unstable();
    slots
}

#[test]
fn a_lone_replica_opens_one_watch_for_each_kind_of_its_shards() {
    in_virtual_time(31, async {
        let fleet = Fleet::of(1, TTL).await;
        let open = watches(&fleet).await;
        let open = &open["kanary-1"];
        assert_eq!(open.len(), SHARED + COMMON, "{open:#?}");
        let kanaries = open.iter().filter(|(resource, _)| resource == "kanarydeployments");
        let selectors: Vec<_> = kanaries.map(|(_, selector)| selector.as_str()).collect();
        assert_eq!(selectors[0], "kanary.k8s-operators.dev/slot", "it selects all slots");
        assert!(selectors[1].contains(" notin ("), "{selectors:?}");
        fleet.end();
    });
}

#[test]
fn settled_replicas_open_one_watch_for_each_kind_and_no_slot_is_watched_twice() {
    in_virtual_time(32, async {
        let fleet = Fleet::of(2, TTL).await;
        let open = watches(&fleet).await;
        let [one, two] = ["kanary-1", "kanary-2"].map(|user| &open[user]);
        assert_eq!([one.len(), two.len()], [SHARED + COMMON; 2], "{open:#?}");
        let both: BTreeSet<_> = slots(one).into_iter().chain(slots(two)).collect();
        assert_eq!((slots(one).len(), slots(two).len(), both.len()), (128, 128, 256));
        fleet.end();
    });
}

#[test]
fn a_shard_that_moves_has_its_own_watches_until_no_shard_moves_any_more() {
    in_virtual_time(33, async {
        let mut fleet = Fleet::of(2, TTL).await;
        watches(&fleet).await;
        fleet.start("joins", "old", false);
        fleet
            .until(|fleet| fleet.shares().is_some_and(|shares| shares.len() == 3) && is_balanced(fleet))
            .await;
        sleep(Duration::from_mins(1)).await;
        let mut lists = BTreeMap::<_, usize>::new();
        for entry in fleet.world.stack.server.take_entries() {
            if entry.verb == "list" && entry.user.starts_with("kanary-") {
                *lists.entry(entry.user.to_string()).or_default() += 1;
            }
        }
        // Those that gave shards away list the rest once. The new one lists each of its shards, and all of them once more.
        let moved = fleet.of_replica("joins");
        let expected = [
            ("kanary-1", SHARED),
            ("kanary-2", SHARED),
            ("kanary-3", COMMON + SHARED * moved + SHARED),
        ];
        let expected: BTreeMap<_, _> = expected.map(|(user, lists)| (user.to_owned(), lists)).into();
        assert_eq!(lists, expected);
        let open = watches(&fleet).await;
        assert!(open.values().all(|open| open.len() == SHARED + COMMON), "{open:#?}");
        assert_eq!(slots(&open["kanary-3"]).len(), moved * 8);
        fleet.end();
    });
}

/// Runs a Kanary to its end, and returns the objects that replicas read live for it.
async fn reads(fleet: &Fleet, name: &str, label: Option<&str>) -> Vec<String> {
    let target = format!("app-{name}");
    fleet.world.create(&deployment(&target, 1)).await;
    sleep(Duration::from_secs(5)).await;
    let mut rng = fastrand::Rng::with_seed(1);
    let mut maker = Maker {
        rng: &mut rng,
        name: name.to_owned(),
        target: target.clone(),
        suffix: "",
    };
    let items = json!([{"manual": {"statusAfterDeadline": "valid"}}]);
    let mut case = maker.case("passes", items, json!({}), &[End::Updated]);
    if label.is_some() {
        case.manifest["metadata"]["labels"]["kanary.k8s-operators.dev/slot"] = json!(label);
    }
    fleet.checker.lock().unwrap().expect(&case.name, case.truth);
    drop(fleet.world.stack.server.take_entries());
    fleet.world.create(&case.manifest).await;
    let ended = || {
        let checker = fleet.checker.lock().unwrap();
        let mut books = checker.books.values();
        books.any(|book| book.name == name && Phase::of(&book.status) == Phase::DeploymentUpdated)
    };
    fleet.until(|_| ended()).await;
    let entries = fleet.world.stack.server.take_entries().into_iter();
    entries
        .filter(|entry| entry.verb == "get" && entry.user.starts_with("kanary-") && entry.resource != "leases")
        .map(|entry| format!("{} {}", entry.resource, entry.name))
        .collect()
}

#[test]
fn a_run_costs_two_live_reads_whether_its_label_is_written_or_there() {
    in_virtual_time(34, async {
        // The shards were taken ten seconds ago and not listed again yet: the reply to the label starts the run.
        let fleet = Fleet::of(1, TTL).await;
        let two = |name: &str| {
            [
                format!("deployments app-{name}-kanary-{name}"),
                format!("deployments app-{name}"),
            ]
        };
        assert_eq!(reads(&fleet, "unlabelled", None).await, two("unlabelled"));
        sleep(Duration::from_secs(30)).await;
        assert_eq!(reads(&fleet, "later", None).await, two("later"));
        let slot = Slot::of(NAMESPACE, "app-labelled").to_string();
        assert_eq!(reads(&fleet, "labelled", Some(&slot)).await, two("labelled"));
        fleet.end();
    });
}
