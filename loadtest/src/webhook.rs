//! An admission webhook that allows everything, late.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use axum::{Router, body::Bytes, http::header::CONTENT_TYPE, serve::Listener};
use k8s_openapi::ByteString;
use rcgen::generate_simple_self_signed;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time::sleep,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivatePkcs8KeyDer},
    server::TlsStream,
};

use crate::api::Api;

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const NAME: &str = "kanary-loadtest";

/// A running webhook for the creation of Deployments in one namespace. The server ends when this is dropped.
pub(crate) struct Webhook {
    calls: Arc<AtomicU64>,
    server: AbortHandle,
}

struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            // A client that does not complete the handshake is not the API server.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

impl Webhook {
    pub(crate) async fn start(api: &Api, namespace: &str, delay: Duration) -> anyhow::Result<Self> {
        let certified = generate_simple_self_signed([Ipv4Addr::LOCALHOST.to_string()])?;
        let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key.into())?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let calls: Arc<AtomicU64> = Arc::default();
        let counted = calls.clone();
        let app = Router::new().fallback(move |body: Bytes| {
            counted.fetch_add(1, Ordering::Relaxed);
            async move {
                sleep(delay).await;
                let review: Value = serde_json::from_slice(&body).unwrap_or_default();
                ([(CONTENT_TYPE, "application/json")], allow(&review).to_string())
            }
        });
        let tls = Tls {
            listener,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        };
        let server = tokio::spawn(async move { axum::serve(tls, app).await }).abort_handle();
        let webhook = Self { calls, server };
        let object = configuration(namespace, port, certified.cert.pem());
        api.create(CONFIGURATIONS, &object).await.context("webhook")?;
        Ok(webhook)
    }

    /// Calls of the API server so far.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Removes the webhook from the API server.
    pub(crate) async fn remove(self, api: &Api) -> kube::Result<()> {
        api.delete(&format!("{CONFIGURATIONS}/{NAME}")).await
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn allow(review: &Value) -> Value {
    let uid = review.pointer("/request/uid");
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {"uid": uid, "allowed": true}})
}

fn configuration(namespace: &str, port: u16, certificate: String) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": NAME},
        "webhooks": [{
            "name": "slow.kanary-loadtest.example.com",
            "clientConfig": {
                "url": format!("https://127.0.0.1:{port}/"),
                "caBundle": ByteString(certificate.into_bytes()),
            },
            "rules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "timeoutSeconds": 30,
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_about_the_request() {
        let answer = allow(&json!({"request": {"uid": "42"}}));
        assert_eq!(answer["response"], json!({"uid": "42", "allowed": true}));
    }

    #[test]
    fn only_one_namespace_is_slow() {
        let object = configuration("bad", 4242, "PEM".to_owned());
        assert_eq!(
            object["webhooks"][0]["clientConfig"],
            json!({"url": "https://127.0.0.1:4242/", "caBundle": "UEVN"})
        );
        assert_eq!(
            object["webhooks"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"],
            "bad"
        );
    }
}
