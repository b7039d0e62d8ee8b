mod allowing;
mod asking;
mod joining;
mod local;
mod pooling;
mod secrets;
mod servers;
mod tls;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Response, StatusCode, Uri},
};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kanary_core::validation::{Answer, promql::Endpoint};
use tokio::net::TcpListener;

use super::{Limits, Prometheus, Transport, When};
use crate::{cluster::clock::Clock, metrics::Metrics};

const EMPTY: &str = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;

/// A request as a server got it.
struct Asked {
    headers: HeaderMap,
    path: String,
    body: String,
}

/// A server that lives as long as the test, at the URL that is returned.
async fn serve<H, F>(handler: H) -> String
where
    H: Fn(Asked) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(move |uri: Uri, headers: HeaderMap, body: String| {
        handler(Asked {
            headers,
            path: uri.path().to_owned(),
            body,
        })
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

/// A server that answers every query with the same.
async fn always(status: u16, body: &'static str) -> String {
    serve(move |_| async move { reply(status, body) }).await
}

fn reply(status: u16, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).body(body.into()).unwrap()
}

fn open(url: &str) -> Endpoint {
    Endpoint {
        url: url.to_owned(),
        auth: None,
    }
}

async fn ask(prometheus: &Prometheus, endpoint: &Endpoint) -> Answer {
    prometheus
        .query(None, "shop", endpoint, "up", When::exactly(Timestamp::UNIX_EPOCH))
        .await
        .answer
}

/// Why there is no answer.
async fn why(prometheus: &Prometheus, endpoint: &Endpoint) -> String {
    match ask(prometheus, endpoint).await {
        Answer::Unanswered(why) => why,
        answer => panic!("{answer:?}"),
    }
}

/// An API server that has Secrets and nothing else.
#[derive(Default)]
struct Vault {
    secrets: Mutex<BTreeMap<String, Secret>>,
    reads: AtomicUsize,
    down: Mutex<Option<StatusCode>>,
}

impl Vault {
    fn put(&self, name: &str, data: &[(&str, &str)]) {
        let data = data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        let secret = Secret {
            data: Some(data.collect()),
            ..Secret::default()
        };
        self.secrets
            .lock()
            .unwrap()
            .insert(format!("/api/v1/namespaces/shop/secrets/{name}"), secret);
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    fn answer(&self, path: &str) -> (StatusCode, Vec<u8>) {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let failed = |code: StatusCode| {
            let status = serde_json::json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(), "reason": "", "message": "",
            });
            (code, status.to_string().into_bytes())
        };
        match (*self.down.lock().unwrap(), self.secrets.lock().unwrap().get(path)) {
            (Some(code), _) => failed(code),
            (None, Some(secret)) => (StatusCode::OK, serde_json::to_vec(secret).unwrap()),
            (None, None) => failed(StatusCode::NOT_FOUND),
        }
    }

    fn client(self: &Arc<Self>) -> kube::Client {
        let vault = Arc::clone(self);
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let (code, body) = vault.answer(request.uri().path());
            let response = http::Response::builder()
                .status(code)
                .body(kube::client::Body::from(body));
            async move { Ok::<_, Infallible>(response.unwrap()) }
        });
        kube::Client::new(service, "default")
    }
}

/// A client that must not need Secrets.
fn prometheus(limits: Limits) -> Prometheus {
    with_limits(no_secrets(), Transport::Tcp, limits)
}

fn with_limits(secrets: kube::Client, transport: Transport, limits: Limits) -> Prometheus {
    Prometheus::with_limits(secrets, transport, Clock::default(), limits, &Metrics::default())
}

fn no_secrets() -> kube::Client {
    let service = tower::service_fn(|_: http::Request<kube::client::Body>| async {
        Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("no Secret is needed"))
    });
    kube::Client::new(service, "default")
}
