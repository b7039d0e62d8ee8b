//! What watches put into the cache, and which of it goes when.

use super::*;

#[test]
fn what_a_watch_put_into_the_cache_goes_with_it() {
    run(async |rig| {
        rig.create("a", "a");
        rig.create("b", "b");
        let (a, b) = (
            rig.start_behind(&rig.link, Some("shard=a")),
            rig.start_behind(&rig.link, Some("shard=b")),
        );
        sleep(MINUTE).await;
        assert_eq!(rig.known(), ["a", "b"]);
        a.drop().await;
        assert_eq!(rig.known(), ["b"]);
        b.drop().await;
        assert_eq!(rig.known(), Vec::<String>::new());
    });
}

#[test]
fn a_kanary_of_a_watch_that_is_dropped_is_looked_at_once_more() {
    run(async |rig| {
        let kanary = json!({
            "metadata": {"name": "batman", "namespace": "shop", "uid": "u", "resourceVersion": "1"},
            "spec": {"deploymentName": "app"},
        });
        let all = json!({"metadata": {"resourceVersion": "9"}, "items": [kanary]});
        let client = scripted(&Log::default(), move |watch| {
            if watch { (500, Value::Null) } else { (200, all.clone()) }
        });
        let kind = KanaryKind::Deployment;
        let heartbeat = Heartbeat::default();
        let watch = watch(&rig.sink, None, &heartbeat);
        let task = tokio::spawn(kanaries(kind, Api::all_with(client, &kind), watch));
        heartbeat.wait().await;
        let [key] = rig.sink.queue.ready().await.try_into().unwrap();
        assert!(rig.sink.cache.kanary(&key).is_some());
        rig.sink.queue.done(&key, None);
        assert!(rig.sink.queue.is_empty());
        Running { heartbeat, task }.drop().await;
        assert!(rig.sink.cache.kanary(&key).is_none());
        assert_eq!(rig.sink.queue.ready().await, [key]);
    });
}

#[test]
fn two_watches_of_one_kind_do_not_remove_each_others() {
    run(async |rig| {
        rig.create("a", "a");
        rig.create("b", "b");
        let other = Link::new(rig.server.connect("kanary"), 2);
        let _a = rig.start_behind(&rig.link, Some("shard=a"));
        let _b = rig.start_behind(&other, Some("shard=b"));
        sleep(MINUTE).await;
        rig.outage(async || rig.label("a", "c").await).await;
        assert_eq!((rig.known(), rig.lists().len()), (vec!["b".to_owned()], 3));
    });
}

#[test]
fn an_object_that_moves_from_watch_to_watch_stays_whichever_reports_it_first() {
    run(async |rig| {
        rig.create("moves", "a");
        let other = Link::new(rig.server.connect("kanary"), 2);
        let a = rig.start_behind(&rig.link, Some("shard=a"));
        let _b = rig.start_behind(&other, Some("shard=b"));
        sleep(Duration::from_secs(1)).await;
        for (late, shard) in [(&rig.link, "b"), (&rig.link, "a"), (&other, "b"), (&other, "a")] {
            late.set_line(Line::Frozen);
            rig.label("moves", shard).await;
            sleep(Duration::from_secs(1)).await;
            late.set_line(Line::Up);
            sleep(Duration::from_secs(1)).await;
            assert_eq!(rig.known(), ["moves"], "to {shard}");
        }
        // Missed by the one, and then listed.
        rig.outage(async || rig.label("moves", "b").await).await;
        assert_eq!((rig.known(), rig.lists().len()), (vec!["moves".to_owned()], 3));
        a.drop().await;
        assert_eq!(rig.known(), ["moves"]);
    });
}

#[test]
fn what_only_a_reply_brought_goes_with_the_next_list() {
    run(async |rig| {
        let running = rig.start();
        running.heartbeat.wait().await;
        let mut late = service("gone-long-ago", "a");
        late.metadata.resource_version = Some("1".to_owned());
        KubeService::put(&rig.sink.cache, &late);
        let mut newer = service("just-written", "a");
        newer.metadata.resource_version = Some("1000000".to_owned());
        KubeService::put(&rig.sink.cache, &newer);
        rig.outage(async || {
            rig.create("b", "a");
            rig.delete("b");
        })
        .await;
        assert_eq!((rig.known(), rig.lists().len()), (vec!["just-written".to_owned()], 2));
    });
}

#[test]
fn an_object_that_cannot_be_read_does_not_stop_a_watch() {
    let log = Log::default();
    run(async |rig| {
        let client = scripted(&log, |watch| {
            let odd = json!({
                "metadata": {"name": "odd", "namespace": "default", "resourceVersion": "12"}, "spec": {"ports": 3},
            });
            let mut all = list(&["a", "b"], "");
            all["items"].as_array_mut().unwrap().insert(1, odd.clone());
            if watch {
                (200, json!({"type": "MODIFIED", "object": odd}))
            } else {
                (200, all)
            }
        });
        let running = follow(client, None, &rig.sink);
        running.heartbeat.wait().await;
        assert_eq!(known(&rig.sink), ["a", "b"]);
        sleep(MINUTE).await;
        assert_eq!(asked(&log, false).len(), 1);
        let log = log.lock().unwrap();
        assert!(
            log.last().unwrap().1.contains("resourceVersion=12"),
            "it goes on behind it: {log:?}"
        );
    });
}
