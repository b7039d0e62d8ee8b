use std::{
    future,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Body,
    http::{Response, header},
};
use futures::stream;
use jiff::Timestamp;
use tokio::{
    net::TcpSocket,
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

use super::{
    super::Budget, Answer, Asked, Clock, EMPTY, Limits, When, always, ask, open, prometheus, reply, serve, why,
};

/// With time enough for a machine that is busy with something else.
pub(super) fn patient() -> Limits {
    Limits {
        timeout: Duration::from_hours(1),
        keep_secrets: Duration::from_hours(1),
        read_secrets_again: Duration::from_hours(1),
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_query_is_posted_with_its_time_and_a_timeout() {
    let (seen, mut asked) = mpsc::unbounded_channel();
    let url = serve(move |request: Asked| {
        seen.send(request).unwrap();
        async {
            reply(
                200,
                r#"{"status":"success","data":{"resultType":"scalar","result":[1586724120.5,"3"]}}"#,
            )
        }
    })
    .await;
    let at: Timestamp = "2020-04-12T20:42:00.5Z".parse().unwrap();
    let answer = prometheus(Limits::default())
        .query(
            None,
            "shop",
            &open(&format!("{url}/prefix")),
            "a + b",
            When::exactly(at),
        )
        .await;
    assert_eq!(answer.answer, Answer::Scalar(3.0));
    let asked: Asked = asked.recv().await.unwrap();
    assert_eq!(asked.path, "/prefix/api/v1/query");
    assert_eq!(
        asked.body,
        "query=a+%2B+b&time=2020-04-12T20%3A42%3A00.5Z&timeout=9000ms"
    );
    assert_eq!(
        asked.headers["user-agent"],
        concat!("kanary/", env!("CARGO_PKG_VERSION"))
    );
    assert!(!asked.headers.contains_key("authorization"));
}

#[tokio::test]
async fn vectors_are_answers_whatever_their_values() {
    let prometheus = prometheus(patient());
    assert_eq!(
        ask(&prometheus, &open(&always(200, EMPTY).await)).await,
        Answer::Vector(vec![])
    );
    let nan =
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"pod":"a"},"value":[1,"NaN"]}]}}"#;
    match ask(&prometheus, &open(&always(200, nan).await)).await {
        Answer::Vector(all) => assert!(all[0].value.is_nan() && all[0].labels["pod"] == "a"),
        answer => panic!("{answer:?}"),
    }
}

