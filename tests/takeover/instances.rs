//! Instances, in every state that the original can have left one in.

use serde_json::{Value, json};
use testkit::{
    broker::Operation,
    stage::objects::{BINDING, INSTANCE, Kind, PLAN, condition, is_ready, uid},
};

use crate::{
    left::{INSTANCE_ID, Left},
    take_over,
};

fn once(operation: Operation) -> Vec<(Operation, String)> {
    vec![(operation, INSTANCE_ID.to_owned())]
}

/// Waits until what the original had ordered is on record as this operator's.
async fn on_record(left: &Left) -> Value {
    let recorded = |object: &Value| {
        object["status"]["resolved"]["planID"].is_string() && object["status"]["instanceID"] == INSTANCE_ID
    };
    left.case.until(INSTANCE, "db", "to be on record", recorded).await
}

/// The operation that was under way is asked about, by the name that the broker gave it.
fn polls_name_the_operation(left: &Left) {
    let polls = left.broker().requests_of(Operation::PollInstance);
    assert!(!polls.is_empty(), "{}", left.broker().summary());
    assert!(polls.iter().all(|poll| poll.query("operation") == Some("task-17")), "{polls:#?}");
}

/// The condition that the original does not write is there, and the others are as they were.
pub async fn stalled(left: &Left, kind: Kind, name: &str) {
    let has_stalled = |object: &Value| condition(object, "Stalled").is_some();
    let taken = left.case.until(kind, name, "to be stalled", has_stalled).await;
    assert_eq!(condition(&taken, "Stalled"), condition(&taken, "Failed"));
    for type_ in ["Ready", "Failed"] {
        assert_eq!(condition(&taken, type_), condition(left.before(kind, name), type_));
    }
}

// v0.3 O1
#[test]
fn a_settled_instance_stays_as_it_is() {
    take_over("instance-settled", |left| async move {
        let before = left.before(INSTANCE, "db");
        let now = on_record(&left).await;
        assert_eq!(uid(&now), uid(before));
        assert_eq!(now["spec"], before["spec"]);
        assert_eq!(now["metadata"]["generation"], before["metadata"]["generation"]);
        assert_eq!(now["status"]["conditions"], before["status"]["conditions"]);
        assert_eq!(now["status"]["externalProperties"]["parameters"], json!({ "size": 1 }));
        assert_eq!(left.asked(), [], "nobody has asked for anything");
        left.case.edit(INSTANCE, "db", json!({ "parameters": { "size": 2 } })).await;
        left.case.ready(INSTANCE, "db").await;
        assert_eq!(left.changes(), once(Operation::Update));
        let updated = left.broker().requests_of(Operation::Update);
        assert_eq!(updated[0].body["parameters"], json!({ "size": 2 }));
        assert_eq!(updated[0].body.get("plan_id"), None, "the plan has not changed");
        left.case.finish().await;
    });
}

// v0.3 O6
#[test]
fn one_that_was_just_created_is_provisioned_under_the_id_that_it_was_given() {
    take_over("instance-new", |left| async move {
        left.case.ready(INSTANCE, "db").await;
        assert_eq!(left.changes(), once(Operation::Provision));
        left.case.finish().await;
    });
}

// v0.3 O7
#[test]
fn an_unanswered_provision_is_repeated_and_makes_no_second_instance() {
    for state in ["instance-provision-in-flight", "instance-provision-in-flight-secret"] {
        take_over(state, |left| async move {
            left.case.ready(INSTANCE, "db").await;
            // The broker takes only the very same request for a repetition.
            assert_eq!(left.changes(), once(Operation::Provision), "{state}");
            left.case.finish().await;
        });
    }
}

// v0.3 O4
#[test]
fn a_provision_that_was_refused_for_now_is_repeated() {
    take_over("instance-provision-refused", |left| async move {
        left.case.ready(INSTANCE, "db").await;
        assert_eq!(left.changes(), once(Operation::Provision));
        left.case.finish().await;
    });
}

/// The original would have let go of it, and the instance would be there for ever.
// v0.3 O5
#[test]
fn what_may_have_been_made_before_a_refusal_is_deleted_with_its_object() {
    take_over("instance-provision-refused-deleted", |left| async move {
        left.case.gone(INSTANCE, "db").await;
        assert_eq!(left.changes(), once(Operation::Deprovision));
        left.case.finish().await;
    });
}

