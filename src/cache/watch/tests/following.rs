//! Lists, watches, and what goes wrong with them.

use std::io;

use futures::stream;

use super::*;

/// An API server whose watches say nothing for `life`, and end then, or break.
fn quiet(log: &Log, life: Duration, breaks: bool) -> Client {
    let log = log.clone();
    let service = service_fn(move |request: Request<Body>| {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let is_watch = query.contains("watch=true");
        log.lock().unwrap().push((Instant::now(), query));
        let body = async move {
            if !is_watch {
                return Ok(list(&["a"], "").to_string());
            }
            sleep(life).await;
            if breaks {
                Err(io::Error::other("reset by peer"))
            } else {
                Ok(String::new())
            }
        };
        let body = reqwest::Body::wrap_stream(stream::once(body));
        std::future::ready(Response::builder().body(body))
    });
    Client::new(service, "default")
}

#[test]
fn a_list_comes_in_pages() {
    run(async |rig| {
        for number in 0..1001 {
            rig.create(&format!("s{number}"), "a");
        }
        let running = rig.start();
        assert!(!running.heartbeat.get());
        running.heartbeat.wait().await;
        assert_eq!((rig.known().len(), rig.lists().len()), (1001, 3));
        rig.create("one-more", "a");
        rig.delete("s7");
        sleep(MINUTE).await;
        assert_eq!(rig.known().len(), 1001);
        assert!(rig.known().contains(&"one-more".to_owned()));
    });
}

#[test]
fn a_list_that_expires_between_two_pages_begins_anew() {
    let log = Log::default();
    run(async |rig| {
        let pages = AtomicU64::new(0);
        let client = scripted(&log, move |watch| {
            match (watch, pages.fetch_add(1, Ordering::Relaxed)) {
                (false, 0) => (200, list(&["a"], "more")),
                (false, 1) => (410, gone()),
                (false, _) => (200, list(&["b"], "")),
                (true, _) => (500, Value::Null),
            }
        });
        let running = follow(client, None, &rig.sink);
        running.heartbeat.wait().await;
        assert_eq!(known(&rig.sink), ["b"], "what was only on the first page is gone");
        let log = log.lock().unwrap();
        let continued: Vec<_> = log.iter().map(|(_, query)| query.contains("continue=more")).collect();
        assert_eq!(continued[..3], [false, true, false]);
    });
}

#[test]
fn a_watch_goes_on_from_its_last_bookmark() {
    run(async |rig| {
        rig.create("mine", "a");
        rig.create("other", "b");
        let running = rig.start_behind(&rig.link, Some("shard=a"));
        for _ in 0..20 {
            sleep(MINUTE).await;
            // More changes than are remembered, and all of them to what is not selected.
            for number in 0..3 {
                rig.label("other", &format!("b{number}")).await;
            }
        }
        let watches = rig.watches();
        assert_eq!((rig.lists().len(), rig.known()), (1, vec!["mine".to_owned()]));
        let terms: Vec<_> = watches.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(terms.len() >= 12, "{terms:?}");
        let usual = MINUTE..=Duration::from_secs(91);
        assert!(terms.iter().all(|term| usual.contains(term)), "{terms:?}");
        assert_eq!(running.heartbeat.restarts(), 0);
        assert!(running.heartbeat.age() <= MINUTE);
    });
}

#[test]
fn what_went_while_nothing_got_through_is_removed() {
    run(async |rig| {
        rig.create("stays", "a");
        rig.create("goes", "a");
        let running = rig.start();
        running.heartbeat.wait().await;
        rig.outage(async || rig.delete("goes")).await;
        assert_eq!((rig.known(), rig.lists().len()), (vec!["stays".to_owned()], 2));
        rig.outage(async || ()).await;
        assert_eq!(rig.lists().len(), 2, "nothing was missed, so nothing is listed");
    });
}

#[test]
fn a_watch_that_has_expired_lists_at_once_but_never_twice_in_a_row() {
    let log = Log::default();
    run(async |rig| {
        let watches = AtomicU64::new(0);
        let client = scripted(&log, move |watch| {
            // The first watch has something to tell, the others have not.
            match (watch, watch && watches.fetch_add(1, Ordering::Relaxed) == 0) {
                (false, _) => (200, list(&["a"], "")),
                (true, true) => (
                    200,
                    json!({"type": "BOOKMARK", "object": {
                        "apiVersion": "v1", "kind": "Service", "metadata": {"resourceVersion": "9"},
                    }}),
                ),
                (true, false) => (200, json!({"type": "ERROR", "object": gone()})),
            }
        });
        let running = follow(client, None, &rig.sink);
        sleep(Duration::from_hours(1)).await;
        let lists = asked(&log, false);
        assert!(lists.len() > 60 && lists.len() < 300, "{}", lists.len());
        let (last, first) = (lists[lists.len() - 1], lists[1]);
        assert!(last - first > Duration::from_mins(50));
        assert!(running.heartbeat.restarts() >= 60);
    });
}

