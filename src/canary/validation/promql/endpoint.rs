//! Where a Prometheus answers, and the Secrets it asks for.

use std::net::Ipv6Addr;

use super::present;
use crate::api::{PromQlItem, PrometheusAuth, SecretKey};

/// Where a Prometheus answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// `http(s)://host[:port][/prefix]`: lower-case scheme and host, no default port, no slash at the end, no credentials,
    /// query or fragment.
    pub url: String,
    /// The Secrets it asks for, in the Kanary's namespace. Absent when none is named.
    pub auth: Option<PrometheusAuth>,
}

impl Endpoint {
    pub(super) fn parse(item: &PromQlItem) -> Result<Self, String> {
        let url = match (
            present(item.prometheus_service.as_ref()),
            present(item.prometheus_url.as_ref()),
        ) {
            (Some(service), None) if service.contains("://") => url("prometheusService", service),
            (Some(service), None) => url("prometheusService", &format!("http://{service}")),
            (None, Some(text)) => url("prometheusURL", text),
            (None, None) => {
                Err("prometheusService is missing: name it as host:port, or write prometheusURL".to_owned())
            }
            (Some(_), Some(_)) => Err("prometheusService and prometheusURL are both set: remove one".to_owned()),
        }?;
        let auth = item.prometheus_auth.as_ref().map(auth).transpose()?.flatten();
        if url.starts_with("http://") && auth.as_ref().is_some_and(|auth| auth.ca_secret.is_some()) {
            return Err(
                "prometheusAuth.caSecret is of no use over http: write prometheusURL with https://, or remove it"
                    .to_owned(),
            );
        }
        Ok(Self { url, auth })
    }
}

/// The normal form of a URL. No message repeats the URL: it may hold a password.
fn url(field: &str, text: &str) -> Result<String, String> {
    let wrong = |what: &str| Err(format!("{field} {what}"));
    if text.contains('@') {
        return wrong("holds credentials: remove them and name a Secret in prometheusAuth");
    }
    if text.contains(['?', '#']) {
        return wrong("has a query or a fragment: remove it");
    }
    if !text.chars().all(|char| char.is_ascii_graphic())
        || text.contains(['\\', '"', '<', '>', '`', '{', '}', '|', '^'])
    {
        return wrong("has a character that no URL has: write host:port or http://host:port/prefix");
    }
    let scheme = text
        .split_once("://")
        .map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
    let (scheme, rest) = match &scheme {
        Some((scheme, rest)) if scheme == "http" || scheme == "https" => (scheme.as_str(), *rest),
        _ => return wrong("is no http or https URL: write it as http://host:port/prefix"),
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let path = path.trim_end_matches('/');
    if path.ends_with("/api/v1") || path.ends_with("/api/v1/query") {
        return wrong("holds the path of the API: leave /api/v1/query out, it is added");
    }
    let authority = authority.to_ascii_lowercase();
    let (host, port) = host_and_port(&authority)
        .ok_or_else(|| format!("{field} has no valid host and port: write it like prometheus.monitoring:9090"))?;
    Ok(match port {
        Some(port) if !matches!((scheme, port), ("http", 80) | ("https", 443)) => {
            format!("{scheme}://{host}:{port}{path}")
        }
        _ => format!("{scheme}://{host}{path}"),
    })
}

fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if authority.starts_with('[') {
        let end = authority.find(']')? + 1;
        let (host, port) = authority.split_at(end);
        let address = host.strip_prefix('[')?.strip_suffix(']')?;
        address.parse::<Ipv6Addr>().ok()?;
        (host, port)
    } else {
        let (host, port) = authority
            .find(':')
            .map_or((authority, ""), |colon| authority.split_at(colon));
        let named = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '.' | '_');
        if !host.starts_with(|char: char| char.is_ascii_alphanumeric()) || !host.chars().all(named) {
            return None;
        }
        (host, port)
    };
    match port.strip_prefix(':') {
        None if port.is_empty() => Some((host, None)),
        Some(digits) if digits.chars().all(|char| char.is_ascii_digit()) => {
            let port = digits.parse().ok().filter(|port| *port > 0)?;
            Some((host, Some(port)))
        }
        _ => None,
    }
}

fn auth(auth: &PrometheusAuth) -> Result<Option<PrometheusAuth>, String> {
    let basic = present(auth.basic_auth_secret.as_ref());
    if auth.bearer_token_secret.is_some() && basic.is_some() {
        return Err("prometheusAuth takes bearerTokenSecret or basicAuthSecret: remove one".to_owned());
    }
    if let Some(name) = basic {
        check_name("basicAuthSecret", name)?;
    }
    for (field, key) in [
        ("bearerTokenSecret", auth.bearer_token_secret.as_ref()),
        ("caSecret", auth.ca_secret.as_ref()),
    ] {
        if let Some(SecretKey { name, key }) = key {
            check_name(&format!("{field}.name"), name)?;
            let named = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '.' | '_');
            if key.is_empty() || !key.chars().all(named) {
                return Err(format!(
                    "prometheusAuth.{field}.key is not a key of a Secret: write one like token"
                ));
            }
        }
    }
    let auth = PrometheusAuth {
        basic_auth_secret: basic.map(str::to_owned),
        ..auth.clone()
    };
    Ok((auth != PrometheusAuth::default()).then_some(auth))
}

