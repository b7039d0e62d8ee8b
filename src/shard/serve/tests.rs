//! Shards on the embedded cluster, in virtual time. Services stand for all kinds.

use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kanary_core::api::{Layout, Slot, names::SLOT};
use kanary_sim::{
    cluster::{Cluster, Options},
    network::{Line, Link},
    server::Server,
    write::DeleteOptions,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::{runtime::Builder, time::sleep};

use super::*;
use crate::{
    cache::{
        Cached,
        watch::{Route, Sink, Watch, objects},
    },
    cluster::clock::Monotonic,
};

const SECOND: Duration = Duration::from_secs(1);

/// Longer than it takes until shards share their watches.
const SETTLED: Duration = Duration::from_secs(11);

struct Rig {
    cluster: Cluster,
    server: Server,
    sink: Sink,
    fence: Arc<Fence>,
    served: Arc<Served>,
    /// The network of the watches that start now.
    link: Arc<Mutex<Link>>,
    sharing: JoinHandle<()>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.sharing.abort();
    }
}

fn run(test: impl AsyncFnOnce(Rig)) {
    fastrand::seed(7);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let cluster = Cluster::new(Options::default());
        let api_server = Server::new(cluster.clone());
        let sink = Sink::new(Arc::default(), Arc::default(), Arc::default());
        let fence = Arc::new(Fence::new(Layout::DEFAULT, Monotonic::default()));
        fence.renew(Duration::from_hours(1_000_000));
        let link = Arc::new(Mutex::new(Link::new(api_server.connect("kanary"), 1)));
        let (opener, reader, network) = (sink.clone(), sink.clone(), link.clone());
        let source = Source {
            open: Box::new(move || CachePart::open(&opener)),
            watch: Box::new(move |shards| {
                let heartbeat = Heartbeat::default();
                let api: Api<Service> = Api::all(Client::new(network.lock().unwrap().clone(), "default"));
                let watch = Watch {
                    route: Route::Slots(Layout::DEFAULT, Arc::new(shards.clone())),
                    selector: Some(Layout::DEFAULT.selector(shards.keys().copied())),
                    sink: reader.clone(),
                    heartbeat: heartbeat.clone(),
                };
                Watches {
                    heartbeats: vec![heartbeat],
                    run: objects(api, watch).boxed(),
                }
            }),
        };
        let shards = Served::new(fence.clone(), source, Box::new(|_| {}), Arc::default());
        let served = Arc::new(shards);
        let sharing = tokio::spawn(served.clone().share());
        test(Rig {
            cluster,
            server: api_server,
            sink,
            fence,
            served,
            link,
            sharing,
        })
        .await;
    });
}

/// The first slot of a shard.
fn label(shard: u16) -> String {
    let slot: &Slot = &Layout::DEFAULT.slots(shard).start().to_owned();
    slot.to_string()
}

impl Rig {
    fn own(&self, shard: u16) {
        self.served.start(shard);
        self.fence.take(shard, 1);
        self.served.open(shard);
    }

    /// Owns these shards, which then share their watches.
    async fn settle(&self, shards: impl IntoIterator<Item = u16>) {
        for shard in shards {
            self.own(shard);
        }
        sleep(SETTLED).await;
        assert_eq!(self.watches(), 1);
    }

    fn create(&self, name: &str, shard: u16) {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "default", "labels": {SLOT: label(shard)}},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80}]},
        }))
        .unwrap();
        self.cluster.create("user", &service).unwrap();
    }

    async fn label(&self, name: &str, label: &str) {
        let api: Api<Service> = Api::namespaced(self.server.client("user"), "default");
        let patch = Patch::Merge(json!({"metadata": {"labels": {SLOT: label}}}));
        api.patch(name, &PatchParams::default(), &patch).await.unwrap();
        sleep(SECOND).await;
    }

    fn delete(&self, name: &str) {
        let place = ("default".to_owned(), name.to_owned());
        self.cluster
            .delete("user", "services", &place, &DeleteOptions::default())
            .unwrap();
    }

    /// What is in the cache.
    fn known(&self) -> Vec<String> {
        let places = Service::places(&self.sink.cache);
        places.into_iter().map(|((_, name), _)| name).collect()
    }

    /// How many watches run.
    fn watches(&self) -> usize {
        let mut watches = 0;
        self.served.each_pulse(|_| watches += 1);
        watches
    }

    /// Gives the watches that start from now on another network, and returns it.
    fn another_network(&self) -> Link {
        let other = Link::new(self.server.connect("kanary"), 2);
        *self.link.lock().unwrap() = other.clone();
        other
    }
}

#[test]
fn settled_shards_share_their_watches_and_lose_nothing() {
    run(async |rig| {
        rig.create("early", 0);
        for shard in 0..4 {
            rig.own(shard);
        }
        sleep(SECOND).await;
        assert_eq!((rig.watches(), rig.known()), (4, vec!["early".to_owned()]));
        sleep(SETTLED).await;
        assert_eq!(rig.watches(), 1);
        rig.create("late", 3);
        sleep(SECOND).await;
        assert_eq!(rig.known(), ["early", "late"]);
        rig.delete("early");
        sleep(SECOND).await;
        assert_eq!(rig.known(), ["late"]);
    });
}

#[test]
fn shards_that_keep_moving_keep_their_own_watches() {
    run(async |rig| {
        for shard in 0..12 {
            rig.own(shard);
            sleep(SECOND * 9).await;
        }
        assert_eq!(rig.watches(), 12);
        sleep(SETTLED).await;
        assert_eq!(rig.watches(), 1);
    });
}

#[test]
fn a_shard_of_another_replica_keeps_its_own_watches() {
    run(async |rig| {
        rig.served.start(9);
        rig.own(0);
        rig.own(1);
        sleep(SETTLED).await;
        assert_eq!((rig.watches(), rig.served.ready()), (2, BTreeSet::from([9])));
    });
}

