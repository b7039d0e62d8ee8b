//! The webhook's certificates, and what becomes of them over time. The clock is passed in.
//!
//! An authority signs the certificate that the replicas present. API servers trust the authorities of `caBundle`. A new authority is
//! published there before it signs anything, and the former one stays there until it expires, so no request fails in between.

use std::{collections::BTreeSet, net::IpAddr};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use time::OffsetDateTime;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

/// For how long an authority is valid.
const AUTHORITY: SignedDuration = SignedDuration::from_hours(2 * 365 * 24);

/// For how long a certificate that it signs is valid.
const CERTIFICATE: SignedDuration = SignedDuration::from_hours(90 * 24);

/// How long API servers may need to learn of a new authority. Until then, the former one signs.
const SETTLING: SignedDuration = SignedDuration::from_hours(1);

/// Certificates begin before they are made, for API servers whose clocks are behind.
const BACKDATED: SignedDuration = SignedDuration::from_hours(1);

/// How many authorities are kept.
const AUTHORITIES: usize = 4;

/// Authorities, and the certificate that is presented. All texts are PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Material {
    /// The authorities, the newest first: the content of `caBundle`.
    pub(super) bundle: String,
    /// The key of the newest authority.
    pub(super) authority_key: String,
    /// The certificate that is presented.
    pub(super) certificate: String,
    /// Its key.
    pub(super) key: String,
}

impl Material {
    /// New material. Of the former bundle, authorities that are still valid stay trusted.
    ///
    /// # Errors
    ///
    /// A name can't be in a certificate.
    pub(super) fn new(now: Timestamp, names: &[String], former: &str) -> Result<Self, String> {
        let material = Self::default().with_authority(now, former)?;
        material.signed(now, names)
    }

    /// What should replace this material now, if anything. `published` says whether all API servers were told of the bundle.
    ///
    /// # Errors
    ///
    /// The material can't be read, or a name can't be in a certificate.
    pub(super) fn next(&self, now: Timestamp, names: &[String], published: bool) -> Result<Option<Self>, String> {
        let authorities = certificates(&self.bundle);
        let newest = authorities.first().ok_or("there is no authority")?;
        let newest = Details::of(&newest.1)?;
        if newest.is_due(now, AUTHORITY) {
            return self.with_authority(now, &self.bundle).map(Some);
        }
        let presented = certificates(&self.certificate);
        let presented = presented.first().ok_or("there is no certificate")?;
        let presented = Details::of(&presented.1)?;
        let is_settled = published && newest.from + BACKDATED + SETTLING <= now;
        // A certificate that no API server accepts can be replaced by nothing worse.
        let is_useless = presented.until <= now || names.iter().any(|name| !presented.names.contains(name));
        let is_old = presented.is_due(now, CERTIFICATE) || presented.issuer != newest.subject;
        if is_useless || (is_old && is_settled) {
            return self.signed(now, names).map(Some);
        }
        Ok(None)
    }

    /// With a new authority, which signs nothing yet.
    fn with_authority(&self, now: Timestamp, former: &str) -> Result<Self, String> {
        let mut params = valid(now, AUTHORITY, Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // Authorities are told apart by their names.
        let name = format!("kanary conversion {}", now.as_millisecond());
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().map_err(text)?;
        let mut bundle = params.self_signed(&key).map_err(text)?.pem();
        let still_valid = certificates(former).into_iter().filter(|(_, certificate)| {
            let details = Details::of(certificate);
            details.is_ok_and(|details| details.until > now)
        });
        for (pem, _) in still_valid.take(AUTHORITIES - 1) {
            bundle.push_str(&pem);
        }
        Ok(Self {
            bundle,
            authority_key: key.serialize_pem(),
            ..self.clone()
        })
    }

    /// With a certificate that the newest authority signs.
    fn signed(&self, now: Timestamp, names: &[String]) -> Result<Self, String> {
        let authorities = certificates(&self.bundle);
        let (authority, _) = authorities.first().ok_or("there is no authority")?;
        let signer = KeyPair::from_pem(&self.authority_key).map_err(text)?;
        let issuer = Issuer::from_ca_cert_pem(authority, signer).map_err(text)?;
        let mut params = valid(now, CERTIFICATE, names.to_vec())?;
        let name = "kanary conversion webhook";
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(text)?;
        Ok(Self {
            certificate: params.signed_by(&key, &issuer).map_err(text)?.pem(),
            key: key.serialize_pem(),
            ..self.clone()
        })
    }
}

/// What is presented to API servers.
#[derive(Clone, Debug)]
pub(super) struct Presented {
    /// For the TLS server.
    pub(super) certified: CertifiedKey,
    /// When it expires.
    pub(super) until: Timestamp,
}

impl Presented {
    /// Reads a certificate, with others of its chain behind it, and its key.
    ///
    /// # Errors
    ///
    /// One of them can't be read, or they do not belong together.
    pub(super) fn read(certificate: &str, key: &str) -> Result<Self, String> {
        let chain: Vec<_> = certificates(certificate).into_iter().map(|(_, der)| der).collect();
        let until = Details::of(chain.first().ok_or("there is no certificate")?)?.until;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| format!("the key: {error}"))?;
        let certified = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(text)?;
        Ok(Self { certified, until })
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Each certificate of a PEM, as a PEM of its own and as DER. What is no certificate is left out.
fn certificates(pem: &str) -> Vec<(String, CertificateDer<'static>)> {
    const END: &str = "-----END CERTIFICATE-----";
    let parts = pem.split_inclusive(END).map(str::trim_start);
    let read = |part: &str| CertificateDer::from_pem_slice(part.as_bytes()).ok();
    parts
        .filter_map(|part| Some((format!("{part}\n"), read(part)?)))
        .collect()
}

/// Parameters of a certificate for these names, from now on.
fn valid(now: Timestamp, life: SignedDuration, names: Vec<String>) -> Result<CertificateParams, String> {
    let mut params = CertificateParams::new(names).map_err(text)?;
    let at = |time: Timestamp| OffsetDateTime::from_unix_timestamp(time.as_second()).map_err(text);
    params.not_before = at(now - BACKDATED)?;
    params.not_after = at(now + life)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    Ok(params)
}

/// What matters of a certificate.
struct Details {
    subject: Vec<u8>,
    issuer: Vec<u8>,
    from: Timestamp,
    until: Timestamp,
    names: BTreeSet<String>,
}

impl Details {
    fn of(certificate: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, read) = parse_x509_certificate(certificate).map_err(text)?;
        let at = |time: i64| Timestamp::from_second(time).map_err(text);
        let names = read.subject_alternative_name().ok().flatten();
        let names = names.into_iter().flat_map(|names| &names.value.general_names);
        Ok(Self {
            subject: read.subject().as_raw().to_vec(),
            issuer: read.issuer().as_raw().to_vec(),
            from: at(read.validity().not_before.timestamp())?,
            until: at(read.validity().not_after.timestamp())?,
            names: names.filter_map(name).collect(),
        })
    }

    /// Whether a third of its life or less is left.
    fn is_due(&self, now: Timestamp, life: SignedDuration) -> bool {
        self.until - life / 3 <= now
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
            v4.or(v6).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
