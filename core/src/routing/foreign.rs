//! Routes and Services that belong to somebody else: nothing is written into a route of a front end that it does not own, and none
//! that a front end owns takes part in the run of another Kanary.

use super::There;
use crate::{
    api::{KanaryKind, Reason},
    integrity::{controller, controls},
    observation::Service,
    problem::Problem,
    route::Record,
    step::Step,
};

/// Whether an owner, such as `CanaryApp.canary.atze.io/shop`, is of a kind that keeps its target, its route and its Services.
pub(crate) fn is_front_end(owner: &str) -> bool {
    let kind = owner.split_once('/').and_then(|(kind, _)| KanaryKind::parse(kind));
    kind.is_some_and(KanaryKind::is_front_end)
}

/// The problem with a production Service that a front end keeps for its own pods.
pub(crate) fn owned_service(step: &Step<'_>, service: &Service) -> Option<Problem> {
    let owner = service.owner_name.as_deref().filter(|owner| is_front_end(owner))?;
    step.spec.frame.is_none().then(|| {
        let message = format!(
            "Service {} belongs to {owner}, which has its own pods behind it: name the Service of {} in spec.serviceName, or put the \
             new version into that object",
            service.name, step.spec.target
        );
        Problem::new(Reason::TrafficOwned, message)
    })
}

/// The front end that manages a route, such as `CanaryApp.canary.atze.io/shop`.
fn keeper(route: &serde_json::Value) -> Option<String> {
    let owner = controller(route)?;
    let kind = KanaryKind::of(owner["apiVersion"].as_str()?, owner["kind"].as_str()?)?;
    let owner = format!("{kind}/{}", owner["name"].as_str()?);
    kind.is_front_end().then_some(owner)
}

impl There<'_> {
    /// Whether a front end needs this route and does not own it. One that somebody disowned while a run had a share in it is given back
    /// first.
    pub(super) fn is_foreign(&self, step: &Step<'_>) -> bool {
        self.is_disowned(step) && Record::of(self.object).share(&step.kanary.uid).is_none()
    }

    /// Whether a front end needs this route and does not own it. It may still hold a share, which is taken out of it.
    pub(crate) fn is_disowned(&self, step: &Step<'_>) -> bool {
        step.spec.frame.is_some() && !controls(step, self.object)
    }

    /// Why the route, or the production Service to which it leads, is not for this run, because a front end keeps it.
    pub(crate) fn owned(&self, step: &Step<'_>) -> Option<Problem> {
        if step.spec.frame.is_some() {
            return None;
        }
        let route = keeper(self.object).map(|owner| {
            let message = format!(
                "{} belongs to {owner}, which shifts its own requests: name another route in spec.traffic.route, or put the new \
                 version into that object",
                self.route
            );
            Problem::new(Reason::TrafficOwned, message)
        });
        let service = || owned_service(step, step.seen.service.as_ref()?);
        route.or_else(service)
    }

    pub(super) fn foreign(&self, step: &Step<'_>) -> Option<Problem> {
        if let Some(problem) = self.owned(step) {
            return Some(problem);
        }
        self.is_foreign(step).then(|| {
            let message = format!(
                "{} exists and does not belong to this Kanary: delete it, or give this Kanary another name",
                self.route
            );
            Problem::new(Reason::NameTaken, message)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, ops::ControlFlow, sync::Arc};

    use serde_json::{Value, json};

    use crate::{
        ParsedKanary,
        api::{Kanary, KanaryKind, Reason},
        kanary::HeldRoute,
        observation::{Observation, RouteFound, RouteSeen},
        routing,
        step::Step,
    };

    const NOW: &str = "2026-01-01T12:00:00Z";

    fn app() -> ParsedKanary {
        let object = json!({
            "metadata": {"name": "hello", "namespace": "shop", "uid": "u", "generation": 1},
            "spec": {
                "image": "hello:v1", "imageListenPort": 8088, "replicas": 2, "testReplicas": 1,
                "prometheusQuery": "errors_total > 2", "prometheusURL": "http://prometheus:9090",
            },
        });
        let object: Kanary = serde_json::from_value(object).unwrap();
        ParsedKanary::parse(KanaryKind::CanaryApp, &object).unwrap()
    }

    /// A route that leads to the primary, with these owners.
    fn route(owners: &Value) -> Observation {
        let destination = json!({"host": "hello", "subset": "primary", "port": {"number": 8088}});
        let route = json!({
            "metadata": {"name": "hello", "namespace": "shop", "uid": "x", "generation": 1, "ownerReferences": owners},
            "spec": {"hosts": ["*"], "http": [{"route": [{"destination": destination, "weight": 100}]}]},
        });
        let found = RouteFound::There("VirtualService/hello".parse().unwrap(), Arc::new(route));
        let seen = RouteSeen::next(None, found, NOW.parse().unwrap());
        Observation {
            route: Some(RouteSeen { live: true, ..seen }),
            ..Observation::default()
        }
    }

    fn with<T>(app: &ParsedKanary, seen: &Observation, ask: impl FnOnce(&Step<'_>) -> T) -> T {
        ask(&Step {
            kanary: app,
            spec: &app.spec,
            seen,
            now: NOW.parse().unwrap(),
            route_changes: RefCell::default(),
        })
    }

    #[test]
    fn nothing_is_written_into_a_route_that_belongs_to_somebody_else() {
        let mut app = app();
        let own = json!([app.owner_reference()]);
        let other = json!([{"controller": true, "uid": "other", "kind": "Other", "name": "other", "apiVersion": "v1"}]);
        let obstacle = |app: &ParsedKanary, owners: &Value| {
            let obstacle = with(app, &route(owners), |step| routing::obstacle(step).unwrap());
            obstacle.map(|(problem, _)| problem.reason)
        };
        assert_eq!(obstacle(&app, &own), None);
        assert_eq!(obstacle(&app, &other), Some(Reason::NameTaken));
        assert_eq!(obstacle(&app, &json!([])), Some(Reason::NameTaken));
        app.held = Some(HeldRoute {
            run: "former-1".to_owned(),
            route: "VirtualService/hello".parse().ok(),
        });
        let withdrawn = |owners: &Value| {
            with(&app, &route(owners), |step| {
                match routing::withdraw(step, &step.draft()) {
                    ControlFlow::Continue(()) => 0,
                    ControlFlow::Break(decision) => decision.actions.len(),
                }
            })
        };
        // A write of a former owner that arrives late must not apply to its own route.
        assert_eq!(withdrawn(&own), 1);
        assert_eq!(withdrawn(&other), 0);
    }
}
