use k8s_openapi::{
    api::{
        apps::v1::Deployment as KubeDeployment,
        core::v1::{Pod as KubePod, Service as KubeService},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kanary_core::{api::Kanary, labels::Labels};
use serde_json::json;

use super::*;

fn kanary(name: &str, version: &str, spec: serde_json::Value) -> Kanary {
    let mut spec = spec;
    spec["template"] = json!({"spec": {"template": {
        "metadata": {"labels": {"tier": "front"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }}});
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "resourceVersion": version},
        "spec": spec,
    }))
    .unwrap()
}

fn known(kanaries: &[(&str, serde_json::Value)]) -> Cache {
    let cache = Cache::default();
    for (name, spec) in kanaries {
        let kanary = kanary(name, "1", spec.clone());
        cache.put_kanary(KanaryKind::Deployment, &kanary).unwrap().unwrap();
    }
    cache
}

fn deployment(name: &str, version: &str, replicas: i32) -> KubeDeployment {
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "shop", "uid": "u", "resourceVersion": version},
        "spec": {"replicas": replicas, "selector": {}, "template": {}},
    }))
    .unwrap()
}

fn service(name: &str, selector: &serde_json::Value, labels: &serde_json::Value) -> KubeService {
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "1", "labels": labels},
        "spec": {"selector": selector},
    }))
    .unwrap()
}

fn owned_by_a() -> Option<Vec<OwnerReference>> {
    let api_version = KanaryKind::Deployment.api_version();
    let owner = json!([{
        "apiVersion": api_version, "kind": "KanaryDeployment", "name": "a", "uid": "uid-a", "controller": true,
    }]);
    serde_json::from_value(owner).unwrap()
}

fn names(keys: &[Key]) -> Vec<&str> {
    keys.iter().map(|key| key.name.as_str()).collect()
}

#[test]
fn an_event_reaches_the_kanaries_that_name_the_object_and_no_others() {
    let cache = known(&[
        ("a", json!({"deploymentName": "web"})),
        ("b", json!({"deploymentName": "web"})),
        ("c", json!({"deploymentName": "api"})),
    ]);
    assert_eq!(
        names(&KubeDeployment::put(&cache, &deployment("web", "2", 1))),
        ["a", "b"]
    );
    assert_eq!(
        names(&KubeDeployment::put(&cache, &deployment("api-kanary-c", "3", 1))),
        ["c"]
    );
    assert_eq!(
        names(&KubeDeployment::put(&cache, &deployment("other", "4", 1))),
        Vec::<&str>::new()
    );
}

#[test]
fn an_event_that_changes_nothing_that_matters_causes_no_reconcile() {
    let cache = known(&[("a", json!({"deploymentName": "web"}))]);
    assert_eq!(KubeDeployment::put(&cache, &deployment("web", "2", 1)).len(), 1);
    assert_eq!(KubeDeployment::put(&cache, &deployment("web", "3", 1)).len(), 0);
    assert_eq!(KubeDeployment::put(&cache, &deployment("web", "4", 2)).len(), 1);
    let place = ("shop".to_owned(), "web".to_owned());
    assert_eq!(
        KubeDeployment::take_out(&mut cache.lock(), &place, Gone::At(5)).len(),
        1
    );
}

#[test]
fn a_kanary_that_names_another_service_is_found_by_that_one() {
    let spec =
        |service: &str| json!({"deploymentName": "web", "serviceName": service, "traffic": {"source": "service"}});
    let cache = known(&[("a", spec("old"))]);
    cache
        .put_kanary(KanaryKind::Deployment, &kanary("a", "2", spec("new")))
        .unwrap();
    let put = |name| KubeService::put(&cache, &service(name, &json!({"app": "web"}), &json!({})));
    assert_eq!(names(&put("old")), Vec::<&str>::new());
    assert_eq!(names(&put("new")), ["a"]);
}

#[test]
fn the_echo_of_our_own_write_is_no_news() {
    let cache = known(&[("a", json!({}))]);
    let newer = kanary("a", "5", json!({}));
    assert!(cache.put_kanary(KanaryKind::Deployment, &newer).unwrap().is_some());
    assert_eq!(cache.put_kanary(KanaryKind::Deployment, &newer), Ok(None));
    assert_eq!(
        cache.put_kanary(KanaryKind::Deployment, &kanary("a", "4", json!({}))),
        Ok(None)
    );
}

