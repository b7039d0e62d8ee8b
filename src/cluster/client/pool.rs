//! The connections for requests with a [`Permit`].
//!
//! They have a separate pool, because the permit has to be set on the gate of the connection that carries the request, and
//! kube's pool does not tell which connection that is. Like kube's pool it uses HTTP/1: a connection carries one request at a
//! time, so aborting a request does not affect others. A connection that is abandoned during a request is closed immediately.

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

/// Maximum number of idle connections: the usual number of concurrent writes.
const IDLE: usize = 32;

/// How long idle connections are kept. API servers close them after 90 s, and middleboxes may drop them silently.
const IDLE_TIME: Duration = Duration::from_mins(1);

/// A response, as in kube's own stack.
pub(super) type Reply = Response<Box<DynBody>>;

type Made<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// A service that sends requests like kube's client with this configuration, but through gated connections.
///
/// # Errors
///
/// The configuration contains certificates or credentials that cannot be used.
pub(super) fn service(config: &Config) -> kube::Result<BoxCloneService<Request<Body>, Reply, BoxError>> {
    let service = config.extra_headers_layer()?.layer(Pool::new(config)?);
    // Waiting for a token happens before the gate.
    let service = option_layer(config.auth_layer()?).layer(service);
    Ok(BoxCloneService::new(config.base_uri_layer().layer(service)))
}

#[derive(Clone)]
struct Pool {
    connect: Arc<dyn Fn(Uri) -> Made<Line> + Send + Sync>,
    idle: Arc<Mutex<Vec<(Instant, Line)>>>,
}

/// A connection. Dropping it closes it.
struct Line {
    send: SendRequest<Body>,
    gate: Gate,
    _driver: JoinSet<()>,
}

impl Pool {
    fn new(config: &Config) -> kube::Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        // The gate is below TLS, because bytes in TLS buffers must not be sent either. Proxies need no handling: with the
        // enabled features, kube refuses a configuration with a proxy.
        let gated = MapResponse::new(tcp, Gated::new as fn(_) -> _);
        let connector = config.rustls_https_connector_with_connector(gated)?;
        Ok(Self {
            connect: Arc::new(move |server| Box::pin(connect(connector.clone(), server))),
            idle: Arc::default(),
        })
    }

    async fn send(self, mut request: Request<Body>) -> Result<Reply, BoxError> {
        let permit = request.extensions_mut().remove::<Permit>();
        let permit = permit.ok_or("the request has no permit")?;
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
                // The API server closed the connection before it was reused, so nothing of the request was sent.
                Some(unsent) if is_used => unsent,
                _ => return Err(error.into_error().into()),
            };
        }
    }

    /// Reads the whole response, which is one object, and keeps the connection.
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

    /// Takes the most recently used idle connection, so that surplus connections expire.
    async fn take(&self) -> Option<Line> {
        loop {
            let (since, mut line) = self.idle().pop()?;
            // A connection is ready when its last request and response are complete, so nothing of them is in a buffer.
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

/// Converts a request for an absolute URI to the form that HTTP/1 sends to a server.
fn address(request: &mut Request<Body>) -> Result<(), BoxError> {
    let uri = request.uri();
    let host = uri.host().ok_or("the URL of the API server has no host")?;
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
