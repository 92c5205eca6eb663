//! Which Events does the operator publish? They follow from the changes of conditions, for users of
//! `kubectl describe`.
//!
//! * [`queue`]: the Events that wait. [`lane`]: the task that publishes them, after all other writes.

pub mod lane;
pub mod queue;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;

use self::queue::{EventType, Pending};
use super::{context::Context, reason::Reason};
use crate::crd::{Condition, ConditionStatus, ConditionType, condition::is_true};

/// The longest note that the API server accepts, rounded down.
const NOTE_LIMIT: usize = 1000;

/// Reasons without an Event: intermediate steps, and waits that end by themselves. The conditions show them.
const WITHOUT_EVENT: [Reason; 14] = [
    Reason::Provisioning,
    Reason::UpdatingInstance,
    Reason::Deprovisioning,
    Reason::ProvisionRequestInFlight,
    Reason::UpdateInstanceRequestInFlight,
    Reason::DeprovisionRequestInFlight,
    Reason::ServiceBindingsDeletion,
    Reason::Binding,
    Reason::Unbinding,
    Reason::BindingRequestInFlight,
    Reason::UnbindingRequestInFlight,
    Reason::ErrorInstanceNotReady,
    Reason::WaitingForTurn,
    Reason::OrphanMitigationSuccessful,
];

/// The Events for a change of conditions: an object becomes ready, or there is a new cause why it is not.
/// Pure.
#[must_use]
pub fn events_for<'a>(from: &[Condition], to: &'a [Condition]) -> Vec<(EventType, &'a Condition)> {
    to.iter()
        // `Stalled` repeats `Failed`.
        .filter(|new| new.type_ != ConditionType::Stalled)
        .filter(|new| {
            !from.iter().any(|old| {
                old.type_ == new.type_
                    && old.status == new.status
                    && old.reason == new.reason
                    && !has_other_faults(old, new)
            })
        })
        .filter(|new| !WITHOUT_EVENT.iter().any(|reason| reason.as_str() == new.reason))
        .filter(|new| !is_ready_again(from, new))
        .map(|new| match (new.type_, new.status) {
            (ConditionType::Ready, ConditionStatus::True) if !is_failed_renewal(new) => {
                (EventType::Normal, new)
            }
            _ => (EventType::Warning, new),
        })
        // If `Ready` and `Failed` change with the same reason, one Event is enough.
        .fold(Vec::new(), |mut events, (type_, new)| {
            if !events.iter().any(|(_, other): &(EventType, &Condition)| other.reason == new.reason) {
                events.push((type_, new));
            }
            events
        })
}

/// Whether a binding that was ready all along is at rest again: its credentials were renewed.
fn is_ready_again(from: &[Condition], new: &Condition) -> bool {
    new.reason == Reason::InjectedBindResult.as_str() && is_true(from, ConditionType::Ready)
}

/// Whether a binding is ready, but its credentials have not been renewed in time.
fn is_failed_renewal(new: &Condition) -> bool {
    let reasons = [Reason::CredentialsRenewalFailed, Reason::CredentialsToBeRenewed];
    reasons.iter().any(|reason| reason.as_str() == new.reason)
}

/// Whether the message names other faults of a fetched catalog than before.
fn has_other_faults(old: &Condition, new: &Condition) -> bool {
    new.reason == Reason::FetchedCatalog.to_string() && old.message != new.message
}

/// Queues the Events about a change. No reconcile waits for an Event, or fails because of one.
pub fn publish(context: &Context, object: &ObjectReference, from: &[Condition], to: &[Condition]) {
    for (type_, condition) in events_for(from, to) {
        context.metrics.condition_changed(&condition.reason);
        let event = Pending {
            object: object.clone(),
            type_,
            reason: condition.reason.clone(),
            note: crate::printable::clip(&condition.message, NOTE_LIMIT),
            time: Timestamp::now(),
        };
        context.events.push(event, &context.metrics);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(type_: ConditionType, status: ConditionStatus, reason: Reason) -> Condition {
        Condition {
            type_,
            status,
            observed_generation: 1,
            last_transition_time: None,
            reason: reason.to_string(),
            message: String::new(),
        }
    }

    // v0.3 J9
    #[test]
    fn ready_is_told_once_and_steps_on_the_way_never() {
        let in_flight =
            [condition(ConditionType::Ready, ConditionStatus::False, Reason::ProvisionRequestInFlight)];
        let ready = [condition(ConditionType::Ready, ConditionStatus::True, Reason::ProvisionedSuccessfully)];
        assert!(events_for(&[], &in_flight).is_empty());
        assert!(matches!(events_for(&in_flight, &ready)[..], [(EventType::Normal, _)]));
        assert!(events_for(&ready, &ready).is_empty());
    }

    #[test]
    fn a_renewal_is_told_once_and_a_failed_one_is_a_warning() {
        let ready = |reason| [condition(ConditionType::Ready, ConditionStatus::True, reason)];
        let bound = ready(Reason::InjectedBindResult);
        let (renewed, failed) = (ready(Reason::CredentialsRenewed), ready(Reason::CredentialsRenewalFailed));
        assert!(matches!(events_for(&[], &bound)[..], [(EventType::Normal, _)]));
        assert!(matches!(events_for(&bound, &renewed)[..], [(EventType::Normal, _)]));
        assert!(events_for(&renewed, &bound).is_empty());
        assert!(matches!(events_for(&bound, &failed)[..], [(EventType::Warning, _)]));
    }

    // OSB 57
    #[test]
    fn other_faults_of_a_catalog_are_told() {
        let fetched = |message: &str| {
            let ready = condition(ConditionType::Ready, ConditionStatus::True, Reason::FetchedCatalog);
            [Condition { message: message.to_owned(), ..ready }]
        };
        let (good, faulty) = (fetched("fetched."), fetched("fetched. Left out: a."));
        assert!(matches!(events_for(&good, &faulty)[..], [(EventType::Normal, _)]));
        assert!(events_for(&faulty, &faulty).is_empty());
    }

    #[test]
    fn what_stands_there_for_programs_is_no_news() {
        let failed = condition(
            ConditionType::Failed,
            ConditionStatus::True,
            Reason::ClusterServiceBrokerReturnedFailure,
        );
        let stalled = Condition { type_: ConditionType::Stalled, ..failed.clone() };
        let both = [stalled, failed.clone()];
        assert!(events_for(std::slice::from_ref(&failed), &both).is_empty());
        let told = events_for(&[], &both).into_iter().map(|(_, told)| told.clone());
        assert_eq!(told.collect::<Vec<_>>(), [failed]);
    }

    #[test]
    fn a_failure_is_told_with_each_of_its_causes() {
        let failed = [
            condition(ConditionType::Ready, ConditionStatus::False, Reason::ProvisionCallFailed),
            condition(
                ConditionType::Failed,
                ConditionStatus::True,
                Reason::ClusterServiceBrokerReturnedFailure,
            ),
        ];
        assert_eq!(events_for(&[], &failed).len(), 2);
        let same = [
            condition(ConditionType::Ready, ConditionStatus::False, Reason::UpdateInstanceCallFailed),
            condition(ConditionType::Failed, ConditionStatus::True, Reason::UpdateInstanceCallFailed),
        ];
        assert!(matches!(events_for(&[], &same)[..], [(EventType::Warning, _)]));
    }
}