#[test]
fn a_spec_that_cannot_be_read_is_that_kanarys_problem() {
    let cache = Cache::default();
    let mut broken = kanary("a", "1", json!({}));
    broken.spec = json!({"template": 7});
    let key = cache.put_kanary(KanaryKind::Deployment, &broken).unwrap().unwrap();
    assert!(!cache.kanary(&key).unwrap().spec.is_sound());
}

/// Selectors of the traffic that the only Kanary's canary must not get.
fn to_keep_away_from(cache: &Cache) -> Vec<Labels> {
    let kanary = cache.kanary(&cache.kanaries(KanaryKind::Deployment).remove(0)).unwrap();
    let services = cache.observe(&kanary, &kanary.spec).services;
    services.into_iter().map(|service| service.selector).collect()
}

#[test]
fn only_services_that_are_not_kanarys_are_traffic_to_keep_away_from() {
    let cache = known(&[("a", json!({"deploymentName": "web"}))]);
    let ours = json!({"kanary.k8s-operators.dev/iskanary": "true"});
    let front = json!({"tier": "front"});
    KubeService::put(&cache, &service("front", &front, &json!({})));
    let mut own = service("web-kanary-a", &front, &ours);
    own.metadata.owner_references = owned_by_a();
    KubeService::put(&cache, &own);
    assert_eq!(
        to_keep_away_from(&cache),
        [Labels::from([("tier".to_owned(), "front".to_owned())])]
    );
    KubeService::take_out(&mut cache.lock(), &("shop".to_owned(), "front".to_owned()), Gone::At(9));
    assert!(to_keep_away_from(&cache).is_empty());
}

#[test]
fn a_users_service_with_a_label_of_kanarys_is_production_all_the_same() {
    let cache = known(&[("a", json!({"deploymentName": "web"}))]);
    let labelled = json!({"kanary.k8s-operators.dev/iskanary": "true"});
    KubeService::put(&cache, &service("front", &json!({"tier": "front"}), &labelled));
    assert_eq!(to_keep_away_from(&cache).len(), 1);
}

/// A canary pod of Kanary `a`.
fn pod(version: &str, owner: &str, labels: &[(&str, &str)]) -> KubePod {
    let mut all = json!({
        "kanary.k8s-operators.dev/iskanary": "true",
        "kanary.k8s-operators.dev/kind": "KanaryDeployment",
        "kanary.k8s-operators.dev/name": "a",
        "kanary.k8s-operators.dev/run": "former-1",
    });
    for (name, value) in labels {
        all[*name] = json!(value);
    }
    let owners = match owner {
        "" => json!([]),
        name => json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": "u", "controller": true}]),
    };
    serde_json::from_value(json!({
        "metadata": {"name": "x", "namespace": "shop", "uid": "x", "resourceVersion": version, "labels": all,
                     "ownerReferences": owners},
    }))
    .unwrap()
}

#[test]
fn a_service_that_begins_or_ceases_to_select_a_canary_pod_matters_to_its_kanary() {
    let cache = known(&[
        ("a", json!({"deploymentName": "web"})),
        ("b", json!({"deploymentName": "web"})),
    ]);
    KubePod::put(
        &cache,
        &pod("1", "web-kanary-a-5f", &[("zone", "east"), ("pod-template-hash", "5f")]),
    );
    let put = |version: &str, selector: serde_json::Value| {
        let mut service = service("unnamed", &selector, &json!({}));
        service.metadata.resource_version = Some(version.to_owned());
        KubeService::put(&cache, &service)
    };
    assert_eq!(names(&put("2", json!({"zone": "west"}))), Vec::<&str>::new());
    assert_eq!(names(&put("3", json!({"zone": "east"}))), ["a"]);
    let kanary = cache.kanary(&cache.kanaries(KanaryKind::Deployment)[0]).unwrap();
    let seen = cache.observe(&kanary, &kanary.spec);
    assert_eq!(seen.services.len(), 1);
    assert_eq!(names(&put("4", json!({"zone": "west"}))), ["a"]);
    let by_kanarys = json!({"kanary.k8s-operators.dev/iskanary": "true", "zone": "east"});
    assert_eq!(names(&put("5", by_kanarys)), ["a"]);
    assert_eq!(names(&put("6", json!({"pod-template-hash": "5f"}))), ["a"]);
    assert_eq!(names(&put("7", json!({"zone": "west"}))), ["a"]);
    assert!(cache.observe(&kanary, &kanary.spec).services.is_empty());
}

