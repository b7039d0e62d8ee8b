mod gates;

use std::convert::Infallible;

use tower::service_fn;

use super::*;

#[test]
fn the_date_of_a_reply_is_understood() {
    let date = http_date("Sun, 22 Nov 2026 01:36:03 GMT");
    assert_eq!(date, "2026-11-22T01:36:03Z".parse().ok());
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
