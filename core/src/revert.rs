//! The template that a target gets back after a run in place.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Former, tried and present version of a part of a template.
type Versions<'a> = [Option<&'a Value>; 3];

/// `former`, the template before the run, with the labels and annotations that somebody has set in `live` since the run wrote `tried`.
/// If somebody has changed anything else, nothing of `live` is kept: it may come from the run, under another name, in another place or
/// with a digest, and its annotations may be about containers that go.
pub(super) fn revert(former: &Value, tried: &Value, live: &Value) -> Value {
    let has_spec = |template: &Value| live.get("spec") == template.get("spec");
    if !has_spec(tried) && !has_spec(former) {
        return former.clone();
    }
    let metadata = with_additions([former, tried, live].map(|template| template.get("metadata")));
    let mut reverted = former.clone();
    if let Some(fields) = reverted.as_object_mut() {
        fields.remove("metadata");
        fields.extend(metadata.map(|metadata| ("metadata".to_owned(), metadata)));
    }
    reverted
}

/// The former version, with the fields of the present one that the run had not changed.
fn with_additions(versions: Versions<'_>) -> Option<Value> {
    let [former, tried, live] = versions.map(|value| value.filter(|value| !value.is_null()));
    if former == tried {
        return live.cloned();
    }
    let fields = [former, tried, live].map(|value| value.map_or(Some(None), |value| value.as_object().map(Some)));
    let [Some(former_fields), Some(tried_fields), Some(live_fields)] = fields else {
        return former.cloned();
    };
    let all = [former_fields, tried_fields, live_fields];
    let names: BTreeSet<&String> = all.into_iter().flatten().flat_map(Map::keys).collect();
    let merged = names.into_iter().filter_map(|name| {
        let field = all.map(|fields| fields.and_then(|fields| fields.get(name)));
        Some((name.clone(), with_additions(field)?))
    });
    Some(Value::Object(merged.collect()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(image: &str, annotations: &Value) -> Value {
        json!({"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "app", "image": image}]}})
    }

    #[test]
    fn labels_and_annotations_that_somebody_sets_stay() {
        let former = template("app:v1", &json!({"restarted": "before", "team": "shop"}));
        let tried = template("app:v2", &json!({"restarted": "before", "team": "shop", "new": "1"}));
        for (live, wanted) in [
            (json!({"restarted": "now", "new": "1"}), json!({"restarted": "now"})),
            (json!({"new": "1", "other": "2"}), json!({"other": "2"})),
            (
                json!({"restarted": "before", "team": "shop"}),
                json!({"restarted": "before", "team": "shop"}),
            ),
        ] {
            let live = template("app:v2", &live);
            assert_eq!(revert(&former, &tried, &live), template("app:v1", &wanted), "{live}");
        }
    }

    #[test]
    fn a_label_that_the_run_changed_is_the_former_one_whatever_it_is_now() {
        let labels = |value: &str| json!({"metadata": {"labels": {"version": value}}});
        assert_eq!(revert(&labels("1"), &labels("2"), &labels("2-pinned")), labels("1"));
        let bare = json!({"spec": {}});
        let added = json!({"metadata": {"annotations": {"a": "1"}}, "spec": {}});
        let changed = json!({"metadata": {"annotations": {"a": "2"}}, "spec": {}});
        assert_eq!(revert(&bare, &added, &added)["spec"], bare["spec"]);
        let left = &revert(&bare, &added, &changed)["metadata"];
        assert!(left["annotations"].as_object().is_none_or(Map::is_empty), "{left}");
    }

    #[test]
    fn nothing_stays_if_somebody_has_changed_the_spec() {
        let of = |image: &str| template(image, &json!({}));
        let mut live = of("app:v2@sha256:1");
        live["spec"]["initContainers"] = json!([{"name": "copy", "image": "app:v2"}]);
        live["metadata"]["annotations"] = json!({"container.apparmor.security.beta.kubernetes.io/copy": "unconfined"});
        assert_eq!(revert(&of("app:v1"), &of("app:v2"), &live), of("app:v1"));
    }
}
