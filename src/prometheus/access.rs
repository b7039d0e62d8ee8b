//! Credentials for Prometheus and the certificates to trust: reads Secrets, caches them, and builds the HTTP clients.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::core::v1::Secret;
use kanary_core::api::{PrometheusAuth, QueryHeader, SecretKey};
use kube::Api;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::{
    sync::{Mutex, OnceCell},
    time::{Instant, timeout},
};

use super::{
    Transport,
    allow::{Allow, Allowed, Guard},
    trust,
};

/// Limits for reading Secrets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// Timeout for reading the Secrets of an endpoint.
    pub(super) timeout: Duration,
    /// How long Secrets are cached.
    pub(super) keep: Duration,
    /// Minimum time between two reads after the first failed or its credentials were refused.
    pub(super) again: Duration,
}

/// HTTP clients that need no Secret. Each may hold connections to many servers.
pub(super) struct Clients {
    /// Whether the clients open connections, and so need certificates.
    connects: bool,
    allow: Allow,
    /// For servers that are allowed by name.
    named: ClientPair,
    /// For servers that are allowed if their addresses are.
    guarded: ClientPair,
}

#[derive(Default)]
struct ClientPair {
    plain: OnceCell<reqwest::Client>,
    system: OnceCell<reqwest::Client>,
}

impl Clients {
    pub(super) fn new(transport: &Transport, allow: &Allow) -> Self {
        Self {
            connects: matches!(transport, Transport::Tcp),
            allow: allow.clone(),
            named: ClientPair::default(),
            guarded: ClientPair::default(),
        }
    }

    /// The client for `url`.
    pub(super) async fn get(&self, url: &str) -> Result<reqwest::Client, String> {
        let guard = self.guard(url)?;
        let pair = if guard.is_some() { &self.guarded } else { &self.named };
        let client = if self.connects && url.starts_with("https://") {
            pair.system.get_or_try_init(async || trusting_the_system(guard)).await
        } else {
            // Never uses TLS, so it works without the system's certificates.
            pair.plain
                .get_or_try_init(async || trusting(RootCertStore::empty(), Vec::new(), guard))
                .await
        };
        client.cloned()
    }

    /// What has to check the addresses of a server, if it is not allowed by its name.
    fn guard(&self, url: &str) -> Result<Option<Guard>, String> {
        Ok(match self.allow.check(url)? {
            Allowed::ByName => None,
            Allowed::ByAddress => Some(Guard::new(&self.allow)),
        })
    }
}

fn trusting_the_system(guard: Option<Guard>) -> Result<reqwest::Client, String> {
    // The HTTP client uses the crypto provider of the process. A provider that is already installed is fine.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    build(reqwest::Client::builder(), guard)
        .map_err(|_| "could not load the system's certificates: set prometheusAuth.caSecret".to_owned())
}

fn trusting(
    roots: RootCertStore,
    given: Vec<CertificateDer<'static>>,
    guard: Option<Guard>,
) -> Result<reqwest::Client, String> {
    let config = trust::config(roots, given).ok_or_else(|| "could not set up the TLS client".to_owned())?;
    build(reqwest::Client::builder().tls_backend_preconfigured(config), guard)
        .map_err(|_| "could not set up the HTTP client".to_owned())
}

