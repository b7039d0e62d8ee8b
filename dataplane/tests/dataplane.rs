//! The load generator and the backend against each other.
#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

use std::{net::SocketAddr, time::Duration};

use kanary_dataplane::{
    backend::{Behaviour, Counters, Identity, Server},
    load::{Answers, Failure, Load, Running},
};
use tokio::net::TcpListener;

fn identity() -> Identity {
    Identity {
        namespace: "ns".to_owned(),
        pod: "app-1".to_owned(),
        workload: "app".to_owned(),
        image: "app:v2".to_owned(),
        app: "app".to_owned(),
    }
}

async fn server(behaviour: Behaviour, counters: &Counters) -> (Server, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (
        Server::start(listener, identity(), behaviour, counters.clone()),
        address,
    )
}

async fn answered(load: &Running, test: impl Fn(&Answers) -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let answered = async {
        while !test(&load.answers()) {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), answered).await.unwrap();
}

#[tokio::test]
async fn every_answer_is_counted_on_both_sides() {
    let counters = Counters::default();
    let (_server, address) = server(Behaviour::default(), &counters).await;
    let load = Load::new(address, "example").per_second(500.0).start().unwrap();
    answered(&load, |answers| answers.of("v2") >= 100).await;
    let answers = load.stop().await;
    assert_eq!(answers.total(), answers.of("v2"), "{answers}");
    let text = counters.render();
    let total = format!(
        "http_requests_total{{namespace=\"ns\",pod=\"app-1\",workload=\"app\",version=\"v2\",code=\"200\"}} {}",
        answers.total()
    );
    assert!(text.contains(&total), "{text}");
    assert!(
        text.contains(
            "istio_requests_total{namespace=\"ns\",pod=\"app-1\",reporter=\"destination\",destination_workload=\"app\""
        ),
        "{text}"
    );
    assert!(text.contains("response_code=\"200\",le=\"+Inf\"}"), "{text}");
}

#[tokio::test]
async fn an_error_of_a_pod_is_a_failure() {
    let behaviour = Behaviour {
        error_rate: 1.0,
        ..Behaviour::default()
    };
    let (_server, address) = server(behaviour, &Counters::default()).await;
    assert_eq!(
        Load::new(address, "example").once().await.result,
        Err(Failure::Status(500))
    );
}

#[tokio::test]
async fn calls_in_grpc_are_answered_and_fail_like_other_requests() {
    let counters = Counters::default();
    let (_server, address) = server(Behaviour::default(), &counters).await;
    let load = Load::new(address, "example").grpc();
    let load = load.per_second(500.0).start().unwrap();
    answered(&load, |answers| answers.of("v2") >= 100).await;
    let answers = load.stop().await;
    assert_eq!(answers.total(), answers.of("v2"), "{answers}");
    let behaviour = Behaviour {
        error_rate: 1.0,
        ..Behaviour::default()
    };
    let (_broken, address) = server(behaviour, &counters).await;
    let answer = Load::new(address, "example").grpc().once().await;
    assert_eq!(answer.result, Err(Failure::Status(500)));
}

/// A client with a connection of its own for each request sees when the socket closes.
#[tokio::test]
async fn a_pod_that_was_told_to_end_lingers_and_then_refuses() {
    let behaviour = Behaviour {
        linger: Duration::from_millis(200),
        ..Behaviour::default()
    };
    let (server, address) = server(behaviour, &Counters::default()).await;
    let load = Load::new(address, "example").header("connection", "close");
    server.close();
    assert_eq!(load.once().await.result, Ok("v2".to_owned()));
    let running = load.start().unwrap();
    answered(&running, |answers| !answers.failures().is_empty()).await;
    let answers = running.stop().await;
    assert!(answers.of("v2") > 0, "{answers}");
    let refused = |failure: &Failure| matches!(failure, Failure::Broken(_));
    assert!(answers.failures().keys().all(refused), "{answers}");
}

#[tokio::test]
async fn a_pod_that_is_gone_cuts_what_is_in_flight() {
    let behaviour = Behaviour {
        delay: Duration::from_mins(10),
        ..Behaviour::default()
    };
    let (server, address) = server(behaviour, &Counters::default()).await;
    let load = Load::new(address, "example");
    let mut asked = std::pin::pin!(load.once());
    let waits = tokio::time::timeout(Duration::from_millis(100), asked.as_mut()).await;
    assert!(waits.is_err(), "{waits:?}");
    drop(server);
    assert!(matches!(asked.await.result, Err(Failure::Broken(_))));
}
