//! The HTTP server.

use std::net::SocketAddr;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::RawQuery,
    response::Response,
    serve::Listener,
};
use http::{StatusCode, Uri, header};
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};

use super::{Mood, Prometheus};

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
    let mut response = Response::new(Body::empty());
    // A keep-alive connection could not be refused later.
    response
        .headers_mut()
        .insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    let date = prometheus.shows(now).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(date) = date.parse() {
        response.headers_mut().insert(header::DATE, date);
    }
    match prometheus.answer(path, form, now).await {
        Ok(reply) => {
            *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or_default();
            let content_type = header::HeaderValue::from_static(reply.content_type);
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
            *response.body_mut() = Body::from(reply.body);
        }
        // The server died after it accepted the connection.
        Err(_) => *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE,
    }
    response
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
