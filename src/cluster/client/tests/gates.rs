//! The gates of connections: a server on loopback notes what it gets, with TLS and without.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use http::{Method, Request};
use kanary_core::{
    ParsedKanary,
    api::{KanaryKind, Layout, WorkloadKind},
    decision::{Action, ObjectKind},
};
use kube::{Client, Config};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    sync::{Notify, mpsc},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    cluster::{
        calls::Calls,
        client::{
            connect,
            gate::{Ended, Permit},
            within,
        },
        clock::{Clock, Monotonic},
        error::Class,
    },
    reconcile::act::Writer,
    shard::Fence,
};

/// More than a socket and its other end take before somebody reads.
const LARGE: usize = 32 << 20;

/// What one connection brought until it was closed.
#[derive(Debug, Default)]
struct Brought {
    /// Bytes; those of handshakes do not count.
    bytes: usize,
    /// Heads of requests that came whole, with a whole body.
    requests: Vec<String>,
}

/// An API server that answers every whole request with `{}`.
struct Server {
    client: Client,
    closed: mpsc::UnboundedReceiver<Brought>,
}

impl Server {
    /// `on_read` is called whenever bytes of a request have come, before more of them are read.
    async fn start(tls: bool, on_read: impl Fn() + Clone + Send + 'static) -> Self {
        let (authority, acceptor) = tls_server();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let (tell, closed) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, on_read, tell) = (acceptor.clone(), on_read.clone(), tell.clone());
                tokio::spawn(async move {
                    let brought = if tls {
                        // One that is reset while it shakes hands brought nothing.
                        match acceptor.accept(stream).await {
                            Ok(stream) => serve(stream, on_read).await,
                            Err(_) => Brought::default(),
                        }
                    } else {
                        serve(stream, on_read).await
                    };
                    let _the_test_is_over = tell.send(brought);
                });
            }
        });
        let mut config = Config::new(url.parse().unwrap());
        config.root_cert = Some(vec![authority]);
        let client = connect(config, Clock::default(), "test", Calls::default()).unwrap();
        Self { client, closed }
    }

    async fn brought(&mut self) -> Brought {
        self.closed.recv().await.unwrap()
    }

    async fn send(&self, permit: Permit, body: Vec<u8>) -> kube::Result<Value> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = "/apis/apps/v1/namespaces/shop/deployments?x=y".parse().unwrap();
        request.extensions_mut().insert(permit);
        within(Duration::from_mins(1), self.client.request(request)).await
    }
}

/// An authority, as DER, and an acceptor with a certificate that it signed.
fn tls_server() -> (Vec<u8>, TlsAcceptor) {
    let mut params = CertificateParams::new(vec!["an authority".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let der = params.self_signed(&key).unwrap().der().to_vec();
    let authority = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        );
    (der, TlsAcceptor::from(Arc::new(config.unwrap())))
}

/// Reads until the connection is closed or reset.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, on_read: impl Fn()) -> Brought {
    let (mut brought, mut buffer, mut chunk) = (Brought::default(), Vec::new(), vec![0; 1 << 16]);
    while let Ok(read @ 1..) = stream.read(&mut chunk).await {
        brought.bytes += read;
        buffer.extend_from_slice(&chunk[..read]);
        on_read();
        while let Some((head, length)) = whole(&buffer) {
            brought.requests.push(head);
            buffer.drain(..length);
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return brought;
            }
        }
    }
    brought
}

/// The head of a request that came whole, and how long the request is.
fn whole(bytes: &[u8]) -> Option<(String, usize)> {
    let start = &bytes[..bytes.len().min(4096)];
    let end = start.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(start[..end].to_vec()).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    let length = end + length.parse::<usize>().unwrap();
    (bytes.len() >= length).then_some((head, length))
}

/// How the right ended, if that is the error.
fn ended(error: &kube::Error) -> Option<Ended> {
    match error {
        kube::Error::Service(error) => error.downcast_ref().copied(),
        _ => None,
    }
}

#[tokio::test]
async fn requests_in_time_pass_over_one_connection_however_large_they_are() {
    for tls in [false, true] {
        let mut server = Server::start(tls, || {}).await;
        for size in [2, LARGE, 2] {
            let answer = server.send(Permit::new(|| true), vec![b' '; size]).await;
            assert_eq!(answer.unwrap(), json!({}), "{size} bytes, tls: {tls}");
        }
        server.client = other_client();
        let brought = server.brought().await;
        assert_eq!(brought.requests.len(), 3, "tls: {tls}");
        let head = &brought.requests[0];
        assert!(
            head.starts_with("POST /apis/apps/v1/namespaces/shop/deployments?x=y HTTP/1.1\r\n"),
            "{head}"
        );
        assert!(
            head.contains("\r\nhost: 127.0.0.1:") && head.contains("(test)"),
            "{head}"
        );
    }
}

