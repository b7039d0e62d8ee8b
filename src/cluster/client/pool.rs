//! The connections of requests that have a [`Permit`].
//!
//! They have a pool of their own, because whoever hands out a connection has to tell its gate whose bytes it lets pass, and
//! kube's pool does not say which connection a request gets. As kube's, it speaks HTTP/1: a connection carries one request at
//! a time, so that to cut one off disturbs no other. A connection that was given up in the midst of a request is closed at once.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http::{
    Extensions, Request, Response, Uri,
    header::{HOST, HeaderValue},
};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    rt::{Read, Write},
};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use kube::{
    Config,
    client::{Body, ConfigExt, DynBody},
};
use tokio::{task::JoinSet, time::Instant};
use tower::{
    BoxError, Layer, Service, ServiceExt,
    util::{BoxCloneService, MapResponse, option_layer},
};

use super::gate::{Gate, Gated, Permit};

/// Connections that are kept while nobody needs them: as many as there are writes at once in ordinary times.
const IDLE: usize = 32;

/// How long they are kept. API servers close them after 90 s, and what is between may forget them silently.
const IDLE_TIME: Duration = Duration::from_mins(1);

/// What answers a request, as kube's own stack does.
pub(super) type Reply = Response<Box<DynBody>>;

type Made<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// A service that sends requests as kube's client does with this configuration, through connections that have gates.
///
/// # Errors
///
/// The configuration names certificates or credentials that cannot be used.
pub(super) fn service(config: &Config) -> kube::Result<BoxCloneService<Request<Body>, Reply, BoxError>> {
    let service = config.extra_headers_layer()?.layer(Pool::new(config)?);
    // What waits for a token waits before the gate.
    let service = option_layer(config.auth_layer()?).layer(service);
    Ok(BoxCloneService::new(config.base_uri_layer().layer(service)))
}

#[derive(Clone)]
struct Pool {
    connect: Arc<dyn Fn(Uri) -> Made<Line> + Send + Sync>,
    idle: Arc<Mutex<Vec<(Instant, Line)>>>,
}

/// A connection. To drop it closes it.
struct Line {
    send: SendRequest<Body>,
    gate: Gate,
    _driver: JoinSet<()>,
}

impl Pool {
    fn new(config: &Config) -> kube::Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        // Below TLS: what TLS keeps in its buffer must not leave either. There is no proxy to think of: a configuration that names
        // one is refused by kube, as it is built here.
        let gated = MapResponse::new(tcp, Gated::new as fn(_) -> _);
        let connector = config.rustls_https_connector_with_connector(gated)?;
        Ok(Self {
            connect: Arc::new(move |server| Box::pin(connect(connector.clone(), server))),
            idle: Arc::default(),
        })
    }

    async fn send(self, mut request: Request<Body>) -> Result<Reply, BoxError> {
        let permit = request.extensions_mut().remove::<Permit>();
        let permit = permit.ok_or("a request without a permit has no place here")?;
        let server = request.uri().clone();
        address(&mut request)?;
        loop {
            let (mut line, is_used) = match self.take().await {
                Some(line) => (line, true),
                None => ((self.connect)(server.clone()).await?, false),
            };
            line.gate.open(permit.clone());
            let mut error = match line.send.try_send_request(request).await {
                Ok(answer) => return self.receive(line, answer).await,
                Err(error) => error,
            };
            if let Some(ended) = line.gate.ended() {
                return Err(ended.into());
            }
            request = match error.take_message() {
                // The API server closed the connection before it was used again: nothing of the request was sent.
                Some(unsent) if is_used => unsent,
                _ => return Err(error.into_error().into()),
            };
        }
    }

    /// Reads the whole answer, which is one object, and keeps the connection.
    async fn receive(&self, line: Line, answer: Response<Incoming>) -> Result<Reply, BoxError> {
        let (head, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        line.gate.answered();
        let mut idle = self.idle();
        if idle.len() < IDLE {
            idle.push((Instant::now(), line));
        }
        let body = Full::new(body).map_err(|never| match never {});
        Ok(Response::from_parts(head, Box::new(body)))
    }

    /// A connection that is idle: the one that was used last, so that those which are too many grow old.
    async fn take(&self) -> Option<Line> {
        loop {
            let (since, mut line) = self.idle().pop()?;
            // Ready is one whose last request and answer are over on both sides, so nothing of them is in a buffer.
            if since.elapsed() < IDLE_TIME && line.send.ready().await.is_ok() {
                return Some(line);
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Instant, Line)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service<Request<Body>> for Pool {
    type Response = Reply;
    type Error = BoxError;
    type Future = Made<Reply>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

async fn connect<C>(connector: C, server: Uri) -> Result<Line, BoxError>
where
    C: Service<Uri, Error: Into<BoxError>, Response: Connection + Read + Write + Send + Unpin + 'static>,
{
    let io = connector.oneshot(server).await.map_err(Into::into)?;
    let mut extras = Extensions::new();
    io.connected().get_extras(&mut extras);
    let gate = extras.remove::<Gate>().ok_or("the connection has no gate")?;
    let (send, connection) = handshake(io).await?;
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended");
        }
    });
    Ok(Line {
        send,
        gate,
        _driver: driver,
    })
}

/// Makes of a request for an absolute URI what HTTP/1 sends to a server.
fn address(request: &mut Request<Body>) -> Result<(), BoxError> {
    let uri = request.uri();
    let host = uri.host().ok_or("the URL of the API server names no host")?;
    let host = match (uri.port_u16(), uri.scheme_str()) {
        (None, _) | (Some(443), Some("https")) | (Some(80), Some("http")) => host.to_owned(),
        (Some(port), _) => format!("{host}:{port}"),
    };
    let host = HeaderValue::from_maybe_shared(host)?;
    let path = uri
        .path_and_query()
        .cloned()
        .ok_or("the URL of the request has no path")?;
    request.headers_mut().entry(HOST).or_insert(host);
    *request.uri_mut() = path.into();
    Ok(())
}
