//! Joined queries, in virtual time.

use std::{collections::BTreeMap, time::Duration};

use jiff::SignedDuration;
use kanary_core::{
    trace::{SpanId, TraceId, TraceParent},
    validation::{Answer, promql::JOINED},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    super::Budget,
    open,
    servers::{Servers, answers as is_to, ask, ask_all, at, from},
};

/// One request at a time, so that the others wait and are joined.
fn narrow() -> Budget {
    Budget {
        concurrency: 1,
        ..Budget::default()
    }
}

fn joined(query: &str) -> usize {
    // The witness is marked, too.
    query.matches(JOINED).count().saturating_sub(1)
}

#[tokio::test(start_paused = true)]
async fn queries_that_wait_for_the_same_server_share_a_few_requests() {
    let servers = Servers::new();
    let prometheus = servers.prometheus(narrow());
    let asked = (0..101).map(|number| ask(&format!("n{number}"), "fast", format!("q{number}"), from(number, 1000)));
    let replies = ask_all(&prometheus, asked.collect()).await;
    for (number, (answer, time)) in replies.iter().enumerate() {
        assert!(is_to(answer, &format!("q{number}")), "{answer:?}");
        let asked = at(i64::try_from(number).unwrap());
        assert!(
            asked <= *time && *time < asked + Duration::from_secs(1),
            "{number}: {time}"
        );
    }
    let sizes: Vec<_> = servers.queries().iter().map(|query| joined(query)).collect();
    assert_eq!(sizes, [0, 32, 32, 32, 4]);
    let first = &servers.got()[1];
    assert_eq!((first.host.as_str(), first.time), ("fast", at(32)));
}

#[tokio::test(start_paused = true)]
async fn a_joined_request_names_one_span_and_the_others_are_told_which() {
    let servers = Servers::new();
    let prometheus = servers.prometheus(narrow());
    let parent = |number: u8| TraceParent {
        trace: TraceId([number + 1; 16]),
        span: SpanId([number + 1; 8]),
        sampled: true,
    };
    let mut asking = JoinSet::new();
    for number in 0..5 {
        let prometheus = prometheus.clone();
        asking.spawn(async move {
            let endpoint = open("http://fast");
            // The first two ask the same.
            let query = format!("q{}", number.max(1));
            let when = from(i64::from(number), 1000);
            let reply = prometheus.query(Some(parent(number)), "shop", &endpoint, &query, when);
            (number, reply.await.sent_by.unwrap())
        });
    }
    let replies: BTreeMap<_, _> = asking.join_all().await.into_iter().collect();
    let told: Vec<_> = servers.got().into_iter().filter_map(|got| got.parent).collect();
    assert!(told.len() < 5, "{told:?}");
    for (number, sent_by) in &replies {
        assert!(
            told.contains(&sent_by.to_string()),
            "{number}: {sent_by} is not in {told:?}"
        );
    }
    for sent_by in replies.values() {
        // Whoever sends a request gets its own span back.
        assert_eq!(replies[&(sent_by.span.0[0] - 1)], *sent_by);
    }
    let untraced = prometheus
        .query(None, "shop", &open("http://fast"), "q9", from(9, 1000))
        .await;
    assert_eq!(untraced.sent_by, None);
    assert_eq!(servers.got().last().unwrap().parent, None);
}

