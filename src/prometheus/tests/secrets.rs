use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use tokio::task::JoinSet;

use super::{
    Answer, Asked, EMPTY, Endpoint, Limits, Prometheus, Transport, Vault, ask, asking::patient, reply, serve, why,
    with_limits,
};

/// A server that answers who knows `authorization` and repeats what others sent.
async fn guarded(authorization: &'static str) -> String {
    serve(move |asked: Asked| async move {
        let sent = asked
            .headers
            .get("authorization")
            .map_or("", |header| header.to_str().unwrap());
        if sent == authorization {
            reply(200, EMPTY)
        } else {
            let padding = "x".repeat(180);
            reply(
                401,
                format!(r#"{{"status":"error","error":"{sent} {padding} is not `{sent}`"}}"#),
            )
        }
    })
    .await
}

pub(super) fn closed(url: &str, auth: &str) -> Endpoint {
    Endpoint {
        url: url.to_owned(),
        auth: Some(serde_yaml_ng::from_str(auth).unwrap()),
    }
}

fn bearer(url: &str) -> Endpoint {
    closed(url, "bearerTokenSecret: {name: prom, key: token}")
}

fn with_vault(vault: &Arc<Vault>) -> Prometheus {
    with_limits(vault.client(), Transport::Tcp, patient())
}

/// Reads Secrets again whenever that may help.
pub(super) fn eager() -> Limits {
    Limits {
        read_secrets_again: Duration::ZERO,
        ..patient()
    }
}

#[tokio::test]
async fn a_token_is_sent_and_read_once() {
    let vault = Arc::new(Vault::default());
    vault.put("prom", &[("token", "s3cret\n")]);
    let prometheus = with_vault(&vault);
    let endpoint = bearer(&guarded("Bearer s3cret").await);
    let mut queries = JoinSet::new();
    for _ in 0..5 {
        let (prometheus, endpoint) = (prometheus.clone(), endpoint.clone());
        queries.spawn(async move { ask(&prometheus, &endpoint).await });
    }
    assert_eq!(queries.join_all().await, vec![Answer::Vector(vec![]); 5]);
    assert_eq!(vault.reads(), 1);
}

#[tokio::test]
async fn a_name_and_a_password_are_sent() {
    let vault = Arc::new(Vault::default());
    vault.put("basic", &[("username", "me"), ("password", "s3cret")]);
    let endpoint = closed(&guarded("Basic bWU6czNjcmV0").await, "basicAuthSecret: basic");
    assert_eq!(ask(&with_vault(&vault), &endpoint).await, Answer::Vector(vec![]));
}

#[tokio::test]
async fn headers_come_from_the_spec_and_from_secrets_and_what_a_secret_holds_is_not_repeated() {
    let url = serve(|asked: Asked| async move {
        let header = |name: &str| {
            asked
                .headers
                .get(name)
                .map_or("none", |header| header.to_str().unwrap())
        };
        let headers = ["x-scope-orgid", "x-key", "authorization", "accept"].map(header);
        reply(401, headers.join(" "))
    })
    .await;
    let vault = Arc::new(Vault::default());
    vault.put(
        "prom",
        &[("key", "k3y-of-api\n"), ("token", "Api s3cret"), ("tenant", "1")],
    );
    let headers = "headers: [{name: X-Scope-OrgID, value: team-a}, {name: X-Key, valueFromSecret: {name: prom, key: key}}, \
                   {name: Authorization, valueFromSecret: {name: prom, key: token}}]";
    let message = why(&with_vault(&vault), &closed(&url, headers)).await;
    assert_eq!(
        message,
        format!("{url} answers 401 Unauthorized: team-a *** *** application/json")
    );
    let headers = "headers: [{name: X-Scope-OrgID, valueFromSecret: {name: prom, key: tenant}}]";
    let message = why(&with_vault(&vault), &closed(&url, headers)).await;
    assert_eq!(
        message,
        format!("{url} answers 401 Unauthorized: 1 none none application/json")
    );
}

#[tokio::test]
async fn a_refused_token_is_read_again_but_not_each_time() {
    for (limits, reads) in [(patient(), 1), (eager(), 2)] {
        let vault = Arc::new(Vault::default());
        vault.put("prom", &[("token", "old-s3cret")]);
        let prometheus = with_limits(vault.client(), Transport::Tcp, limits);
        let endpoint = bearer(&guarded("Bearer new-s3cret").await);
        assert!(why(&prometheus, &endpoint).await.contains("answers 401 Unauthorized"));
        vault.put("prom", &[("token", "new-s3cret")]);
        let answered = ask(&prometheus, &endpoint).await == Answer::Vector(vec![]);
        assert_eq!((answered, vault.reads()), (reads == 2, reads));
    }
}

#[tokio::test]
async fn no_message_repeats_a_secret_that_the_server_repeats() {
    let vault = Arc::new(Vault::default());
    vault.put("prom", &[("token", "wrong-s3cret")]);
    vault.put("basic", &[("username", "me"), ("password", "wrong-s3cret")]);
    let url = guarded("Bearer right").await;
    for endpoint in [bearer(&url), closed(&url, "basicAuthSecret: basic")] {
        let message = why(&with_vault(&vault), &endpoint).await;
        assert!(
            message.contains("***") && !message.contains("s3c") && !message.contains("czNjcmV0"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_secret_that_is_missing_or_of_no_use_is_named() {
    let vault = Arc::new(Vault::default());
    vault.put("empty", &[("token", " \n")]);
    vault.put("odd", &[("token", "a\nb"), ("ca.crt", "no certificate")]);
    let prometheus = with_vault(&vault);
    for (auth, message) in [
        (
            "bearerTokenSecret: {name: none, key: token}",
            "secret shop/none of prometheusAuth does not exist",
        ),
        (
            "bearerTokenSecret: {name: empty, key: other}",
            "secret shop/empty of prometheusAuth has no key other",
        ),
        (
            "bearerTokenSecret: {name: empty, key: token}",
            "secret shop/empty of prometheusAuth has no text under the key token",
        ),
        (
            "bearerTokenSecret: {name: odd, key: token}",
            "prometheusAuth names a secret whose value is not valid in an HTTP header",
        ),
        (
            "basicAuthSecret: odd",
            "secret shop/odd of prometheusAuth has no key username",
        ),
        (
            "caSecret: {name: odd, key: ca.crt}",
            "secret shop/odd of prometheusAuth has no valid PEM certificates under the key ca.crt",
        ),
    ] {
        assert_eq!(
            why(&prometheus, &closed("https://127.0.0.1:1", auth)).await,
            message,
            "{auth}"
        );
    }
    let before = vault.reads();
    why(&prometheus, &closed("https://127.0.0.1:1", "basicAuthSecret: odd")).await;
    assert_eq!(vault.reads(), before);
    *vault.down.lock().unwrap() = Some(StatusCode::FORBIDDEN);
    let message = why(&prometheus, &closed("http://127.0.0.1:1", "basicAuthSecret: odd")).await;
    assert_eq!(
        message,
        "secret shop/odd of prometheusAuth: the controller has no permission to read it"
    );
}

#[tokio::test]
async fn a_token_outlives_an_api_server_that_is_down_but_not_its_secret() {
    let vault = Arc::new(Vault::default());
    vault.put("prom", &[("token", "s3cret")]);
    let limits = Limits {
        keep_secrets: Duration::ZERO,
        ..eager()
    };
    let prometheus = with_limits(vault.client(), Transport::Tcp, limits);
    let endpoint = bearer(&guarded("Bearer s3cret").await);
    assert_eq!(ask(&prometheus, &endpoint).await, Answer::Vector(vec![]));
    *vault.down.lock().unwrap() = Some(StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(ask(&prometheus, &endpoint).await, Answer::Vector(vec![]));
    assert_eq!(vault.reads(), 2);
    *vault.down.lock().unwrap() = None;
    vault.secrets.lock().unwrap().clear();
    assert!(why(&prometheus, &endpoint).await.contains("does not exist"));
}
