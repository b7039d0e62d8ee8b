//! A collector that is reached by OTLP, over gRPC or HTTP.

use std::{fmt, str::FromStr, sync::Arc};

use futures::FutureExt;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::{
    Resource,
    resource::{EnvResourceDetector, ResourceDetector},
    trace::SpanExporter as _,
};
use reqwest::Url;

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

impl Collector {
    /// The collector at `endpoint`. `instance` is the name of this replica. Headers for it are taken from the environment, as
    /// the specification of OpenTelemetry says.
    ///
    /// # Errors
    ///
    /// The endpoint is not one, or TLS could not be set up.
    pub fn otlp(endpoint: &Url, protocol: Protocol, instance: &str) -> Result<Self, String> {
        // A provider that is already installed is fine.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let mut exporter = match protocol {
            Protocol::Grpc => SpanExporter::builder()
                .with_tonic()
                .with_endpoint(endpoint.as_str())
                .with_timeout(TIMEOUT)
                .with_retry_policy(RetryPolicy::disabled())
                .build(),
            Protocol::Http => SpanExporter::builder()
                .with_http()
                .with_http_client(client()?)
                .with_endpoint(with_path(endpoint))
                .with_timeout(TIMEOUT)
                .with_retry_policy(RetryPolicy::disabled())
                .build(),
        }
        .map_err(|error| error.to_string())?;
        exporter.set_resource(&resource(instance));
        let exporter = Arc::new(exporter);
        Ok(Self::from_fn(move |batch| {
            let exporter = exporter.clone();
            async move { exporter.export(batch).await.map_err(|error| error.to_string()) }.boxed()
        }))
    }
}

fn client() -> Result<reqwest::Client, String> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("kanary/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .timeout(TIMEOUT);
    builder.build().map_err(|error| error.to_string())
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
mod tests {
    use super::*;

    #[test]
    fn traces_have_a_path_of_their_own_over_http() {
        for (endpoint, path) in [
            ("http://jaeger:4318", "http://jaeger:4318/v1/traces"),
            ("http://jaeger:4318/", "http://jaeger:4318/v1/traces"),
            ("https://a.example.com/otlp/", "https://a.example.com/otlp/v1/traces"),
            ("http://jaeger:4318/v1/traces", "http://jaeger:4318/v1/traces"),
        ] {
            assert_eq!(with_path(&endpoint.parse().unwrap()), path);
        }
    }

    #[test]
    fn a_protocol_is_read_as_it_is_written() {
        for protocol in [Protocol::Grpc, Protocol::Http] {
            assert_eq!(protocol.to_string().parse(), Ok(protocol));
        }
        assert!("http/json".parse::<Protocol>().is_err());
    }
}
