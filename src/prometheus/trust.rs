//! Certificate verification with given certificates: trusts CAs and, like curl, each given certificate itself.

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

/// TLS configuration of a client that trusts `roots` and servers that present one of `given`.
pub(super) fn config(roots: RootCertStore, given: Vec<CertificateDer<'static>>) -> Option<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .ok()?;
    if given.is_empty() {
        return Some(config.with_root_certificates(roots).with_no_client_auth());
    }
    let verifier = Arc::new(Given::new(roots, given, provider)?);
    let config = config.dangerous().with_custom_certificate_verifier(verifier);
    Some(config.with_no_client_auth())
}

/// webpki's error for a CA certificate that is used as a server certificate. The web PKI forbids it, but Prometheus' own TLS
/// guide creates such a certificate.
const BOTH: &str = "CaUsedAsEndEntity";

#[derive(Debug)]
struct Given {
    webpki: Arc<WebPkiServerVerifier>,
    given: Vec<CertificateDer<'static>>,
}

impl Given {
    fn new(roots: RootCertStore, given: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>) -> Option<Self> {
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let webpki = webpki.build().ok()?;
        Some(Self { webpki, given })
    }
}

impl ServerCertVerifier for Given {
    /// The only error that is ignored is that the certificate is a CA, and only if it is identical to a given one. webpki checks
    /// the validity period before that, and this function checks the name.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = self
            .webpki
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match &found {
            Err(Error::InvalidCertificate(CertificateError::Other(why)))
                if why.to_string() == BOTH && self.given.contains(end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            _ => found,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}
