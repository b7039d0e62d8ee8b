//! The weights of the user's backends when those of canaries leave a rule.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    dialect::Dialect,
    record::Touched,
    rules::{label, set_weight, weight},
};

/// Gives the user's backends the weights that the user wrote, unless somebody changed them since. What a canary had never gets lost
/// with it: where nothing is recorded, production gets it, and where somebody set production to 0, that is over with the canary.
/// `services` are the Services of canaries, each with its production Service.
pub(super) fn give_back(
    services: &[(&str, &str)],
    (dialect, namespace): (&dyn Dialect, &str),
    (users, mut canaries): (&mut [Value], Vec<Value>),
    known: Option<&Touched>,
) {
    let mut left: Vec<_> = known.into_iter().flat_map(|known| &known.backends).collect();
    let records: Vec<_> = users
        .iter()
        .map(|user| {
            let to = label(user);
            let place = left.iter().position(|known| known.to == to)?;
            Some(left.remove(place))
        })
        .collect();
    let mut all: Vec<_> = users.iter_mut().zip(records).collect();
    // A backend without requests has no canary. Without a record, one that gets some is more likely to have had one.
    all.sort_by_key(|(user, record)| record.map_or(weight(user) == 0, |known| known.former == Some(0)));
    for (user, record) in all {
        let freed = freed(services, (dialect, namespace), user, &mut canaries);
        match record {
            Some(known) if user.get("weight").and_then(Value::as_u64) == known.now => set_weight(user, known.former),
            Some(known) if freed.is_some() && weight(user) == 0 => set_weight(user, known.former),
            Some(_) => {}
            None => {
                if let Some(freed) = freed {
                    let sum = weight(user).saturating_add(freed);
                    set_weight(user, Some(sum));
                }
            }
        }
    }
}

/// The weight of the backends that are copies of `user` for canaries, one of each. They are taken from the list.
fn freed(
    services: &[(&str, &str)],
    (dialect, namespace): (&dyn Dialect, &str),
    user: &Value,
    canaries: &mut Vec<Value>,
) -> Option<u64> {
    let mut found = BTreeSet::new();
    let mut freed = None;
    canaries.retain(|canary| {
        let mut known = services.iter();
        let Some((service, production)) = known.find(|(service, _)| dialect.leads(canary, namespace, service)) else {
            return true;
        };
        let copy = dialect.leading_to(user, service);
        let is_copy = dialect.leads(user, namespace, production)
            && weightless(&copy) == weightless(canary)
            && found.insert(*service);
        if is_copy {
            freed = Some(freed.unwrap_or(0_u64).saturating_add(weight(canary)));
        }
        !is_copy
    });
    freed
}

fn weightless(backend: &Value) -> Option<Map<String, Value>> {
    let mut fields = backend.as_object()?.clone();
    fields.remove("weight");
    Some(fields)
}