#[tokio::test]
async fn what_is_no_answer_says_why() {
    let prometheus = prometheus(patient());
    for (status, body, message) in [
        (200, "<html>login</html>", "the answer is HTML, not JSON"),
        (503, "<html>busy</html>", "503 Service Unavailable"),
        (
            503,
            r#"{"status":"error","errorType":"timeout","error":"query timed\nout"}"#,
            "503 Service Unavailable: query timed out",
        ),
        (200, r#"{"status":"success","data":{"resu"#, "not JSON: it is truncated"),
        (
            200,
            r#"{"status":"success","warnings":["store down"],"data":{"resultType":"vector","result":[]}}"#,
            "warnings: store down",
        ),
        (204, "", "not JSON"),
        (401, "", "401 Unauthorized"),
        (401, "no org id\n", "401 Unauthorized: no org id"),
        (404, "404 page not found", "404 Not Found: 404 page not found"),
        (206, EMPTY, "the answer is partial"),
    ] {
        let url = always(status, body).await;
        let why = why(&prometheus, &open(&url)).await;
        assert!(
            why.starts_with(&url) || why.contains(&format!("as {url} says")),
            "{why}"
        );
        assert!(why.contains(message), "{status} {body}: {why}");
    }
}

#[tokio::test]
async fn an_answer_that_was_cut_short_by_the_server_is_none() {
    let limited = serve(|_| async {
        let mut reply = reply(200, EMPTY);
        let limit = header::HeaderValue::from_static("max_fetch_series_limit_applied");
        reply.headers_mut().insert("M3-Results-Limited", limit);
        reply
    });
    let why = why(&prometheus(patient()), &open(&limited.await)).await;
    assert!(why.contains("the answer is partial"), "{why}");
}

#[tokio::test]
async fn a_server_whose_clock_is_far_off_proves_nothing() {
    let date = jiff::fmt::rfc2822::DateTimePrinter::new();
    for (off, message) in [(-180, "behind the cluster's"), (180, "ahead of the cluster's")] {
        let at = Clock::default().now() + jiff::SignedDuration::from_secs(off);
        let date = date.timestamp_to_rfc9110_string(&at).unwrap();
        let url = serve(move |_| {
            let date = date.clone();
            async move {
                let mut reply = reply(200, EMPTY);
                reply.headers_mut().insert(header::DATE, date.parse().unwrap());
                reply
            }
        })
        .await;
        let why = why(&prometheus(patient()), &open(&url)).await;
        assert!(why.contains(message) && why.contains("30s are tolerated"), "{why}");
    }
}

#[tokio::test]
async fn a_query_that_prometheus_refuses_differs_from_one_that_it_could_not_answer() {
    let prometheus = prometheus(patient());
    for (status, kind) in [(400, "bad_data"), (422, "execution")] {
        let body = format!(r#"{{"status":"error","errorType":"{kind}","error":"parse error"}}"#);
        match ask(&prometheus, &open(&always(status, body.leak()).await)).await {
            Answer::Rejected(why) => assert!(why.ends_with("parse error"), "{why}"),
            answer => panic!("{answer:?}"),
        }
    }
}

#[tokio::test]
async fn a_message_is_short_whatever_the_server_says() {
    let url = serve(|_| async { reply(400, format!(r#"{{"error":"{}"}}"#, "é".repeat(5000))) }).await;
    let why = why(&prometheus(patient()), &open(&url)).await;
    assert!(
        why.chars().count() <= 241 && why.starts_with(&format!("{url} answers 400 Bad Request: éé")),
        "{why}"
    );
}

#[tokio::test]
async fn a_body_is_read_no_further_than_its_limit() {
    let endless =
        |status| move |_| async move { reply(status, Body::from_stream(stream::repeat(Ok::<_, String>("[1,2,3,")))) };
    let prometheus = prometheus(Limits {
        body: 1000,
        ..patient()
    });
    let url = serve(endless(200)).await;
    let message = why(&prometheus, &open(&url)).await;
    assert_eq!(
        message,
        format!("{url}: the answer is larger than 1000 bytes: aggregate in the query")
    );
    let url = serve(endless(500)).await;
    let message = why(&prometheus, &open(&url)).await;
    assert_eq!(message, format!("{url} answers 500 Internal Server Error"));
}

#[tokio::test]
async fn a_server_that_is_slow_to_answer_or_to_finish_is_given_up() {
    let limits = Limits {
        timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let silent = serve(|_| future::pending()).await;
    let stuck = serve(|_| async {
        let body = stream::unfold(0, |sent| async move {
            if sent > 0 {
                future::pending::<()>().await;
            }
            Some((Ok::<_, String>("{"), sent + 1))
        });
        reply(200, Body::from_stream(body))
    })
    .await;
    for url in [silent, stuck] {
        let message = why(&prometheus(limits.clone()), &open(&url)).await;
        assert_eq!(message, format!("no answer from {url} within 50ms"));
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    // Bound, so that nobody else listens there.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let prometheus = prometheus(patient());
    let message = why(&prometheus, &open(&url)).await;
    assert!(
        message.starts_with(&format!("{url} can't be reached: Connection refused")),
        "{message}"
    );
    let message = why(&prometheus, &open("http://256.256.256.256")).await;
    assert!(message.contains("is not a valid address"), "{message}");
}

#[tokio::test]
async fn a_redirect_is_named_and_not_followed() {
    for (location, target) in [
        (Some("/login?token=hunter2#hunter2"), "/login: queries"),
        (
            Some("https://me:hunter2@sso.example.com/auth"),
            "redirects to https://sso.example.com/auth: queries",
        ),
        (None, "redirects to nowhere"),
    ] {
        let url = serve(move |_| async move {
            let response = Response::builder().status(302);
            match location {
                Some(location) => response.header(header::LOCATION, location),
                None => response,
            }
            .body(Body::empty())
            .unwrap()
        })
        .await;
        let message = why(&prometheus(patient()), &open(&url)).await;
        assert!(message.contains(target) && !message.contains("hunter2"), "{message}");
    }
}

#[tokio::test]
async fn an_endpoint_answers_a_few_queries_at_a_time() {
    let (arrive, mut arrived) = mpsc::unbounded_channel();
    let go = Arc::new(Semaphore::new(0));
    let (in_flight, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let url = serve({
        let (go, in_flight, most) = (Arc::clone(&go), Arc::clone(&in_flight), Arc::clone(&most));
        move |asked: Asked| {
            let (go, in_flight, most) = (Arc::clone(&go), Arc::clone(&in_flight), Arc::clone(&most));
            let arrive = arrive.clone();
            async move {
                if asked.path.starts_with("/other") {
                    return reply(200, EMPTY);
                }
                most.fetch_max(in_flight.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                arrive.send(()).unwrap();
                go.acquire().await.unwrap().forget();
                in_flight.fetch_sub(1, Ordering::SeqCst);
                reply(200, EMPTY)
            }
        }
    })
    .await;
    let prometheus = prometheus(Limits {
        budget: Budget {
            concurrency: 3,
            per_second: 1000,
            join: 1,
            ..Budget::default()
        },
        ..patient()
    });
    let mut queries = JoinSet::new();
    for number in 0..10 {
        let (prometheus, endpoint) = (prometheus.clone(), open(&url));
        queries.spawn(async move {
            let (query, when) = (format!("up{number}"), When::exactly(Timestamp::UNIX_EPOCH));
            prometheus.query(None, "shop", &endpoint, &query, when).await.answer
        });
    }
    for _ in 0..3 {
        arrived.recv().await.unwrap();
    }
    // Another endpoint is served meanwhile, and by then a fourth query would have come through.
    assert_eq!(
        ask(&prometheus, &open(&format!("{url}/other"))).await,
        Answer::Vector(vec![])
    );
    assert!(arrived.try_recv().is_err());
    go.add_permits(10);
    assert_eq!(queries.join_all().await, vec![Answer::Vector(vec![]); 10]);
    assert_eq!(most.load(Ordering::SeqCst), 3);
}
