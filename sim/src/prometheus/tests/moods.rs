//! A Prometheus server that fails in various ways.

use std::time::Duration;

use futures::FutureExt;
use jiff::SignedDuration;
use tokio::time::{Instant, timeout};

use super::{NOW, Prometheus, Reply, ask, ask_at, form, reply, time, with};
use crate::prometheus::{Mood, Refused};

fn moody(mood: Mood) -> Prometheus {
    let prometheus = with(&[("up{pod=\"a\"}", 1.0)]);
    prometheus.set_mood(mood);
    prometheus
}

fn answer(mood: Mood, query: &str) -> (u16, &'static str, String) {
    let Reply {
        status,
        content_type,
        body,
    } = reply(&moody(mood), &form(query));
    (status, content_type, String::from_utf8(body.to_vec()).unwrap())
}

#[test]
fn nobody_listens_when_it_is_dead() {
    let prometheus = moody(Mood::Dead);
    let refused = prometheus
        .answer("/api/v1/query", "query=up", time(NOW))
        .now_or_never()
        .unwrap();
    assert_eq!(refused, Err(Refused));
    assert_eq!(prometheus.queries(), 0);
    prometheus.set_mood(Mood::Healthy);
    assert_eq!(reply(&prometheus, "query=up").status, 200);
}

#[test]
fn a_status_is_answered_with_its_body() {
    let (status, content_type, body) = answer(Mood::Status(503, "overloaded".to_owned()), "up");
    assert_eq!(
        (status, content_type, body.as_str()),
        (503, "text/plain; charset=utf-8", "overloaded")
    );
    let (_, content_type, _) = answer(Mood::Status(200, "{}".to_owned()), "up");
    assert_eq!(content_type, "application/json");
}

#[test]
fn html_and_garbage_are_successes_that_say_nothing() {
    let (status, content_type, body) = answer(Mood::Html, "up");
    assert_eq!((status, content_type), (200, "text/html; charset=utf-8"));
    assert!(body.starts_with("<!doctype html>"));
    let (status, _, body) = answer(Mood::Garbage, "up");
    assert_eq!(status, 200);
    assert!(serde_json::from_str::<serde_json::Value>(&body).unwrap_err().is_eof());
}

#[test]
fn empty_and_nan_answer_without_a_number() {
    let (_, _, body) = answer(Mood::Empty, "up");
    assert_eq!(
        body,
        r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#
    );
    let (_, _, body) = answer(Mood::Nan, "up");
    assert!(body.contains(r#""pod":"a"},"value":[1600000000,"NaN"]"#), "{body}");
    let (_, _, body) = answer(Mood::Nan, "up[2s]");
    assert!(body.contains(r#"[[1599999999,"NaN"],[1600000000,"NaN"]]"#), "{body}");
    assert_eq!(answer(Mood::Empty, "sum(").0, 400);
}

#[test]
fn one_series_may_be_missing_or_without_a_number() {
    let prometheus = with(&[("up{pod=\"a\"}", 1.0), ("up{pod=\"b\"}", 2.0)]);
    for (mood, expected) in [
        (Mood::Infinite, "up{pod=a} +Inf; up{pod=b} +Inf"),
        (Mood::OneNan(3), "up{pod=a} 1; up{pod=b} NaN"),
        (Mood::OneInfinite(0), "up{pod=a} -Inf; up{pod=b} 2"),
        (Mood::Without(2), "up{pod=b} 2"),
    ] {
        prometheus.set_mood(mood.clone());
        assert_eq!(ask(&prometheus, "up"), expected, "{mood:?}");
        assert_eq!(ask(&prometheus, "vector(1) == 2"), "", "{mood:?}");
    }
}

#[test]
fn a_note_beside_a_result_stands_beside_it() {
    for (mood, said) in [
        (Mood::Partial, r#","isPartial":true}"#),
        (
            Mood::Warning("a \"store\"".to_owned()),
            r#","warnings":["a \"store\""]}"#,
        ),
        (Mood::Info("x".to_owned()), r#","infos":["x"]}"#),
    ] {
        let (status, _, body) = answer(mood, "up");
        let plain = answer(Mood::Healthy, "up").2;
        assert_eq!(
            (status, body),
            (200, format!("{}{said}", plain.strip_suffix('}').unwrap()))
        );
    }
}

#[test]
fn a_clock_that_is_ahead_shows_what_was_earlier_and_one_that_is_behind_what_was_last() {
    let prometheus = Prometheus::new();
    prometheus.set("requests", time(NOW - 100), 0.0, 1.0).unwrap();
    let at = |skew: i64, seconds: i64| {
        prometheus.set_skew(SignedDuration::from_secs(skew));
        ask_at(&prometheus, NOW + seconds, "requests")
    };
    assert_eq!(at(0, 0), "requests{} 100");
    assert_eq!(
        (at(30, 0), at(30, -10)),
        ("requests{} 70".to_owned(), "requests{} 60".to_owned())
    );
    assert_eq!(at(120, 0), "", "the series did not exist yet");
    assert_eq!(
        (at(-30, 0), at(-30, -40)),
        ("requests{} 100".to_owned(), "requests{} 90".to_owned())
    );
    assert_eq!(at(-300, 0), "", "the last sample is stale");
    assert_eq!(prometheus.shows(time(NOW)), time(NOW - 300));
}

#[test]
fn two_servers_of_the_same_series_have_moods_of_their_own() {
    let one = moody(Mood::Empty);
    let other = one.beside();
    assert_eq!(
        (ask(&one, "up"), ask(&other, "up")),
        (String::new(), "up{pod=a} 1".to_owned())
    );
    assert_eq!((one.queries(), other.queries()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_slow_one_answers_after_its_time() {
    let prometheus = moody(Mood::Slow(Duration::from_secs(7)));
    let begun = Instant::now();
    let reply = prometheus
        .answer("/api/v1/query", "query=up&timeout=9000ms", time(NOW))
        .await;
    assert_eq!(reply.unwrap().status, 200);
    assert_eq!(begun.elapsed(), Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn a_slow_one_gives_up_at_the_timeout_of_the_query() {
    let prometheus = moody(Mood::Slow(Duration::from_mins(5)));
    for (parameters, seconds) in [
        ("query=up&timeout=9s", 9),
        ("query=up&timeout=1.5e1", 15),
        ("query=up", 120),
    ] {
        let begun = Instant::now();
        let reply = prometheus.answer("/api/v1/query", parameters, time(NOW)).await.unwrap();
        assert_eq!(reply.status, 503);
        assert!(
            std::str::from_utf8(&reply.body)
                .unwrap()
                .contains("\"errorType\":\"timeout\"")
        );
        assert_eq!(begun.elapsed(), Duration::from_secs(seconds), "{parameters}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_never_answers() {
    let prometheus = moody(Mood::Hanging);
    let answer = prometheus.answer("/api/v1/query", "query=up", time(NOW));
    assert!(timeout(Duration::from_hours(24), answer).await.is_err());
    assert_eq!(prometheus.queries(), 1, "the server accepted the query");
}
