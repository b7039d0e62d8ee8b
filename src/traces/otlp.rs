//! A collector that is reached by OTLP, over gRPC or HTTP.

use std::{fmt, str::FromStr, sync::Arc};

use futures::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::KeyValue;
use opentelemetry_otlp::{
    RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
    tonic_types::{
        metadata::MetadataMap,
        transport::{self, ClientTlsConfig},
    },
};
use opentelemetry_sdk::{
    Resource,
    resource::{EnvResourceDetector, ResourceDetector},
    trace::SpanExporter as _,
};
use reqwest::{Certificate, Url};

use super::{Collector, export::TIMEOUT};

/// Path of traces on a collector that is reached by HTTP.
const PATH: &str = "v1/traces";

/// A protocol of a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC, usually on port 4317.
    Grpc,
    /// Protocol buffers over HTTP, usually on port 4318.
    Http,
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "grpc" => Ok(Self::Grpc),
            "http/protobuf" => Ok(Self::Http),
            _ => Err("must be grpc or http/protobuf".to_owned()),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Grpc => "grpc",
            Self::Http => "http/protobuf",
        })
    }
}

/// A collector that is reached by OTLP.
#[derive(Clone, Debug)]
pub struct Otlp {
    /// Its address.
    pub endpoint: Url,
    /// Its protocol.
    pub protocol: Protocol,
    /// Certificates of authorities that are trusted instead of the system's, as PEM.
    pub authorities: Option<Vec<u8>>,
    /// Headers of each request.
    pub headers: HeaderMap,
}

impl Otlp {
    /// The collector. `instance` is the name of this replica.
    ///
    /// # Errors
    ///
    /// The endpoint is not one, or TLS could not be set up.
    pub fn collector(&self, instance: &str) -> Result<Collector, String> {
        // A provider that is already installed is fine.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let mut exporter = match self.protocol {
            Protocol::Grpc => {
                let builder = SpanExporter::builder()
                    .with_tonic()
                    .with_endpoint(self.endpoint.as_str())
                    .with_metadata(MetadataMap::from_headers(self.headers.clone()))
                    .with_timeout(TIMEOUT)
                    .with_retry_policy(RetryPolicy::disabled());
                match self.tls()? {
                    Some(tls) => builder.with_tls_config(tls),
                    None => builder,
                }
                .build()
            }
            Protocol::Http => SpanExporter::builder()
                .with_http()
                .with_http_client(self.client()?)
                .with_endpoint(with_path(&self.endpoint))
                .with_timeout(TIMEOUT)
                .with_retry_policy(RetryPolicy::disabled())
                .build(),
        }
        .map_err(|error| error.to_string())?;
        exporter.set_resource(&resource(instance));
        let exporter = Arc::new(exporter);
        Ok(Collector::from_fn(move |batch| {
            let exporter = exporter.clone();
            async move { exporter.export(batch).await.map_err(|error| error.to_string()) }.boxed()
        }))
    }

    /// The given authorities.
    fn certificates(&self) -> Result<Option<Vec<Certificate>>, String> {
        let Some(pem) = &self.authorities else { return Ok(None) };
        if self.endpoint.scheme() != "https" {
            return Err("a CA is given, but the endpoint is not https".to_owned());
        }
        match Certificate::from_pem_bundle(pem) {
            Ok(all) if !all.is_empty() => Ok(Some(all)),
            _ => Err("the CA file holds no certificate in PEM".to_owned()),
        }
    }

    /// Whom a client by gRPC trusts. Without roots it would trust nobody.
    fn tls(&self) -> Result<Option<ClientTlsConfig>, String> {
        if self.certificates()?.is_none() {
            let is_tls = self.endpoint.scheme() == "https";
            return Ok(is_tls.then(|| ClientTlsConfig::new().with_enabled_roots()));
        }
        let authorities = self.authorities.as_deref().unwrap_or_default();
        let authorities = transport::Certificate::from_pem(authorities);
        Ok(Some(ClientTlsConfig::new().ca_certificate(authorities)))
    }

    fn client(&self) -> Result<reqwest::Client, String> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("kanary/", env!("CARGO_PKG_VERSION")))
            .default_headers(self.headers.clone())
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .timeout(TIMEOUT);
        if let Some(authorities) = self.certificates()? {
            builder = builder.tls_certs_only(authorities);
        }
        builder.build().map_err(|error| error.to_string())
    }
}

/// Parses headers as in `OTEL_EXPORTER_OTLP_HEADERS`: `name=value`, separated by commas, with values that may be percent-encoded.
///
/// # Errors
///
/// An entry is not a header. The message does not contain values, which may be confidential.
pub fn headers(list: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (name, value) = entry
            .split_once('=')
            .ok_or("an entry has no `=`: write NAME=VALUE, separated by commas")?;
        let name = name.trim();
        let known =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is not the name of a header"))?;
        let value = decoded(value.trim()).and_then(|value| HeaderValue::from_bytes(&value).ok());
        let mut value = value
            .ok_or_else(|| format!("the value of {name} is not one of a header: write % as %25, and a comma as %2C"))?;
        value.set_sensitive(true);
        headers.insert(known, value);
    }
    Ok(headers)
}

/// A text without percent-encoding.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    Some(bytes)
}

/// The address for traces. The endpoint is the collector's, or already the one for traces.
fn with_path(endpoint: &Url) -> String {
    let base = endpoint.as_str().trim_end_matches('/');
    if base.ends_with(PATH) {
        return base.to_owned();
    }
    format!("{base}/{PATH}")
}

/// What all spans of this replica have in common.
fn resource(instance: &str) -> Resource {
    let given = EnvResourceDetector::new().detect();
    let name = std::env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.is_empty());
    let ours = [
        KeyValue::new("service.name", name.unwrap_or_else(|| "kanary".to_owned())),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", instance.to_owned()),
    ];
    let given = given
        .iter()
        .map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    Resource::builder_empty()
        .with_attributes(given)
        .with_attributes(ours)
        .build()
}

#[cfg(test)]
mod tests;