/// Refuses what is no name of a Secret. The name becomes a segment of a path: with a slash in it, it could lead to a Secret
/// of another namespace.
fn check_name(field: &str, name: &str) -> Result<(), String> {
    let lower = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit();
    let valid = name.len() <= 253
        && name.chars().all(|char| lower(char) || matches!(char, '-' | '.'))
        && name.starts_with(lower)
        && name.ends_with(lower);
    if valid {
        Ok(())
    } else {
        Err(format!(
            "prometheusAuth.{field} is not the name of a Secret: write one like prometheus-token"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::Endpoint;
    use crate::api::PromQlItem;

    fn endpoint(yaml: &str) -> Result<Endpoint, String> {
        let item: PromQlItem = serde_yaml_ng::from_str(&format!("query: up\n{yaml}")).unwrap();
        Endpoint::parse(&item)
    }

    #[test]
    fn a_service_or_a_url_becomes_one_normal_form() {
        for (yaml, url) in [
            (
                "prometheusService: prometheus.istio-system:9090",
                "http://prometheus.istio-system:9090",
            ),
            ("prometheusService: prometheus", "http://prometheus"),
            ("prometheusService: 10.0.0.1:9090", "http://10.0.0.1:9090"),
            ("prometheusService: '[::1]:9090'", "http://[::1]:9090"),
            (
                "prometheusService: https://Prom.example.com:443/",
                "https://prom.example.com",
            ),
            ("prometheusURL: HTTP://prom:80/a/Prefix//", "http://prom/a/Prefix"),
            ("prometheusURL: https://prom:80", "https://prom:80"),
            (
                "prometheusURL: http://prom:9090\nprometheusService: ''",
                "http://prom:9090",
            ),
        ] {
            assert_eq!(
                endpoint(yaml).map(|endpoint| endpoint.url).as_deref(),
                Ok(url),
                "{yaml}"
            );
        }
    }

    #[test]
    fn a_bad_address_is_refused_with_its_field_and_a_remedy() {
        for (yaml, message) in [
            ("{}", "prometheusService is missing"),
            ("prometheusService: ''", "prometheusService is missing"),
            ("prometheusService: a\nprometheusURL: http://b", "both set"),
            ("prometheusService: 'prom:'", "no valid host and port"),
            ("prometheusService: prom:0", "no valid host and port"),
            ("prometheusService: prom:65536", "no valid host and port"),
            ("prometheusService: prom:90:90", "no valid host and port"),
            ("prometheusService: :9090", "no valid host and port"),
            ("prometheusService: '[::1'", "no valid host and port"),
            ("prometheusService: '[prom]:9090'", "no valid host and port"),
            ("prometheusService: a b", "character"),
            ("prometheusService: ftp://prom", "no http or https URL"),
            ("prometheusURL: prom:9090", "prometheusURL is no http or https URL"),
            ("prometheusURL: http://", "no valid host and port"),
            ("prometheusURL: http://prom?x=y", "query or a fragment"),
            ("prometheusURL: http://prom#x", "query or a fragment"),
            ("prometheusURL: http://prom/api/v1/query", "leave /api/v1/query out"),
        ] {
            let error = endpoint(&yaml.replace("{}", "")).expect_err(yaml);
            assert!(error.contains(message), "{yaml}: {error}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_repeated() {
        for field in ["prometheusService", "prometheusURL"] {
            for url in ["http://me:hunter2@prom:9090", "me:hunter2@prom", "ftp//me:hunter2@prom"] {
                let error = endpoint(&format!("{field}: {url}")).expect_err(url);
                assert!(
                    error.contains("prometheusAuth") && !error.contains("hunter2"),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn secrets_are_named_once_and_can_not_lead_out_of_the_namespace() {
        let auth = |auth: &str| endpoint(&format!("prometheusURL: https://prom\nprometheusAuth: {auth}"));
        assert_eq!(auth("{}").unwrap().auth, None);
        assert_eq!(auth("{basicAuthSecret: ''}").unwrap().auth, None);
        assert!(
            auth("{basicAuthSecret: me, caSecret: {name: ca, key: ca.crt}}")
                .unwrap()
                .auth
                .is_some()
        );
        for (yaml, message) in [
            (
                "{basicAuthSecret: a, bearerTokenSecret: {name: a, key: b}}",
                "remove one",
            ),
            (
                "{basicAuthSecret: ../../other/secrets/x}",
                "prometheusAuth.basicAuthSecret is not the name",
            ),
            (
                "{bearerTokenSecret: {name: a/b, key: b}}",
                "bearerTokenSecret.name is not the name",
            ),
            (
                "{bearerTokenSecret: {name: '', key: b}}",
                "bearerTokenSecret.name is not the name",
            ),
            ("{caSecret: {name: a, key: ''}}", "caSecret.key is not a key"),
        ] {
            let error = auth(yaml).expect_err(yaml);
            assert!(error.contains(message), "{yaml}: {error}");
        }
        let plain = "prometheusService: prom:9090\nprometheusAuth: {caSecret: {name: a, key: b}}";
        assert!(endpoint(plain).unwrap_err().contains("over http"));
    }
}
