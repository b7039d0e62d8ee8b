//! One request: its answer, or why there is none.

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use kanary_core::validation::metric::{MetricAnswer, MetricsApi};
use kube::client::Body;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::{CORE, Document, Inner};
use crate::{
    cluster::client::CALL_TIMEOUT,
    prometheus::{
        MAX_BODY, SMALL_BODY, brief,
        pool::{Batch, Fault, LargeRead},
    },
};

/// Why there is no body.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Why {
    /// The server answers that it does not have the metric.
    Unknown(String),
    /// The API server does not serve the path.
    Missing(String),
    /// Another answer that is of no use, or none.
    Unanswered(String),
    /// Only the author of the item can make it work.
    Rejected(String),
}

impl Why {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Unknown(text) | Self::Missing(text) | Self::Unanswered(text) | Self::Rejected(text) => text,
        }
    }
}

impl From<Why> for MetricAnswer {
    fn from(why: Why) -> Self {
        match why {
            Why::Unknown(text) => Self::Unknown(text),
            Why::Missing(text) | Why::Unanswered(text) => Self::Unanswered(text),
            Why::Rejected(text) => Self::Rejected(text),
        }
    }
}

/// A request that failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) why: Why,
    /// Why the server may be left alone for a while.
    pub(super) fault: Option<Fault>,
    result: &'static str,
}

impl Failed {
    /// Its name in metrics.
    pub(super) fn result(&self) -> &'static str {
        self.result
    }

    fn unanswered(text: String, result: &'static str, fault: Option<Fault>) -> Self {
        Self {
            why: Why::Unanswered(text),
            fault,
            result,
        }
    }
}

impl Inner {
    /// Sends a request for a path, as a part of a batch whose namespace pays for a large answer.
    pub(super) async fn fetch(&self, server: &str, path: &str, batch: &Batch<Document>) -> Result<Value, Failed> {
        let request = Request::get(path).header(http::header::ACCEPT, "application/json");
        let request = request
            .body(Body::empty())
            .map_err(|error| Failed::unanswered(format!("{server} can't be asked: {error}"), "unusable", None))?;
        let by = Instant::now() + CALL_TIMEOUT;
        let response = timeout_at(by, self.client.send(request)).await;
        let response = response.map_err(|_| slow(server))?.map_err(|error| {
            let why = brief(&format!("{server} can't be asked: {error}"));
            Failed::unanswered(why, "down", Some(Fault::Server))
        })?;
        let status = response.status();
        // The right to read a large answer ends when it is parsed.
        let (body, _large) = self.body(server, response, by, batch).await?;
        if status.is_success() {
            return serde_json::from_slice(&body)
                .map_err(|error| Failed::unanswered(format!("{server}: {error}"), "unusable", None));
        }
        Err(refusal(server, status, &body))
    }

    /// Reads the body up to the size limit. The time in which it waits until it may read more does not count.
    async fn body(
        &self,
        server: &str,
        response: Response<Body>,
        mut by: Instant,
        batch: &Batch<Document>,
    ) -> Result<(Vec<u8>, Option<LargeRead>), Failed> {
        let mut frames = response.into_body();
        let (mut body, mut large) = (Vec::new(), None);
        while let Some(frame) = timeout_at(by, frames.frame()).await.map_err(|_| slow(server))? {
            let frame = frame.map_err(|_| {
                let why = format!("{server}: the connection closed before the end of the answer");
                Failed::unanswered(why, "slow", Some(Fault::Slow))
            })?;
            let Ok(chunk) = frame.into_data() else { continue };
            if body.len() + chunk.len() > MAX_BODY {
                let why = format!("{server}: the answer is larger than {MAX_BODY} bytes");
                return Err(Failed::unanswered(why, "unusable", None));
            }
            if large.is_none() && body.len() + chunk.len() > SMALL_BODY {
                let since = Instant::now();
                large = Some(self.large.read(batch.namespace()).await);
                by += since.elapsed();
            }
            body.extend_from_slice(&chunk);
        }
        Ok((body, large))
    }
}

fn slow(server: &str) -> Failed {
    let why = format!("no answer from {server} within {CALL_TIMEOUT:?}");
    Failed::unanswered(why, "slow", Some(Fault::Slow))
}

/// What an answer without success means. A `Status` with a reason of its own comes from the server of the metrics or from the
/// authorization of the API server; other texts come from the aggregation layer.
fn refusal(server: &str, status: StatusCode, body: &[u8]) -> Failed {
    let parsed = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let said = parsed.get("message").and_then(Value::as_str);
    let said = said.filter(|_| parsed.get("kind").and_then(Value::as_str) == Some("Status"));
    let text = said.map_or_else(|| String::from_utf8_lossy(body).trim().to_owned(), str::to_owned);
    match (status, said) {
        (StatusCode::NOT_FOUND, Some(said)) if !said.contains("could not find the requested resource") => Failed {
            why: Why::Unknown(brief(&format!("{server} answers: {said}"))),
            fault: None,
            result: "rejected",
        },
        (StatusCode::NOT_FOUND, _) => Failed {
            why: Why::Missing(missing(server)),
            fault: (server != CORE).then_some(Fault::Server),
            result: "down",
        },
        (StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED, _) => {
            let why = brief(&format!("Kanary may not ask {server}: {text}"));
            Failed::unanswered(why, "refused", None)
        }
        (status, _) => {
            let why = brief(&format!(
                "{server} is not available, the API server answers {status}: {text}"
            ));
            let is_whole = matches!(
                status,
                StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
            );
            let fault = match status {
                _ if is_whole => Some(Fault::Server),
                StatusCode::TOO_MANY_REQUESTS => Some(Fault::Slow),
                status if status.is_server_error() => Some(Fault::Slow),
                _ => None,
            };
            let result = if fault == Some(Fault::Server) {
                "down"
            } else {
                "rejected"
            };
            Failed::unanswered(why, result, fault)
        }
    }
}

/// The message about an API that is not served.
fn missing(server: &str) -> String {
    let api = MetricsApi::ALL.into_iter().find(|api| api.group() == server);
    let Some(api) = api else {
        return format!("{server} does not know the path");
    };
    let remedy = match api {
        MetricsApi::Resource => "install metrics-server",
        MetricsApi::Custom | MetricsApi::External => "install an adapter that serves it",
    };
    format!("the API server does not serve {api}: {remedy}")
}