#[test]
fn a_stalled_watch_is_noticed_and_started_anew() {
    run(async |rig| {
        let running = rig.start();
        running.heartbeat.wait().await;
        sleep(Duration::from_secs(5)).await;
        rig.link.set_line(Line::Dark);
        rig.create("a", "a");
        sleep(MINUTE).await;
        assert_eq!((rig.watches().len(), rig.sink.metrics.watch_stalls.get()), (1, 0));
        sleep(Duration::from_secs(45)).await;
        assert_eq!(rig.sink.metrics.watch_stalls.get(), 1);
        assert_eq!(rig.watches().len(), 2);
        let silence = rig.watches()[1] - rig.watches()[0];
        assert!((75..=106).contains(&silence.as_secs()), "{silence:?}");
        assert!(running.heartbeat.age() > Duration::from_secs(100));
        rig.link.set_line(Line::Up);
        sleep(MINUTE).await;
        assert_eq!((rig.known(), rig.lists().len()), (vec!["a".to_owned()], 1));
        assert!(running.heartbeat.age() <= MINUTE);
    });
}

#[test]
fn a_page_that_never_comes_is_given_up() {
    run(async |rig| {
        let mut network_faults = NetworkFaults::default();
        network_faults.faults.hanging = 1.0;
        rig.link.set_network(network_faults);
        let running = rig.start();
        sleep(Duration::from_secs(31)).await;
        rig.link.set_network(NetworkFaults::default());
        assert_eq!(rig.lists().len(), 2);
        let patience = rig.lists()[1] - rig.lists()[0];
        assert!(
            patience >= PATIENCE && patience < PATIENCE + Duration::from_millis(200),
            "{patience:?}"
        );
        sleep(PATIENCE * 2).await;
        assert!(running.heartbeat.get());
    });
}

#[test]
fn an_api_server_that_is_down_is_asked_ever_less() {
    run(async |rig| {
        rig.link.set_line(Line::Refusing);
        let running = rig.start();
        sleep(Duration::from_hours(1)).await;
        let lists = rig.lists();
        // Half of 10 s on average, after the first few.
        assert!((600..=850).contains(&lists.len()), "{}", lists.len());
        for (attempt, two) in lists.windows(2).enumerate() {
            let most = Duration::from_millis(200 << attempt.min(8)).min(Duration::from_secs(10));
            assert!(
                two[1] - two[0] <= most + Duration::from_millis(20),
                "{attempt}: {two:?}"
            );
        }
        assert!(!running.heartbeat.get());
        assert!(running.heartbeat.age() >= Duration::from_hours(1));
        assert_eq!(running.heartbeat.restarts(), rig.sink.metrics.watch_restarts.get());
        rig.link.set_line(Line::Up);
        sleep(MINUTE).await;
        assert!(running.heartbeat.get());
        // What worked makes the next pause a short one.
        let before = rig.watches().len();
        rig.link.set_line(Line::Refusing);
        sleep(Duration::from_millis(500)).await;
        assert!(rig.watches().len() > before + 1);
    });
}

#[test]
fn a_watch_that_always_ends_at_once_is_not_opened_for_ever() {
    let log = Log::default();
    run(async |rig| {
        let client = scripted(&log, |watch| {
            if watch {
                (200, Value::Null)
            } else {
                (200, list(&["a"], ""))
            }
        });
        let _running = follow(client, None, &rig.sink);
        sleep(Duration::from_hours(1)).await;
        assert_eq!(asked(&log, false).len(), 1);
        assert!(asked(&log, true).len() <= 300, "{}", asked(&log, true).len());
    });
}

#[test]
fn a_quiet_watch_that_is_cut_off_goes_on_without_a_pause() {
    for breaks in [false, true] {
        let (log, life) = (Log::default(), Duration::from_secs(40));
        run(async |rig| {
            let _running = follow(quiet(&log, life, breaks), None, &rig.sink);
            sleep(Duration::from_hours(1)).await;
        });
        assert_eq!(asked(&log, false).len(), 1);
        let watches = asked(&log, true);
        assert!(watches.len() >= 89, "{}", watches.len());
        for two in watches.windows(2) {
            let apart = two[1] - two[0];
            assert!(apart <= life + Duration::from_millis(210), "{apart:?}");
        }
    }
}
