//! Who we are to a Prometheus and whom we take it for: Secrets, kept for a while, and the HTTP client they call for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::{
    sync::{Mutex, OnceCell},
    time::{Instant, timeout},
};

use super::Transport;
use crate::api::{PrometheusAuth, SecretKey};

/// How often Secrets are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// Longest time that one reading may take.
    pub(super) timeout: Duration,
    /// How long what was read is kept.
    pub(super) keep: Duration,
    /// Shortest time between two readings, when the first failed or its credentials were refused.
    pub(super) again: Duration,
}

/// HTTP clients that need no Secret. Each holds the connections to any number of servers.
pub(super) struct Clients {
    /// Whether certificates matter.
    connects: bool,
    plain: OnceCell<reqwest::Client>,
    system: OnceCell<reqwest::Client>,
}

impl Clients {
    pub(super) fn new(transport: &Transport) -> Self {
        Self {
            connects: matches!(transport, Transport::Tcp),
            plain: OnceCell::new(),
            system: OnceCell::new(),
        }
    }

    /// The client for `url`.
    pub(super) async fn get(&self, url: &str) -> Result<reqwest::Client, String> {
        let client = if self.connects && url.starts_with("https://") {
            self.system.get_or_try_init(async || trusting_the_system()).await
        } else {
            // Never speaks TLS, so it does without the certificates of the system.
            self.plain
                .get_or_try_init(async || trusting(RootCertStore::empty()))
                .await
        };
        client.cloned()
    }
}

fn trusting_the_system() -> Result<reqwest::Client, String> {
    // The HTTP client takes the process' provider here; one that is installed already is as good.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    build(reqwest::Client::builder()).map_err(|_| {
        "the certificates of the system can't be used: name the authority in prometheusAuth.caSecret".to_owned()
    })
}

fn trusting(roots: RootCertStore) -> Result<reqwest::Client, String> {
    let broken = |_| "the TLS client can't be set up".to_owned();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(broken)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    build(reqwest::Client::builder().tls_backend_preconfigured(config))
        .map_err(|_| "the HTTP client can't be set up".to_owned())
}

