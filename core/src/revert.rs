//! Takes what a run changed in a pod template out of it again, and leaves what somebody else has changed since.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Fields that tell the entries of a list apart.
const KEYS: [&str; 3] = ["name", "mountPath", "containerPort"];

/// Somebody changed what the run had changed, so nothing tells what of that is proven.
struct Overwritten;

/// `live` without what the run changed: `former` is the template before it, and `tried` is the one that it wrote. `None` if somebody
/// has changed one of these fields to something else.
pub(super) fn revert(former: &Value, tried: &Value, live: &Value) -> Option<Value> {
    merge([Some(former), Some(tried), Some(live)]).ok().flatten()
}

fn merge(versions: [Option<&Value>; 3]) -> Result<Option<Value>, Overwritten> {
    let versions = versions.map(|value| value.filter(|value| !value.is_null()));
    let [former, tried, live] = versions;
    if former == tried {
        return Ok(live.cloned());
    }
    if live == tried || live == former {
        return Ok(former.cloned());
    }
    if let Some(fields) = objects(versions) {
        let names: BTreeSet<_> = fields.iter().copied().flatten().flat_map(Map::keys).collect();
        let mut merged = Map::new();
        for name in names {
            let values = fields.map(|fields| fields.and_then(|fields| fields.get(name)));
            merged.extend(merge(values)?.map(|value| (name.clone(), value)));
        }
        return Ok(Some(Value::Object(merged)));
    }
    let (key, lists) = keyed(versions).ok_or(Overwritten)?;
    let names = lists.map(|list| list.iter().filter_map(|entry| entry.get(key)).collect::<Vec<_>>());
    let mut merged = Vec::new();
    for name in in_order(&names)? {
        merged.extend(merge(
            lists.map(|list| list.iter().find(|entry| entry.get(key) == Some(name))),
        )?);
    }
    Ok(Some(Value::Array(merged)))
}

/// The names of all entries that may remain, in the order of the former list. An added one follows what it follows in the live list.
/// The order counts: init containers run one after the other, and a variable may use those before it.
fn in_order<'a>([former, tried, live]: &[Vec<&'a Value>; 3]) -> Result<Vec<&'a Value>, Overwritten> {
    let is_like = |other: &[&'a Value]| {
        let shared = |list: &[&'a Value], with: &[&'a Value]| -> Vec<_> {
            list.iter().copied().filter(|name| with.contains(name)).collect()
        };
        shared(live, other) == shared(other, live)
    };
    if !is_like(tried) && !is_like(former) {
        return Err(Overwritten);
    }
    let mut names = former.clone();
    let mut place = 0;
    for name in live {
        if let Some(at) = names.iter().position(|known| known == name) {
            place = at;
        } else {
            names.insert(place, name);
        }
        place += 1;
    }
    Ok(names)
}

/// The fields of each, if all that are there are objects.
fn objects(versions: [Option<&Value>; 3]) -> Option<[Option<&Map<String, Value>>; 3]> {
    let all = versions.into_iter().flatten().all(Value::is_object);
    all.then(|| versions.map(|value| value.and_then(Value::as_object)))
}

/// The entries of each, and the field that tells them apart, if all that are there are lists of such entries.
fn keyed(versions: [Option<&Value>; 3]) -> Option<(&'static str, [&[Value]; 3])> {
    if !versions.into_iter().flatten().all(Value::is_array) {
        return None;
    }
    let lists = versions.map(|value| value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice));
    let tells_apart = |key: &&str| {
        lists.iter().all(|list| {
            let mut known = Vec::new();
            list.iter().all(|entry| {
                let name = entry.get(*key).filter(|name| !known.contains(name));
                known.extend(name);
                name.is_some()
            })
        })
    };
    Some((KEYS.into_iter().find(|key| tells_apart(key))?, lists))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(image: &str, env: &Value) -> Value {
        json!({"spec": {"containers": [{"name": "app", "image": image, "env": env}, {"name": "log", "image": "log:v1"}]}})
    }

    #[test]
    fn what_somebody_added_stays_and_what_the_run_changed_goes() {
        let former = template("app:v1", &json!([]));
        let tried = template("app:v2", &json!([{"name": "NEW", "value": "1"}]));
        let (mut live, mut wanted) = (tried.clone(), former.clone());
        for template in [&mut live, &mut wanted] {
            template["metadata"] = json!({"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}});
            template["spec"]["containers"][1]["image"] = json!("log:v2");
        }
        assert_eq!(revert(&former, &tried, &live), Some(wanted.clone()));
        live["spec"]["containers"][0]["image"] = json!("app:v1");
        assert_eq!(revert(&former, &tried, &live), Some(wanted), "a part is back already");
        assert_eq!(revert(&former, &tried, &former), Some(former));
    }

    fn named(names: &[&str]) -> Value {
        let entries = names.iter().map(|name| json!({"name": "data", "mountPath": name}));
        Value::Array(entries.collect())
    }

    #[test]
    fn entries_of_a_list_are_told_apart_by_their_key_and_keep_their_order() {
        for (former, tried, live, wanted) in [
            ("/a /gone", "/a /new", "/theirs /a /new", "/theirs /a /gone"),
            ("/1 /2", "/2", "/2 /theirs", "/1 /2 /theirs"),
            ("/a /b", "/b /a", "/b /a /theirs", "/a /theirs /b"),
            ("/a /b", "/b", "/a /theirs", "/a /theirs"),
            ("/a /b /c", "/a /c", "/c /a", "overwritten"),
        ] {
            let [former, tried, live] = [former, tried, live].map(|all| named(&all.split(' ').collect::<Vec<_>>()));
            let wanted = (wanted != "overwritten").then(|| named(&wanted.split(' ').collect::<Vec<_>>()));
            assert_eq!(revert(&former, &tried, &live), wanted, "{live}");
        }
    }

    #[test]
    fn what_somebody_changed_once_more_may_come_from_the_run() {
        let image = |image: &str| template(image, &Value::Null);
        assert_eq!(
            revert(&image("app:v1"), &image("app:v2"), &image("app:v2@sha256:1")),
            None
        );
        let arguments = |all: &[&str]| json!({"spec": {"args": all}});
        assert_eq!(
            revert(&arguments(&["a"]), &arguments(&["b"]), &arguments(&["b", "c"])),
            None
        );
        let mut renamed = image("app:v2");
        renamed["spec"]["containers"][0]["name"] = json!("other");
        assert_eq!(revert(&image("app:v1"), &image("app:v2"), &renamed), None);
    }
}