// v0.3 O9
#[test]
fn one_whose_orphan_was_deleted_is_provisioned() {
    take_over("instance-mitigated", |left| async move {
        left.case.ready(INSTANCE, "db").await;
        assert_eq!(left.changes(), once(Operation::Provision));
        left.case.finish().await;
    });
}

// v0.3 O6
#[test]
fn a_change_of_plan_that_nobody_has_seen_is_carried_out() {
    take_over("instance-plan-changed", |left| async move {
        let changed = |object: &Value| {
            object["status"]["externalProperties"]["clusterServicePlanExternalName"] == "large"
        };
        left.case.until(INSTANCE, "db", "to have the other plan", changed).await;
        left.case.ready(INSTANCE, "db").await;
        assert_eq!(left.changes(), once(Operation::Update));
        let update = &left.broker().requests_of(Operation::Update)[0].body;
        let plan = |name: &str| left.case.unique(name);
        assert_eq!(
            (&update["plan_id"], &update["previous_values"]["plan_id"]),
            (&json!(plan("plan-large")), &json!(plan("plan-small")))
        );
        left.case.finish().await;
    });
}

// v0.3 O12
#[test]
fn what_the_broker_has_deleted_is_let_go_of() {
    take_over("instance-deprovisioned", |left| async move {
        left.case.gone(INSTANCE, "db").await;
        assert_eq!(left.asked(), []);
        left.case.finish().await;
    });
}

// v0.3 O8
#[test]
fn an_asynchronous_provision_is_followed_to_its_end() {
    take_over("instance-provisioning", |left| async move {
        let ready = left.case.ready(INSTANCE, "db").await;
        let dashboard = format!("https://dashboard.example.com/{INSTANCE_ID}");
        assert_eq!(ready["status"]["dashboardURL"], dashboard);
        assert_eq!(left.changes(), []);
        polls_name_the_operation(&left);
        left.case.finish().await;
    });
}

// v0.3 O8
#[test]
fn an_instance_that_is_deleted_while_it_is_made_is_deleted_when_it_is_there() {
    take_over("instance-provisioning-deleted", |left| async move {
        left.case.gone(INSTANCE, "db").await;
        polls_name_the_operation(&left);
        assert_eq!(left.changes(), once(Operation::Deprovision));
        left.case.finish().await;
    });
}

// v0.3 O9
#[test]
fn an_orphan_is_deleted_before_another_provision() {
    for state in ["instance-orphan-mitigation", "instance-orphan-mitigation-failed"] {
        take_over(state, |left| async move {
            left.case.ready(INSTANCE, "db").await;
            let expected = [once(Operation::Deprovision), once(Operation::Provision)].concat();
            assert_eq!(left.changes(), expected, "{state}");
            left.case.finish().await;
        });
    }
}

// v0.3 O9
#[test]
fn the_deletion_of_an_orphan_is_followed_to_its_end() {
    take_over("instance-orphan-mitigation-async", |left| async move {
        left.case.ready(INSTANCE, "db").await;
        polls_name_the_operation(&left);
        assert_eq!(left.changes(), once(Operation::Provision));
        left.case.finish().await;
    });
}

// v0.3 O11
#[test]
fn a_refused_provision_is_not_tried_again_before_its_user_asks() {
    take_over("instance-provision-failed", |left| async move {
        left.case.failed(INSTANCE, "db", &["no such size"]).await;
        stalled(&left, INSTANCE, "db").await;
        left.case.edit(INSTANCE, "db", json!({ "updateRequests": 2 })).await;
        left.case.ready(INSTANCE, "db").await;
        assert_eq!(left.changes(), once(Operation::Provision));
        left.case.finish().await;
    });
}

// v0.3 O7
#[test]
fn an_unanswered_update_is_repeated() {
    take_over("instance-update-in-flight", |left| async move {
        left.case.ready(INSTANCE, "db").await;
        assert_eq!(left.changes(), once(Operation::Update));
        let instance = left.broker().instance(INSTANCE_ID).unwrap();
        assert_eq!(instance.plan_id, left.case.unique("plan-large"));
        left.case.finish().await;
    });
}

