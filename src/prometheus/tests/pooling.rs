//! Queries of many Kanaries, in virtual time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use kanary_core::validation::Answer;
use tokio::time::{Instant, sleep};

use super::{
    super::{Budget, FleetShare},
    servers::{Servers, alone, answers as is_to, ask, ask_all, at, from},
};

#[tokio::test(start_paused = true)]
async fn a_server_gets_so_many_queries_per_second_and_at_a_time() {
    let servers = Servers::new();
    let prometheus = servers.prometheus(Budget {
        concurrency: 5,
        ..alone()
    });
    let asked = (0..100).map(|number| ask("shop", "fast", format!("q{number}"), from(0, 1)));
    ask_all(&prometheus, asked.collect()).await;
    let got = servers.got();
    assert_eq!(got.len(), 100);
    // 20 per second, and two at the beginning.
    for (index, got) in got.iter().enumerate() {
        let slot = u64::try_from(index.saturating_sub(1)).unwrap();
        assert!(got.after >= Duration::from_millis(50 * slot), "{index}: {got:?}");
    }
    assert!(servers.start.elapsed() < Duration::from_millis(5100));
    let asked = (0..30).map(|number| ask("shop", "slow", format!("q{number}"), from(0, 1)));
    ask_all(&prometheus, asked.collect()).await;
    assert_eq!(servers.busy.lock().unwrap()["slow"], (0, 5));
}

#[tokio::test(start_paused = true)]
async fn a_replica_gets_the_part_of_the_limits_that_it_has_of_the_shards() {
    let servers = Servers::new();
    let owned = Arc::new(AtomicU16::new(8));
    let source = owned.clone();
    let prometheus = servers.prometheus(Budget {
        share: FleetShare::from_source(move || (source.load(Ordering::Relaxed), 32)),
        ..alone()
    });
    let asked = |host: &str| {
        (0..22)
            .map(|number| ask("shop", host, format!("q{number}"), from(0, 1)))
            .collect()
    };
    ask_all(&prometheus, asked("fast")).await;
    // 5 per second, after two at the beginning.
    assert_eq!(servers.start.elapsed(), Duration::from_millis(4010));
    ask_all(&prometheus, asked("slow")).await;
    assert_eq!(servers.busy.lock().unwrap()["slow"].1, 3, "a quarter of ten");
    owned.store(0, Ordering::Relaxed);
    let start = Instant::now();
    ask_all(&prometheus, asked("other")).await;
    assert_eq!(start.elapsed(), Duration::from_millis(32_010), "as with one shard");
}

