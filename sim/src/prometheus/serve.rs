//! The HTTP server.

use std::net::SocketAddr;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::RawQuery,
    response::Response,
    serve::Listener,
};
use http::{Uri, header};
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};

use super::{Mood, Prometheus, Refused, Reply};

/// Serves `prometheus` at `listener` until the future is dropped. `now` is the evaluation time of queries without one.
pub async fn serve(
    listener: TcpListener,
    prometheus: Prometheus,
    now: impl Fn() -> Timestamp + Clone + Send + Sync + 'static,
) {
    let door = Door {
        listener,
        prometheus: prometheus.clone(),
    };
    let handler = async move |uri: Uri, RawQuery(query): RawQuery, body: Bytes| {
        let form = format!("{}&{}", String::from_utf8_lossy(&body), query.unwrap_or_default());
        respond(&prometheus, uri.path(), &form, now()).await
    };
    let app = Router::new().fallback(handler);
    if let Err(error) = axum::serve(door, app).await {
        tracing::error!(%error, "Prometheus no longer serves");
    }
}

async fn respond(prometheus: &Prometheus, path: &str, form: &str, now: Timestamp) -> Response {
    let shown = prometheus.shows(now);
    let mut response = match prometheus.answer(path, form, now).await {
        Ok(reply) => reply.response(shown),
        // The server died after it accepted the connection.
        Err(Refused) => Reply::text(503, "").response(shown),
    };
    // A keep-alive connection could not be refused later.
    let close = header::HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response.map(Body::from)
}

/// A listener that refuses connections while Prometheus is dead.
struct Door {
    listener: TcpListener,
    prometheus: Prometheus,
}

impl Listener for Door {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let connection = Listener::accept(&mut self.listener).await;
            if self.prometheus.mood() != Mood::Dead {
                return connection;
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