#[test]
fn a_shard_that_goes_takes_its_objects_along_and_what_is_still_reported_is_ignored() {
    run(async |rig| {
        rig.create("goes", 0);
        rig.create("stays", 1);
        rig.settle(0..3).await;
        rig.served.stop(0);
        rig.fence.give(0);
        assert_eq!(rig.known(), ["stays"]);
        rig.create("new", 0);
        rig.create("more", 2);
        sleep(SECOND).await;
        assert_eq!(
            (rig.watches(), rig.known()),
            (1, vec!["more".to_owned(), "stays".to_owned()])
        );

        // It comes again before the shared watches are replaced.
        rig.own(0);
        sleep(SECOND).await;
        assert_eq!(rig.watches(), 2);
        assert_eq!(rig.known(), ["goes", "more", "new", "stays"]);
        rig.served.stop(0);
        rig.fence.give(0);
        sleep(SETTLED).await;
        assert_eq!(
            (rig.watches(), rig.known()),
            (1, vec!["more".to_owned(), "stays".to_owned()])
        );
        rig.own(0);
        sleep(SETTLED).await;
        rig.delete("goes");
        sleep(SECOND).await;
        assert_eq!((rig.watches(), rig.known().len()), (1, 3));
    });
}

#[test]
fn watches_are_replaced_only_after_the_new_ones_follow() {
    run(async |rig| {
        rig.create("old", 0);
        rig.create("doomed", 0);
        rig.settle(0..2).await;
        rig.own(2);
        sleep(SECOND).await;
        let other = rig.another_network();
        other.set_line(Line::Frozen);
        sleep(SETTLED).await;
        // The new ones are stuck. The others still do their work.
        assert_eq!(rig.watches(), 3);
        rig.create("new", 0);
        rig.delete("doomed");
        sleep(SECOND).await;
        assert_eq!(rig.known(), ["new", "old"]);
        other.set_line(Line::Up);
        sleep(Duration::from_mins(1)).await;
        assert_eq!(
            (rig.watches(), rig.known()),
            (1, vec!["new".to_owned(), "old".to_owned()])
        );
        rig.delete("new");
        rig.create("last", 2);
        sleep(SECOND).await;
        assert_eq!(rig.known(), ["last", "old"]);
    });
}

#[test]
fn what_went_unnoticed_is_gone_when_the_new_watches_have_listed() {
    run(async |rig| {
        rig.create("doomed", 0);
        rig.create("stays", 0);
        rig.settle(0..2).await;
        let frozen = rig.link.lock().unwrap().clone();
        rig.another_network();
        frozen.set_line(Line::Frozen);
        rig.delete("doomed");
        rig.own(2);
        sleep(SECOND).await;
        assert_eq!(rig.known(), ["doomed", "stays"]);
        sleep(SETTLED).await;
        assert_eq!((rig.watches(), rig.known()), (1, vec!["stays".to_owned()]));
        // What the former watches have not delivered yet changes nothing.
        frozen.set_line(Line::Up);
        sleep(SECOND).await;
        assert_eq!(rig.known(), ["stays"]);
    });
}

#[test]
fn shared_watches_that_stall_are_noticed_and_start_anew() {
    run(async |rig| {
        rig.settle(0..2).await;
        let oldest = || {
            let mut oldest = Duration::ZERO;
            rig.served.each_pulse(|pulse| oldest = oldest.max(pulse.age()));
            oldest
        };
        rig.link.lock().unwrap().set_line(Line::Dark);
        sleep(Duration::from_secs(80)).await;
        assert!(oldest() > Duration::from_mins(1), "{:?}", oldest());
        sleep(Duration::from_secs(30)).await;
        assert_eq!(rig.sink.metrics.watch_stalls.get(), 1);
        rig.create("new", 1);
        rig.link.lock().unwrap().set_line(Line::Up);
        sleep(Duration::from_mins(1)).await;
        assert_eq!(rig.known(), ["new"]);
    });
}

#[test]
fn an_object_that_changes_its_shard_stays_and_one_that_has_none_goes() {
    run(async |rig| {
        rig.create("moves", 0);
        // All shards, which are selected by the mere presence of the label.
        rig.settle(0..32).await;
        rig.label("moves", &label(5)).await;
        assert_eq!(rig.known(), ["moves"]);
        rig.served.stop(0);
        assert_eq!(rig.known(), ["moves"]);
        rig.label("moves", &label(0)).await;
        assert_eq!(rig.known(), Vec::<String>::new(), "the part of this shard is closed");
        rig.label("moves", &label(5)).await;
        assert_eq!(rig.known(), ["moves"]);
        rig.label("moves", "zz").await;
        assert_eq!(rig.known(), Vec::<String>::new());
        rig.label("moves", &label(6)).await;
        assert_eq!(rig.known(), ["moves"]);
        rig.served.stop(6);
        assert_eq!(rig.known(), Vec::<String>::new());
    });
}

#[test]
fn all_kanaries_of_a_shard_are_known_once_they_were_listed_under_its_epoch() {
    run(async |rig| {
        rig.own(0);
        sleep(SECOND).await;
        assert!(
            !rig.fence.is_listed(0, 1),
            "the list may have begun before the shard was taken"
        );
        sleep(SETTLED).await;
        assert!(rig.fence.is_listed(0, 1));
        // It is taken again: another replica may have owned it meanwhile.
        rig.fence.take(0, 2);
        rig.served.open(0);
        assert!(!rig.fence.is_listed(0, 2));
        sleep(SETTLED).await;
        assert!(rig.fence.is_listed(0, 2));
        assert_eq!(rig.watches(), 1);
    });
}