#[tokio::test(start_paused = true)]
async fn the_earliest_deadline_is_first() {
    let servers = Servers::new();
    let prometheus = servers.prometheus(Budget {
        concurrency: 1,
        ..alone()
    });
    let asked = [("a", 900), ("b", 300), ("c", 500), ("d", 100)];
    let asked = asked.map(|(query, due)| ask("shop", "fast", query, from(0, due)));
    ask_all(&prometheus, asked.to_vec()).await;
    assert_eq!(servers.queries(), ["a", "d", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_floods_a_server_does_not_keep_another_waiting() {
    let servers = Servers::new();
    let prometheus = servers.prometheus(alone());
    // All of them are overdue, and those of the other namespace are not due for five seconds.
    let mut asked: Vec<_> = (0..1000)
        .map(|number| ask("greedy", "fast", format!("g{number}"), from(-5000, 1)))
        .collect();
    asked.extend((0..5).map(|number| ask("calm", "fast", format!("c{number}"), from(0, 5000))));
    let greedy = {
        let prometheus = prometheus.clone();
        tokio::spawn(async move { ask_all(&prometheus, asked).await })
    };
    sleep(Duration::from_secs(6)).await;
    let calm = servers.queries().iter().filter(|query| query.starts_with('c')).count();
    assert_eq!(calm, 5, "{:?}", servers.queries());
    greedy.abort();
}

#[tokio::test(start_paused = true)]
async fn identical_queries_are_sent_once() {
    let servers = Servers::new();
    let prometheus = servers.prometheus(Budget {
        concurrency: 1,
        ..alone()
    });
    let mut asked = vec![ask("a", "slow", "first", from(0, 1))];
    asked.extend((0..10).map(|number| ask(&format!("n{number}"), "slow", "same", from(number * 10, 1000))));
    asked.push(ask("a", "slow", "same", from(5000, 1000)));
    let answers = ask_all(&prometheus, asked).await;
    assert_eq!(servers.queries(), ["first", "same", "same"]);
    let times: Vec<_> = answers.iter().map(|(_, at)| *at).collect();
    assert_eq!(
        (times[1], times[10], times[11]),
        (at(90), at(90), at(5000)),
        "the latest time of all"
    );
    assert!(answers[1..].iter().all(|(answer, _)| is_to(answer, "same")));
    // One that is in flight is shared, too.
    let later = {
        let prometheus = prometheus.clone();
        tokio::spawn(async move { ask_all(&prometheus, vec![ask("a", "slow", "other", from(0, 1000))]).await })
    };
    sleep(Duration::from_millis(500)).await;
    ask_all(&prometheus, vec![ask("b", "slow", "other", from(0, 1))]).await;
    later.await.unwrap();
    assert_eq!(servers.queries().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_query_of_another_that_is_given_up_asks_again() {
    let servers = Servers::new();
    let prometheus = servers.prometheus(alone());
    let query = |namespace: &str| {
        let (prometheus, asked) = (prometheus.clone(), vec![ask(namespace, "slow", "same", from(0, 1000))]);
        tokio::spawn(async move { ask_all(&prometheus, asked).await })
    };
    let first = query("a");
    sleep(Duration::from_millis(100)).await;
    let second = query("b");
    sleep(Duration::from_millis(100)).await;
    first.abort();
    assert!(is_to(&second.await.unwrap()[0].0, "same"));
    assert_eq!(servers.queries(), ["same", "same"]);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_dead_endpoints_of_one_namespace_delay_no_other_namespace() {
    let servers = Servers::new();
    let prometheus = servers.prometheus(Budget::default());
    let dead: Vec<_> = (0..1500)
        .map(|number| ask("hostile", &format!("dead{number}"), "x", from(0, 1)))
        .collect();
    let hostile = {
        let prometheus = prometheus.clone();
        tokio::spawn(async move { ask_all(&prometheus, dead).await })
    };
    sleep(Duration::from_millis(100)).await;
    for round in 0..10 {
        let start = Instant::now();
        let asked = (0..100).map(|number| {
            ask(
                &format!("good{number}"),
                &format!("fast{number}"),
                format!("q{round}"),
                from(0, 1),
            )
        });
        let answers = ask_all(&prometheus, asked.collect()).await;
        assert!(answers.iter().all(|(answer, _)| is_to(answer, &format!("q{round}"))));
        assert!(start.elapsed() <= Duration::from_millis(25), "{:?}", start.elapsed());
        sleep(Duration::from_secs(1)).await;
    }
    // Waiting for a place is not an error: each is given up only after its own ten seconds.
    let answers = hostile.await.unwrap();
    let reported = answers.iter().enumerate().filter(|(number, (answer, _))| {
        *answer == Answer::Unanswered(format!("no answer from http://dead{number} within 10s"))
    });
    assert_eq!(reported.count(), 1500);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_is_left_alone_and_probed_by_one_query() {
    fastrand::seed(1);
    let servers = Servers::new();
    let prometheus = servers.prometheus(alone());
    for round in 0..200 {
        let asked = vec![ask("shop", "down", format!("q{round}"), from(0, 1))];
        let answer = ask_all(&prometheus, asked).await.remove(0).0;
        let Answer::Unanswered(why) = answer else {
            panic!("{answer:?}")
        };
        let is_sent = why.contains("Connection refused") && !why.contains("no query is sent");
        assert_eq!(is_sent, servers.queries().contains(&format!("q{round}")), "{why}");
        if round == 10 {
            let shown = "no query is sent to http://down until the next attempt at ";
            assert!(why.starts_with(shown), "{why}");
            let cause = "Z: 10 of 10 queries failed within 10s: http://down can't be reached: Connection refused";
            assert!(why.ends_with(cause), "{why}");
        }
        sleep(Duration::from_millis(100)).await;
    }
    let sent = servers.queries().len();
    assert!((11..16).contains(&sent), "{sent} of 200 were sent");
    // Others are not affected.
    let answer = ask_all(&prometheus, vec![ask("shop", "fast", "q", from(0, 1))]).await;
    assert!(is_to(&answer[0].0, "q"));
}

#[tokio::test(start_paused = true)]
async fn slow_queries_of_one_namespace_close_the_server_to_no_other_namespace() {
    let servers = Servers::new();
    let prometheus = servers.prometheus(Budget {
        concurrency: 20,
        ..alone()
    });
    let heavy = (0..12).map(|number| ask("hostile", "fast", format!("heavy{number}"), from(0, 1)));
    ask_all(&prometheus, heavy.collect()).await;
    let asked = vec![
        ask("hostile", "fast", "h", from(0, 1)),
        ask("good", "fast", "g", from(0, 1)),
    ];
    let answers = ask_all(&prometheus, asked).await;
    assert!(
        matches!(&answers[0].0, Answer::Unanswered(why) if why.contains("no query is sent")),
        "{answers:?}"
    );
    assert!(is_to(&answers[1].0, "g"), "{answers:?}");
}

#[tokio::test(start_paused = true)]
async fn a_query_that_cannot_be_evaluated_is_no_fault_of_the_server() {
    let servers = Servers::new();
    let prometheus = servers.prometheus(alone());
    let bad = (0..30).map(|number| ask("shop", "fast", format!("bad{number}"), from(0, 1)));
    let answers = ask_all(&prometheus, bad.collect()).await;
    assert!(answers.iter().all(|(answer, _)| matches!(answer, Answer::Rejected(_))));
    assert_eq!(servers.queries().len(), 30);
}

#[tokio::test(start_paused = true)]
async fn every_request_is_counted_with_its_result() {
    let servers = Servers::new();
    let prometheus = servers.prometheus(alone());
    for (host, query, result) in [
        ("fast", "q", "ok"),
        ("fast", "bad", "rejected"),
        ("down", "q", "down"),
        ("dead", "q", "slow"),
    ] {
        assert_eq!(servers.counted(result), 0);
        ask_all(&prometheus, vec![ask("shop", host, query, from(0, 1))]).await;
        assert_eq!(servers.counted(result), 1, "{host}: {query}");
    }
    let page = servers.metrics.encode();
    assert!(
        page.contains("kanary_query_request_duration_seconds_count 4\n"),
        "{page}"
    );
}

#[tokio::test(start_paused = true)]
async fn queries_that_a_breaker_holds_back_are_counted_apart() {
    let servers = Servers::new();
    let prometheus = servers.prometheus(alone());
    for number in 0..20 {
        ask_all(&prometheus, vec![ask("shop", "down", format!("q{number}"), from(0, 1))]).await;
    }
    let (sent, held) = (servers.counted("down"), servers.metrics.queries.held.get());
    assert_eq!(sent + held, 20);
    assert!(sent >= 10 && held > 0, "{sent} were sent, and {held} held back");
}
