//! The write that brings a route from its state to the desired one.

use serde_json::{Value, json};

use super::{
    dialect,
    dialect::Dialect,
    leads_to, namespace,
    record::{Record, Share},
    rules::{self, Builder},
};
use crate::api::{RouteKind, names::SHARES};

/// The field of a rule that keeps users on one version.
const SESSION: &str = "sessionPersistence";

/// What a route needs to have the desired shares.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Nothing.
    None,
    /// Only the record or a copy of a rule is out of date: the canary gets the requests that it should get.
    Update(Vec<Value>),
    /// The canary does not get the requests that it should get, or gets others.
    Traffic(Vec<Value>),
}

/// The Kanary whose share is changed. Its Services are known without the record as well.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
    /// Its uid.
    pub uid: &'a str,
    /// The canary's own Service.
    pub canary: &'a str,
    /// The production Service.
    pub service: &'a str,
}

impl Change {
    /// The JSON Patch, if there is one. It only applies to the version of the route that was read.
    #[must_use]
    pub fn patch(self) -> Option<Vec<Value>> {
        match self {
            Self::None => None,
            Self::Update(patch) | Self::Traffic(patch) => Some(patch),
        }
    }
}

/// The change of a route after which the Kanary with this uid has `share`, or nothing. What other Kanaries have, and what the user
/// wrote or edited, stays.
///
/// # Errors
///
/// The route cannot be changed in this way; the message says why and what to do.
pub fn change(kind: RouteKind, route: &Value, own: Own<'_>, share: Option<&Share>) -> Result<Change, String> {
    let dialect = dialect(kind);
    let namespace = namespace(route);
    if !rules::are_readable(dialect, route) {
        return if share.is_some() {
            Err(format!(
                "the route has no spec.{}: add a rule that leads to the production Service",
                dialect.rules()
            ))
        } else {
            Ok(Change::None)
        };
    }
    let former = Record::of(route);
    if share.is_some() && former.share(own.uid).is_none() && leads_to(kind, route, own.canary) {
        return Err(format!(
            "the route leads to Service {} already, which is the canary's own and not recorded as Kanary's doing: remove this \
             backend, or set spec.traffic.kanaryService to another name",
            own.canary
        ));
    }
    let base = rules::without_canaries(dialect, (route, namespace), &former, own);
    let mut record = former.with(own.uid, share);
    let builder = Builder {
        dialect,
        namespace,
        shares: &record.shares,
    };
    let (rules, touched) = builder.build(&base)?;
    let reaches = |share: &&Share| base.iter().any(|rule| builder.concerns(share, rule));
    if let Some(share) = share.filter(|share| share.step > 0 && !reaches(share)) {
        return Err(format!(
            "no rule of the route sends requests to Service {}: add a rule with this backend, or name another route",
            share.service
        ));
    }
    record.rules = touched;
    let rules = Value::Array(rules.into_iter().map(Value::Object).collect());
    Ok(compare(dialect, route, &rules, &record))
}

fn compare(dialect: &dyn Dialect, route: &Value, rules: &Value, record: &Record) -> Change {
    let place = format!("/spec/{}", dialect.rules());
    let text = (!record.shares.is_empty()).then(|| json!(record).to_string());
    let annotations = route.pointer("/metadata/annotations").and_then(Value::as_object);
    let present = annotations
        .and_then(|annotations| annotations.get(SHARES))
        .and_then(Value::as_str);
    let present_rules = route.pointer(&place);
    let rules = &as_stored(rules, present_rules);
    let same_rules = present_rules == Some(rules);
    if same_rules && present == text.as_deref() {
        return Change::None;
    }
    let metadata = &route["metadata"];
    let mut patch = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": metadata["uid"]}),
        json!({"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]}),
    ];
    if !same_rules {
        patch.push(json!({"op": "replace", "path": place, "value": rules}));
    }
    let at = format!("/metadata/annotations/{}", SHARES.replace('/', "~1"));
    match (annotations, present, text) {
        (None, _, Some(text)) => {
            patch.push(json!({"op": "add", "path": "/metadata/annotations", "value": {SHARES: text}}));
        }
        (Some(_), _, Some(text)) => patch.push(json!({"op": "add", "path": at, "value": text})),
        (Some(all), Some(_), None) if all.len() == 1 => {
            patch.push(json!({"op": "remove", "path": "/metadata/annotations"}));
        }
        (Some(_), Some(_), None) => patch.push(json!({"op": "remove", "path": at})),
        (_, None, None) | (None, Some(_), None) => {}
    }
    let split = |rules: Option<&Value>| rules.map(|rules| traffic(dialect, rules));
    if split(present_rules) == split(Some(rules)) {
        Change::Update(patch)
    } else {
        Change::Traffic(patch)
    }
}

/// Rules with the session fields as the API server stored them, where it does not know all that was written.
fn as_stored(rules: &Value, present: Option<&Value>) -> Value {
    let mut rules = rules.clone();
    let present = present.and_then(Value::as_array).into_iter().flatten();
    for (rule, present) in rules.as_array_mut().into_iter().flatten().zip(present) {
        let stored = present
            .get(SESSION)
            .filter(|stored| rules::is_within(stored, &rule[SESSION]));
        if let (Some(stored), Some(written)) = (stored, rule.get_mut(SESSION)) {
            written.clone_from(stored);
        }
    }
    rules
}

/// The parts of rules that decide which requests reach which backend.
fn traffic(dialect: &dyn Dialect, rules: &Value) -> Vec<[Value; 4]> {
    let rules = rules.as_array().into_iter().flatten();
    rules
        .map(|rule| [dialect.matches(), dialect.backends(), dialect.extras(), SESSION].map(|field| rule[field].clone()))
        .collect()
}
