//! Transport for queries to Prometheus.

use reqwest::{RequestBuilder, Response};
use tower::{BoxError, ServiceExt, util::BoxCloneSyncService};

/// A server in this process. It receives the request, to any URL, and returns a response or an error.
pub type Local = BoxCloneSyncService<http::Request<Vec<u8>>, http::Response<Vec<u8>>, BoxError>;

/// Transport for queries to Prometheus.
#[derive(Clone, Debug, Default)]
pub enum Transport {
    /// HTTP over TCP, with TLS where the URL asks for it.
    #[default]
    Tcp,
    /// No network: a server in this process, for simulations.
    Local(Local),
}

impl Transport {
    /// Sends a request. The body of the response may not be complete yet.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, BoxError> {
        let Self::Local(server) = self else {
            return Ok(request.send().await?);
        };
        let (parts, body) = http::Request::try_from(request.build()?)?.into_parts();
        let body = body.as_bytes().unwrap_or_default().to_vec();
        let response = server.clone().oneshot(http::Request::from_parts(parts, body)).await?;
        Ok(response.into())
    }
}
