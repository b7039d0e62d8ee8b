//! The server over a socket.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{NOW, Prometheus, time, with};
use crate::prometheus::{Mood, serve};

async fn served(prometheus: &Prometheus) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, prometheus.clone(), || time(NOW)));
    address
}

/// The complete response, which is empty if the connection is closed.
async fn send(address: SocketAddr, request: &str) -> String {
    let mut answer = Vec::new();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(request.as_bytes()).await;
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

const GET: &str = "GET /api/v1/query?query=up%7Bpod%3D%22a%22%7D HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn get_and_post_are_answered() {
    let address = served(&with(&[("up{pod=\"a\"}", 3.0)])).await;
    let post = "POST /api/v1/query HTTP/1.1\r\nhost: x\r\ncontent-length: 15\r\n\
                content-type: application/x-www-form-urlencoded\r\n\r\nquery=up&time=7";
    for (request, value) in [(GET, "[1600000000,\"3\"]"), (post, "[7,\"3\"]")] {
        let answer = send(address, request).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
        assert!(answer.contains(value), "{answer}");
    }
}

#[tokio::test]
async fn refusals_have_their_status() {
    let address = served(&Prometheus::new()).await;
    let answer = send(address, "GET /api/v1/query?query=sum( HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 400 Bad Request\r\n") && answer.contains("parse error"),
        "{answer}"
    );
    let answer = send(address, "GET /graph HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
}

#[tokio::test]
async fn a_dead_one_lets_nobody_in_until_it_lives_again() {
    let prometheus = with(&[("up{pod=\"a\"}", 3.0)]);
    let address = served(&prometheus).await;
    prometheus.set_mood(Mood::Dead);
    assert_eq!(send(address, GET).await, "");
    prometheus.set_mood(Mood::Healthy);
    assert!(send(address, GET).await.starts_with("HTTP/1.1 200"));
}
