//! Takes what a run changed in a pod template out of it again, and leaves what somebody else has changed since.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Fields that tell the entries of a list apart.
const KEYS: [&str; 3] = ["name", "mountPath", "containerPort"];

/// Somebody changed what the run had changed, so nothing tells what of that is proven.
struct Overwritten;

/// `live` without what the run changed: `former` is the template before it, and `tried` is the one that it wrote. `None` if anything in
/// the spec is from neither: it may come from the run, under another name or in another place. Labels and annotations are free.
pub(super) fn revert(former: &Value, tried: &Value, live: &Value) -> Option<Value> {
    let part = |field: &str, is_free| merge([former, tried, live].map(|template| template.get(field)), is_free).ok();
    let parts = [("metadata", part("metadata", true)?), ("spec", part("spec", false)?)];
    let parts = parts
        .into_iter()
        .filter_map(|(field, value)| Some((field.to_owned(), value?)));
    let template = Value::Object(parts.collect());
    (template.get("spec") == former.get("spec")).then_some(template)
}

/// `is_free` says that what somebody changed stays, whatever the run had changed there.
fn merge(versions: [Option<&Value>; 3], is_free: bool) -> Result<Option<Value>, Overwritten> {
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
            merged.extend(merge(values, is_free)?.map(|value| (name.clone(), value)));
        }
        return Ok(Some(Value::Object(merged)));
    }
    if is_free {
        return Ok(live.cloned());
    }
    let (key, lists) = keyed(versions).ok_or(Overwritten)?;
    let names = lists.map(|list| list.iter().filter_map(|entry| entry.get(key)).collect::<Vec<_>>());
    let [former, tried, live] = &names;
    if live.iter().any(|name| !former.contains(name) && !tried.contains(name)) {
        return Err(Overwritten);
    }
    let added = tried.iter().filter(|name| !former.contains(name));
    let mut merged = Vec::new();
    for name in former.iter().chain(added) {
        merged.extend(merge(
            lists.map(|list| list.iter().find(|entry| entry.get(key) == Some(name))),
            is_free,
        )?);
    }
    Ok(Some(Value::Array(merged)))
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
    fn labels_and_annotations_of_somebody_stay_and_what_the_run_changed_goes() {
        let former = template("app:v1", &json!([]));
        let tried = template("app:v2", &json!([{"name": "NEW", "value": "1"}]));
        let (mut live, mut wanted) = (tried.clone(), former.clone());
        for template in [&mut live, &mut wanted] {
            template["metadata"] = json!({"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}});
        }
        let mut former = former;
        former["metadata"] = json!({"annotations": {"kubectl.kubernetes.io/restartedAt": "before"}});
        assert_eq!(revert(&former, &tried, &live), Some(wanted.clone()));
        live["spec"]["containers"][0]["image"] = json!("app:v1");
        assert_eq!(revert(&former, &tried, &live), Some(wanted), "a part is back already");
        assert_eq!(revert(&former, &tried, &former), Some(former));
    }

    fn mounts(paths: &str) -> Value {
        let mounts = paths.split(' ').map(|path| json!({"name": "data", "mountPath": path}));
        json!({"spec": {"volumeMounts": mounts.collect::<Vec<_>>()}})
    }

    #[test]
    fn entries_of_a_list_are_told_apart_by_their_key_and_keep_their_order() {
        for (former, tried, live, is_known) in [
            ("/a /gone", "/a /new", "/a /new", true),
            ("/a /gone", "/a /new", "/new /gone", false),
            ("/1 /2", "/2", "/2", true),
            ("/a /b", "/b /a", "/b /a", true),
            ("/a", "/a /new", "/a", true),
            ("/a", "/a /new", "/a /renamed", false),
            ("/a", "/a /new", "/a /new /theirs", false),
        ] {
            let [former, tried, live] = [former, tried, live].map(mounts);
            let wanted = is_known.then(|| former.clone());
            assert_eq!(revert(&former, &tried, &live), wanted, "{live}");
        }
    }

    #[test]
    fn what_somebody_changed_in_the_spec_may_come_from_the_run() {
        let image = |image: &str| template(image, &Value::Null);
        let is_unknown = |live: &Value| revert(&image("app:v1"), &image("app:v2"), live).is_none();
        assert!(is_unknown(&image("app:v2@sha256:1")));
        let mut other = image("app:v2");
        other["spec"]["containers"][0]["name"] = json!("other");
        assert!(is_unknown(&other), "renamed");
        let mut copied = image("app:v1");
        copied["spec"]["initContainers"] = json!([{"name": "copy", "image": "app:v2"}]);
        assert!(is_unknown(&copied));
        let mut other = image("app:v2");
        other["spec"]["containers"][1]["image"] = json!("log:v2");
        assert!(is_unknown(&other));
    }
}