#[test]
fn a_canary_pod_that_its_replica_set_released_is_still_known_to_its_kanary() {
    let cache = known(&[("a", json!({"deploymentName": "web"}))]);
    let kanary = cache.kanary(&cache.kanaries(KanaryKind::Deployment)[0]).unwrap();
    let seen = || {
        let seen = cache.observe(&kanary, &kanary.spec);
        let released = seen
            .pods
            .iter()
            .chain(&seen.other_pods)
            .filter(|pod| pod.released)
            .count();
        (seen.pods.len(), seen.other_pods.len(), released)
    };
    let run = kanary.run(&kanary.spec);
    let of_run = [("kanary.k8s-operators.dev/run", run.as_str())];
    KubePod::put(&cache, &pod("1", "web-kanary-a-5f", &of_run));
    assert_eq!(seen(), (1, 0, 0));
    assert_eq!(names(&KubePod::put(&cache, &pod("2", "", &of_run))), ["a"]);
    assert_eq!(seen(), (0, 1, 1));
    KubePod::take_out(&mut cache.lock(), &("shop".to_owned(), "x".to_owned()), Gone::At(3));
    assert_eq!(seen(), (0, 0, 0));
}

#[test]
fn a_pod_that_loses_the_label_of_its_run_is_known_by_the_run_that_it_had() {
    let cache = known(&[("a", json!({"deploymentName": "web"}))]);
    let kanary = cache.kanary(&cache.kanaries(KanaryKind::Deployment)[0]).unwrap();
    let others = || cache.observe(&kanary, &kanary.spec).other_pods;
    let run = kanary.run(&kanary.spec);
    let label = "kanary.k8s-operators.dev/run";
    KubePod::put(&cache, &pod("1", "web-kanary-a-5f", &[(label, &run)]));
    assert_eq!(others(), []);
    KubePod::put(&cache, &pod("2", "web-kanary-a-5f", &[("alert", "high")]));
    assert_eq!(others()[0].former_run.as_ref(), Some(&run));
    KubePod::put(&cache, &pod("3", "", &[("alert", "high"), (label, "other")]));
    assert_eq!(others()[0].created_for(), Some(&run));
    KubePod::put(&cache, &pod("4", "", &[("alert", "high"), (label, &run)]));
    assert_eq!(others()[0].former_run, None);
    KubePod::take_out(&mut cache.lock(), &("shop".to_owned(), "x".to_owned()), Gone::At(5));
    KubePod::put(&cache, &pod("6", "", &[("alert", "high")]));
    assert_ne!(others()[0].created_for(), Some(&run));
}

#[test]
fn a_released_pod_that_loses_a_label_by_which_its_kanary_knows_it_is_known_no_longer() {
    let cache = known(&[("a", json!({"deploymentName": "web"}))]);
    let kanary = cache.kanary(&cache.kanaries(KanaryKind::Deployment)[0]).unwrap();
    let others = || cache.observe(&kanary, &kanary.spec).other_pods.len();
    KubePod::put(&cache, &pod("1", "", &[]));
    assert_eq!(others(), 1);
    let without = |version: &str| {
        let mut pod = pod(version, "", &[]);
        let labels = pod.metadata.labels.as_mut().unwrap();
        labels.remove("kanary.k8s-operators.dev/name");
        pod
    };
    assert_eq!(names(&KubePod::put(&cache, &without("0"))), Vec::<&str>::new());
    assert_eq!(others(), 1, "an older version says nothing");
    assert_eq!(names(&KubePod::put(&cache, &without("2"))), ["a"]);
    assert_eq!(others(), 0);
    KubePod::put(&cache, &pod("1", "", &[]));
    assert_eq!(others(), 0, "a late reply does not bring it back");
    KubePod::put(&cache, &pod("3", "", &[]));
    assert_eq!(others(), 1);
}

#[test]
fn a_target_that_is_another_kanarys_canary_is_known_as_such() {
    let cache = known(&[
        ("a", json!({"deploymentName": "web"})),
        ("b", json!({"deploymentName": "web-kanary-a"})),
    ]);
    let of = |index: usize| {
        let kanary = cache.kanary(&cache.kanaries(KanaryKind::Deployment)[index]).unwrap();
        cache.observe(&kanary, &kanary.spec).target_is_canary_of
    };
    assert_eq!((of(0), of(1)), (None, Some("KanaryDeployment/a".to_owned())));
}

