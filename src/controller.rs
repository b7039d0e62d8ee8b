//! The controller: watches, decides, acts.

use tokio_util::sync::CancellationToken;

/// How a controller runs.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only this namespace; all of them if `None`.
    pub namespace: Option<String>,
    /// `host:port` of the admin server (`/livez`, `/readyz`, `/metrics`); none if `None`. Port 0 takes any free one.
    pub admin_addr: Option<std::net::SocketAddr>,
}

/// Why a controller ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A task that must never end did.
    #[error("the task {0} ended")]
    TaskEnded(&'static str),
}

/// Runs until `stop` is cancelled, or something ended that must not.
///
/// # Errors
///
/// See [`Error`].
pub async fn run(_client: kube::Client, _options: Options, stop: CancellationToken) -> Result<(), Error> {
    stop.cancelled().await;
    Ok(())
}
