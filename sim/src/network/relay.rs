//! Relays a watch's stream to the client.

use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    Body, Broken, Line, Link,
    network_faults::{End, Plan},
};
use crate::server;

/// Forwards the API server's events with the delays and faults of the network.
pub(super) struct Relay {
    link: Link,
    from: server::Body,
    lag: Duration,
    end: Option<(Instant, End)>,
    cuts: u64,
    over: bool,
}

impl Relay {
    /// The body of a watch that was opened after `cuts` cuts.
    pub(super) fn body(link: Link, from: server::Body, plan: &Plan, cuts: u64) -> Body {
        let relay = Self {
            link,
            from,
            lag: plan.lag,
            end: plan.end.map(|(life, end)| (Instant::now() + life, end)),
            cuts,
            over: false,
        };
        let frames = stream::unfold(relay, |mut relay| async move {
            let frame = relay.next().await?;
            Some((frame, relay))
        });
        StreamBody::new(frames).boxed_unsync()
    }

    async fn next(&mut self) -> Option<Result<Frame<Bytes>, Broken>> {
        if self.over {
            return None;
        }
        let next = self.frame().await;
        self.over = !matches!(next, Some(Ok(_)));
        next
    }

    async fn frame(&mut self) -> Option<Result<Frame<Bytes>, Broken>> {
        let (link, cuts, end) = (self.link.clone(), self.cuts, self.end);
        let cut = link.wait_for(|state| (state.cuts != cuts && state.line != Line::Frozen).then_some(()));
        let early = async {
            match end {
                Some((at, _)) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let frame = tokio::select! {
            biased;
            () = cut => return Some(Err(Broken("reset by peer"))),
            () = early => None,
            frame = self.from.frame() => Some(frame),
        };
        if let Some(frame) = frame {
            if !self.lag.is_zero() {
                sleep(self.lag).await;
            }
            // Events in flight when the line goes down are lost.
            link.wait_for(|state| (state.line == Line::Up || state.cuts != cuts).then_some(()))
                .await;
            if link.lock().cuts != cuts {
                return Some(Err(Broken("reset by peer")));
            }
            return frame.map(|frame| frame.map_err(|never| match never {}));
        }
        match end.map(|(_, end)| end) {
            Some(End::Cleanly) => {
                link.thawed().await;
                None
            }
            Some(End::Silent(while_)) => {
                sleep(while_).await;
                link.thawed().await;
                Some(Err(Broken("reset by peer")))
            }
            Some(End::Broken) | None => {
                link.thawed().await;
                Some(Err(Broken("reset by peer")))
            }
        }
    }
}
