//! Migration from client-side to server-side `kubectl apply`, based on kubectl's last-applied annotation.

use serde_json::{Value, json};

use super::combine::changes;
use super::fields::Fields;
use super::typed::{Place, fields_of};

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The field manager that writes the annotation.
const KUBECTL: &str = "kubectl";

/// Fields that kubectl last applied client-side and that still have that value. kubectl may change them whoever owns
/// them.
pub(super) fn taken_over(live: &Value, manager: &str, place: &Place<'_>) -> Fields {
    let applied = annotation(live).filter(|_| manager == KUBECTL);
    let applied: Option<Value> = applied.and_then(|text| serde_json::from_str(text).ok());
    match applied {
        Some(applied) if applied["apiVersion"] == live["apiVersion"] => {
            let since = changes(&applied, live, place);
            let fields = fields_of(&applied, place);
            fields.difference(&since.set).difference(&since.removed)
        }
        _ => Fields::default(),
    }
}

/// Updates the annotation with kubectl's configuration, if the annotation exists.
pub(super) fn note(object: &mut Value, config: &Value, manager: &str) {
    if manager != KUBECTL || annotation(object).is_none() {
        return;
    }
    let mut config = config.clone();
    if let Some(annotations) = config
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove(ANNOTATION);
    }
    object["metadata"]["annotations"][ANNOTATION] = json!(format!("{config}\n"));
}

fn annotation(object: &Value) -> Option<&str> {
    let text = object.get("metadata")?.get("annotations")?.get(ANNOTATION)?.as_str()?;
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;
    use crate::patch::{Apply, BuiltIn, apply, track};

    fn by(manager: &str) -> Apply<'_> {
        Apply {
            manager,
            force: false,
            subresource: "",
            now: "1",
            lists: &BuiltIn,
        }
    }

    fn deployment(spec: &Value) -> Value {
        let metadata = json!({"name": "app", "annotations": {}});
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    }

    /// An object as client-side `kubectl apply` creates it.
    fn created(spec: &Value) -> Value {
        let mut object = deployment(spec);
        object["metadata"]["annotations"][ANNOTATION] = json!(format!("{}\n", deployment(spec)));
        track(None, &mut object, &by("kubectl-client-side-apply"));
        object
    }

    fn applied(live: &Value, spec: &Value, manager: &str) -> Result<Value, Failure> {
        apply(Some(live), &deployment(spec), &by(manager))
    }

    #[test]
    fn kubectl_may_change_what_it_has_applied_itself() {
        let live = created(&json!({"replicas": 1}));
        let object = applied(&live, &json!({"replicas": 2}), "kubectl").unwrap();
        assert_eq!(object["spec"]["replicas"], 2);
        assert_eq!(applied(&live, &json!({"replicas": 2}), "flux").unwrap_err().code, 409);
    }

    #[test]
    fn what_has_changed_since_is_a_conflict() {
        let live = created(&json!({"replicas": 1, "paused": false}));
        let mut scaled = live.clone();
        scaled["spec"]["replicas"] = json!(3);
        track(Some(&live), &mut scaled, &by("scaler"));
        let failure = applied(&scaled, &json!({"replicas": 2, "paused": true}), "kubectl").unwrap_err();
        assert_eq!(
            failure.message,
            "Apply failed with 1 conflict: conflict with \"scaler\" using apps/v1: .spec.replicas"
        );
    }

    #[test]
    fn the_annotation_follows() {
        let object = applied(&created(&json!({"replicas": 1})), &json!({"replicas": 2}), "kubectl").unwrap();
        let expected = format!("{}\n", deployment(&json!({"replicas": 2})));
        assert_eq!(object["metadata"]["annotations"][ANNOTATION], expected);
        assert_eq!(applied(&object, &json!({"replicas": 2}), "kubectl"), Ok(object));
    }

    #[test]
    fn an_object_without_the_annotation_gets_none() {
        let object = apply(None, &deployment(&json!({})), &by("kubectl")).unwrap();
        assert_eq!(object["metadata"]["annotations"], json!({}));
    }
}