#[test]
fn only_services_that_select_the_template_are_looked_at() {
    let cache = known(&[("a", json!({"deploymentName": "web"}))]);
    let none = json!({});
    for (name, selector) in [
        ("other", json!({"tier": "back"})),
        ("everything", json!({})),
        ("front-b", json!({"tier": "front", "zone": "b"})),
        ("front", json!({"tier": "front"})),
    ] {
        KubeService::put(&cache, &service(name, &selector, &none));
    }
    assert_eq!(to_keep_away_from(&cache).len(), 1);
    let mut moved = service("front", &json!({"tier": "back"}), &none);
    moved.metadata.resource_version = Some("2".to_owned());
    KubeService::put(&cache, &moved);
    assert!(to_keep_away_from(&cache).is_empty());
}

#[test]
fn a_late_event_does_not_bring_a_former_selector_back() {
    let cache = known(&[("a", json!({"deploymentName": "web"}))]);
    let mut newer = service("front", &json!({"tier": "back"}), &json!({}));
    newer.metadata.resource_version = Some("2".to_owned());
    KubeService::put(&cache, &newer);
    KubeService::put(&cache, &service("front", &json!({"tier": "front"}), &json!({})));
    assert!(to_keep_away_from(&cache).is_empty());
}

#[test]
fn the_late_reply_to_a_write_does_not_bring_a_deleted_kanary_back() {
    let cache = known(&[("a", json!({}))]);
    let key = cache.kanaries(KanaryKind::Deployment).remove(0);
    let reply = kanary("a", "5", json!({}));
    cache.update_kanary(KanaryKind::Deployment, &reply).unwrap();
    assert_eq!(cache.kanary(&key).unwrap().resource_version, "5");
    cache.remove_kanary(&key);
    cache.update_kanary(KanaryKind::Deployment, &reply).unwrap();
    assert!(cache.kanary(&key).is_none());
}

#[test]
fn the_late_reply_about_a_deleted_kanary_does_not_remove_a_new_one_of_its_name() {
    let cache = known(&[("a", json!({}))]);
    let key = cache.kanaries(KanaryKind::Deployment).remove(0);
    let former = cache.kanary(&key).unwrap();
    let mut namesake = kanary("a", "7", json!({}));
    namesake.metadata.uid = Some("another".to_owned());
    cache.remove_kanary(&key);
    cache.put_kanary(KanaryKind::Deployment, &namesake).unwrap();
    cache.forget_kanary(&former);
    let kept = cache.kanary(&key).unwrap();
    assert_eq!(kept.uid, "another");
    cache.forget_kanary(&kept);
    assert!(cache.kanary(&key).is_none());
}

#[test]
fn the_late_reply_about_a_deleted_object_neither_removes_a_new_one_of_its_name_nor_restores_it() {
    let cache = known(&[("a", json!({"deploymentName": "web"}))]);
    let place = ("shop".to_owned(), "web".to_owned());
    let (former, mut namesake) = (deployment("web", "4", 1), deployment("web", "7", 1));
    namesake.metadata.uid = Some("another".to_owned());
    KubeDeployment::put(&cache, &former);
    KubeDeployment::take_out(&mut cache.lock(), &place, Gone::At(6));
    assert!(KubeDeployment::put(&cache, &former).is_empty());
    KubeDeployment::put(&cache, &namesake);
    KubeDeployment::forget(&cache, &place, &former.metadata.uid.unwrap_or_default());
    assert_eq!(KubeDeployment::places(&cache), [(place.clone(), 7)]);
    KubeDeployment::forget(&cache, &place, "another");
    assert_eq!(KubeDeployment::places(&cache), []);
}

#[test]
fn a_service_that_the_spec_no_longer_asks_for_is_a_stray() {
    let with = |service: &str| {
        json!({"deploymentName": "web", "serviceName": "web",
               "traffic": {"source": "kanary-service", "kanaryService": service}})
    };
    let cache = known(&[("a", with("old"))]);
    let mut old = service(
        "old",
        &json!({"x": "y"}),
        &json!({"kanary.k8s-operators.dev/iskanary": "true"}),
    );
    old.metadata.owner_references = owned_by_a();
    KubeService::put(&cache, &old);
    let strays = |cache: &Cache| {
        let kanary = cache.kanary(&cache.kanaries(KanaryKind::Deployment).remove(0)).unwrap();
        cache.observe(&kanary, &kanary.spec).strays
    };
    assert_eq!(strays(&cache), []);
    cache
        .put_kanary(KanaryKind::Deployment, &kanary("a", "2", with("new")))
        .unwrap();
    assert_eq!(strays(&cache).len(), 1);
    // Given away, it is nobody's to delete.
    old.metadata.owner_references = None;
    old.metadata.resource_version = Some("2".to_owned());
    KubeService::put(&cache, &old);
    assert_eq!(strays(&cache), []);
}
