//! Servers that are not allowed get no request.

use super::{
    super::{Allow, Transport},
    Answer, EMPTY, Limits, always, ask,
    asking::patient,
    no_secrets, open, with_limits,
};

async fn asked(url: &str, allowed: &[&str]) -> Answer {
    let limits = Limits {
        allow: allowed.iter().map(|entry| entry.parse::<Allow>().unwrap()).collect(),
        ..patient()
    };
    ask(&with_limits(no_secrets(), Transport::Tcp, limits), &open(url)).await
}

#[tokio::test]
async fn a_server_is_asked_if_its_name_or_its_addresses_are_allowed() {
    let address = always(200, EMPTY).await;
    let name = address.replace("127.0.0.1", "localhost");
    let local = ["127.0.0.0/8", "::1"];
    for (url, allowed) in [
        (&address, &local[..]),
        (&name, &local[..]),
        (&name, &["localhost"]),
        (&name, &["10.0.0.0/8", name.as_str()]),
    ] {
        assert_eq!(asked(url, allowed).await, Answer::Vector(vec![]), "{url} {allowed:?}");
    }
    for (url, allowed, why) in [
        (
            &address,
            "localhost",
            format!("{address} is not allowed by --prometheus-allow: "),
        ),
        (
            &name,
            "elsewhere",
            format!("{name} is not allowed by --prometheus-allow: "),
        ),
        (
            &name,
            "10.0.0.0/8",
            format!("{name} is not allowed: localhost has the address "),
        ),
    ] {
        match asked(url, &[allowed]).await {
            Answer::Rejected(reported) => assert!(
                reported.starts_with(&why) && reported.contains("ask the operator"),
                "{reported}"
            ),
            answer => panic!("{url} {allowed}: {answer:?}"),
        }
    }
}
