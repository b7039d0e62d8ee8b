//! A client behind a bad network.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{PostParams, WatchEvent, WatchParams},
};
use tokio::{
    runtime::Builder,
    time::{Instant, sleep, timeout},
};

use super::*;
use crate::{
    cluster::{Cluster, Options},
    server::Server,
};

fn run<T>(test: impl AsyncFnOnce(Cluster, Link) -> T) -> T {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let cluster = Cluster::new(Options::default());
        let link = Link::new(Server::new(cluster.clone()).connect("me"), 1);
        test(cluster, link).await
    })
}

fn api(link: &Link) -> Api<ConfigMap> {
    Api::namespaced(Client::new(link.clone(), "default"), "default")
}

fn config(name: &str) -> ConfigMap {
    let mut config = ConfigMap::default();
    config.metadata.name = Some(name.to_owned());
    config
}

async fn create(link: &Link, name: &str) -> kube::Result<ConfigMap> {
    api(link).create(&PostParams::default(), &config(name)).await
}

fn names(cluster: &Cluster) -> Vec<String> {
    let configs = cluster.objects("configmaps", None);
    configs.iter().map(|object| object.meta.name.clone()).collect()
}

fn always(change: impl FnOnce(&mut Faults)) -> NetworkFaults {
    let mut network_faults = NetworkFaults::default();
    change(&mut network_faults.faults);
    network_faults
}

#[test]
fn a_request_takes_its_time() {
    run(async |_, link| {
        let before = Instant::now();
        create(&link, "a").await.unwrap();
        let took = before.elapsed();
        assert!(
            took >= Duration::from_millis(2) && took <= Duration::from_millis(21),
            "{took:?}"
        );
    });
}

#[test]
fn a_refusal_says_so_and_does_nothing() {
    run(async |cluster, link| {
        link.set_network(always(|faults| faults.refused = 1.0));
        let mut codes = std::collections::BTreeSet::new();
        for _ in 0..50 {
            let Err(kube::Error::Api(status)) = create(&link, "a").await else {
                panic!("the write was executed")
            };
            codes.insert(status.code);
            if status.code == 429 {
                assert_eq!(status.details.unwrap().retry_after_seconds, 1);
            }
        }
        assert_eq!(codes.into_iter().collect::<Vec<_>>(), [409, 429, 500, 504]);
        assert!(names(&cluster).is_empty());
    });
}

#[test]
fn a_lost_reply_leaves_what_was_done() {
    run(async |cluster, link| {
        link.set_network(always(|faults| faults.lost = 1.0));
        create(&link, "a").await.unwrap_err();
        assert_eq!(names(&cluster), ["a"]);
    });
}

#[test]
fn a_late_request_is_done_after_its_client_gave_up() {
    run(async |cluster, link| {
        link.set_network(always(|faults| faults.late = 1.0));
        timeout(Duration::from_secs(10), create(&link, "a")).await.unwrap_err();
        assert!(names(&cluster).is_empty());
        sleep(Duration::from_secs(21)).await;
        assert_eq!(names(&cluster), ["a"]);
    });
}

#[test]
fn a_client_whose_connections_are_refused_hears_it_at_once() {
    run(async |cluster, link| {
        link.set_line(Line::Refusing);
        let before = Instant::now();
        create(&link, "a").await.unwrap_err();
        assert!(before.elapsed() < Duration::from_secs(1));
        assert!(names(&cluster).is_empty());
    });
}

#[test]
fn what_is_sent_into_the_dark_never_arrives() {
    run(async |cluster, link| {
        link.set_line(Line::Dark);
        let before = Instant::now();
        create(&link, "a").await.unwrap_err();
        assert!(before.elapsed() >= Duration::from_mins(1));
        link.set_line(Line::Up);
        sleep(Duration::from_mins(1)).await;
        assert!(names(&cluster).is_empty());
    });
}

#[test]
fn a_paused_client_sends_nothing_until_it_goes_on() {
    run(async |cluster, link| {
        link.set_line(Line::Frozen);
        timeout(Duration::from_secs(40), create(&link, "a")).await.unwrap_err();
        assert!(names(&cluster).is_empty());
        link.set_line(Line::Up);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(names(&cluster), ["a"]);
    });
}

#[test]
fn a_client_that_dies_has_done_its_last_write_or_not_or_not_yet() {
    for (moment, at_once, later) in [(Moment::Before, 1, 1), (Moment::After, 2, 2), (Moment::Meanwhile, 1, 2)] {
        run(async |cluster, link| {
            link.crash_at(2, moment);
            create(&link, "a").await.unwrap();
            tokio::spawn({
                let link = link.clone();
                async move { create(&link, "b").await }
            });
            link.crashed().await;
            assert_eq!(names(&cluster).len(), at_once, "{moment:?}");
            link.deliver();
            sleep(Duration::from_secs(1)).await;
            assert_eq!(names(&cluster).len(), later, "{moment:?}");
        });
    }
}

/// The names that a watch reports, and whether it ended or broke.
async fn watched(link: &Link) -> Vec<String> {
    let watch = api(link)
        .watch(&WatchParams::default().timeout(290), "0")
        .await
        .unwrap();
    let events = watch.map(|event| match event {
        Ok(WatchEvent::Added(config)) => config.metadata.name.unwrap(),
        Ok(other) => format!("{other:?}"),
        Err(_) => "broken".to_owned(),
    });
    events.collect().await
}

#[test]
fn a_watch_may_be_cut_off() {
    run(async |_, link| {
        create(&link, "a").await.unwrap();
        tokio::spawn({
            let link = link.clone();
            async move {
                sleep(Duration::from_secs(5)).await;
                link.set_line(Line::Refusing);
            }
        });
        assert_eq!(watched(&link).await, ["a", "broken"]);
    });
}

#[test]
fn a_watch_may_live_shortly_and_end_in_any_way() {
    run(async |_, link| {
        let mut network_faults = NetworkFaults::default();
        network_faults.faults.watches = Some(Duration::from_secs(1)..=Duration::from_secs(2));
        link.set_network(network_faults);
        let before = Instant::now();
        let mut ends = std::collections::BTreeSet::new();
        for _ in 0..20 {
            ends.insert(watched(&link).await);
        }
        assert_eq!(
            ends.into_iter().collect::<Vec<_>>(),
            [vec![], vec!["broken".to_owned()]]
        );
        assert!(
            before.elapsed() > Duration::from_secs(30),
            "some watches were silent before they broke"
        );
    });
}

#[test]
fn a_request_may_be_doubled_on_its_way() {
    run(async |cluster, link| {
        link.set_interceptor(Arc::new(|_, body| {
            let text = String::from_utf8(body.to_vec()).unwrap();
            vec![text.replace("\"a\"", "\"b\"").into(), body]
        }));
        let created = create(&link, "a").await.unwrap();
        assert_eq!(created.metadata.name.unwrap(), "a");
        assert_eq!(names(&cluster), ["a", "b"]);
    });
}
