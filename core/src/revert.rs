//! Takes what a run changed in a pod template out of it again, and leaves what somebody else has changed since.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Fields that tell the entries of a list apart.
const KEYS: [&str; 3] = ["name", "mountPath", "containerPort"];

/// A template without the changes of a run.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Reverted {
    pub(super) template: Value,
    /// Changes of the run that were still there.
    pub(super) found: usize,
    /// Changes of the run that somebody else had changed again.
    pub(super) overwritten: usize,
}

/// `live` without what the run changed: `former` is the template before it, and `tried` is the one that it wrote.
pub(super) fn revert(former: &Value, tried: &Value, live: &Value) -> Reverted {
    let mut reverted = Reverted::default();
    let template = merge([Some(former), Some(tried), Some(live)], &mut reverted);
    reverted.template = template.unwrap_or_default();
    reverted
}

fn merge(versions: [Option<&Value>; 3], reverted: &mut Reverted) -> Option<Value> {
    let versions = versions.map(|value| value.filter(|value| !value.is_null()));
    let [former, tried, live] = versions;
    if former == tried {
        return live.cloned();
    }
    if live == tried {
        reverted.found += 1;
        return former.cloned();
    }
    if let Some(fields) = objects(versions) {
        let names: BTreeSet<_> = fields.iter().copied().flatten().flat_map(Map::keys).collect();
        let merged = names.into_iter().filter_map(|name| {
            let values = fields.map(|fields| fields.and_then(|fields| fields.get(name)));
            Some((name.clone(), merge(values, reverted)?))
        });
        return Some(Value::Object(merged.collect()));
    }
    if let Some((key, lists)) = keyed(versions) {
        // The order is that of the live list. What the run removed comes last.
        let [former, _, live] = lists;
        let mut names: Vec<&Value> = Vec::new();
        for entry in live.iter().chain(former) {
            if let Some(name) = entry.get(key).filter(|name| !names.contains(name)) {
                names.push(name);
            }
        }
        let merged = names.into_iter().filter_map(|name| {
            let entries = lists.map(|list| list.iter().find(|entry| entry.get(key) == Some(name)));
            merge(entries, reverted)
        });
        return Some(Value::Array(merged.collect()));
    }
    reverted.overwritten += 1;
    live.cloned()
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

    fn reverted(template: Value, found: usize, overwritten: usize) -> Reverted {
        Reverted {
            template,
            found,
            overwritten,
        }
    }

    #[test]
    fn what_somebody_added_stays_and_what_the_run_changed_goes() {
        let former = template("app:v1", &Value::Null);
        let tried = template("app:v2", &json!([{"name": "NEW", "value": "1"}]));
        let (mut live, mut wanted) = (tried.clone(), former.clone());
        for template in [&mut live, &mut wanted] {
            template["metadata"] = json!({"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}});
            template["spec"]["containers"][1]["image"] = json!("log:v2");
        }
        assert_eq!(revert(&former, &tried, &live), reverted(wanted, 1, 0));
    }

    #[test]
    fn entries_of_a_list_are_told_apart_by_their_key() {
        let mounts = |paths: &[&str]| {
            let mounts = paths.iter().map(|path| json!({"name": "data", "mountPath": path}));
            Value::Array(mounts.collect())
        };
        let live = mounts(&["/theirs", "/a", "/new"]);
        assert_eq!(
            revert(&mounts(&["/a", "/gone"]), &mounts(&["/a", "/new"]), &live),
            reverted(mounts(&["/theirs", "/a", "/gone"]), 2, 0)
        );
    }

    #[test]
    fn a_template_of_its_own_keeps_everything() {
        let (former, tried) = (template("app:v1", &Value::Null), template("app:v2", &Value::Null));
        let live = template("app:v3", &Value::Null);
        let kept = revert(&former, &tried, &live);
        assert_eq!((kept.found, kept.overwritten), (0, 1));
        assert_eq!(revert(&former, &tried, &former).found, 0);
        let arguments = |all: &[&str]| json!({"spec": {"args": all}});
        let live = arguments(&["c"]);
        assert_eq!(
            revert(&arguments(&["a"]), &arguments(&["b"]), &live),
            reverted(live, 0, 1),
            "a list without keys is one value"
        );
    }
}
