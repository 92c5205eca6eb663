//! What stands in the way of a request to the broker, as far as the kinds have it in common. Pure.

use super::{
    NextStep,
    plan::record_or,
    resource::{BrokerResource, OperationDependencies as _, View},
    status::StatusHooks,
};
use crate::{
    crd::{
        ConditionStatus::{False, True},
        ConditionType::{Failed, Ready},
        condition::Conditioned as _,
    },
    reconcilers::{
        backoff::later,
        parameters::Parameters,
        reason::Reason,
        reconciler::{Step, Wait},
    },
};

/// Why the broker cannot be asked at present.
pub struct Obstacle {
    /// The reason of the condition.
    pub reason: Reason,
    /// What the user can do.
    pub message: String,
    /// How long it stands in the way.
    pub lasts: Lasts,
}

/// How long an obstacle stands in the way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lasts {
    /// Until something changes that the decision depends on.
    UntilChange,
    /// Until it is looked at again: no watch announces changes of Secrets that are not ours, or of other instances.
    UntilRecheck,
    /// Until the spec changes. No change of other objects will help.
    ForGood,
}

impl Obstacle {
    /// That lasts until something changes that the decision depends on.
    #[must_use]
    pub fn until_change(reason: Reason, message: String) -> Self {
        Self { reason, message, lasts: Lasts::UntilChange }
    }

    /// That lasts until it is looked at again.
    #[must_use]
    pub fn until_recheck(reason: Reason, message: String) -> Self {
        Self { reason, message, lasts: Lasts::UntilRecheck }
    }

    /// That lasts until the spec changes.
    #[must_use]
    pub fn for_good(reason: Reason, message: String) -> Self {
        Self { reason, message, lasts: Lasts::ForGood }
    }
}

/// The uid of the object's namespace, which brokers are told.
///
/// # Errors
/// The cache does not have the namespace yet.
pub fn namespace_uid<'a, R: BrokerResource>(view: &View<'a, R>) -> Result<&'a str, Obstacle> {
    view.dependencies.namespace_uid().ok_or_else(|| {
        let message = format!("the operator has not seen the namespace of the {} yet", R::WORDS.noun);
        Obstacle::until_change(Reason::ErrorFindingNamespaceForInstance, message)
    })
}

/// The parameters, if the broker can be asked at all.
///
/// # Errors
/// The broker's credentials or the parameters cannot be had.
pub fn parameters<'a, R: BrokerResource>(view: &View<'a, R>) -> Result<&'a Parameters, Obstacle> {
    if let Some(message) = view.dependencies.precondition_error() {
        let reason = Reason::ErrorGettingAuthCredentials;
        return Err(Obstacle::until_recheck(reason, message.to_owned()));
    }
    let reason = Reason::ErrorWithParameters;
    match view.dependencies.parameters() {
        Some(Ok(parameters)) => Ok(parameters),
        // The watch announces changes of the spec and the catalog.
        Some(Err(error)) if !view.has_secret_parameters() => {
            Err(Obstacle::until_change(reason, error.message.clone()))
        }
        Some(Err(error)) => Err(Obstacle::until_recheck(reason, error.message.clone())),
        None => Err(Obstacle::until_recheck(reason, "the parameters are not read yet".to_owned())),
    }
}

/// Writes what stands in the way, and waits. The generation stays unseen: the operator acts on it when nothing stands in
/// the way.
pub fn report<R: StatusHooks>(view: &View<'_, R>, obstacle: &Obstacle) -> NextStep<R> {
    let mut status = view.status_copy();
    R::show_spec(view, &mut status);
    status.set_condition(Ready, False, obstacle.reason, &obstacle.message, view.now);
    // What the broker has is not given up for what its class says today.
    if obstacle.lasts == Lasts::ForGood && !view.may_exist() {
        status.set_condition(Failed, True, obstacle.reason, &obstacle.message, view.now);
        R::finish_failed(&mut status, view.generation());
    } else {
        status.remove_condition(Failed);
    }
    status.set_conditions_generation(view.generation());
    let wait = match obstacle.lasts {
        Lasts::UntilChange | Lasts::ForGood => Wait::ForChange,
        Lasts::UntilRecheck => Wait::Until(later(view.now, view.settings.recheck_interval)),
    };
    record_or(view, status, Step::Wait(wait))
}