#[tokio::test(start_paused = true)]
async fn only_the_query_that_cannot_be_evaluated_gets_the_error() {
    let servers = Servers::new();
    let prometheus = servers.prometheus(narrow());
    let asked = |round: i64| {
        let query = |number| match number {
            17 => "bad".to_owned(),
            number => format!("q{number}"),
        };
        (0..33)
            .map(move |number| ask("shop", "fast", query(number), from(round, 1000)))
            .collect::<Vec<_>>()
    };
    for round in 0..2 {
        let before = servers.queries().len();
        let replies = ask_all(&prometheus, asked(round)).await;
        for (number, (answer, _)) in replies.iter().enumerate() {
            match number {
                17 => assert!(matches!(answer, Answer::Rejected(why) if why.contains("cannot be evaluated"))),
                number => assert!(is_to(answer, &format!("q{number}")), "{answer:?}"),
            }
        }
        let sizes: Vec<_> = servers.queries()[before..].iter().map(|query| joined(query)).collect();
        if round == 0 {
            // The first one, all others, and two halves each time.
            assert_eq!(sizes.len(), 2 + 10, "{sizes:?}");
        } else {
            assert_eq!(sizes, [32, 0], "it is not joined again");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn queries_for_times_that_do_not_overlap_are_not_joined() {
    let servers = Servers::new();
    let prometheus = servers.prometheus(narrow());
    let times = [(0, 1), (0, 100), (99, 100), (150, 10), (170, 9000), (1300, 9000)];
    let asked = times.iter().enumerate();
    let asked = asked.map(|(number, (at, length))| ask("shop", "fast", format!("q{number}"), from(*at, *length)));
    let replies = ask_all(&prometheus, asked.collect()).await;
    let times: Vec<_> = replies.into_iter().map(|(_, time)| time).collect();
    assert_eq!(times, [0, 99, 99, 150, 170, 1300].map(at));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_know_joined_queries_is_asked_one_by_one() {
    let servers = Servers::new();
    let prometheus = servers.prometheus(narrow());
    for round in 0..2 {
        let asked = (0..9).map(|number| ask("shop", "odd", format!("q{number}"), from(round, 1000)));
        let replies = ask_all(&prometheus, asked.collect()).await;
        for (number, (answer, _)) in replies.iter().enumerate() {
            assert!(is_to(answer, &format!("q{number}")), "{answer:?}");
        }
    }
    let queries = servers.queries();
    assert_eq!(queries.iter().filter(|query| !query.contains(JOINED)).count(), 18);
    assert!(!queries[queries.len() - 9..].iter().any(|query| query.contains(JOINED)));
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_spoils_a_joined_query_is_joined_with_itself_only() {
    let servers = Servers::new();
    let prometheus = servers.prometheus(narrow());
    for round in 0..2 {
        let names = ["good", "good", "spoiler", "good", "spoiler"].iter().enumerate();
        let asked = names.map(|(number, namespace)| {
            let text = if round == 0 && number == 2 {
                "bad".to_owned()
            } else {
                format!("{namespace}{number}")
            };
            ask(namespace, "fast", text, from(round, 1000))
        });
        ask_all(&prometheus, asked.collect()).await;
    }
    let last: Vec<_> = servers.queries().into_iter().rev().take(2).collect();
    assert!(
        last.iter()
            .all(|query| !(query.contains("good") && query.contains("spoiler"))),
        "{last:?}"
    );
}

/// Ten thousand Kanaries, each measured every twenty seconds.
#[tokio::test(start_paused = true)]
async fn five_hundred_measurements_per_second_take_twenty_requests_per_second_and_wait_for_none() {
    let servers = Servers::new();
    let prometheus = servers.prometheus(Budget::default());
    let start = Instant::now();
    let mut all = JoinSet::new();
    for number in 0..10_000 {
        let prometheus = prometheus.clone();
        all.spawn(async move {
            let due = start + Duration::from_millis(2) * number;
            sleep_until(due).await;
            let (query, when) = (format!("q{number}"), from(2 * i64::from(number), 20_000));
            let asked = vec![ask(&format!("n{}", number % 100), "fast", query.clone(), when)];
            let (answer, time) = ask_all(&prometheus, asked).await.remove(0);
            assert!(is_to(&answer, &query), "{answer:?}");
            (time.duration_since(when.at), due.elapsed())
        });
    }
    let measured = all.join_all().await;
    let shift = measured.iter().map(|(shift, _)| *shift).max().unwrap();
    let wait = measured.iter().map(|(_, wait)| *wait).max().unwrap();
    let requests = servers.queries().len();
    assert!(requests <= 10_000 / 24, "{requests} requests");
    assert!(wait <= Duration::from_millis(250), "{wait:?}");
    assert!(shift <= SignedDuration::from_millis(250), "{shift:?}");
}
