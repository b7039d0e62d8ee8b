//! What carries a query to a Prometheus, and the answer back.

use reqwest::{RequestBuilder, Response};
use tower::{BoxError, ServiceExt, util::BoxCloneSyncService};

/// A server in this process: it is given what would be sent, to any URL, and says what comes back, or why nothing does.
pub type Local = BoxCloneSyncService<http::Request<Vec<u8>>, http::Response<Vec<u8>>, BoxError>;

/// What carries a query to a Prometheus, and the answer back.
#[derive(Clone, Debug, Default)]
pub enum Transport {
    /// HTTP over TCP, with TLS where the URL asks for it.
    #[default]
    Tcp,
    /// No network: a server in this process, for simulations.
    Local(Local),
}

impl Transport {
    /// Sends a request. The body of its response may still be on its way.
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
