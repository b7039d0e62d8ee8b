mod gates;

use std::convert::Infallible;

use tower::service_fn;

use super::*;
use crate::cluster::error::ApiError;

#[test]
fn the_date_of_a_reply_is_understood() {
    let date = http_date("Sun, 22 Nov 2026 01:36:03 GMT");
    assert_eq!(date, "2026-11-22T01:36:03Z".parse().ok());
}

#[tokio::test(start_paused = true)]
async fn any_reply_shows_that_the_api_server_answers() {
    let clock = Clock::default();
    let service = service_fn(async |request: Request<Body>| {
        let code = if request.uri().path() == "/down" { 503 } else { 200 };
        if request.uri().path() == "/hangs" {
            std::future::pending::<()>().await;
        }
        Ok::<_, Infallible>(Response::builder().status(code).body(Body::empty()).unwrap())
    });
    let client = Client::new(learning(service, clock.clone()), "default");
    let ask = async |path: &str| {
        let request = Request::builder().uri(path).body(Vec::new()).unwrap();
        let error = within(CALL_TIMEOUT, client.request_text(request)).await.err();
        error.map(|error| ApiError::new("get", "Pod".into(), "a", "b", error))
    };
    let alone = ask("/hangs").await.unwrap();
    assert!(alone.is_unanswered() && alone.is_silence(&clock));
    for other in ["/", "/down"] {
        let (beside, _) = futures::join!(ask("/hangs"), ask(other));
        let beside = beside.unwrap();
        assert!(beside.is_unanswered() && !beside.is_silence(&clock), "{other}");
    }
    let later = ask("/hangs").await.unwrap();
    assert!(later.is_silence(&clock), "nothing was answered meanwhile");
}

#[tokio::test]
async fn the_replies_of_any_service_correct_the_clock() {
    let clock = Clock::from_source(|| "2026-11-22T01:00:00Z".parse().unwrap());
    let service = service_fn(async |_: Request<Body>| {
        let reply = Response::builder().header(DATE, "Sun, 22 Nov 2026 01:36:03 GMT");
        Ok::<_, Infallible>(reply.body(Body::empty()).unwrap())
    });
    let client = Client::new(learning(service, clock.clone()), "default");
    client.send(Request::new(Body::empty())).await.unwrap();
    assert_eq!(clock.now(), "2026-11-22T01:36:03Z".parse().unwrap());
}
