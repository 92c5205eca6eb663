//! When pods are restarted because the credentials have changed.

use k8s_openapi::api::core::v1::Pod;

use super::*;
use crate::{
    crd::pods::PodRestart,
    reconcilers::{
        binding::restarts::{Evictions, choose},
        writes::restart::{ChangedBinding, Eviction, Rollout},
    },
};

/// A binding at rest whose credentials have this mark.
fn marked(how: PodRestart, mark: &str) -> Fixture {
    let mut fixture = Fixture::new().settled();
    let pods = json!({ "selector": { "matchLabels": { "app": "web" } }, "restart": how });
    fixture.object.spec.pods = serde_json::from_value(pods).unwrap();
    let (mark, evictions) = (mark.to_owned(), Evictions::default());
    fixture.restart = Some(RestartState { how, mark, others: Vec::new(), evictions });
    fixture
}

fn remarked(mut fixture: Fixture, mark: &str) -> Fixture {
    mark.clone_into(&mut fixture.restart.as_mut().unwrap().mark);
    fixture
}

fn recorded(fixture: &Fixture) -> Fixture {
    let Step::Record(status) = fixture.plan() else { panic!("{}", shown(&fixture.plan(), fixture)) };
    fixture.clone().with_status(&status)
}

/// The writes of the next step, and the binding after it.
fn written(fixture: &Fixture) -> (Vec<Write>, Fixture) {
    let Step::WriteAndRecord(writes, status) = fixture.plan() else {
        panic!("{}", shown(&fixture.plan(), fixture))
    };
    (writes, fixture.clone().with_status(&status))
}

fn next(fixture: &Fixture) -> String {
    shown(&fixture.plan(), fixture)
}

#[test]
fn what_is_there_at_the_beginning_restarts_nothing() {
    for how in [PodRestart::Rollout, PodRestart::Evict] {
        let noted = recorded(&marked(how, "one"));
        assert_eq!(next(&noted), "wait for a change");
        assert_eq!(next(&noted.after(100_000)), "wait for a change", "as after a restart of the operator");
    }
}

#[test]
fn changed_credentials_roll_out_the_workloads_once_and_later() {
    let changed = recorded(&remarked(recorded(&marked(PodRestart::Rollout, "one")), "two"));
    assert_eq!(next(&changed), "wait 30 s");
    // That they change again meanwhile does not put it off.
    let mut changed = recorded(&remarked(changed.after(20), "three"));
    assert_eq!(next(&changed), "wait 10 s");
    let selector = changed.object.spec.pods.clone().unwrap().selector.unwrap();
    let other = ChangedBinding { selector: selector.clone(), uid: "other".into(), mark: "x".into() };
    changed.restart.as_mut().unwrap().others = vec![other.clone()];
    let (writes, done) = written(&changed.after(30));
    let own = ChangedBinding { selector, uid: UID.into(), mark: "three".into() };
    let expected = Rollout { namespace: "ns".into(), bindings: vec![own, other] };
    assert!(matches!(&*writes, [Write::Rollout(rollout)] if **rollout == expected));
    assert_eq!(next(&done), "wait for a change");
}

#[test]
fn a_restart_that_is_switched_off_is_forgotten() {
    let mut noted = recorded(&marked(PodRestart::Rollout, "one"));
    noted.restart = None;
    let off = recorded(&noted);
    assert_eq!((off.status().restart.as_ref(), next(&off).as_str()), (None, "wait for a change"));
}

#[test]
fn pods_are_evicted_until_none_is_left() {
    let changed = recorded(&remarked(recorded(&marked(PodRestart::Evict, "one")), "two"));
    let pod = |name: &str| Eviction { namespace: "ns".into(), name: name.into(), uid: None };
    let with = |mut fixture: Fixture, left: usize, now: &[&str]| {
        let now = now.iter().map(|name| pod(name)).collect();
        fixture.restart.as_mut().unwrap().evictions = Evictions { left, now };
        fixture
    };
    let (writes, changed) = written(&with(changed.after(30), 3, &["a", "b"]));
    assert!(matches!(&*writes, [Write::Evict(a), Write::Evict(b)] if (a, b) == (&pod("a"), &pod("b"))));
    assert_eq!(next(&changed), "wait 10 s");
    // No other pod is ready.
    let changed = with(changed.after(10), 1, &[]);
    assert_eq!(next(&changed), "wait 10 s");
    let (_, changed) = written(&with(changed.after(10), 1, &["c"]));
    let done = recorded(&with(changed.after(10), 0, &[]));
    assert_eq!(next(&done), "wait for a change");
}

fn pod(name: &str, owner: (&str, &str), created: &str, ready: bool) -> Pod {
    let (kind, uid) = owner;
    serde_json::from_value(json!({
        "metadata": {
            "name": name, "namespace": "ns", "uid": name, "creationTimestamp": created,
            "annotations": { "servicecatalog.k8s.io/bindings": "other,creds" },
            "ownerReferences": [{ "apiVersion": "v1", "kind": kind, "name": uid, "uid": uid, "controller": true }],
        },
        "status": { "phase": "Running", "conditions": [
            { "type": "Ready", "status": if ready { "True" } else { "False" } },
        ] },
    }))
    .unwrap()
}

#[test]
fn one_old_pod_of_each_workload_that_is_whole_is_evicted() {
    let (old, new) = ("2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z");
    let (web, queue, job) = (("ReplicaSet", "web"), ("StatefulSet", "queue"), ("Job", "job"));
    let changed = "2026-01-02T00:00:00Z".parse().unwrap();
    let chosen = |pods: &[Pod]| {
        let Evictions { left, now } = choose(pods, "creds", changed);
        let names: Vec<_> = now.into_iter().map(|it| it.name).collect();
        (left, names.join(" "))
    };
    let web_1 = pod("web-1", web, old, true);
    let all = [
        web_1.clone(),
        pod("web-2", web, old, true),
        pod("queue-0", queue, old, true),
        pod("queue-1", queue, new, true),
        pod("job-1", job, old, true),
    ];
    assert_eq!(chosen(&all), (3, "queue-0 web-1".to_owned()));
    assert_eq!(
        chosen(&[web_1.clone(), pod("web-2", web, new, false)]),
        (1, String::new()),
        "one is not ready"
    );
    let broken = pod("web-2", web, old, false);
    assert_eq!(chosen(&[web_1.clone(), broken]), (2, "web-2".to_owned()), "it may be broken because of them");
    let mut leaving = pod("web-2", web, old, true);
    leaving.metadata.deletion_timestamp = Some(Time(changed));
    assert_eq!(chosen(&[web_1.clone(), leaving]), (2, String::new()), "one is on its way");
    let mut without = web_1;
    without.metadata.annotations = None;
    assert_eq!(chosen(&[without]), (0, String::new()), "it has not got them");
}
