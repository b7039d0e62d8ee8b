//! The server of one pod.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::{Behaviour, Counters, Identity};

/// A pod that answers. When this is dropped, the socket is closed and all connections are cut.
#[derive(Debug)]
pub struct Server {
    behaviour: Arc<Mutex<Behaviour>>,
    /// Ends the socket, and connections as soon as they have no request.
    closing: CancellationToken,
    /// Ends everything.
    ended: CancellationToken,
}

impl Server {
    /// Starts answering on a socket.
    #[must_use]
    pub fn start(listener: TcpListener, identity: Identity, behaviour: Behaviour, counters: Counters) -> Self {
        let server = Self {
            behaviour: Arc::new(Mutex::new(behaviour)),
            closing: CancellationToken::new(),
            ended: CancellationToken::new(),
        };
        let answering = Answering {
            identity: Arc::new(identity),
            behaviour: server.behaviour.clone(),
            counters,
        };
        let accepting = accept(listener, answering, server.closing.clone(), server.ended.clone());
        tokio::spawn(server.ended.clone().run_until_cancelled_owned(accepting));
        server
    }

    /// Changes what the pod does from now on.
    pub(super) fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap_or_else(PoisonError::into_inner) = behaviour;
    }

    /// Closes the socket after the pod has lingered. Requests in flight are answered.
    pub fn close(&self) {
        let behaviour = *self.behaviour.lock().unwrap_or_else(PoisonError::into_inner);
        let closing = self.closing.clone();
        tokio::spawn(self.ended.clone().run_until_cancelled_owned(async move {
            tokio::time::sleep(behaviour.linger).await;
            closing.cancel();
        }));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

#[derive(Clone, Debug)]
struct Answering {
    identity: Arc<Identity>,
    behaviour: Arc<Mutex<Behaviour>>,
    counters: Counters,
}

async fn accept(listener: TcpListener, answering: Answering, closing: CancellationToken, ended: CancellationToken) {
    while let Some(accepted) = closing.run_until_cancelled(listener.accept()).await {
        let Ok((stream, _)) = accepted else { continue };
        let connection = connection(stream, answering.clone(), closing.clone());
        tokio::spawn(ended.clone().run_until_cancelled_owned(connection));
    }
}

async fn connection(stream: TcpStream, answering: Answering, closing: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let answering = answering.clone();
        async move { Ok::<_, Infallible>(answer(&answering, request).await) }
    });
    let mut protocols = auto::Builder::new(TokioExecutor::new());
    protocols.http1().timer(TokioTimer::new());
    let connection = protocols.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // A broken connection is the client's to report.
    let _ = tokio::select! {
        done = connection.as_mut() => done,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
}

/// The path that every pod answers with status 500.
const BROKEN: &str = "/nothello";
/// The content of requests and answers in gRPC.
pub(crate) const GRPC: &str = "application/grpc";
/// The trailer that ends each answer in gRPC.
pub(crate) const GRPC_STATUS: &str = "grpc-status";
/// A message in gRPC that is empty: it is not compressed, and has no bytes.
pub(crate) const EMPTY_MESSAGE: &[u8] = &[0; 5];

/// The body of an answer.
fn body(is_grpc: bool) -> BoxBody<Bytes, Infallible> {
    if !is_grpc {
        return Full::default().boxed();
    }
    let mut trailers = HeaderMap::new();
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    let message = Full::new(Bytes::from_static(EMPTY_MESSAGE));
    message.with_trailers(std::future::ready(Some(Ok(trailers)))).boxed()
}

async fn answer(answering: &Answering, request: Request<Incoming>) -> Response<BoxBody<Bytes, Infallible>> {
    let since = Instant::now();
    let kind = request.headers().get(CONTENT_TYPE);
    let is_grpc = kind.is_some_and(|kind| kind == GRPC);
    let is_broken = request.uri().path() == BROKEN;
    // A request that breaks is the client's to report.
    let _ = request.into_body().collect().await;
    let behaviour = *answering.behaviour.lock().unwrap_or_else(PoisonError::into_inner);
    if behaviour.delay > Duration::ZERO {
        tokio::time::sleep(behaviour.delay).await;
    }
    let code = if is_broken || fastrand::f64() < behaviour.error_rate {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        StatusCode::OK
    };
    let identity = &answering.identity;
    answering.counters.count(identity, code.as_u16(), since.elapsed());
    let mut answer = Response::builder().status(code);
    if is_grpc {
        answer = answer.header(CONTENT_TYPE, GRPC);
    }
    let answer = answer
        .header("x-pod", &identity.pod)
        .header("x-image", &identity.image)
        .header("x-version", identity.version())
        .body(body(is_grpc));
    answer.unwrap_or_else(|_| Response::new(body(false)))
}

/// Serves the counts of all pods to Prometheus at `address`, for ever.
///
/// # Errors
///
/// The address is in use.
pub async fn serve_metrics(address: SocketAddr, counters: Counters) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    while let Ok((stream, _)) = listener.accept().await {
        let counters = counters.clone();
        let service = service_fn(move |_: Request<Incoming>| {
            let page = Response::new(Full::new(Bytes::from(counters.render())));
            async move { Ok::<_, Infallible>(page) }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move { connection.await.is_ok() });
    }
    Ok(())
}
