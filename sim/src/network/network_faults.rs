//! Faults of the network and their probabilities.

use std::{ops::RangeInclusive, time::Duration};

use http::{HeaderValue, Method, Response, header::RETRY_AFTER};
use serde_json::json;

use super::Body;
use crate::{failure::Failure, server::refusal};

/// Latency and faults of requests.
#[derive(Clone, Debug)]
pub struct NetworkFaults {
    /// Latency of a request, and of its reply.
    pub latency: RangeInclusive<Duration>,
    /// Additional delay of watch events.
    pub lag: RangeInclusive<Duration>,
    /// Probabilities of faults.
    pub faults: Faults,
}

/// Probability of each fault of a request, and the lifetime of watches.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The API server refuses with 409, 429, 500 or 504 and does nothing.
    pub refused: f64,
    /// The connection breaks before the request is processed.
    pub broken: f64,
    /// The request is processed, and then the connection breaks or the reply is a 504.
    pub lost: f64,
    /// The request is processed 11 to 30 seconds later.
    pub late: f64,
    /// The request is not processed, and there is no reply for a minute.
    pub hanging: f64,
    /// Lifetime of a watch. After that it ends, breaks, or is silent for a while and breaks.
    pub watches: Option<RangeInclusive<Duration>>,
}

impl Default for NetworkFaults {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            latency: ms(1)..=ms(10),
            lag: Duration::ZERO..=Duration::ZERO,
            faults: Faults::default(),
        }
    }
}

/// The fault of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    Refused(u16),
    Broken,
    Lost { silently: bool },
    Late(Duration),
    Hanging,
}

/// How a watch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Cleanly,
    Broken,
    Silent(Duration),
}

/// The latency and fault of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) there: Duration,
    pub(super) back: Duration,
    pub(super) fault: Fault,
    /// Additional delay of watch events.
    pub(super) lag: Duration,
    /// When and how a watch ends early.
    pub(super) end: Option<(Duration, End)>,
}

impl NetworkFaults {
    pub(super) fn plan(&self, rng: &mut fastrand::Rng, method: &Method) -> Plan {
        let within = |rng: &mut fastrand::Rng, range: &RangeInclusive<Duration>| {
            let (low, high) = (micros(*range.start()), micros(*range.end()));
            Duration::from_micros(rng.u64(low..=high.max(low)))
        };
        // A minimum latency: with none, a loop that reopens a watch would stop a virtual clock.
        let there = within(rng, &self.latency).max(Duration::from_micros(500));
        let back = within(rng, &self.latency).max(Duration::from_micros(500));
        let fault = self.faults.draw(rng, method);
        let lag = within(rng, &self.lag);
        let end = self.faults.watches.as_ref().map(|life| {
            let end = match rng.u8(..4) {
                0 => End::Cleanly,
                1 => End::Broken,
                _ => End::Silent(Duration::from_millis(rng.u64(1_000..90_000))),
            };
            (within(rng, life), end)
        });
        Plan {
            there,
            back,
            fault,
            lag,
            end,
        }
    }
}

impl Faults {
    fn draw(&self, rng: &mut fastrand::Rng, method: &Method) -> Fault {
        let mut dice = rng.f64();
        let codes: &[u16] = if *method == Method::GET {
            &[429, 500, 504]
        } else {
            &[409, 429, 500, 504]
        };
        let refused = Fault::Refused(codes.get(rng.usize(..codes.len())).copied().unwrap_or(500));
        let late = Fault::Late(Duration::from_millis(rng.u64(11_000..30_000)));
        let silently = rng.bool();
        let faults = [
            (self.refused, refused),
            (self.broken, Fault::Broken),
            (self.lost, Fault::Lost { silently }),
            (self.late, late),
            (self.hanging, Fault::Hanging),
        ];
        for (likely, fault) in faults {
            if dice < likely {
                return fault;
            }
            dice -= likely;
        }
        Fault::None
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A refusal that the request did not cause.
pub(super) fn refused(code: u16) -> Response<Body> {
    let failure = match code {
        409 => Failure::new(
            409,
            "Conflict",
            "Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest version \
             and try again",
        ),
        429 => Failure {
            details: json!({"retryAfterSeconds": 1}),
            ..Failure::new(429, "TooManyRequests", "too many requests, please try again later")
        },
        504 => Failure::new(
            504,
            "Timeout",
            "Timeout: request did not complete within the allotted timeout",
        ),
        code => Failure::new(code, "InternalError", "etcdserver: leader changed"),
    };
    let mut response = refusal(&failure).map(super::delivery::whole);
    if code == 429 {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
