//! What does `spec.deletionPolicy` mean for an object that is being deleted? All functions are pure.
//!
//! * `Delete`: the operator sends the DELETE.
//! * `Retain`: the operator lets the object go, and names what stays at the broker. What no answer of the broker
//!   has acknowledged is deleted all the same: nobody could take it over with certainty, so it is an orphan. The
//!   operator waits for the end of a create that the broker has accepted, and then knows which of the two it is.
//!   Under an id that the user gave the operator deletes nothing, because an older resource may have it.
//! * `Prevent`: an admission policy refuses the deletion. Where that is not installed, the object waits.

use kube::Resource as _;

use super::{
    NextStep,
    resource::{BrokerResource, View},
    status,
    steps::{PlanHooks, plan_restored, record_or, record_ready_and_wait},
};
use crate::{
    crd::{
        ConditionStatus::False, ConditionType::Failed, common::DeletionPolicy, condition::Conditioned as _,
        scope::Object as _,
    },
    reconcilers::{
        reason::Reason,
        reconciler::{Step, Wait},
    },
};

/// Whether the object is being deleted, and what the broker has for it stays there.
#[must_use]
pub fn keeps<R: BrokerResource>(view: &View<'_, R>) -> bool {
    let policy = R::spec(view.object).deletion_policy;
    let keeps = match policy {
        DeletionPolicy::Delete => false,
        DeletionPolicy::Retain => {
            R::is_acknowledged(&view.status) || !view.is_id_derived() || view.is_restored()
        }
        DeletionPolicy::Prevent => true,
    };
    keeps && view.is_being_deleted() && view.may_exist()
}

/// Whether the deletion waits for the end of a create that the broker has accepted.
#[must_use]
pub fn awaits_end<R: BrokerResource>(view: &View<'_, R>) -> bool {
    R::spec(view.object).deletion_policy == DeletionPolicy::Retain
}

/// Whether the policy is among what cannot be read of the object.
#[must_use]
pub fn is_unreadable<R: BrokerResource>(view: &View<'_, R>) -> bool {
    let defects = view.object.defects();
    defects.is_some_and(|defects| defects.spec.iter().any(|field| field.starts_with("spec.deletionPolicy:")))
}

/// The next step for an object that is being deleted, if what the broker has for it stays there.
pub fn plan_kept<R: PlanHooks>(view: &View<'_, R>) -> Option<NextStep<R>> {
    if !keeps(view) {
        return None;
    }
    // The next status must say that the broker has something, because it does not say that it was restored.
    if view.is_restored() {
        return Some(plan_restored(view));
    }
    Some(if R::spec(view.object).deletion_policy == DeletionPolicy::Prevent {
        plan_prevented(view)
    } else {
        R::plan_before_deletion(view).unwrap_or_else(|| plan_retained(view))
    })
}

fn plan_prevented<R: PlanHooks>(view: &View<'_, R>) -> NextStep<R> {
    let noun = R::TEXTS.noun;
    let message = format!(
        "spec.deletionPolicy is Prevent, so the {noun} stays at the broker, and the deletion of this object waits: set it to Delete \
         to delete the {noun} at the broker, or to Retain to keep it there without this object"
    );
    record_ready_and_wait(view, (False, Reason::DeletionPrevented, &message), Wait::ForChange)
}

/// Names what stays at the broker, in a condition, and so in the log and in an Event. Then the object can go.
fn plan_retained<R: PlanHooks>(view: &View<'_, R>) -> NextStep<R> {
    let (noun, id) = (R::TEXTS.noun, R::id(view));
    let place = R::recorded_target(view).map_or_else(String::new, |(address, target)| {
        let of = address
            .binding_id
            .map_or_else(String::new, |_| format!("instance {:?}, ", address.instance_id.as_str()));
        format!(
            " at the {} ({of}class {:?}, plan {:?})",
            address.broker,
            target.service_id.as_str(),
            target.plan_id.as_str()
        )
    });
    let message = format!(
        "spec.deletionPolicy is Retain, so the {noun} {id:?} stays{place}: to take it over, create a {} with this id in \
         spec.externalID, and otherwise as this one was",
        R::Object::kind(&())
    );
    let mut status = status::with_ready(view, (False, Reason::Retained, &message));
    status.remove_condition(Failed);
    record_or(view, status, Step::RemoveFinalizer)
}
