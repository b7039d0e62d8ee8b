//! Whose certificate is trusted.

use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::{
    Answer, EMPTY, Endpoint, Prometheus, Transport, Vault, ask,
    asking::patient,
    secrets::{closed, eager},
    why, with_limits,
};

/// A server on 127.0.0.1 that presents `certificate`, and its URL.
async fn present(certificate: &Certificate, key: &KeyPair) -> String {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let _request = stream.read(&mut [0; 4096]).await;
            let head = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                EMPTY.len()
            );
            stream.write_all(format!("{head}{EMPTY}").as_bytes()).await.unwrap();
            let _closed = stream.shutdown().await;
        }
    });
    url
}

fn params(name: &str, is_ca: bool) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
}

/// A new authority, and a server with a certificate that it signed: its PEM and the server's URL.
async fn signed() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params_of_ca = params("an authority", true);
    let ca = params_of_ca.self_signed(&key).unwrap().pem();
    let authority = Issuer::new(params_of_ca, key);
    let key = KeyPair::generate().unwrap();
    let certificate = params("127.0.0.1", false).signed_by(&key, &authority).unwrap();
    (ca, present(&certificate, &key).await)
}

/// A client and an endpoint whose `caSecret` holds `pem`.
fn trusting(pem: &str, url: &str) -> (Prometheus, Endpoint, Arc<Vault>) {
    let vault = Arc::new(Vault::default());
    vault.put("ca", &[("ca.crt", pem)]);
    let endpoint = closed(url, "caSecret: {name: ca, key: ca.crt}");
    let prometheus = with_limits(vault.client(), Transport::Tcp, eager());
    (prometheus, endpoint, vault)
}

#[tokio::test]
async fn only_the_named_authority_is_trusted_and_it_is_read_again_when_it_changed() {
    let (ca, url) = signed().await;
    let (other, _) = signed().await;
    let (prometheus, endpoint, vault) = trusting(&other, &url);
    let message = why(&prometheus, &endpoint).await;
    assert!(
        message.contains("can't be reached: invalid peer certificate"),
        "{message}"
    );
    vault.put("ca", &[("ca.crt", &format!("{other}{ca}"))]);
    assert_eq!(ask(&prometheus, &endpoint).await, Answer::Vector(vec![]));
    assert_eq!(ask(&prometheus, &endpoint).await, Answer::Vector(vec![]));
    assert_eq!(vault.reads(), 2);
}

#[tokio::test]
async fn without_a_named_authority_an_unknown_one_is_not_trusted() {
    let (_, url) = signed().await;
    let endpoint = Endpoint { url, auth: None };
    let message = why(&super::prometheus(patient()), &endpoint).await;
    assert!(message.contains("certificate"), "{message}");
}

#[tokio::test]
async fn a_self_signed_certificate_that_is_its_own_authority_is_trusted_when_it_is_the_given_one() {
    for is_ca in [true, false] {
        let key = KeyPair::generate().unwrap();
        let certificate = params("127.0.0.1", is_ca).self_signed(&key).unwrap();
        let url = present(&certificate, &key).await;
        let (prometheus, endpoint, _) = trusting(&certificate.pem(), &url);
        assert_eq!(ask(&prometheus, &endpoint).await, Answer::Vector(vec![]), "{is_ca}");
    }
}

#[tokio::test]
async fn a_given_certificate_counts_only_for_its_name_and_its_time_and_byte_by_byte() {
    let key = KeyPair::generate().unwrap();
    let good = params("127.0.0.1", true);
    let elsewhere = params("prometheus.example.com", true);
    let mut expired = good.clone();
    expired.not_after = date_time_ymd(2001, 1, 1);
    let mut to_come = good.clone();
    to_come.not_before = date_time_ymd(2999, 1, 1);
    let mut another = good.clone();
    another.serial_number = Some(7.into());
    for (presented, given, message) in [
        (&elsewhere, None, "not valid for name"),
        (&expired, None, "expired"),
        (&to_come, None, "not valid yet"),
        (&another, Some(&good), "CaUsedAsEndEntity"),
    ] {
        let presented = presented.self_signed(&key).unwrap();
        let url = present(&presented, &key).await;
        let given = given.map_or_else(|| presented.pem(), |given| given.self_signed(&key).unwrap().pem());
        let (prometheus, endpoint, _) = trusting(&given, &url);
        let why = why(&prometheus, &endpoint).await;
        assert!(why.contains(message), "{message}: {why}");
    }
}
