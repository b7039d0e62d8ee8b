//! Routes of front ends that belong to somebody else, and routes that belong to a front end: nothing is written into them.

use serde_json::Value;

use super::There;
use crate::{
    api::{KanaryKind, Reason},
    front_ends,
    integrity::{controller, controls},
    problem::Problem,
    route::Record,
    step::Step,
};

impl There<'_> {
    /// Whether this route is none that a share may be written into. One that became so while a run had a share in it is given back first.
    pub(super) fn is_foreign(&self, step: &Step<'_>) -> bool {
        self.is_disowned(step) && Record::of(self.object).share(&step.kanary.uid).is_none()
    }

    /// Whether a front end needs this route and does not own it, or another Kanary needs it and a front end owns it. It may still hold a
    /// share, which is taken out of it.
    pub(crate) fn is_disowned(&self, step: &Step<'_>) -> bool {
        match step.spec.frame {
            Some(_) => !controls(step, self.object),
            None => front_end_of(self.object).is_some(),
        }
    }

    pub(super) fn foreign(&self, step: &Step<'_>) -> Option<Problem> {
        self.is_foreign(step).then(|| {
            if let Some(owner) = front_end_of(self.object).filter(|_| step.spec.frame.is_none()) {
                let message = format!(
                    "{} belongs to {owner}, which gives each of its versions their requests: use a route of your own",
                    self.route
                );
                return Problem::new(Reason::RouteUnsuitable, message);
            }
            let message = format!(
                "{} exists and does not belong to this Kanary: delete it, or give this Kanary another name",
                self.route
            );
            Problem::new(Reason::NameTaken, message)
        })
    }
}

/// The front end to which a route belongs, as `CanaryApp hello`.
fn front_end_of(route: &Value) -> Option<String> {
    let owner = controller(route)?;
    let text = |field: &str| owner[field].as_str().unwrap_or_default();
    let kind = KanaryKind::of(text("apiVersion"), text("kind"))?;
    front_ends::of(kind)?;
    Some(format!("{} {}", kind.as_str(), text("name")))
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
    fn a_kanary_does_not_use_the_route_of_a_front_end() {
        let object = json!({
            "metadata": {"name": "batman", "namespace": "shop", "uid": "k", "generation": 1},
            "spec": {
                "deploymentName": "web", "serviceName": "hello",
                "template": {"spec": {"template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}}},
                "traffic": {"source": "weighted", "route": {"kind": "VirtualService", "name": "hello"}, "weighted": {"steps": [10]}},
            },
        });
        let object: Kanary = serde_json::from_value(object).unwrap();
        let kanary = ParsedKanary::parse(KanaryKind::Deployment, &object).unwrap();
        assert_eq!(kanary.spec.problems, []);
        let problem = |owner: Value| {
            with(&kanary, &route(&json!([owner])), |step| {
                routing::obstacle(step).unwrap()
            })
        };
        let (why, _) = problem(json!(app().owner_reference())).unwrap();
        assert_eq!(why.reason, Reason::RouteUnsuitable);
        assert!(why.message.contains("belongs to CanaryApp hello"), "{}", why.message);
        let other =
            json!({"controller": true, "uid": "o", "kind": "App", "name": "hello", "apiVersion": "canary.atze.io/v1"});
        let reason = problem(other).map(|(problem, _)| problem.message);
        assert!(
            !reason.clone().is_some_and(|why| why.contains("belongs to")),
            "{reason:?}"
        );
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
