//! Credentials are renewed, whatever happens to the operator meanwhile: there is one binding at the end, and its credentials
//! are in the Secret.

use serde_json::{Value, json};
use testkit::{
    broker::Operation,
    stage::{case::Case, objects::BINDING},
};

use super::{Meter, dies_during, is_read, is_write, namespaced, served, show, turn};

/// Spec of a binding whose credentials end with the renewal.
fn without_grace(requests: i64) -> Value {
    json!({ "rotation": { "gracePeriod": "0s", "requests": requests } })
}

/// The binding, once it has this many renewals behind it, and has no other binding.
async fn renewed(case: &Case, requests: i64) -> String {
    let ended = json!({ "observedRequests": requests });
    let is_renewed = |binding: &Value| binding["status"]["rotation"] == ended;
    let binding = case.until(BINDING, "app", "to be renewed", is_renewed).await;
    let id = binding["status"]["bindingID"].as_str().unwrap().to_owned();
    assert_eq!(case.broker.live_bindings(), [id.clone()].into(), "{}", case.broker.summary());
    assert_eq!(case.content("app").await["username"], id, "the credentials are those of what exists");
    id
}

/// The operator dies during a request of a renewal ([`dies_during`]), and the renewal ends well.
async fn killed_during(operation: Operation, late: bool) {
    let (stage, _turn) = turn().await;
    let name = format!("renewed-{operation:?}-{}", if late { "before" } else { "after" }).to_lowercase();
    let case = namespaced(stage, &name).await;
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    let before = case.broker.requests_of(operation).len();
    let renewal = async { drop(case.edit(BINDING, "app", without_grace(1)).await) };
    dies_during(&case, operation, late, renewal).await;
    renewed(&case, 1).await;
    let repeated = &case.broker.requests_of(operation)[before..];
    let of = |at: usize| (repeated[at].raw_target.clone(), repeated[at].body_bytes.clone());
    assert!((1..repeated.len()).all(|at| of(at) == of(0)), "{}", case.broker.summary());
    case.finish().await;
}

#[tokio::test]
async fn a_bind_survives() {
    killed_during(Operation::Bind, true).await;
}

#[tokio::test]
async fn a_bind_that_has_taken_effect_survives() {
    killed_during(Operation::Bind, false).await;
}

#[tokio::test]
async fn an_unbind_survives() {
    killed_during(Operation::Unbind, true).await;
}

#[tokio::test]
async fn an_unbind_that_has_taken_effect_survives() {
    killed_during(Operation::Unbind, false).await;
}

/// A kill may come between any two writes: with each renewal, the process lives for a little longer.
#[tokio::test]
async fn whenever_the_operator_dies_one_binding_is_left_and_never_more_than_two_are_there() {
    let (stage, _turn) = turn().await;
    let case = namespaced(stage, "renewed-killed").await;
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    for requests in 1..=10 {
        case.edit(BINDING, "app", without_grace(requests)).await;
        let audit = stage.plane.audit().unwrap().len();
        // The nth write of the operator is the last that this process makes, or nearly so.
        let writes = usize::try_from(requests - 1).unwrap() % 5;
        while stage.plane.audit().unwrap().iter().skip(audit).filter(|event| is_write(event)).count() < writes
        {
            if case.get(BINDING, "app").await["status"]["rotation"] == json!({ "observedRequests": requests })
            {
                break;
            }
            tokio::task::yield_now().await;
        }
        stage.operator.kill();
        let live = case.broker.live_bindings().len();
        assert!((1..=2).contains(&live), "{}", case.broker.summary());
        stage.operator.restart().await.unwrap();
        renewed(&case, requests).await;
    }
    case.finish().await;
}

#[tokio::test]
async fn a_renewal_costs_four_writes() {
    let (stage, _turn) = turn().await;
    let case = served(stage, "renewed-cost").await;
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    case.told("app", "InjectedBindResult").await;
    let meter = Meter::start(stage);
    case.edit(BINDING, "app", without_grace(1)).await;
    renewed(&case, 1).await;
    case.told("app", "CredentialsRenewed").await;
    let about = |event: &testkit::control_plane::AuditEvent| event.namespace == case.namespace();
    let requests: Vec<_> = meter.requests().into_iter().filter(about).collect();
    let writes = requests.iter().filter(|event| is_write(event)).count();
    assert_eq!(writes, 4, "intent, Secret, result, end of the old one:\n{}", show(&requests));
    let reads = requests.iter().filter(|event| is_read(event)).count();
    assert_eq!(reads, 2, "whose Secret it is, before the bind and before the write:\n{}", show(&requests));
    assert!(requests.iter().all(|event| event.code < 400), "{}", show(&requests));
    case.finish().await;
}
