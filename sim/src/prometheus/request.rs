//! Request parameters and error responses.

use std::time::Duration;

use bytes::Bytes;
use http::header;
use jiff::{SignedDuration, Timestamp, Unit};
use promql_parser::util::parse_duration;
use serde_json::json;

use super::Reply;

/// Prometheus' default query timeout.
const TIMEOUT: Duration = Duration::from_mins(2);

pub(super) struct Request {
    pub(super) query: String,
    time: Option<String>,
    timeout: Option<String>,
    now: Timestamp,
}

impl Request {
    pub(super) fn read(form: &str, now: Timestamp) -> Self {
        let parameter = |name: &str| {
            let mut fields = form_urlencoded::parse(form.as_bytes());
            let found = fields.find(|(field, _)| field == name);
            found
                .map(|(_, value)| value.into_owned())
                .filter(|value| !value.is_empty())
        };
        Self {
            query: parameter("query").unwrap_or_default(),
            time: parameter("time"),
            timeout: parameter("timeout"),
            now,
        }
    }

    /// The evaluation time.
    pub(super) fn time(&self) -> Result<Timestamp, Problem> {
        let Some(text) = &self.time else { return Ok(self.now) };
        let unix = || {
            let seconds = SignedDuration::try_from_secs_f64(text.parse().ok()?).ok()?;
            Timestamp::from_duration(seconds).ok()?.round(Unit::Millisecond).ok()
        };
        text.parse().ok().or_else(unix).ok_or_else(|| {
            let why = format!("cannot parse {text:?} to a valid timestamp");
            Problem::parameter("time", &why)
        })
    }

    /// The timeout of the evaluation.
    pub(super) fn timeout(&self) -> Result<Duration, Problem> {
        let Some(text) = &self.timeout else { return Ok(TIMEOUT) };
        // Numbers are seconds. The duration parser panics on invalid ones.
        let duration = match text.parse() {
            Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
            Err(_) => parse_duration(text).ok(),
        };
        duration.ok_or_else(|| {
            let why = format!("cannot parse {text:?} to a valid duration");
            Problem::parameter("timeout", &why)
        })
    }
}

/// An error response.
pub(super) struct Problem {
    status: u16,
    kind: &'static str,
    error: String,
}

impl Problem {
    /// 400 for an invalid parameter.
    pub(super) fn parameter(name: &str, why: &str) -> Self {
        Self {
            status: 400,
            kind: "bad_data",
            error: format!("invalid parameter {name:?}: {why}"),
        }
    }

    /// The query cannot be evaluated.
    pub(super) fn execution(error: String) -> Self {
        Self {
            status: 422,
            kind: "execution",
            error,
        }
    }

    /// The evaluation exceeded the timeout.
    pub(super) fn timeout() -> Self {
        Self {
            status: 503,
            kind: "timeout",
            error: "query timed out in expression evaluation".to_owned(),
        }
    }

    pub(super) fn reply(&self) -> Reply {
        let (kind, error) = (self.kind, json!(self.error));
        let body = format!(r#"{{"status":"error","errorType":"{kind}","error":{error}}}"#);
        Reply::json(self.status, body)
    }
}

impl Reply {
    /// The HTTP response, with the time that the server shows.
    pub(crate) fn response(self, date: Timestamp) -> http::Response<Vec<u8>> {
        let mut response = http::Response::new(self.body.to_vec());
        *response.status_mut() = http::StatusCode::from_u16(self.status).unwrap_or_default();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static(self.content_type),
        );
        let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        headers.extend(date.parse().ok().map(|date| (header::DATE, date)));
        response
    }

    pub(super) fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type: "application/json",
            body: body.into(),
        }
    }

    pub(super) fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            content_type: "text/plain; charset=utf-8",
            ..Self::json(status, body)
        }
    }

    /// A response with a given status and body.
    pub(super) fn of(status: u16, body: String) -> Self {
        if body.starts_with('{') {
            Self::json(status, body)
        } else {
            Self::text(status, body)
        }
    }

    pub(super) fn login_page() -> Self {
        Self {
            content_type: "text/html; charset=utf-8",
            ..Self::json(
                200,
                "<!doctype html><html><head><title>Sign in</title></head><body><form></form></body></html>",
            )
        }
    }
}
