//! The conversion webhook: an HTTPS server with which API servers convert Kanaries between versions.
//!
//! The controller reads and writes the stored version, so nothing that it does depends on this server.

mod certificate;
mod keeper;
mod review;
mod secret;
mod server;
#[cfg(test)]
mod tests;
mod trust;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kanary_core::api::KanaryKind;
use kube::Client;
use rustls::sign::CertifiedKey;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::server::PATH;
use self::{certificate::Presented, keeper::Keeper};
use crate::{cluster::clock::Clock, metrics::ConversionMetrics};

/// Options of the webhook.
#[derive(Clone, Debug)]
pub struct WebhookOptions {
    /// Where it listens. Port 0 selects a free port.
    pub addr: SocketAddr,
    /// Names and addresses by which API servers reach it, like `kanary-conversion.kanary-system.svc`.
    pub names: Vec<String>,
    /// Where the certificate comes from.
    pub certificate: CertificateSource,
}

/// Where the webhook's certificate comes from.
#[derive(Clone, Debug)]
pub enum CertificateSource {
    /// The replicas make it, renew it, share it in this Secret, and tell API servers of its authority.
    Secret {
        /// Namespace of the Secret.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Somebody else puts it into this folder, as `tls.crt` and `tls.key`, and tells API servers of its authority.
    Folder(PathBuf),
}

/// The state of the webhook.
#[derive(Debug)]
pub struct Webhook {
    state: Mutex<State>,
    metrics: ConversionMetrics,
}

#[derive(Debug)]
struct State {
    presented: Option<Arc<CertifiedKey>>,
    problem: Option<String>,
}

impl Webhook {
    fn new(metrics: ConversionMetrics) -> Self {
        let state = State {
            presented: None,
            problem: Some("the certificate was not read yet".to_owned()),
        };
        Self {
            state: Mutex::new(state),
            metrics,
        }
    }

    /// Why the webhook can't convert, if it can't.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let state = self.lock();
        state.problem.clone().filter(|_| state.presented.is_none())
    }

    /// What is wrong, even if there is a certificate.
    fn set_problem(&self, problem: Option<String>) {
        let mut state = self.lock();
        if state.problem == problem {
            return;
        }
        if let Some(problem) = &problem {
            tracing::warn!(problem, "conversion webhook");
        } else {
            tracing::info!("the conversion webhook has a certificate");
        }
        state.problem = problem;
    }

    fn presented(&self) -> Option<Arc<CertifiedKey>> {
        self.lock().presented.clone()
    }

    fn present(&self, presented: Presented) {
        self.metrics.expires.set(presented.until.as_second());
        self.lock().presented = Some(Arc::new(presented.certified));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Binds the address and logs it, because port 0 selects a free port.
///
/// # Errors
///
/// The address is in use, or does not belong to this machine.
pub async fn listen(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(addr).await?;
    tracing::info!(addr = %listener.local_addr()?, "conversion webhook listens");
    Ok(listener)
}

/// Whether this replica leads.
pub type Leads = Box<dyn Fn() -> bool + Send + Sync>;

/// What the webhook needs besides its options.
pub struct Parts {
    /// A client with the rights to the Secret and the CRDs.
    pub client: Client,
    /// The cluster's time.
    pub clock: Clock,
    /// The kinds whose CRDs refer to the webhook.
    pub kinds: Vec<KanaryKind>,
    /// Whether this replica renews the certificate.
    pub leads: Leads,
    /// Counters.
    pub metrics: ConversionMetrics,
}

/// The webhook, and its two tasks: the server and the keeper of the certificate. Neither ends by itself.
pub fn start(
    listener: TcpListener,
    options: WebhookOptions,
    parts: Parts,
    stop: CancellationToken,
) -> (
    Arc<Webhook>,
    impl Future<Output = ()> + Send,
    impl Future<Output = ()> + Send,
) {
    let webhook = Arc::new(Webhook::new(parts.metrics.clone()));
    let server = server::serve(listener, webhook.clone(), stop);
    let keeper = Keeper::new(webhook.clone(), options, parts).run();
    (webhook, server, keeper)
}