fn build(mut builder: reqwest::ClientBuilder, guard: Option<Guard>) -> reqwest::Result<reqwest::Client> {
    if let Some(guard) = guard {
        builder = builder.dns_resolver(Arc::new(guard));
    }
    builder
        .user_agent(concat!("kanary/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .http1_only()
        .referer(false)
        .build()
}

/// The credentials from the Secrets of an endpoint. Not `Debug`, because it contains their values.
pub(super) struct Credentials {
    pub(super) client: reqwest::Client,
    /// Headers for every query.
    pub(super) headers: HeaderMap,
    /// Texts that no message may contain, the longest first, because one may be part of another.
    hidden: Vec<String>,
    /// The CA certificates that `client` trusts.
    ca: Option<Vec<u8>>,
}

impl Credentials {
    /// Credentials without any Secret.
    pub(super) fn none(client: reqwest::Client) -> Self {
        Self {
            client,
            headers: HeaderMap::new(),
            hidden: Vec::new(),
            ca: None,
        }
    }

    /// Removes secrets that a server may have repeated from `text`.
    pub(super) fn hide(&self, text: String) -> String {
        self.hidden
            .iter()
            .fold(text, |text, secret| text.replace(secret, "***"))
    }
}

/// Why Secrets could not be turned into credentials.
enum Failure {
    /// The Secrets are invalid, so cached credentials are dropped.
    Wrong(String),
    /// The Secrets could not be read, so cached credentials are still used.
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
    /// Locked while Secrets are read, so that concurrent callers share one read.
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

    /// Records that the server refused the credentials or its certificate was not trusted: the Secrets may have changed.
    pub(super) fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// The credentials, read again if due.
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
                Err(format!("could not read the secrets of prometheusAuth: {why}")),
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
                // A new client would have to reconnect.
                let same = before.filter(|before| before.ca.as_ref() == Some(&ca));
                let client = match same {
                    Some(before) => before.client.clone(),
                    None => self.trusting(&ca, (name, key), clients)?,
                };
                (client, Some(ca))
            }
        };
        let (mut headers, mut hidden) = self.authorization(&api, &client).await?;
        for header in self.auth.headers.iter().flatten() {
            let (name, value) = self.header(&api, header, &mut hidden).await?;
            headers.insert(name, value);
        }
        hidden.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Ok(Credentials {
            client,
            headers,
            hidden,
            ca,
        })
    }

    /// The header Authorization, if a Secret is configured for it, and the texts to hide.
    async fn authorization(
        &self,
        api: &Api<Secret>,
        client: &reqwest::Client,
    ) -> Result<(HeaderMap, Vec<String>), Failure> {
        let request = client.get("http://localhost");
        let (request, secret) = if let Some(SecretKey { name, key }) = &self.auth.bearer_token_secret {
            let token = self.text(&self.secret(api, name).await?, name, key)?;
            (request.bearer_auth(&token), token)
        } else if let Some(name) = &self.auth.basic_auth_secret {
            let secret = self.secret(api, name).await?;
            let username = self.text(&secret, name, "username")?;
            let password = self.text(&secret, name, "password")?;
            (request.basic_auth(username, Some(&password)), password)
        } else {
            return Ok((HeaderMap::new(), Vec::new()));
        };
        let request = request.build().map_err(|_| {
            Failure::Wrong("prometheusAuth names a secret whose value is not valid in an HTTP header".to_owned())
        })?;
        let mut hidden = vec![secret];
        let mut headers = HeaderMap::new();
        if let Some(authorization) = request.headers().get(AUTHORIZATION) {
            let encoded = authorization.to_str().ok().and_then(|text| text.split_once(' '));
            hidden.extend(encoded.map(|(_, encoded)| encoded.to_owned()));
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        Ok((headers, hidden))
    }

    /// A header from the user. A value from a Secret is hidden, unless it is too short to be secret: hiding a tenant `1` would
    /// remove this digit from every message.
    async fn header(
        &self,
        api: &Api<Secret>,
        header: &QueryHeader,
        hidden: &mut Vec<String>,
    ) -> Result<(HeaderName, HeaderValue), Failure> {
        let value = match (&header.value, &header.value_from_secret) {
            (_, Some(SecretKey { name, key })) => {
                let text = self.text(&self.secret(api, name).await?, name, key)?;
                hidden.extend(Some(text.clone()).filter(|text| text.len() > 3));
                text
            }
            (value, None) => value.clone().unwrap_or_default(),
        };
        let (name, value) = (
            HeaderName::from_bytes(header.name.as_bytes()),
            HeaderValue::from_str(&value),
        );
        let (Ok(name), Ok(mut value)) = (name, value) else {
            return Err(Failure::Wrong(format!(
                "the header {} of prometheusAuth has a value that is not valid in an HTTP header",
                header.name
            )));
        };
        value.set_sensitive(true);
        Ok((name, value))
    }

    /// Reads a Secret. Messages never contain the text of the error, which may contain data of the Secret.
    async fn secret(&self, api: &Api<Secret>, name: &str) -> Result<Secret, Failure> {
        api.get(name).await.map_err(|error| match error {
            kube::Error::Api(status) if status.code == 404 => {
                Failure::Wrong(format!("secret {} of prometheusAuth does not exist", self.named(name)))
            }
            kube::Error::Api(status) if status.code == 403 => Failure::Wrong(format!(
                "secret {} of prometheusAuth: the controller has no permission to read it",
                self.named(name)
            )),
            kube::Error::Api(status) => Failure::Unread(format!(
                "secret {}: the API server responded with status {}",
                self.named(name),
                status.code
            )),
            _ => Failure::Unread(format!(
                "secret {}: no valid response from the API server",
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
                    "secret {} of prometheusAuth has no key {key}",
                    self.named(name)
                ))
            })
    }

    /// A value as text, without the trailing newline that editors add.
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

    /// A client that trusts the certificates in `pem`.
    fn trusting(&self, pem: &[u8], (name, key): (&str, &str), clients: &Clients) -> Result<reqwest::Client, Failure> {
        let given: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let given = given.unwrap_or_default();
        let mut roots = RootCertStore::empty();
        let added = given.iter().all(|given| roots.add(given.clone()).is_ok());
        if !added || roots.is_empty() {
            return Err(Failure::Wrong(format!(
                "secret {} of prometheusAuth has no valid PEM certificates under the key {key}",
                self.named(name)
            )));
        }
        let guard = clients.guard(&self.url).map_err(Failure::Wrong)?;
        trusting(roots, given, guard).map_err(Failure::Unread)
    }

    fn named(&self, secret: &str) -> String {
        format!("{}/{secret}", self.namespace)
    }
}