fn build(builder: reqwest::ClientBuilder) -> reqwest::Result<reqwest::Client> {
    builder
        .user_agent(concat!("kanary/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .http1_only()
        .referer(false)
        .build()
}

/// What the Secrets of an endpoint come to. Not `Debug`: it holds what they hold.
pub(super) struct Credentials {
    pub(super) client: reqwest::Client,
    pub(super) authorization: Option<HeaderValue>,
    /// What no message may repeat.
    hidden: Vec<String>,
    /// The authority that `client` trusts.
    ca: Option<Vec<u8>>,
}

impl Credentials {
    /// Without any Secret.
    pub(super) fn none(client: reqwest::Client) -> Self {
        Self {
            client,
            authorization: None,
            hidden: Vec::new(),
            ca: None,
        }
    }

    /// `text` without the secrets that a server may have put there.
    pub(super) fn hide(&self, text: String) -> String {
        self.hidden
            .iter()
            .fold(text, |text, secret| text.replace(secret, "***"))
    }
}

/// Why Secrets could not be turned into credentials.
enum Failure {
    /// The Secrets are not what they should be: what they were before is no longer valid.
    Wrong(String),
    /// They could not be read: what they were before may still be valid.
    Unread(String),
}

struct Kept {
    read_at: Instant,
    until: Instant,
    found: Result<Arc<Credentials>, String>,
}

/// The credentials for one endpoint and namespace.
pub(super) struct Access {
    namespace: String,
    url: String,
    auth: PrometheusAuth,
    refused: AtomicBool,
    /// Locked while Secrets are read: whoever needs them meanwhile waits for that one reading.
    kept: Mutex<Option<Kept>>,
}

impl Access {
    pub(super) fn new(namespace: &str, url: &str, auth: &PrometheusAuth) -> Self {
        Self {
            namespace: namespace.to_owned(),
            url: url.to_owned(),
            auth: auth.clone(),
            refused: AtomicBool::new(false),
            kept: Mutex::new(None),
        }
    }

    /// The server took the credentials, or we its certificate, for wrong: the Secrets may have changed.
    pub(super) fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// The credentials, read again where that is due.
    pub(super) async fn credentials(
        &self,
        secrets: &kube::Client,
        clients: &Clients,
        reading: Reading,
    ) -> Result<Arc<Credentials>, String> {
        let mut kept = self.kept.lock().await;
        let now = Instant::now();
        let before = match kept.as_ref() {
            Some(kept) => {
                let refused = self.refused.load(Ordering::Relaxed) && now >= kept.read_at + reading.again;
                if now < kept.until && !refused {
                    return kept.found.clone();
                }
                kept.found.as_ref().ok().cloned()
            }
            None => None,
        };
        let read = self.read(secrets, clients, before.as_deref());
        let read = timeout(reading.timeout, read)
            .await
            .unwrap_or_else(|_| Err(Failure::Unread("the API server did not answer in time".to_owned())));
        let (found, keep) = match (read, before) {
            (Ok(credentials), _) => (Ok(Arc::new(credentials)), reading.keep),
            (Err(Failure::Unread(_)), Some(before)) => (Ok(before), reading.again),
            (Err(Failure::Unread(why)), None) => (
                Err(format!("the secrets of prometheusAuth can't be read: {why}")),
                reading.again,
            ),
            (Err(Failure::Wrong(why)), _) => (Err(why), reading.again),
        };
        self.refused.store(false, Ordering::Relaxed);
        let now = Instant::now();
        *kept = Some(Kept {
            read_at: now,
            until: now + keep,
            found: found.clone(),
        });
        found
    }

    async fn read(
        &self,
        secrets: &kube::Client,
        clients: &Clients,
        before: Option<&Credentials>,
    ) -> Result<Credentials, Failure> {
        let api = Api::namespaced(secrets.clone(), &self.namespace);
        let (client, ca) = match &self.auth.ca_secret {
            None => (clients.get(&self.url).await.map_err(Failure::Unread)?, None),
            Some(SecretKey { name, key }) => {
                let ca = self.value(&self.secret(&api, name).await?, name, key)?.to_vec();
                // A new client would have to connect anew.
                let same = before.filter(|before| before.ca.as_ref() == Some(&ca));
                let client = match same {
                    Some(before) => before.client.clone(),
                    None => trusting(self.roots(&ca, name, key)?).map_err(Failure::Unread)?,
                };
                (client, Some(ca))
            }
        };
        let request = client.get("http://localhost");
        let (request, hidden) = if let Some(SecretKey { name, key }) = &self.auth.bearer_token_secret {
            let secret = self.secret(&api, name).await?;
            let token = self.text(&secret, name, key)?;
            (request.bearer_auth(&token), Some(token))
        } else if let Some(name) = &self.auth.basic_auth_secret {
            let secret = self.secret(&api, name).await?;
            let username = self.text(&secret, name, "username")?;
            let password = self.text(&secret, name, "password")?;
            (request.basic_auth(username, Some(&password)), Some(password))
        } else {
            (request, None)
        };
        let request = request
            .build()
            .map_err(|_| Failure::Wrong("prometheusAuth names a secret that no HTTP header can carry".to_owned()))?;
        let authorization = request.headers().get(AUTHORIZATION).cloned();
        let encoded = authorization
            .as_ref()
            .and_then(|header| header.to_str().ok()?.split_once(' '));
        let hidden = encoded
            .map(|(_, encoded)| encoded.to_owned())
            .into_iter()
            .chain(hidden)
            .collect();
        Ok(Credentials {
            client,
            authorization,
            hidden,
            ca,
        })
    }

    /// Reads a Secret. No message repeats the error's own text: it may hold what it failed to read.
    async fn secret(&self, api: &Api<Secret>, name: &str) -> Result<Secret, Failure> {
        api.get(name).await.map_err(|error| match error {
            kube::Error::Api(status) if status.code == 404 => {
                Failure::Wrong(format!("secret {} of prometheusAuth does not exist", self.named(name)))
            }
            kube::Error::Api(status) if status.code == 403 => Failure::Wrong(format!(
                "secret {} of prometheusAuth may not be read by the controller",
                self.named(name)
            )),
            kube::Error::Api(status) => Failure::Unread(format!(
                "secret {}: the API server says {}",
                self.named(name),
                status.code
            )),
            _ => Failure::Unread(format!(
                "secret {}: the API server gave no usable answer",
                self.named(name)
            )),
        })
    }

    fn value<'a>(&self, secret: &'a Secret, name: &str, key: &str) -> Result<&'a [u8], Failure> {
        let value = secret.data.as_ref().and_then(|data| data.get(key));
        value
            .map(|value| value.0.as_slice())
            .filter(|value| !value.is_empty())
            .ok_or_else(|| {
                Failure::Wrong(format!(
                    "secret {} of prometheusAuth has nothing under the key {key}",
                    self.named(name)
                ))
            })
    }

    /// A value as text, without the line end that editors leave behind.
    fn text(&self, secret: &Secret, name: &str, key: &str) -> Result<String, Failure> {
        let text = std::str::from_utf8(self.value(secret, name, key)?)
            .map(str::trim)
            .unwrap_or_default();
        if text.is_empty() {
            return Err(Failure::Wrong(format!(
                "secret {} of prometheusAuth has no text under the key {key}",
                self.named(name)
            )));
        }
        Ok(text.to_owned())
    }

    fn roots(&self, pem: &[u8], name: &str, key: &str) -> Result<RootCertStore, Failure> {
        let mut roots = RootCertStore::empty();
        let added = CertificateDer::pem_slice_iter(pem).all(|found| found.is_ok_and(|found| roots.add(found).is_ok()));
        if added && !roots.is_empty() {
            return Ok(roots);
        }
        Err(Failure::Wrong(format!(
            "secret {} of prometheusAuth has no valid PEM certificates under the key {key}",
            self.named(name)
        )))
    }

    fn named(&self, secret: &str) -> String {
        format!("{}/{secret}", self.namespace)
    }
}
