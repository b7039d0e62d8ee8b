use std::{sync::Arc, time::Duration};

use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    pki_types::{ServerName, UnixTime},
};

use super::*;

const SERVICE: &str = "kanary-conversion.kanary-system.svc";

fn names() -> Vec<String> {
    vec![SERVICE.to_owned(), "127.0.0.1".to_owned()]
}

fn start() -> Timestamp {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

/// Whether an API server that trusts `bundle` accepts a certificate for a name.
fn accepts(bundle: &str, certificate: &str, name: &str, now: Timestamp) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for (_, authority) in certificates(bundle) {
        roots.add(authority).unwrap();
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let (_, certificate) = certificates(certificate).remove(0);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.as_second().try_into().unwrap()));
    let found = verifier
        .build()
        .unwrap()
        .verify_server_cert(&certificate, &[], &name, &[], now);
    found.map(drop).map_err(text)
}

#[test]
fn a_certificate_is_for_the_names_of_the_webhook() {
    let made = Material::new(start(), &names(), "").unwrap();
    for name in names() {
        accepts(&made.bundle, &made.certificate, &name, start()).unwrap();
    }
    let early = start() - SignedDuration::from_mins(59);
    accepts(&made.bundle, &made.certificate, SERVICE, early).unwrap();
    accepts(&made.bundle, &made.certificate, "example.com", start()).unwrap_err();
    accepts(&made.bundle, &made.certificate, SERVICE, start() + hours(91 * 24)).unwrap_err();
    let other = Material::new(start(), &names(), "").unwrap();
    accepts(&other.bundle, &made.certificate, SERVICE, start()).unwrap_err();
    assert_eq!(
        Presented::read(&made.certificate, &made.key).unwrap().until,
        start() + CERTIFICATE
    );
    Presented::read(&made.certificate, &other.key).unwrap_err();
    Presented::read("", &made.key).unwrap_err();
    Material::new(start(), &["under_score!".to_owned(), "ä".to_owned()], "").unwrap_err();
}

/// Replicas and API servers learn of each change half an hour late, for seven years.
#[test]
fn no_request_fails_while_certificates_and_authorities_are_renewed() {
    const STEP: SignedDuration = SignedDuration::from_mins(30);
    let mut now = start();
    let mut former = Material::new(now, &names(), "").unwrap();
    let mut current = former.clone();
    let (mut authorities, mut changes, mut close) = (1, 0, 0);
    while now < start() + hours(7 * 365 * 24) {
        let check = |certificate: &Material, trust: &Material| {
            let found = accepts(&trust.bundle, &certificate.certificate, SERVICE, now);
            assert_eq!(found, Ok(()), "at {now}");
        };
        if close > 0 {
            check(&former, &former);
            check(&former, &current);
            check(&current, &former);
        }
        check(&current, &current);
        former = current.clone();
        if let Some(next) = current.next(now, &names(), true).unwrap() {
            authorities += usize::from(next.bundle != current.bundle);
            assert!(
                certificates(&next.bundle).len() <= 2,
                "expired authorities are left out"
            );
            (changes, close, current) = (changes + 1, 6, next);
        }
        close = i32::max(close - 1, 0);
        now += if close > 0 { STEP } else { hours(12) };
    }
    assert!((6..=7).contains(&authorities), "{authorities} authorities");
    assert!(changes > 40, "{changes} changes");
}

#[test]
fn an_authority_that_no_api_server_knows_signs_nothing() {
    let made = Material::new(start(), &names(), "").unwrap();
    let due = start() + AUTHORITY - AUTHORITY / 3;
    // Its certificate was renewed meanwhile.
    let renewed = made.signed(due - hours(1), &names()).unwrap();
    let next = renewed.next(due, &names(), true).unwrap().unwrap();
    assert_ne!(next.bundle, renewed.bundle);
    assert_eq!(next.certificate, renewed.certificate);
    assert_eq!(
        next.next(due, &names(), true).unwrap(),
        None,
        "API servers learn of it first"
    );
    let settled = due + SETTLING;
    assert_eq!(
        next.next(settled, &names(), false).unwrap(),
        None,
        "it could not be published"
    );
    let signed = next.next(settled, &names(), true).unwrap().unwrap();
    assert_eq!(signed.bundle, next.bundle);
    accepts(&renewed.bundle, &signed.certificate, SERVICE, settled).unwrap_err();
    accepts(&signed.bundle, &signed.certificate, SERVICE, settled).unwrap();
    accepts(&signed.bundle, &renewed.certificate, SERVICE, settled).unwrap();
}

#[test]
fn what_no_api_server_accepts_is_replaced_at_once() {
    let made = Material::new(start(), &["old.shop.svc".to_owned()], "").unwrap();
    let renamed = made.next(start(), &names(), false).unwrap().unwrap();
    assert_eq!(renamed.bundle, made.bundle);
    accepts(&made.bundle, &renamed.certificate, SERVICE, start()).unwrap();
    let late = start() + CERTIFICATE;
    let expired = renamed.next(late, &names(), false).unwrap().unwrap();
    accepts(&made.bundle, &expired.certificate, SERVICE, late).unwrap();
    let years_later = start() + hours(5 * 365 * 24);
    let authority = expired.next(years_later, &names(), false).unwrap().unwrap();
    let again = authority.next(years_later, &names(), false).unwrap().unwrap();
    accepts(&again.bundle, &again.certificate, SERVICE, years_later).unwrap();
    assert_eq!(certificates(&again.bundle).len(), 1);
}

#[test]
fn former_authorities_stay_trusted_when_the_rest_is_lost() {
    let made = Material::new(start(), &names(), "").unwrap();
    let junk = format!(
        "junk\n{}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        made.bundle
    );
    let anew = Material::new(start() + hours(1), &names(), &junk).unwrap();
    for material in [&made, &anew] {
        accepts(&anew.bundle, &material.certificate, SERVICE, start() + hours(1)).unwrap();
    }
    assert_eq!(certificates(&anew.bundle).len(), 2);
    for broken in [
        Material {
            bundle: String::new(),
            ..made.clone()
        },
        Material {
            certificate: "junk".to_owned(),
            ..made
        },
    ] {
        broken.next(start(), &names(), true).unwrap_err();
    }
}
