//! The API server over HTTP, for kubectl and other programs.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use axum::{
    body::Body as AxumBody,
    extract::{Request, State},
    http::header::AUTHORIZATION,
    response::Response,
};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::net::TcpListener;

use super::Server;

/// User of requests without a token.
const ADMIN: &str = "kubernetes-admin";

/// A listening API server. Any client that reaches the address has full access, so it should bind to loopback only.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

#[derive(Clone)]
struct Served {
    server: Server,
    /// Users by token.
    tokens: Arc<BTreeMap<String, String>>,
}

impl Listener {
    /// Binds to an address. Port 0 selects a free port.
    ///
    /// # Errors
    ///
    /// Fails if the address cannot be bound.
    pub async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The bound address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves requests until the future is dropped. Each user's token is the user's name.
    ///
    /// # Errors
    ///
    /// Fails if the listener fails.
    pub async fn serve(self, server: Server, users: &[&str]) -> std::io::Result<()> {
        let tokens = users.iter().map(|&user| (user.to_owned(), user.to_owned())).collect();
        let state = Served {
            server,
            tokens: Arc::new(tokens),
        };
        let app = axum::Router::new().fallback(answer).with_state(state);
        axum::serve(self.listener, app).await
    }
}

/// A kubeconfig for a user. It is JSON, which is valid YAML.
#[must_use]
pub fn kubeconfig(server: SocketAddr, user: &str) -> String {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "kanary-demo",
        "contexts": [{"name": "kanary-demo", "context": {"cluster": "kanary-demo", "user": user}}],
        "clusters": [{"name": "kanary-demo", "cluster": {"server": format!("http://{server}")}}],
        "users": [{"name": user, "user": {"token": user}}],
    });
    format!("{config:#}\n")
}

async fn answer(State(served): State<Served>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes);
    let token = head.headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok());
    let token = token.and_then(|header| header.strip_prefix("Bearer "));
    let user = token
        .and_then(|token| served.tokens.get(token))
        .map_or(ADMIN, String::as_str);
    let connection = served.server.connect(user);
    connection.admitted(&head).await;
    let answer = connection.answer(&head, &body.unwrap_or_default());
    answer.map(AxumBody::new)
}
