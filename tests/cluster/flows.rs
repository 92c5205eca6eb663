//! What every broker must be served well with, run with two: the scripted one of these tests, and one that is written on
//! somebody else's framework. A flow knows nothing of which it is.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::{
    broker::Operation,
    stage::{
        either::{Either, FAILURE, Line, Maker},
        objects::{BINDING, INSTANCE, SECRET, condition},
    },
};

use super::stage;

async fn open(maker: Maker, namespace: &str) -> Either {
    Either::open(stage().await, maker, namespace, json!({})).await
}

fn instance_id(object: &Value) -> String {
    object["status"]["instanceID"].as_str().unwrap().to_owned()
}

fn binding_id(object: &Value) -> String {
    object["status"]["bindingID"].as_str().unwrap().to_owned()
}

fn has_failed(object: &Value) -> bool {
    condition(object, "Failed").is_some_and(|(status, ..)| status == "True")
        && object["status"]["orphanMitigationInProgress"] == false
}

fn timeout(milliseconds: i64) -> Value {
    json!({ "parameters": { "statement_timeout_ms": milliseconds } })
}

/// The requests that change something, in order.
fn changes(either: &Either) -> Vec<(Operation, u16)> {
    let journal = either.journal().into_iter();
    let change =
        |line: Line| line.operation.filter(|of| of.is_mutation()).map(|operation| (operation, line.status));
    journal.filter_map(change).collect()
}

async fn synchronous(maker: Maker, namespace: &str) {
    let either = open(maker, namespace).await;
    let case = &either.case;
    let ready = case.provide("db", timeout(1000)).await;
    assert_eq!(condition(&ready, "Ready").unwrap().1, "ProvisionedSuccessfully");
    let id = instance_id(&ready);
    assert!(either.has(&id).await);

    let bound = case.connect("app", "db", either.described_binding()).await;
    let binding = binding_id(&bound);
    let content = case.content("app").await;
    // What else is said of a binding is no credential.
    assert!(content.get("endpoints").is_none() && content.get("expires_at").is_none());
    assert!(content["uri"].as_str().unwrap().starts_with("postgresql://"), "the Secret has no URI");
    assert!(either.has(&binding).await);

    case.edit(INSTANCE, "db", timeout(2000)).await;
    let updated = case.ready(INSTANCE, "db").await;
    assert_eq!(condition(&updated, "Ready").unwrap().1, "InstanceUpdatedSuccessfully");
    case.edit(INSTANCE, "db", json!({ case.plan_field(): "large" })).await;
    let updated = case.ready(INSTANCE, "db").await;
    assert_eq!(updated["status"]["userSpecifiedPlanName"], "large");

    case.remove(BINDING, "app").await;
    case.gone(SECRET, "app").await;
    assert!(!either.has(&binding).await);
    case.remove(INSTANCE, "db").await;
    assert!(!either.has(&id).await);
    let expected = [
        (Operation::Provision, 201),
        (Operation::Bind, 201),
        (Operation::Update, 200),
        (Operation::Update, 200),
        (Operation::Unbind, 200),
        (Operation::Deprovision, 200),
    ];
    assert_eq!(changes(&either), expected);
    either.finish().await;
}

/// Between two polls of one operation, where nothing else was asked.
fn pauses(journal: &[Line]) -> Vec<Duration> {
    let polls = |pair: &&[Line]| {
        let is_poll =
            |line: &Line| matches!(line.operation, Some(Operation::PollInstance | Operation::PollBinding));
        pair.iter().all(is_poll) && pair[0].operation == pair[1].operation
    };
    journal.windows(2).filter(polls).map(|pair| pair[1].at.saturating_sub(pair[0].at)).collect()
}

