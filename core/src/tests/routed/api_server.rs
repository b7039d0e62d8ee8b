//! The model of the API server: what becomes of a decision.

use super::*;

impl World {
    pub(super) fn apply(&mut self, kanary: &ParsedKanary, decision: &Decision) {
        for action in &decision.actions {
            if !self.write(called(action)) || !self.act(kanary, action) {
                return;
            }
        }
        if let Some(status) = &decision.status {
            let reached = status.traffic.as_ref().map_or(String::new(), |traffic| {
                let force = if traffic.since.is_some() { "" } else { "?" };
                format!(" {}%{force}", traffic.weight)
            });
            if !self.write(format!("status {}{reached}", status.report.status)) {
                return;
            }
            self.status = Some(serde_json::to_value(status).unwrap());
            raise(&mut self.metadata);
        }
        for _ in &decision.checks {
            let sample = Sample {
                outcome: self.outcome,
                value: None,
                message: "measured".to_owned(),
            };
            self.tallies[0].record(sample, self.now, vec!["x".to_owned()]);
        }
    }

    /// Whether the API server accepts it.
    fn act(&mut self, kanary: &ParsedKanary, action: &Action) -> bool {
        match action {
            Action::Create { object, manifest, .. } => match object {
                ObjectKind::Workload(_) => self.canary = Some(self.now),
                ObjectKind::Service => {
                    assert!(!self.service, "it exists: {:#?}", self.writes);
                    self.service = true;
                    self.selector = manifest["spec"]["selector"].clone();
                }
                ObjectKind::HorizontalPodAutoscaler | ObjectKind::ScaledObject => {}
            },
            Action::SetTemplate(_) => {
                self.promoted = true;
                self.rolled_out = Some(self.now + SignedDuration::from_secs(20));
            }
            Action::Delete { object, .. } => {
                if matches!(object, ObjectKind::Workload(_)) {
                    self.canary = None;
                    assert_eq!(
                        Self::weight(self.in_force()),
                        0,
                        "the canary is removed while it gets requests: {:#?}",
                        self.writes
                    );
                } else {
                    self.service = false;
                }
            }
            Action::Hold { route, run } => {
                assert_eq!(self.metadata["resourceVersion"], kanary.resource_version.as_str());
                self.metadata["finalizers"] = json!([names::ROUTE_FINALIZER]);
                self.metadata["annotations"] = json!({names::ROUTE: HeldRoute::annotation(run, route)});
                raise(&mut self.metadata);
            }
            Action::Release => {
                assert_eq!(self.routed(), 0, "{:#?}", self.writes);
                self.metadata["finalizers"] = json!([]);
                self.metadata["annotations"] = json!({});
                raise(&mut self.metadata);
                self.gone = self.metadata.get("deletionTimestamp").is_some();
            }
            Action::SetRoute { patch, clears, .. } => return self.set_route(patch, *clears),
            other => panic!("nobody expects {other:?}"),
        }
        true
    }

    fn set_route(&mut self, patch: &[Value], clears: bool) -> bool {
        let held = self.metadata["finalizers"]
            .as_array()
            .is_some_and(|all| !all.is_empty());
        assert!(held, "the route is written without the finalizer");
        let Some(route) = self.route.as_mut() else {
            self.memory = None;
            return false;
        };
        if patch[1]["value"] != route["metadata"]["resourceVersion"] {
            self.memory = None;
            return false;
        }
        let former = route["spec"].clone();
        *route = crate::route::apply(route, patch);
        if route["spec"] != former {
            route["metadata"]["generation"] = json!(route["metadata"]["generation"].as_i64().unwrap() + 1);
            self.written_at = self.now;
            self.proxies.push((self.now + PROXIES, route["spec"]["rules"].clone()));
        }
        raise(&mut route["metadata"]);
        if self.routed() > 0 {
            assert!(
                self.is_up() && self.is_led_to(),
                "requests for a canary that cannot answer: {:#?}",
                self.writes
            );
        }
        self.read();
        if let Some(memory) = &mut self.memory {
            memory.cleared = clears;
        }
        true
    }
}

fn called(action: &Action) -> String {
    match action {
        Action::Create { object, .. } => format!("create {}", object.as_str()),
        Action::Delete { object, .. } => format!("delete {}", object.as_str()),
        Action::SetTemplate(_) => "promote".to_owned(),
        Action::Hold { .. } => "hold".to_owned(),
        Action::Release => "release".to_owned(),
        Action::SetRoute { gives, .. } => format!("route {gives}"),
        other => format!("{other:?}"),
    }
}