// v0.3 O8
#[test]
fn an_asynchronous_update_is_followed_to_its_end() {
    take_over("instance-updating", |left| async move {
        let ready = left.case.ready(INSTANCE, "db").await;
        assert_eq!(ready["status"]["externalProperties"]["servicePlanExternalName"], "large");
        assert_eq!(left.changes(), []);
        polls_name_the_operation(&left);
        assert_eq!(left.broker().instance(INSTANCE_ID).unwrap().plan_id, "plan-large");
        left.case.finish().await;
    });
}

// v0.3 O11
#[test]
fn a_refused_update_is_not_tried_again_and_can_be_taken_back() {
    take_over("instance-update-failed", |left| async move {
        let failed = on_record(&left).await;
        assert_eq!(
            condition(&failed, "Failed").map(|(status, reason, _)| (status, reason)),
            Some(("True", "UpdateInstanceCallFailed"))
        );
        stalled(&left, INSTANCE, "db").await;
        left.case.edit(INSTANCE, "db", json!({ left.case.plan_field(): "small" })).await;
        let ready = left.case.ready(INSTANCE, "db").await;
        assert_eq!(condition(&ready, "Failed"), None);
        assert_eq!(left.changes(), [], "the instance has had this plan all the time");
        left.case.finish().await;
    });
}

// v0.3 O12
#[test]
fn an_instance_is_deleted_by_its_references_when_its_names_mean_nothing() {
    take_over("instance-plan-missing", |left| async move {
        on_record(&left).await;
        left.case.says(INSTANCE, "db", "ReferencesNonexistentServicePlan", &["huge"]).await;
        left.case.remove(INSTANCE, "db").await;
        assert_eq!(left.changes(), once(Operation::Deprovision));
        let deletion = left.broker().requests_of(Operation::Deprovision);
        assert_eq!(deletion[0].query("plan_id"), Some(&*left.case.unique("plan-small")));
        left.case.finish().await;
    });
}

// v0.3 O2
#[test]
fn a_plan_that_has_left_the_catalog_stays_for_its_instance() {
    take_over("instance-of-removed-plan", |left| async move {
        let now = on_record(&left).await;
        assert!(is_ready(&now), "{now}");
        left.case.remove(INSTANCE, "db").await;
        assert_eq!(left.changes(), once(Operation::Deprovision));
        let plan = left.case.get(PLAN, "plan-tiny").await;
        assert_eq!(uid(&plan), uid(left.before(PLAN, "plan-tiny")));
        // It has no owner, so this operator leaves it to its user.
        left.case.remove(PLAN, "plan-tiny").await;
        left.case.finish().await;
    });
}

// v0.3 O12
#[test]
fn a_deletion_that_waits_for_a_binding_goes_on_without_it() {
    take_over("instance-deprovision-blocked", |left| async move {
        on_record(&left).await;
        left.case.says(INSTANCE, "db", "DeprovisionBlockedByExistingCredentials", &["app"]).await;
        assert_eq!(left.case.content("app-credentials").await["password"], "kept");
        assert_eq!(left.changes(), []);
        left.case.remove(BINDING, "app").await;
        left.case.gone(INSTANCE, "db").await;
        let asked: Vec<Operation> = left.changes().into_iter().map(|(operation, _)| operation).collect();
        assert_eq!(asked, [Operation::Unbind, Operation::Deprovision]);
        left.case.finish().await;
    });
}

// v0.3 D12, O14
#[test]
fn an_unanswered_or_given_up_deletion_is_sent_again() {
    for state in ["instance-deprovision-in-flight", "instance-deprovision-failed"] {
        take_over(state, |left| async move {
            left.case.gone(INSTANCE, "db").await;
            assert_eq!(left.changes(), once(Operation::Deprovision), "{state}");
            left.case.finish().await;
        });
    }
}

// v0.3 O8
#[test]
fn an_asynchronous_deletion_is_followed_to_its_end() {
    take_over("instance-deprovisioning", |left| async move {
        left.case.gone(INSTANCE, "db").await;
        assert_eq!(left.changes(), []);
        polls_name_the_operation(&left);
        left.case.finish().await;
    });
}
