//! Delivery of a request and of its reply.

use std::{future::pending, time::Duration};

use bytes::Bytes;
use http::{Method, Response, request::Parts};
use http_body_util::BodyExt;
use tokio::time::{sleep, timeout};

use super::{
    Body, Broken, Line, Link, Moment,
    network_faults::{Fault, Plan, refused},
    relay::Relay,
};
use crate::server;

/// How long a client waits for a reply that never arrives.
const PATIENCE: Duration = Duration::from_mins(1);

/// A body that arrives in one piece.
pub(super) fn whole(body: server::Body) -> Body {
    body.map_err(|never| match never {}).boxed_unsync()
}

impl Link {
    /// Carries a request to the API server and returns its reply.
    pub(super) async fn carry(self, head: Parts, body: Bytes) -> Result<Response<Body>, Broken> {
        self.thawed().await;
        let (plan, crash) = {
            let mut state = self.lock();
            let state = &mut *state;
            let plan = state.network_faults.plan(&mut state.rng, &head.method);
            let writes = head.method != Method::GET;
            state.writes += u64::from(writes);
            let due = state.crash.filter(|(nth, _)| writes && *nth == state.writes);
            (plan, due.map(|(_, moment)| moment))
        };
        if let Some(moment) = crash {
            return self.die(&head, body, moment).await;
        }
        self.passable().await?;
        sleep(plan.there).await;
        match plan.fault {
            Fault::Refused(code) => {
                sleep(plan.back).await;
                return self.arrive(refused(code)).await;
            }
            Fault::Broken => return Err(Broken("reset by peer")),
            Fault::Hanging => {
                sleep(PATIENCE).await;
                return Err(Broken("timed out"));
            }
            Fault::Late(later) => sleep(later).await,
            Fault::None | Fault::Lost { .. } => {}
        }
        self.0.connection.admitted(&head).await;
        let answer = self.ask(&head, body, &plan);
        sleep(plan.back).await;
        match plan.fault {
            Fault::Lost { silently: true } => Err(Broken("reset by peer")),
            Fault::Lost { silently: false } => self.arrive(refused(504)).await,
            _ => self.arrive(answer).await,
        }
    }

    /// Handles a request of a client that dies. A request that is already sent may still arrive.
    async fn die(&self, head: &Parts, body: Bytes, moment: Moment) -> Result<Response<Body>, Broken> {
        if moment == Moment::After {
            self.execute(head, body.clone());
        }
        {
            let mut state = self.lock();
            state.crashed = true;
            state.line = Line::Frozen;
        }
        self.0.changed.notify_waiters();
        if moment == Moment::Meanwhile {
            self.wait_for(|state| state.delivered.then_some(())).await;
            self.execute(head, body);
        }
        pending().await
    }

    /// Processes the request in the API server.
    fn execute(&self, head: &Parts, body: Bytes) -> Response<server::Body> {
        let interceptor = self.lock().interceptor.clone();
        let Some(interceptor) = interceptor else {
            return self.0.connection.answer(head, &body);
        };
        let mut bodies = interceptor(head, body);
        let last = bodies.pop().unwrap_or_default();
        for body in bodies {
            drop(self.0.connection.answer(head, &body));
        }
        self.0.connection.answer(head, &last)
    }

    fn ask(&self, head: &Parts, body: Bytes, plan: &Plan) -> Response<Body> {
        let cuts = self.lock().cuts;
        let answer = self.execute(head, body);
        let watches = head.uri.query().is_some_and(|query| query.contains("watch=true"));
        if watches && answer.status().is_success() {
            answer.map(|body| Relay::body(self.clone(), body, plan, cuts))
        } else {
            answer.map(whole)
        }
    }

    /// Delivers a reply, unless the line is down by now.
    async fn arrive(&self, reply: Response<Body>) -> Result<Response<Body>, Broken> {
        self.passable().await?;
        Ok(reply)
    }

    /// Waits until the client is no longer paused.
    pub(super) async fn thawed(&self) {
        self.wait_for(|state| (state.line != Line::Frozen).then_some(())).await;
    }

    /// Waits until the line lets requests through, or it is certain that it will not.
    async fn passable(&self) -> Result<(), Broken> {
        let line = self
            .wait_for(|state| (state.line != Line::Frozen).then_some(state.line))
            .await;
        match line {
            Line::Refusing => {
                sleep(Duration::from_millis(1)).await;
                Err(Broken("refused"))
            }
            Line::Dark => {
                let lit = self.wait_for(|state| (state.line != Line::Dark).then_some(()));
                // A lost request stays lost, even if the line is restored.
                let _lit = timeout(PATIENCE, lit).await;
                Err(Broken("timed out"))
            }
            Line::Up | Line::Frozen => Ok(()),
        }
    }
}
