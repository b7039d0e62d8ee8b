//! A Prometheus in this process.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response, StatusCode, header::LOCATION};
use tokio::time::{Instant, sleep};
use tower::{BoxError, service_fn};

use super::{
    super::{Local, Transport},
    Answer, EMPTY, Endpoint, Limits, Vault, ask, no_secrets, open, why, with_limits,
};

/// A server in this process that answers with what `handler` says.
fn local<H>(handler: H) -> Transport
where
    H: Fn(Request<Vec<u8>>) -> Result<Response<Vec<u8>>, BoxError> + Clone + Send + Sync + 'static,
{
    Transport::Local(Local::new(service_fn(move |request| {
        std::future::ready(handler(request))
    })))
}

fn reply(status: u16, body: &str) -> Response<Vec<u8>> {
    let reply = Response::builder().status(status);
    reply.body(body.as_bytes().to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_server_in_this_process_is_given_what_would_be_sent() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let transport = local({
        let seen = seen.clone();
        move |request| {
            seen.lock().unwrap().push(request);
            Ok(reply(200, EMPTY))
        }
    });
    let vault = Arc::new(Vault::default());
    vault.put("prom", &[("token", "s3cret")]);
    let endpoint = Endpoint {
        url: "https://prometheus.shop:9090/prefix".to_owned(),
        auth: Some(serde_yaml_ng::from_str("bearerTokenSecret: {name: prom, key: token}").unwrap()),
    };
    let prometheus = with_limits(vault.client(), transport, Limits::default());
    assert_eq!(ask(&prometheus, &endpoint).await, Answer::Vector(vec![]));
    let request = seen.lock().unwrap().pop().unwrap();
    assert_eq!(request.method(), "POST");
    assert_eq!(
        request.uri().to_string(),
        "https://prometheus.shop:9090/prefix/api/v1/query"
    );
    assert_eq!(request.headers()["authorization"], "Bearer s3cret");
    assert_eq!(request.headers()["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(
        String::from_utf8(request.into_body()).unwrap(),
        "query=up&time=1970-01-01T00%3A00%3A00Z&timeout=9000ms"
    );
}

#[tokio::test(start_paused = true)]
async fn a_fault_in_this_process_is_reported_as_one_of_the_network() {
    let transport = local(|request| match request.uri().host() {
        Some("gone") => Err("Connection refused".into()),
        Some("large") => Ok(reply(200, &"x".repeat(1001))),
        Some("moved") => {
            let mut reply = reply(302, "");
            reply.headers_mut().insert(LOCATION, "/login?token=x".parse().unwrap());
            Ok(reply)
        }
        _ => Ok(reply(StatusCode::SERVICE_UNAVAILABLE.as_u16(), "")),
    });
    let limits = Limits {
        body: 1000,
        ..Limits::default()
    };
    let prometheus = with_limits(no_secrets(), transport, limits);
    for (url, message) in [
        ("http://gone", "http://gone can't be reached: Connection refused"),
        (
            "http://large",
            "http://large: the answer is larger than 1000 bytes: aggregate in the query",
        ),
        (
            "http://moved",
            "http://moved answers 302 Found and redirects to http://moved/login: queries do not follow redirects, so use the address of the server itself",
        ),
        ("http://busy", "http://busy answers 503 Service Unavailable"),
        (
            "http://256.256.256.256",
            "http://256.256.256.256 is not a valid address",
        ),
    ] {
        assert_eq!(why(&prometheus, &open(url)).await, message);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_in_this_process_that_is_slow_is_given_up() {
    let slow = Local::new(service_fn(async |_| {
        sleep(Duration::from_mins(1)).await;
        Ok::<_, BoxError>(reply(200, EMPTY))
    }));
    let prometheus = with_limits(no_secrets(), Transport::Local(slow), Limits::default());
    let start = Instant::now();
    assert_eq!(
        why(&prometheus, &open("http://slow")).await,
        "no answer from http://slow within 10s"
    );
    assert_eq!(start.elapsed(), Duration::from_secs(10));
}
