//! Bindings, in every state that the original can have left one in.

use serde_json::{Value, json};
use testkit::{
    broker::Operation,
    stage::objects::{BINDING, SECRET, condition, uid},
};

use crate::{
    instances::stalled,
    left::{BINDING_ID, Left},
    take_over,
};

fn once(operation: Operation) -> Vec<(Operation, String)> {
    vec![(operation, BINDING_ID.to_owned())]
}

/// Waits until the Secret that the original wrote is known as this operator's: from then on its loss is noticed.
async fn secret_is_known(left: &Left) -> Value {
    let known = |secret: &Value| {
        let metadata = &secret["metadata"];
        metadata["labels"]["servicecatalog.k8s.io/binding-uid"].is_string()
            && metadata["annotations"]["servicecatalog.k8s.io/binding-id"] == BINDING_ID
    };
    left.case.until(SECRET, "app-credentials", "to be known as the binding's", known).await
}

async fn content_is_kept(left: &Left) {
    let kept = json!({ "username": "original", "password": "kept", "note": "added by hand" });
    assert_eq!(left.case.content("app-credentials").await, kept);
}

// v0.3 O1
#[test]
fn credentials_are_kept_and_restored_when_they_are_lost() {
    take_over("binding-bound", |left| async move {
        let secret = secret_is_known(&left).await;
        assert_eq!(uid(&secret), uid(left.before(SECRET, "app-credentials")));
        content_is_kept(&left).await;
        assert_eq!(secret["type"], "Opaque");
        let recorded = |object: &Value| {
            let status = &object["status"];
            status["bindingID"] == BINDING_ID && status["binding"]["name"] == "app-credentials"
        };
        let now = left.case.until(BINDING, "app", "to be on record", recorded).await;
        let before = left.before(BINDING, "app");
        assert_eq!(now["status"]["conditions"], before["status"]["conditions"]);
        assert_eq!(now["spec"], before["spec"]);
        assert_eq!(left.asked(), [], "nobody has asked for anything");

        left.case.delete(SECRET, "app-credentials").await;
        let another = |object: &Value| uid(object) != uid(&secret);
        left.case.until(SECRET, "app-credentials", "to be there again", another).await;
        let restored = json!({ "username": "original", "password": "kept" });
        assert_eq!(left.case.content("app-credentials").await, restored);
        assert_eq!(left.changes(), [], "the credentials that are in use were fetched");
        left.case.finish().await;
    });
}

// v0.3 O15
#[test]
fn credentials_that_were_lost_before_are_restored() {
    take_over("binding-secret-lost", |left| async move {
        secret_is_known(&left).await;
        left.case.ready(BINDING, "app").await;
        assert_eq!(left.case.content("app-credentials").await["password"], "kept");
        assert_eq!(left.changes(), [], "the credentials were fetched");
        left.case.finish().await;
    });
}

// v0.3 O7
#[test]
fn an_unanswered_bind_is_repeated_and_makes_no_second_binding() {
    take_over("binding-in-flight", |left| async move {
        left.case.ready(BINDING, "app").await;
        assert_eq!(left.changes(), once(Operation::Bind));
        assert_eq!(left.case.content("app-credentials").await["password"], "kept");
        left.case.finish().await;
    });
}

// v0.3 O7
#[test]
fn a_bind_whose_credentials_were_written_is_over() {
    take_over("binding-in-flight-with-secret", |left| async move {
        left.case.ready(BINDING, "app").await;
        secret_is_known(&left).await;
        content_is_kept(&left).await;
        assert_eq!(left.asked(), []);
        left.case.finish().await;
    });
}

// v0.3 O6
#[test]
fn one_that_waited_for_its_instance_is_bound() {
    take_over("binding-waiting", |left| async move {
        left.case.ready(BINDING, "app").await;
        assert_eq!(left.changes(), once(Operation::Bind));
        left.case.finish().await;
    });
}

// v0.3 O12
#[test]
fn what_the_broker_has_unbound_is_let_go_of() {
    take_over("binding-unbound", |left| async move {
        left.case.gone(BINDING, "app").await;
        assert_eq!(left.changes(), []);
        left.case.finish().await;
    });
}

// v0.3 O8
#[test]
fn an_asynchronous_bind_is_followed_to_its_end() {
    take_over("binding-asynchronous", |left| async move {
        left.case.ready(BINDING, "app").await;
        assert_eq!(left.case.content("app-credentials").await["password"], "kept");
        assert_eq!(left.changes(), []);
        let polls = left.broker().requests_of(Operation::PollBinding);
        assert!(!polls.is_empty() && polls.iter().all(|poll| poll.query("operation") == Some("task-17")));
        left.case.finish().await;
    });
}

// v0.3 O14
#[test]
fn an_unanswered_or_given_up_unbind_is_sent_again() {
    for state in ["binding-unbind-in-flight", "binding-unbind-failed"] {
        take_over(state, |left| async move {
            left.case.gone(BINDING, "app").await;
            assert_eq!(left.changes(), once(Operation::Unbind), "{state}");
            left.case.finish().await;
        });
    }
}

// v0.3 O8
#[test]
fn an_asynchronous_unbind_is_followed_to_its_end() {
    take_over("binding-unbinding", |left| async move {
        left.case.gone(BINDING, "app").await;
        assert_eq!(left.changes(), []);
        assert!(!left.broker().requests_of(Operation::PollBinding).is_empty());
        left.case.finish().await;
    });
}

// v0.3 O9
#[test]
fn an_orphan_is_deleted_and_its_binding_stays_failed() {
    take_over("binding-orphan-mitigation", |left| async move {
        let mitigated = |object: &Value| object["status"]["orphanMitigationInProgress"] != true;
        left.case.until(BINDING, "app", "to have no orphan any more", mitigated).await;
        let failed = left.case.failed(BINDING, "app", &["Status: 500"]).await;
        assert_eq!(condition(&failed, "Ready").map(|(status, ..)| status), Some("False"));
        left.case.remove(BINDING, "app").await;
        assert_eq!(left.changes(), once(Operation::Unbind));
        left.case.finish().await;
    });
}

// v0.3 O11
#[test]
fn a_refused_bind_is_not_tried_again_and_undone_with_its_binding() {
    take_over("binding-failed", |left| async move {
        left.case.failed(BINDING, "app", &["Status: 400"]).await;
        stalled(&left, BINDING, "app").await;
        left.case.remove(BINDING, "app").await;
        assert_eq!(left.changes(), once(Operation::Unbind), "as the original has noted");
        left.case.finish().await;
    });
}
