//! Requests that must not be sent, or not so.

use serde_json::Value;
use service_catalog::{
    crd::{
        INTENT_ANNOTATION,
        instance::{InstanceOperation, ProvisionStatus},
    },
    reconcilers::{identity::attempt_id, operation::Address},
};

use super::*;
use crate::surprises::Surprise::{Bindings, ChangePlan, Delete, Edit, Lag};

fn without_intent(observed: &Seen) -> StepOf<InstanceReconciler> {
    match InstanceReconciler::plan(observed) {
        Step::Attempt { call, .. } => Step::Call { before: vec![], call },
        other => other,
    }
}

#[test]
fn a_request_without_an_intent_is_caught() {
    let mistake = Operator { plan: without_intent, ..faultless() };
    caught(&mistake, Surroundings::default(), &[Delete], &[], Rule::Announced);
}

/// To see what comes of it in the end.
const FOLLOWS: &[Rule] = &[Rule::Announced, Rule::ReadyIsTrue, Rule::ComesToRest, Rule::WayBack];

#[test]
fn what_follows_from_a_request_without_an_intent_is_caught() {
    let mistake = Operator { plan: without_intent, ..faultless() };
    caught(&mistake, Surroundings::default(), &[Delete], FOLLOWS, Rule::NothingLeft);
}

// v0.3 Q13
#[test]
fn an_intent_that_is_written_over_whatever_is_there_is_caught() {
    let mistake = Operator::<InstanceReconciler> { compares: false, ..faultless() };
    caught(&mistake, Surroundings::default(), &[Lag, Delete], &[], Rule::NoChangeWhileDeleting);
}

#[test]
fn what_follows_when_two_replicas_ask_is_caught() {
    let mistake = Operator::<InstanceReconciler> { compares: false, ..faultless() };
    caught(&mistake, Surroundings::default(), &[Lag, Edit], &[], Rule::RepeatsUnchanged);
}

/// The intent does not say which broker was asked for what.
fn forgetful(observed: &Seen) -> StepOf<InstanceReconciler> {
    match InstanceReconciler::plan(observed) {
        Step::Attempt { mut intent, call } => {
            let text = &mut intent.patch["metadata"]["annotations"][INTENT_ANNOTATION];
            let mut record: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
            record["status"]["resolved"] = Value::Null;
            *text = record.to_string().into();
            Step::Attempt { intent, call }
        }
        other => other,
    }
}

#[test]
fn an_intent_without_what_a_delete_needs_is_caught() {
    let mistake = Operator { plan: forgetful, ..faultless() };
    caught(&mistake, Surroundings::default(), &[Delete], &[], Rule::Undoable);
}

/// Goes on as if the object were not being deleted.
fn blind_to_deletion(observed: &Seen) -> StepOf<InstanceReconciler> {
    let observed = with_object(observed, |object| object.metadata.deletion_timestamp = None);
    InstanceReconciler::plan(&with_parameters(observed))
}

#[test]
fn a_create_for_what_is_being_deleted_is_caught() {
    let mistake = Operator { plan: blind_to_deletion, ..faultless() };
    caught(
        &mistake,
        Surroundings::default(),
        &[Delete],
        &[Rule::Undoable, Rule::ComesToRest],
        Rule::NoChangeWhileDeleting,
    );
}

/// Deletes what a create may have left as if the object were being deleted.
fn unannounced_mitigation(observed: &Seen) -> StepOf<InstanceReconciler> {
    match InstanceReconciler::plan(observed) {
        Step::Attempt { call: Call::Delete(address, target, _), .. } => {
            Step::Call { before: vec![], call: Call::Delete(address, target, DeletePurpose::Deletion) }
        }
        other => other,
    }
}

#[test]
fn a_deletion_of_what_is_to_exist_is_caught() {
    let mistake = Operator { plan: unannounced_mitigation, ..faultless() };
    caught(&mistake, Surroundings::default(), &[], &[], Rule::DeletesOnlyWhenDeleted);
}

/// Deletes under the id that the next attempt will have.
fn wrong_id(observed: &Seen) -> StepOf<InstanceReconciler> {
    match InstanceReconciler::plan(observed) {
        Step::Attempt { intent, call: Call::Delete(address, target, cause) } => {
            let uid = observed.object.metadata.uid.as_deref();
            let instance_id =
                attempt_id("", uid.unwrap_or_default(), intent.status.progress.attempt + 1).into();
            let address = Address { instance_id, ..address };
            Step::Attempt { intent, call: Call::Delete(address, target, cause) }
        }
        other => other,
    }
}

#[test]
fn a_mitigation_under_the_wrong_id_is_caught() {
    let mistake = Operator { plan: wrong_id, ..faultless() };
    caught(&mistake, Surroundings::default(), &[], &[], Rule::OnlyWhatMayExist);
}

/// Asks for a change at once, although the broker has not finished the last one.
fn impatient(observed: &Seen) -> StepOf<InstanceReconciler> {
    let mut status = observed.status();
    let polls = matches!(phase(&status), Phase::Polling(Awaited::Operation(_), _));
    if polls && observed.object.metadata.generation > Some(status.observed_generation) {
        status.progress.async_op_in_progress = false;
        status.current_operation = InstanceOperation::None;
        status.provision_status = ProvisionStatus::Provisioned;
        status.external_properties = status.in_progress_properties.take();
        return InstanceReconciler::plan(&with_parameters(with_status(observed, status)));
    }
    InstanceReconciler::plan(observed)
}

#[test]
fn an_update_while_an_operation_is_polled_is_caught() {
    let mistake = Operator { plan: impatient, ..faultless() };
    caught(&mistake, Surroundings::default(), &[ChangePlan], &[Rule::ComesToRest], Rule::OneOperation);
}

/// Asks for something else under the same id, when the spec has changed while a create was unanswered.
fn fickle(observed: &Seen) -> StepOf<InstanceReconciler> {
    match InstanceReconciler::plan(observed) {
        Step::Record(status) if starts_mitigating(observed, &status) => {
            let asked = ServiceInstanceStatus { in_progress_properties: None, ..observed.status() };
            InstanceReconciler::plan(&with_status(observed, asked))
        }
        other => other,
    }
}

// v0.3 Q16
#[test]
fn another_request_under_the_id_of_an_unanswered_one_is_caught() {
    let mistake = Operator { plan: fickle, ..faultless() };
    caught(&mistake, Surroundings::default(), &[Edit], &[], Rule::RepeatsUnchanged);
}

/// Does not look for bindings.
fn careless(observed: &Seen) -> StepOf<InstanceReconciler> {
    let mut observed = with_object(observed, |_| {});
    observed.dependencies.bindings.clear();
    InstanceReconciler::plan(&observed)
}

#[test]
fn a_deletion_of_an_instance_with_bindings_is_caught() {
    let mistake = Operator { plan: careless, ..faultless() };
    caught(&mistake, Surroundings::default(), &[Bindings, Delete], &[], Rule::BindingsFirst);
}

/// Sends nothing but the plan, whatever differs.
fn taciturn(observed: &Seen) -> StepOf<InstanceReconciler> {
    match InstanceReconciler::plan(observed) {
        Step::Attempt { intent, call: Call::Request(address, InstanceRequest::Update(mut body)) } => {
            body.parameters = None;
            Step::Attempt { intent, call: Call::Request(address, InstanceRequest::Update(body)) }
        }
        other => other,
    }
}

#[test]
fn an_update_that_leaves_something_out_is_caught() {
    let mistake = Operator { plan: taciturn, ..faultless() };
    caught(&mistake, Surroundings::default(), &[Edit], &[], Rule::ReadyIsTrue);
}
