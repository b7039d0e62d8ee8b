//! Takes what a run changed in a pod template out of it again, and leaves what somebody else has changed since.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Fields that tell the entries of a list apart.
const KEYS: [&str; 3] = ["name", "mountPath", "containerPort"];

/// Former, tried and present version of a part of a template.
type Versions<'a> = [Option<&'a Value>; 3];

/// `live` without what the run changed: `former` is the template before it, and `tried` is the one that it wrote. `None` if anything in
/// the spec is from neither: it may come from the run, under another name or in another place. Labels and annotations are free.
pub(super) fn revert(former: &Value, tried: &Value, live: &Value) -> Option<Value> {
    let part = |field: &str| [former, tried, live].map(|template| template.get(field));
    if !is_of_both(part("spec")) {
        return None;
    }
    let parts = [
        ("metadata", with_additions(part("metadata"))),
        ("spec", former.get("spec").cloned()),
    ];
    let parts = parts.into_iter();
    Some(Value::Object(
        parts
            .filter_map(|(field, value)| Some((field.to_owned(), value?)))
            .collect(),
    ))
}

/// Whether everything in the present version is from the former or from the tried one.
fn is_of_both(versions: Versions<'_>) -> bool {
    let versions = without_nulls(versions);
    let [former, tried, live] = versions;
    if live == tried || live == former {
        return true;
    }
    if former == tried || former.is_none() {
        return false;
    }
    if let Some(fields) = objects(versions) {
        return names(&fields).into_iter().all(|name| is_of_both(field(&fields, name)));
    }
    let Some((key, lists)) = keyed(versions) else {
        return false;
    };
    lists.iter().copied().flatten().all(|entry| {
        let name = entry.get(key);
        is_of_both(lists.map(|list| list.iter().find(|entry| entry.get(key) == name)))
    })
}

/// The former version with what somebody has added to the tried one.
fn with_additions(versions: Versions<'_>) -> Option<Value> {
    let versions = without_nulls(versions);
    let [former, tried, live] = versions;
    if former != tried && (live == tried || live == former) {
        return former.cloned();
    }
    let Some(fields) = objects(versions).filter(|_| former != tried) else {
        return live.cloned();
    };
    let merged = names(&fields)
        .into_iter()
        .filter_map(|name| Some((name.clone(), with_additions(field(&fields, name))?)));
    Some(Value::Object(merged.collect()))
}

fn without_nulls(versions: Versions<'_>) -> Versions<'_> {
    versions.map(|value| value.filter(|value| !value.is_null()))
}

fn names<'a>(fields: &[Option<&'a Map<String, Value>>; 3]) -> BTreeSet<&'a String> {
    fields.iter().copied().flatten().flat_map(Map::keys).collect()
}

fn field<'a>(fields: &[Option<&'a Map<String, Value>>; 3], name: &str) -> Versions<'a> {
    fields.map(|fields| fields.and_then(|fields| fields.get(name)))
}

/// The fields of each, if all that are there are objects.
fn objects(versions: Versions<'_>) -> Option<[Option<&Map<String, Value>>; 3]> {
    let all = versions.into_iter().flatten().all(Value::is_object);
    all.then(|| versions.map(|value| value.and_then(Value::as_object)))
}

/// The entries of each, and the field that tells them apart, if all that are there are lists of such entries.
fn keyed(versions: Versions<'_>) -> Option<(&'static str, [&[Value]; 3])> {
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