/// Provision, update, bind, unbind, deprovision: each is seen while it goes on, polled no earlier than the broker wants, and
/// over when the broker says so, with 410 where something was deleted.
async fn asynchronous(maker: Maker, namespace: &str) {
    let either = open(maker, namespace).await;
    let case = &either.case;
    let slow = either.slow_parameters();
    // Polled at least once while it goes on: the next poll is then the one that has to wait.
    let polls = || {
        either.requests_of(Operation::PollInstance).len() + either.requests_of(Operation::PollBinding).len()
    };
    let polled = async |before: usize| either.until("a poll", |_| polls() > before).await;
    let before = polls();
    either.slow(false).await;
    case.order("db", "small", slow.clone()).await;
    case.says(INSTANCE, "db", "Provisioning", &["asynchronously"]).await;
    polled(before).await;
    either.release().await;
    let id = instance_id(&case.ready(INSTANCE, "db").await);

    let before = polls();
    either.slow(false).await;
    case.edit(INSTANCE, "db", json!({ case.plan_field(): "large" })).await;
    case.says(INSTANCE, "db", "UpdatingInstance", &["asynchronously"]).await;
    polled(before).await;
    either.release().await;
    case.ready(INSTANCE, "db").await;

    let before = polls();
    either.slow(false).await;
    case.bind("app", "db", slow).await;
    case.says(BINDING, "app", "Binding", &["asynchronously"]).await;
    assert!(case.hand.get(SECRET, "app").await.unwrap().is_none());
    polled(before).await;
    either.release().await;
    case.ready(BINDING, "app").await;
    let fetched = either.statuses(Operation::GetBinding);
    assert_eq!(fetched, [200], "the credentials of an asynchronous bind are fetched, once");
    assert!(case.content("app").await["password"].is_string());

    let before = polls();
    either.slow(false).await;
    case.delete(BINDING, "app").await;
    case.says(BINDING, "app", "Unbinding", &["asynchronously"]).await;
    polled(before).await;
    either.release().await;
    case.gone(BINDING, "app").await;
    assert_eq!(either.statuses(Operation::PollBinding).last(), Some(&410));

    let before = polls();
    either.slow(false).await;
    case.delete(INSTANCE, "db").await;
    case.says(INSTANCE, "db", "Deprovisioning", &["asynchronously"]).await;
    polled(before).await;
    either.release().await;
    case.gone(INSTANCE, "db").await;
    assert_eq!(either.statuses(Operation::PollInstance).last(), Some(&410));
    assert!(!either.has(&id).await);

    let accepted =
        [Operation::Provision, Operation::Update, Operation::Bind, Operation::Unbind, Operation::Deprovision];
    assert_eq!(changes(&either), accepted.map(|operation| (operation, 202)));
    let pauses = pauses(&either.journal());
    assert!(pauses.len() >= accepted.len(), "{pauses:?}");
    for pause in pauses {
        // The second poll comes a second after the first, as was asked for, less what the clocks differ by.
        assert!(pause > Duration::from_millis(900), "polled again after {pause:?}");
    }
    either.finish().await;
}

/// The broker says 500, and has done it all the same.
async fn lost_provision(maker: Maker, namespace: &str) {
    let either = open(maker, namespace).await;
    either.answer(Operation::Provision, 500, json!({ "description": "out of luck" }), true).await;
    let ready = either.case.provide("db", json!({})).await;
    let puts = either.requests_of(Operation::Provision);
    let [lost, kept] = &puts[..] else { panic!("{puts:?}") };
    assert_eq!(instance_id(&ready), kept.id);
    assert_ne!(lost.id, kept.id, "the id of an instance that was deleted is not used again");
    assert!(either.has(&kept.id).await && !either.has(&lost.id).await);
    let expected = [(Operation::Provision, 500), (Operation::Deprovision, 200), (Operation::Provision, 201)];
    assert_eq!(changes(&either), expected);
    either.finish().await;
}

async fn failed_provision(maker: Maker, namespace: &str) {
    let either = open(maker, namespace).await;
    let case = &either.case;
    either.slow(true).await;
    case.order("db", "small", either.slow_parameters()).await;
    case.says(INSTANCE, "db", "Provisioning", &["asynchronously"]).await;
    // The clean-up of it is to go well.
    either.release().await;
    case.until(INSTANCE, "db", "to be cleaned up", |object| {
        object["status"]["orphanMitigationInProgress"] == true || has_failed(object)
    })
    .await;
    either.slow(false).await;
    either.release().await;
    let failed = case.until(INSTANCE, "db", "to have failed and be cleaned up", has_failed).await;
    assert!(condition(&failed, "Failed").unwrap().2.contains(FAILURE), "{failed}");
    let lost = either.requests_of(Operation::Provision).remove(0).id;
    assert!(!either.has(&lost).await);
    assert_eq!(either.statuses(Operation::Provision), [202]);

    case.edit(INSTANCE, "db", json!({ "updateRequests": 1 })).await;
    let ready = case.ready(INSTANCE, "db").await;
    assert_ne!(instance_id(&ready), lost, "the id of an instance that was deleted is not used again");
    either.finish().await;
}

