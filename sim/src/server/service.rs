//! The API server as a tower service, which a `kube::Client` can use without a network.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use tower::Service;

use super::{Body, Server};

/// A user's connection to the API server.
#[derive(Clone)]
pub struct Connection {
    server: Server,
    user: Arc<str>,
}

impl Server {
    /// Creates a connection for `user`.
    #[must_use]
    pub fn connect(&self, user: &str) -> Connection {
        Connection {
            server: self.clone(),
            user: user.into(),
        }
    }

    /// Creates a client for `user`, without a network in between.
    #[must_use]
    pub fn client(&self, user: &str) -> Client {
        Client::new(self.connect(user), "default")
    }
}

impl Connection {
    /// Waits while policies delay a request.
    pub async fn admitted(&self, head: &http::request::Parts) {
        let delay = self.server.delay(&head.method, &head.uri, &self.user);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }

    /// Processes a request whose body has been read.
    #[must_use]
    pub fn answer(&self, head: &http::request::Parts, body: &Bytes) -> Response<Body> {
        self.server.answer(&super::Request {
            method: &head.method,
            uri: &head.uri,
            headers: &head.headers,
            body,
            user: &self.user,
        })
    }
}

impl<B> Service<Request<B>> for Connection
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let connection = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            // A truncated body is treated as an empty one, and the request is refused.
            let body = body.collect().await.map(http_body_util::Collected::to_bytes);
            connection.admitted(&head).await;
            Ok(connection.answer(&head, &body.unwrap_or_default()))
        })
    }
}
