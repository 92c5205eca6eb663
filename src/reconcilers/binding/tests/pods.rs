//! How many pods have the credentials: what the status says, and when.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::{caches::Caches, crd::pods::PodSelector, reconcilers::binding::pods::count};

fn counted(with: usize, without: &[&str]) -> PodCount {
    PodCount { with, without: without.iter().map(|&name| name.to_owned()).collect() }
}

/// A binding at rest, and these pods.
fn settled(pods: PodCount) -> Fixture {
    Fixture { pods: Some(pods), ..Fixture::new().settled() }
}

fn recorded(fixture: &Fixture) -> Fixture {
    let Step::Record(status) = fixture.plan() else { panic!("{}", shown(&fixture.plan(), fixture)) };
    assert_eq!(status.conditions, fixture.status().conditions);
    fixture.clone().with_status(&status)
}

#[test]
fn the_status_shows_the_pods_and_then_rests() {
    let first = recorded(&settled(counted(2, &["a", "b"])));
    let shown_pods = first.status().pods.unwrap();
    assert_eq!((shown_pods.with_credentials, shown_pods.without_credentials), (2, 2));
    assert_eq!(shown_pods.first_without, ["a", "b"]);
    assert_eq!(shown(&first.plan(), &first), "wait for a change");
    // A restart counts the same.
    let later = first.after(1000);
    assert_eq!(shown(&later.plan(), &later), "wait for a change");
}

#[test]
fn numbers_that_change_all_the_time_are_written_every_ten_seconds() {
    let mut fixture = recorded(&settled(counted(0, &["a"]))).after(3);
    fixture.pods = Some(counted(1, &[]));
    assert_eq!(shown(&fixture.plan(), &fixture), "wait 7 s");
    let fixture = recorded(&fixture.after(7));
    assert_eq!(fixture.status().pods.unwrap().with_credentials, 1);
}

#[test]
fn a_binding_that_names_no_pods_any_more_shows_none() {
    let mut fixture = recorded(&settled(counted(1, &[]))).after(60);
    fixture.pods = None;
    let fixture = recorded(&fixture);
    assert_eq!(fixture.status().pods, None);
    assert_eq!(shown(&fixture.plan(), &fixture), "wait for a change");
}

#[test]
fn only_a_few_names_are_shown() {
    let names: Vec<_> = (0..40).map(|index| format!("pod-{index:02}")).collect();
    let fixture = recorded(&settled(PodCount { with: 0, without: names.clone() }));
    let pods = fixture.status().pods.unwrap();
    assert_eq!((pods.without_credentials, &*pods.first_without), (40, &names[..10]));
}

#[test]
fn a_binding_counts_the_pods_of_its_namespace_that_stay() {
    let caches = Caches::new(false).with_pods(true);
    for (name, namespace, app, bindings, leaving) in [
        ("a", "ns", "web", "creds", false),
        ("b", "ns", "web", "other,creds", false),
        ("c", "ns", "web", "creds2", false),
        ("d", "ns", "web", "", true),
        ("e", "ns", "mail", "", false),
        ("f", "elsewhere", "web", "", false),
    ] {
        let pod = json!({ "metadata": {
            "name": name, "namespace": namespace, "uid": name, "labels": { "app": app },
            "annotations": { "servicecatalog.k8s.io/bindings": bindings },
            "deletionTimestamp": leaving.then_some("2026-01-01T00:00:00Z"),
        } });
        let pod = serde_json::from_value(pod).unwrap();
        caches.pods.as_ref().unwrap().apply(&kube::runtime::watcher::Event::Apply(pod));
    }
    let mut object = Fixture::new().object;
    assert_eq!(count(&object, &caches), None);
    for selector in [
        json!({ "matchLabels": { "app": "web" } }),
        json!({ "matchExpressions": [{ "key": "app", "operator": "In", "values": ["web"] }] }),
    ] {
        object.spec.pods = serde_json::from_value(json!({ "selector": selector })).unwrap();
        assert_eq!(count(&object, &caches), Some(counted(2, &["c"])));
    }
    assert_eq!(count(&object, &Caches::new(false)), None);
}

/// `tests/admission` has the same table for the policy.
#[test]
fn a_selector_matches_as_that_of_a_deployment_does() {
    let matches = |selector: &Value, labels: &[(&str, &str)]| {
        let labels: BTreeMap<_, _> =
            labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        serde_json::from_value::<PodSelector>(selector.clone()).unwrap().matches(&labels)
    };
    let but = json!({ "matchLabels": { "app": "shop" }, "matchExpressions": [
        { "key": "tier", "operator": "NotIn", "values": ["web"] }, { "key": "old", "operator": "DoesNotExist" },
    ] });
    assert!(matches(&but, &[("app", "shop")]) && matches(&but, &[("app", "shop"), ("tier", "batch")]));
    assert!(!matches(&but, &[("app", "shop"), ("tier", "web")]));
    assert!(!matches(&but, &[("app", "shop"), ("old", "")]) && !matches(&but, &[]));
    let exists = json!({ "matchExpressions": [{ "key": "tier", "operator": "Exists" }] });
    assert!(matches(&exists, &[("tier", "")]) && !matches(&exists, &[("app", "shop")]));
}
