//! One request to a Prometheus: sends queries and reads the answer, within limits.

use std::{error::Error, io};

use kanary_core::validation::Answer;
use reqwest::{
    Response, StatusCode, Url,
    header::{ACCEPT, LOCATION},
};
use tokio::time::{Instant, timeout_at};

use super::{
    Inner, Login, Reply,
    allow::NotAllowed,
    answer,
    pool::{Batch, Fault},
    skew::Skew,
};

/// Header in which M3 reports that it omitted data.
const LIMITED: &str = "m3-results-limited";

/// Header that names the span on whose behalf a request is sent.
const TRACEPARENT: &str = "traceparent";

/// Which queries would fail like one that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureScope {
    /// Some, perhaps only this one.
    Some,
    /// All to this server with these credentials.
    All,
    /// Joined ones.
    Joined,
}

/// Why a query failed.
#[derive(Clone)]
pub(super) struct Failed {
    pub(super) why: String,
    /// Whether other credentials may help.
    pub(super) refused: bool,
    /// Whether the query itself is at fault.
    pub(super) rejected: bool,
    /// Which queries would fail in the same way.
    pub(super) scope: FailureScope,
    /// Whether the server is at fault.
    pub(super) fault: Option<Fault>,
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self {
            why,
            refused: false,
            rejected: false,
            scope: FailureScope::Some,
            fault: None,
        }
    }
}

impl Failed {
    /// The answer to a joined query is not one.
    pub(super) fn unjoined(url: &str) -> Self {
        Self {
            scope: FailureScope::Joined,
            ..Self::from(format!("{url} does not answer joined queries as Prometheus does"))
        }
    }

    /// Value of the metrics label.
    pub(super) fn result(&self) -> &'static str {
        match self.fault {
            Some(Fault::Server) => "down",
            Some(Fault::Slow) => "slow",
            None if self.rejected => "rejected",
            None if self.refused => "refused",
            None => "unusable",
        }
    }

    fn general(why: String) -> Self {
        Self {
            scope: FailureScope::All,
            ..Self::from(why)
        }
    }

    fn faulty(why: String, fault: Fault) -> Self {
        Self {
            fault: Some(fault),
            ..Self::from(why)
        }
    }
}

/// An answer, and a note about the server that may explain it.
pub(super) type Received = (Answer, Option<String>);

impl Inner {
    /// Sends a query as a part of a batch, whose namespace pays for a large answer.
    pub(super) async fn ask(&self, batch: &Batch<Reply>, login: &Login<'_>, query: &str) -> Result<Received, Failed> {
        let (at, credentials, url) = (batch.time, login.credentials, login.url);
        // A little shorter than our timeout, so that Prometheus can still respond with its timeout error.
        let timeout = format!("{}ms", (self.limits.timeout * 9 / 10).as_millis().max(1));
        let request = credentials
            .client
            .post(format!("{url}/api/v1/query"))
            .header(ACCEPT, "application/json")
            .headers(credentials.headers.clone());
        let request = match login.parent {
            Some(parent) => request.header(TRACEPARENT, parent.to_string()),
            None => request,
        };
        let request = request.form(&[("query", query), ("time", &at.to_string()), ("timeout", &timeout)]);
        let (sent, by) = (self.clock.now(), Instant::now() + self.limits.timeout);
        let response = timeout_at(by, self.transport.send(request)).await;
        let response = response
            .map_err(|_| self.too_slow(url))?
            .map_err(|error| unreached(url, &*error))?;
        let skew = Skew::of(response.headers(), sent, self.clock.now());
        let status = response.status();
        if status.is_redirection() {
            return Err(Failed::general(redirected(url, &response)));
        }
        let limited = response.headers().get(LIMITED).is_some();
        let body = self.body(response, url, by, batch).await;
        if !status.is_success() {
            let error_reply = body.ok().and_then(|body| answer::error(&body));
            let fault = fault(status, error_reply.as_ref());
            let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
            let is_general = refused || fault == Some(Fault::Server);
            let scope = if is_general {
                FailureScope::All
            } else {
                FailureScope::Some
            };
            return Err(Failed {
                rejected: error_reply.as_ref().is_some_and(answer::ErrorReply::blames_the_query),
                scope,
                fault,
                why: error_reply.map_or_else(
                    || format!("{url} answers {status}"),
                    |error_reply| format!("{url} answers {status}: {}", error_reply.error),
                ),
                refused,
            });
        }
        let answer = answer::parse(&body?, at).map_err(|why| format!("{url}: {why}"))?;
        if limited || status == StatusCode::PARTIAL_CONTENT {
            return Err(
                format!("the answer is partial, as {url} says ({status}): a part of the data is missing").into(),
            );
        }
        skew.check(url).map_err(Failed::general)?;
        Ok((answer, skew.note()))
    }