/// Put in the place of a client, it closes the connections of that one.
fn other_client() -> Client {
    let mut config = Config::new("http://127.0.0.1:9".parse().unwrap());
    config.root_cert = Some(vec![tls_server().0]);
    connect(config, Clock::default(), "test", Calls::default()).unwrap()
}

#[tokio::test]
async fn nothing_of_a_request_leaves_when_the_right_ends_between_the_call_and_the_first_write() {
    for tls in [false, true] {
        let mut server = Server::start(tls, || {}).await;
        let asked = Arc::new(AtomicUsize::new(0));
        let asks = asked.clone();
        // Whoever asks it does so right before bytes would leave.
        let permit = Permit::new(move || {
            asks.fetch_add(1, Ordering::Relaxed);
            false
        });
        let error = server.send(permit, vec![b' '; 1000]).await.unwrap_err();
        assert_eq!(ended(&error), Some(Ended::Unsent), "tls: {tls}, {error:?}");
        assert!(asked.load(Ordering::Relaxed) > 0, "tls: {tls}");
        let brought = server.brought().await;
        assert_eq!(brought.bytes, 0, "tls: {tls}, {brought:?}");
    }
}

#[tokio::test]
async fn a_request_is_cut_off_when_the_right_ends_between_two_writes() {
    for tls in [false, true] {
        let holds = Arc::new(AtomicBool::new(true));
        let (held, ends) = (holds.clone(), holds);
        let mut server = Server::start(tls, move || ends.store(false, Ordering::Relaxed)).await;
        let permit = Permit::new(move || held.load(Ordering::Relaxed));
        let error = server.send(permit, vec![b' '; LARGE]).await.unwrap_err();
        assert_eq!(ended(&error), Some(Ended::CutOff), "tls: {tls}, {error:?}");
        let brought = server.brought().await;
        assert!(brought.bytes > 0 && brought.bytes < LARGE, "tls: {tls}, {brought:?}");
        assert!(brought.requests.is_empty(), "tls: {tls}, {brought:?}");
    }
}

#[tokio::test]
async fn a_request_is_cut_off_when_nobody_waits_for_its_answer_any_more() {
    for tls in [false, true] {
        let read = Arc::new(Notify::new());
        let reads = read.clone();
        let mut server = Server::start(tls, move || reads.notify_one()).await;
        {
            let under_way = server.send(Permit::new(|| true), vec![b' '; LARGE]);
            let first = tokio::select! {
                biased;
                () = read.notified() => true,
                _ = under_way => false,
            };
            assert!(first, "tls: {tls}, it is given up in the midst of its body");
        }
        let brought = server.brought().await;
        assert!(
            brought.requests.is_empty() && brought.bytes < LARGE,
            "tls: {tls}, {brought:?}"
        );
    }
}

/// The time of a replica that is frozen right after it was asked so many times.
fn frozen_after(reads: usize) -> Monotonic {
    let asked = AtomicUsize::new(0);
    Monotonic::from_source(move || match asked.fetch_add(1, Ordering::Relaxed) {
        asked if asked < reads => Duration::from_secs(1),
        _ => Duration::from_hours(1),
    })
}

#[tokio::test]
async fn a_replica_that_is_frozen_between_the_fence_and_its_socket_creates_nothing_when_it_wakes() {
    let mut server = Server::start(false, || {}).await;
    // The beginning of the decision and the fence read it.
    let fence = Fence::new(Layout::DEFAULT, frozen_after(2));
    let kanary = json!({
        "metadata": {"name": "batman", "namespace": "shop", "uid": "u", "resourceVersion": "1"},
        "spec": {"deploymentName": "myapp", "template": {"spec": {"template": {"spec": {"containers": []}}}}},
    });
    let batman = ParsedKanary::parse(KanaryKind::Deployment, &serde_json::from_value(kanary).unwrap()).unwrap();
    let shard = fence.layout().shard_of(batman.slot);
    fence.take(shard, 1);
    fence.open(shard);
    fence.renew(Duration::from_secs(10));
    let right = fence.begin(batman.slot).unwrap();
    let create = Action::Create {
        object: ObjectKind::Workload(WorkloadKind::Deployment),
        name: "myapp-kanary".to_owned(),
        manifest: json!({}),
    };
    let writer = Writer::new(
        server.client.clone(),
        Arc::default(),
        Arc::new(fence),
        "test".to_owned(),
    );
    let error = writer.act(&batman, &create, right).await.unwrap_err();
    assert_eq!(error.class(), Class::Fenced, "{}", error.message());
    assert!(
        error.message().contains("the right to write ended"),
        "{}",
        error.message()
    );
    let brought = server.brought().await;
    assert_eq!(brought.bytes, 0, "{brought:?}");
    assert!(
        server.closed.recv().now_or_never().is_none(),
        "it is not tried over another connection"
    );
}
