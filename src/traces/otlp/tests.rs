use std::{convert::Infallible, sync::Mutex};

use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use kanary_core::{
    api::KanaryStatus,
    trace::{SpanId, TraceId},
};
use opentelemetry::{InstrumentationScope, trace::SpanKind};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{
    super::{Span, SpanData, data},
    *,
};

/// Path and headers of the requests that a collector got.
type Got = Arc<Mutex<Vec<(String, HeaderMap)>>>;

/// Takes everything.
async fn answer(got: Got, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    let (head, body) = request.into_parts();
    assert!(!body.collect().await.unwrap().to_bytes().is_empty());
    let is_grpc = head.version == http::Version::HTTP_2;
    got.lock().unwrap().push((head.uri.path().to_owned(), head.headers));
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    // An empty message, in gRPC with its length.
    let frames: Vec<Result<_, Infallible>> = if is_grpc {
        vec![
            Ok(Frame::data(Bytes::from_static(&[0; 5]))),
            Ok(Frame::trailers(trailers)),
        ]
    } else {
        Vec::new()
    };
    let reply = Response::builder().header(
        "content-type",
        if is_grpc {
            "application/grpc"
        } else {
            "application/x-protobuf"
        },
    );
    Ok(reply.body(StreamBody::new(futures::stream::iter(frames))).unwrap())
}

type Answer = StreamBody<futures::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

/// A collector with a certificate of a new authority: its address, the authority as PEM, and what it got.
async fn collector() -> (Url, String, Got) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["an authority".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
    let got = Got::default();
    let into = got.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let into = into.clone();
            let service = hyper::service::service_fn(move |request| answer(into.clone(), request));
            tokio::spawn(async move {
                let _closed = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (url, authority, got)
}

fn span() -> SpanData {
    let trace = TraceId::of("u", &KanaryStatus::default());
    let span = Span {
        trace,
        id: SpanId::of(trace, &[b"a"]),
        parent: None,
        name: "run".into(),
        kind: SpanKind::Internal,
        begun: jiff::Timestamp::UNIX_EPOCH,
        ended: jiff::Timestamp::UNIX_EPOCH,
        attributes: Vec::new(),
        facts: Vec::new(),
        link: None,
        failure: None,
    };
    data(span, &InstrumentationScope::builder("kanary").build())
}

/// Sends a span, with a header that holds a token.
async fn send(endpoint: &Url, protocol: Protocol, authorities: Option<&str>) -> Result<(), String> {
    let otlp = Otlp {
        endpoint: endpoint.clone(),
        protocol,
        authorities: authorities.map(|pem| pem.as_bytes().to_vec()),
        headers: headers("authorization=Bearer%20secret").unwrap(),
    };
    (otlp.collector("kanary-0")?.0)(vec![span()]).await
}

#[tokio::test]
async fn a_collector_behind_tls_gets_the_spans_and_the_headers() {
    for (protocol, path) in [
        (
            Protocol::Grpc,
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        ),
        (Protocol::Http, "/v1/traces"),
    ] {
        let (endpoint, authority, got) = collector().await;
        send(&endpoint, protocol, Some(&authority)).await.unwrap();
        let got = got.lock().unwrap();
        let [(asked, headers)] = got.as_slice() else {
            panic!("{protocol}: {got:?}");
        };
        assert_eq!(asked, path);
        let tokens: Vec<_> = headers.get_all("authorization").iter().collect();
        assert_eq!(tokens, ["Bearer secret"], "{protocol}");
    }
}

#[tokio::test]
async fn a_collector_with_a_certificate_of_nobody_known_gets_nothing() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let (endpoint, _, got) = collector().await;
        let (_, other, _) = collector().await;
        for authorities in [Some(other.as_str()), None] {
            assert!(send(&endpoint, protocol, authorities).await.is_err());
        }
        assert!(got.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_ca_that_is_of_no_use_is_refused() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let of = async |endpoint: &str, pem| send(&endpoint.parse().unwrap(), protocol, Some(pem)).await.unwrap_err();
        assert_eq!(
            of("https://a:1", "nothing").await,
            "the CA file holds no certificate in PEM"
        );
        assert_eq!(
            of("http://a:1", "nothing").await,
            "a CA is given, but the endpoint is not https"
        );
    }
}

#[test]
fn headers_are_read_as_the_specification_says_and_hidden() {
    let read = headers(" authorization = Bearer%20a%2Cb= ,x-scope=team a,, ").unwrap();
    assert_eq!(read.len(), 2);
    assert_eq!(read["authorization"], "Bearer a,b=");
    assert_eq!(read["x-scope"], "team a");
    assert!(!format!("{read:?}").contains("team a"));
    assert!(headers("").unwrap().is_empty());
}

#[test]
fn a_header_that_is_none_is_refused_without_its_value() {
    for (list, why) in [
        ("secret", "an entry has no `=`: write NAME=VALUE, separated by commas"),
        ("a b=secret", "\"a b\" is not the name of a header"),
        (
            "a=secret%2",
            "the value of a is not one of a header: write % as %25, and a comma as %2C",
        ),
        (
            "a=secret%zz",
            "the value of a is not one of a header: write % as %25, and a comma as %2C",
        ),
        (
            "a=secret%0A",
            "the value of a is not one of a header: write % as %25, and a comma as %2C",
        ),
    ] {
        assert_eq!(headers(list).unwrap_err(), why);
    }
}

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