/// An update may be refused for good, fail and be repeated, or fail after it was accepted. It is never undone.
async fn failed_update(maker: Maker, namespace: &str) {
    let either = open(maker, namespace).await;
    let case = &either.case;
    let id = instance_id(&case.provide("db", either.slow_parameters()).await);

    let refusal = json!({ "error": "Small", "description": "too small", "instance_usable": true, "update_repeatable": false });
    either.answer(Operation::Update, 422, refusal, false).await;
    case.edit(INSTANCE, "db", json!({ case.plan_field(): "large" })).await;
    let failed = case.failed(INSTANCE, "db", &["too small"]).await;
    assert_eq!(condition(&failed, "Ready").unwrap().0, "True", "it can still be used");
    case.edit(INSTANCE, "db", json!({ case.plan_field(): "small" })).await;
    case.ready(INSTANCE, "db").await;
    assert_eq!(either.statuses(Operation::Update), [422]);

    either.answer(Operation::Update, 500, json!({ "description": "stumbled" }), false).await;
    either.answer(Operation::Update, 422, json!({ "error": "ConcurrencyError" }), false).await;
    case.edit(INSTANCE, "db", json!({ case.plan_field(): "large" })).await;
    case.ready(INSTANCE, "db").await;
    assert_eq!(either.statuses(Operation::Update)[1..3], [500, 422]);

    either.slow(true).await;
    case.edit(INSTANCE, "db", json!({ case.plan_field(): "small" })).await;
    case.says(INSTANCE, "db", "UpdatingInstance", &["asynchronously"]).await;
    either.release().await;
    let failed = case.until(INSTANCE, "db", "to have failed", has_failed).await;
    assert!(condition(&failed, "Failed").unwrap().2.contains(FAILURE), "{failed}");
    either.slow(false).await;
    either.release().await;
    case.edit(INSTANCE, "db", json!({ case.plan_field(): "large" })).await;
    let ready = case.ready(INSTANCE, "db").await;
    assert_eq!(instance_id(&ready), id);
    assert_eq!(either.statuses(Operation::Deprovision), [0; 0]);
    either.finish().await;
}

async fn lost_bind(maker: Maker, namespace: &str) {
    let either = open(maker, namespace).await;
    let case = &either.case;
    case.provide("db", json!({})).await;
    either.answer(Operation::Bind, 500, json!({ "description": "out of luck" }), true).await;
    let bound = case.connect("app", "db", json!({})).await;
    let puts = either.requests_of(Operation::Bind);
    let [lost, kept] = &puts[..] else { panic!("{puts:?}") };
    assert_eq!(binding_id(&bound), kept.id);
    assert_ne!(lost.id, kept.id, "the id of a binding that was deleted is not used again");
    assert!(either.has(&kept.id).await && !either.has(&lost.id).await);
    assert_eq!(either.statuses(Operation::Unbind), [200]);
    either.finish().await;
}

/// What the broker still knows need not be asked for anew.
async fn restored_secret(maker: Maker, namespace: &str) {
    let either = open(maker, namespace).await;
    let case = &either.case;
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    let before = case.content("app").await;
    case.delete(SECRET, "app").await;
    case.until(SECRET, "app", "to come back", |secret| secret["metadata"]["deletionTimestamp"].is_null())
        .await;
    case.ready(BINDING, "app").await;
    assert_eq!(case.content("app").await, before);
    assert_eq!(
        (either.statuses(Operation::GetBinding), either.statuses(Operation::Bind)),
        (vec![200], vec![201])
    );
    either.finish().await;
}

async fn stubborn_deletions(maker: Maker, namespace: &str) {
    let either = open(maker, namespace).await;
    let case = &either.case;
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    either.answer(Operation::Unbind, 404, json!({}), false).await;
    either.answer(Operation::Unbind, 500, json!({}), true).await;
    case.remove(BINDING, "app").await;
    assert_eq!(either.statuses(Operation::Unbind), [404, 500, 410]);
    either.answer(Operation::Deprovision, 422, json!({ "error": "ConcurrencyError" }), false).await;
    either.answer(Operation::Deprovision, 503, json!({}), true).await;
    case.remove(INSTANCE, "db").await;
    assert_eq!(either.statuses(Operation::Deprovision), [422, 503, 410]);
    either.finish().await;
}

async fn conflict(maker: Maker, namespace: &str) {
    let either = open(maker, namespace).await;
    either.answer(Operation::Provision, 422, json!({ "error": "MaintenanceInfoConflict" }), false).await;
    let ready = either.case.provide("db", json!({})).await;
    assert_eq!(changes(&either), [(Operation::Provision, 422), (Operation::Provision, 201)]);
    assert!(either.has(&instance_id(&ready)).await);
    either.finish().await;
}

async fn changing_catalog(maker: Maker, namespace: &str) {
    let more = json!({ "relistDuration": "300ms" });
    let either = Either::open(stage().await, maker, namespace, more).await;
    let case = &either.case;
    let class = case.entries(case.class_kind()).await.remove(0);
    let class = class["metadata"]["name"].as_str().unwrap();
    // A catalog that still holds shows nowhere, so what changes is what is waited for.
    for description in ["another", "yet another"] {
        let asked = either.requests_of(Operation::Catalog).len();
        either
            .until("two more catalogs", |either| either.requests_of(Operation::Catalog).len() > asked + 2)
            .await;
        assert_eq!(either.statuses(Operation::Catalog)[asked..asked + 2], [304, 304]);
        either.describe_offering(description).await;
        case.until(case.class_kind(), class, "to be described anew", |class| {
            class["spec"]["description"] == description
        })
        .await;
    }
    let fetched = either.statuses(Operation::Catalog).iter().filter(|status| **status == 200).count();
    assert_eq!(fetched, 3, "{:?}", either.statuses(Operation::Catalog));
    either.finish().await;
}

