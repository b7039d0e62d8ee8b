//! The HTTPS server. Everybody who reaches it may ask, as with every webhook, so everything is bounded.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{
        HeaderValue, StatusCode,
        header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
    routing::post,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustls::{
    ServerConfig,
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{Webhook, review};

/// Path of the conversion.
pub const PATH: &str = "/convert";

/// Connections at a time.
const CONNECTIONS: usize = 512;

/// Size of a request, in bytes. An object has 3 MiB at most.
const REQUEST: usize = 16 << 20;

/// Size of all requests that are under way, in KiB.
const REQUESTS: usize = 64 << 10;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// How long a request may take. API servers wait for 30 s.
const TIME: Duration = Duration::from_secs(15);

/// How long a connection may wait for its next request: longer than API servers keep one, so that they close it.
const IDLE: Duration = Duration::from_mins(2);

/// Pause after a connection could not be accepted, which happens when file descriptors are short.
const PAUSE: Duration = Duration::from_millis(100);

/// The certificate is looked up for each connection, so that a new one counts at once.
#[derive(Debug)]
struct Current(Arc<Webhook>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.presented()
    }
}

#[derive(Clone)]
struct Shared {
    webhook: Arc<Webhook>,
    /// The KiB of requests that may still be read.
    budget: Arc<Semaphore>,
    stop: CancellationToken,
}

/// Serves forever. After `stop`, connections end with their next answer, so that API servers go on with other replicas.
pub(super) async fn serve(listener: TcpListener, webhook: Arc<Webhook>, stop: CancellationToken) {
    let acceptor = match acceptor(webhook.clone()) {
        Ok(acceptor) => acceptor,
        Err(error) => return tracing::error!(%error, "the conversion webhook has no TLS"),
    };
    let shared = Shared {
        webhook,
        budget: Arc::new(Semaphore::new(REQUESTS)),
        stop,
    };
    let router = Router::new().route(PATH, post(convert)).with_state(shared);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            biased;
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "could not accept a connection for a conversion");
                sleep(PAUSE).await;
                continue;
            }
        };
        let (acceptor, router) = (acceptor.clone(), router.clone());
        connections.spawn(async move {
            if let Err(error) = connection(acceptor, stream, router).await {
                tracing::debug!(%error, "a connection for conversions ended");
            }
            drop(place);
        });
    }
}

fn acceptor(webhook: Arc<Webhook>) -> Result<TlsAcceptor, rustls::Error> {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Current(webhook)));
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn connection(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    router: Router,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long");
    let stream = timeout(HANDSHAKE, acceptor.accept(stream)).await.map_err(late)??;
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    Ok(served.await?)
}

async fn convert(State(shared): State<Shared>, request: Request) -> Response {
    let mut response = respond(&shared, request).await;
    // A connection that is closed while nothing is asked could break the request that is on its way.
    if shared.stop.is_cancelled() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

async fn respond(shared: &Shared, request: Request) -> Response {
    let began = Instant::now();
    let answered = timeout(TIME, answer(shared, request)).await;
    let metrics = &shared.webhook.metrics;
    let took = began.elapsed();
    match answered {
        Ok(Ok(answer)) => {
            metrics.answered(if answer.converted { "converted" } else { "failed" }, took);
            ([(CONTENT_TYPE, "application/json")], Body::from(answer.body)).into_response()
        }
        Ok(Err((code, why))) => {
            metrics.answered("refused", took);
            tracing::debug!(why, "refused a request for a conversion");
            (code, why).into_response()
        }
        Err(_) => {
            metrics.answered("refused", took);
            (StatusCode::REQUEST_TIMEOUT, "the request took too long").into_response()
        }
    }
}

async fn answer(shared: &Shared, request: Request) -> Result<review::Answer, (StatusCode, String)> {
    let length = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    let length: usize = length.ok_or((StatusCode::LENGTH_REQUIRED, "the length is missing".to_owned()))?;
    if length > REQUEST {
        let why = format!("the request has {length} bytes, and {REQUEST} are possible");
        return Err((StatusCode::PAYLOAD_TOO_LARGE, why));
    }
    let refused = |code| move |why: String| (code, why);
    let part = u32::try_from(length.div_ceil(1 << 10)).unwrap_or(u32::MAX);
    let budget = shared.budget.acquire_many(part).await;
    let _budget = budget.map_err(|error| refused(StatusCode::SERVICE_UNAVAILABLE)(error.to_string()))?;
    let body = to_bytes(request.into_body(), length).await;
    let body = body.map_err(|error| refused(StatusCode::BAD_REQUEST)(error.to_string()))?;
    let answer = tokio::task::spawn_blocking(move || review::answer(&body)).await;
    let answer = answer.map_err(|error| refused(StatusCode::INTERNAL_SERVER_ERROR)(error.to_string()))?;
    answer.map_err(refused(StatusCode::BAD_REQUEST))
}
