//! Prometheus endpoints and the Secrets that they need.

use url::Url;

use super::present;
use crate::api::{PromQlItem, PrometheusAuth, QueryHeader, SecretKey};

/// A Prometheus endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// `http(s)://host[:port][/prefix]`: lower-case scheme and host, without default port, trailing slash, credentials,
    /// query or fragment.
    pub url: String,
    /// The Secrets with credentials, in the Kanary's namespace, if any.
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

/// Normalizes a URL. No message repeats the URL, which may contain a password.
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
    let is_http = |scheme: &str| scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    if !text.split_once("://").is_some_and(|(scheme, _)| is_http(scheme)) {
        return wrong("is no http or https URL: write it as http://host:port/prefix");
    }
    let bad_host = || format!("{field} has no valid host and port: write it like prometheus.monitoring:9090");
    let url = Url::parse(text).map_err(|_| bad_host())?;
    let authority = text.split('/').nth(2).unwrap_or_default();
    let host = url.host_str().filter(|host| is_host(host)).ok_or_else(bad_host)?;
    if authority.ends_with(':') || url.port() == Some(0) {
        return Err(bad_host());
    }
    let path = url.path().trim_end_matches('/');
    if path.ends_with("/api/v1") || path.ends_with("/api/v1/query") {
        return wrong("holds the path of the API: leave /api/v1/query out, it is added");
    }
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    Ok(format!("{}://{host}{port}{path}", url.scheme()))
}

/// Host names have stricter rules than the host of a URL.
fn is_host(host: &str) -> bool {
    let named = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '.' | '_');
    host.starts_with('[') || host.starts_with(|char: char| char.is_ascii_alphanumeric()) && host.chars().all(named)
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
        key.map_or(Ok(()), |key| check_key(field, key))?;
    }
    let headers = auth.headers.as_deref().unwrap_or_default();
    let names_itself = auth.bearer_token_secret.is_some() || basic.is_some();
    for (index, header) in headers.iter().enumerate() {
        let earlier = headers.get(..index).unwrap_or_default();
        check_header(header, earlier, names_itself).map_err(|why| format!("prometheusAuth.headers[{index}] {why}"))?;
    }
    let auth = PrometheusAuth {
        basic_auth_secret: basic.map(str::to_owned),
        headers: auth.headers.clone().filter(|headers| !headers.is_empty()),
        ..auth.clone()
    };
    Ok((auth != PrometheusAuth::default()).then_some(auth))
}

/// Headers that the client sets itself, or that would change the meaning of a request.
const OWN: [&str; 17] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Refuses a header that users must not set, or that cannot be sent. No message repeats a value.
fn check_header(header: &QueryHeader, earlier: &[QueryHeader], names_itself: bool) -> Result<(), String> {
    let QueryHeader {
        name,
        value,
        value_from_secret,
    } = header;
    let is_token = |char: char| char.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(char);
    if name.is_empty() || name.len() > 256 || !name.chars().all(is_token) {
        return Err("has no valid name: write one like X-Scope-OrgID".to_owned());
    }
    let is_named = |other: &str| name.eq_ignore_ascii_case(other);
    if OWN.iter().any(|own| is_named(own)) {
        return Err(format!("sets {name}, which the client sets itself: remove it"));
    }
    if earlier.iter().any(|earlier| is_named(&earlier.name)) {
        return Err(format!("sets {name} a second time: remove one"));
    }
    let authorizes = is_named("authorization");
    if authorizes && names_itself {
        return Err(format!(
            "sets {name}, and so does bearerTokenSecret or basicAuthSecret: remove one"
        ));
    }
    match (value.as_deref().filter(|value| !value.is_empty()), value_from_secret) {
        (Some(_), None) if authorizes => Err(format!(
            "shows {name} to everybody: put it into a Secret and use valueFromSecret"
        )),
        (Some(value), None) => {
            let is_sound = value.chars().all(|char| char == ' ' || char.is_ascii_graphic()) && value.trim() == value;
            let wrong = || format!("has a value for {name} that no header can carry: use printable ASCII");
            if is_sound { Ok(()) } else { Err(wrong()) }
        }
        (None, Some(key)) => check_key("headers.valueFromSecret", key),
        _ => Err(format!(
            "has not exactly one of value and valueFromSecret for {name}: write one of them"
        )),
    }
}

fn check_key(field: &str, SecretKey { name, key }: &SecretKey) -> Result<(), String> {
    check_name(&format!("{field}.name"), name)?;
    let named = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '.' | '_');
    if key.is_empty() || !key.chars().all(named) {
        return Err(format!(
            "prometheusAuth.{field}.key is not a key of a Secret: write one like token"
        ));
    }
    Ok(())
}

/// Refuses an invalid Secret name. The name becomes a path segment: a slash in it could lead to a Secret of another
/// namespace.
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

    #[test]
    fn headers_are_the_users_but_for_those_that_make_a_request_what_it_is() {
        let headers = |headers: &str| endpoint(&format!("prometheusURL: https://prom\nprometheusAuth: {headers}"));
        let sound = "{headers: [{name: X-Scope-OrgID, value: 'team-a|team-b'}, {name: x-key, valueFromSecret: {name: a, key: b}}]}";
        let auth = headers(sound).unwrap().auth.unwrap();
        assert_eq!(auth.headers.map(|headers| headers.len()), Some(2));
        assert_eq!(headers("{headers: []}").unwrap().auth, None);
        let from_secret = "valueFromSecret: {name: a, key: b}";
        assert!(headers(&format!("{{headers: [{{name: Authorization, {from_secret}}}]}}")).is_ok());
        for (yaml, message) in [
            (
                "[{name: Host, value: a}]",
                "headers[0] sets Host, which the client sets itself",
            ),
            ("[{name: content-Length, value: '0'}]", "which the client sets itself"),
            ("[{name: 'X Y', value: a}]", "headers[0] has no valid name"),
            ("[{name: \"X\\r\\nHost\", value: a}]", "has no valid name"),
            ("[{name: '', value: a}]", "has no valid name"),
            (
                "[{name: X, value: a}, {name: x, value: b}]",
                "headers[1] sets x a second time",
            ),
            ("[{name: X, value: \"a\\nHost: b\"}]", "that no header can carry"),
            ("[{name: X, value: ' a'}]", "that no header can carry"),
            ("[{name: X, value: 'ä'}]", "that no header can carry"),
            ("[{name: X}]", "not exactly one of value and valueFromSecret"),
            (
                "[{name: X, value: a, valueFromSecret: {name: a, key: b}}]",
                "not exactly one of",
            ),
            (
                "[{name: X, valueFromSecret: {name: ../a, key: b}}]",
                "valueFromSecret.name is not the name",
            ),
            (
                "[{name: authorization, value: 'Bearer hunter2'}]",
                "use valueFromSecret",
            ),
        ] {
            let error = headers(&format!("{{headers: {yaml}}}")).expect_err(yaml);
            assert!(error.contains(message) && !error.contains("hunter2"), "{yaml}: {error}");
        }
        let twice = format!("{{basicAuthSecret: me, headers: [{{name: Authorization, {from_secret}}}]}}");
        assert!(headers(&twice).unwrap_err().contains("and so does bearerTokenSecret"));
    }
}