// OSB 22, 126
#[tokio::test]
async fn an_instance_is_provisioned_bound_updated_unbound_and_deprovisioned() {
    synchronous(Maker::Us, "flow-synchronous").await;
}

// OSB 22, 126
#[tokio::test]
async fn an_instance_is_provisioned_bound_updated_unbound_and_deprovisioned_by_a_third_party() {
    synchronous(Maker::ThirdParty, "other-synchronous").await;
}

// OSB 60, 71
// v0.3 H11, Q19
#[tokio::test]
async fn an_asynchronous_instance_and_its_binding_are_polled_as_the_broker_wishes() {
    asynchronous(Maker::Us, "flow-asynchronous").await;
}

// OSB 60, 68, 71, 79, 80
#[tokio::test]
async fn an_asynchronous_instance_and_its_binding_are_polled_as_the_broker_wishes_by_a_third_party() {
    asynchronous(Maker::ThirdParty, "other-asynchronous").await;
}

// OSB 148
// v0.3 H9, P4
#[tokio::test]
async fn a_provision_that_took_effect_unnoticed_is_undone_and_made_anew() {
    lost_provision(Maker::Us, "flow-lost-provision").await;
}

// OSB 148
#[tokio::test]
async fn a_provision_that_took_effect_unnoticed_is_undone_and_made_anew_by_a_third_party() {
    lost_provision(Maker::ThirdParty, "other-lost-provision").await;
}

// OSB 74
// v0.3 H10
#[tokio::test]
async fn a_failed_asynchronous_provision_is_cleaned_up_and_stays_failed() {
    failed_provision(Maker::Us, "flow-failed-provision").await;
}

// OSB 74
#[tokio::test]
async fn a_failed_asynchronous_provision_is_cleaned_up_and_stays_failed_by_a_third_party() {
    failed_provision(Maker::ThirdParty, "other-failed-provision").await;
}

// OSB 109, 112
#[tokio::test]
async fn a_failed_update_is_repeated_or_told_but_never_undone() {
    failed_update(Maker::Us, "flow-failed-update").await;
}

// OSB 109, 112
#[tokio::test]
async fn a_failed_update_is_repeated_or_told_but_never_undone_by_a_third_party() {
    failed_update(Maker::ThirdParty, "other-failed-update").await;
}

// OSB 148
// v0.3 P4
#[tokio::test]
async fn a_bind_that_took_effect_unnoticed_is_undone_and_made_anew() {
    lost_bind(Maker::Us, "flow-lost-bind").await;
}

// OSB 148
#[tokio::test]
async fn a_bind_that_took_effect_unnoticed_is_undone_and_made_anew_by_a_third_party() {
    lost_bind(Maker::ThirdParty, "other-lost-bind").await;
}

// v0.3 Q38
#[tokio::test]
async fn a_secret_that_was_deleted_is_fetched_again() {
    restored_secret(Maker::Us, "flow-restored-secret").await;
}

#[tokio::test]
async fn a_secret_that_was_deleted_is_fetched_again_by_a_third_party() {
    restored_secret(Maker::ThirdParty, "other-restored-secret").await;
}

// OSB 140, 145
// v0.3 I8, P4, Q21
#[tokio::test]
async fn a_deletion_is_repeated_until_the_broker_has_confirmed_it() {
    stubborn_deletions(Maker::Us, "flow-stubborn-deletions").await;
}

// OSB 140, 145
#[tokio::test]
async fn a_deletion_is_repeated_until_the_broker_has_confirmed_it_by_a_third_party() {
    stubborn_deletions(Maker::ThirdParty, "other-stubborn-deletions").await;
}

#[tokio::test]
async fn a_maintenance_conflict_is_no_end() {
    conflict(Maker::Us, "flow-conflict").await;
}

#[tokio::test]
async fn a_maintenance_conflict_is_no_end_by_a_third_party() {
    conflict(Maker::ThirdParty, "other-conflict").await;
}

// OSB 38
#[tokio::test]
async fn a_catalog_is_fetched_only_when_it_has_changed() {
    changing_catalog(Maker::Us, "flow-changing-catalog").await;
}

// OSB 38
#[tokio::test]
async fn a_catalog_is_fetched_only_when_it_has_changed_by_a_third_party() {
    changing_catalog(Maker::ThirdParty, "other-changing-catalog").await;
}