    /// Reads the body up to the size limit. The time in which it waits until it may read more does not count.
    async fn body(
        &self,
        mut response: Response,
        url: &str,
        mut by: Instant,
        batch: &Batch<Reply>,
    ) -> Result<Vec<u8>, Failed> {
        let limit = self.limits.body;
        let mut body = Vec::new();
        let mut large = None;
        while let Some(chunk) = timeout_at(by, response.chunk())
            .await
            .map_err(|_| self.too_slow(url))?
            .map_err(|_| {
                let why = format!("{url}: the connection closed before the end of the answer");
                Failed::faulty(why, Fault::Slow)
            })?
        {
            if body.len() + chunk.len() > limit {
                return Err(format!("{url}: the answer is larger than {limit} bytes: aggregate in the query").into());
            }
            if large.is_none() && body.len() + chunk.len() > self.limits.small {
                let since = Instant::now();
                large = Some(self.large.read(batch.namespace()).await);
                by += since.elapsed();
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn too_slow(&self, url: &str) -> Failed {
        let why = format!("no answer from {url} within {:?}", self.limits.timeout);
        Failed::faulty(why, Fault::Slow)
    }
}

/// Whether an error status is the server's fault. An error in Prometheus' format shows that the server works.
fn fault(status: StatusCode, error_reply: Option<&answer::ErrorReply>) -> Option<Fault> {
    if error_reply.is_some_and(answer::ErrorReply::blames_the_query) {
        return None;
    }
    let is_prometheus = error_reply.is_some_and(answer::ErrorReply::is_prometheus);
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Some(Fault::Slow),
        status if status.is_server_error() && is_prometheus => Some(Fault::Slow),
        status if status.is_server_error() => Some(Fault::Server),
        _ => None,
    }
}

fn unreached(url: &str, error: &(dyn Error + 'static)) -> Failed {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let is_forbidden = cause.is::<NotAllowed>();
    let why = if error.downcast_ref().is_some_and(reqwest::Error::is_builder) {
        format!("{url} is not a valid address")
    } else if is_forbidden {
        format!("{url} is not allowed: {cause}")
    } else {
        format!("{url} can't be reached: {cause}")
    };
    Failed {
        refused: is_about_tls(error),
        rejected: is_forbidden,
        fault: (!is_forbidden).then_some(Fault::Server),
        ..Failed::general(why)
    }
}

fn is_about_tls(error: &(dyn Error + 'static)) -> bool {
    // An I/O error does not return the error it wraps from `source`.
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.is::<rustls::Error>()
        || wrapped.is_some_and(|wrapped| is_about_tls(wrapped))
        || error.source().is_some_and(is_about_tls)
}

/// Describes the target of a redirect, without its confidential parts.
fn redirected(url: &str, response: &Response) -> String {
    let location = response
        .headers()
        .get(LOCATION)
        .and_then(|location| location.to_str().ok());
    let target = location.and_then(|location| Url::parse(url).ok()?.join(location).ok());
    let target = target.map_or_else(
        || "nowhere".to_owned(),
        |mut target| {
            target.set_query(None);
            target.set_fragment(None);
            // Fails for URLs that cannot have a username.
            let _without = (target.set_username(""), target.set_password(None));
            target.to_string()
        },
    );
    format!(
        "{url} answers {} and redirects to {target}: queries do not follow redirects, so use the address of the server itself",
        response.status()
    )
}
