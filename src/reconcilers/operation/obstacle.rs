//! Why can the operator not send a request to the broker now, and when does it check again? This file has the
//! obstacles that instances and bindings have in common. All functions are pure.

use super::{
    NextStep,
    dependencies::OperationDependencies as _,
    resource::{BrokerResource, OperationStatus as _, View},
    status::StatusHooks,
    steps::record_or,
};
use crate::{
    clock::later,
    crd::{
        ConditionStatus::{False, True},
        ConditionType::{Failed, Ready},
        condition::Conditioned as _,
    },
    json::RawObject,
    reconcilers::{
        parameters::{Parameters, schema},
        reason::Reason,
        reconciler::{Step, Wait},
        redaction::SentParameters,
    },
};

/// A reason why the operator cannot send a request to the broker now.
pub struct Obstacle {
    /// The reason of the condition.
    pub reason: Reason,
    /// A sentence that says what the user can do.
    pub message: String,
    /// What removes the obstacle.
    pub clears_on: ClearsOn,
}

/// What removes an obstacle.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClearsOn {
    /// A change of something that the decision depends on and that is watched.
    Change,
    /// A change that no watch announces, so the operator checks again after an interval. This is so for
    /// Secrets of other owners, and for other instances.
    Recheck,
    /// A change of the spec. No change of other objects helps.
    SpecChange,
    /// Nothing: it is no obstacle, but the Secrets and parameters are not read yet.
    Read,
}

impl Obstacle {
    /// An obstacle that a watched change removes.
    #[must_use]
    pub fn until_change(reason: Reason, message: String) -> Self {
        Self { reason, message, clears_on: ClearsOn::Change }
    }

    /// An obstacle that the operator checks again after an interval.
    #[must_use]
    pub fn until_recheck(reason: Reason, message: String) -> Self {
        Self { reason, message, clears_on: ClearsOn::Recheck }
    }

    /// An obstacle that only a change of the spec removes.
    #[must_use]
    pub fn until_spec_change(reason: Reason, message: String) -> Self {
        Self { reason, message, clears_on: ClearsOn::SpecChange }
    }
}

/// The uid of the object's namespace. Requests to brokers hold it.
///
/// # Errors
/// The cache does not have the namespace yet.
pub fn namespace_uid<'a, R: BrokerResource>(view: &View<'a, R>) -> Result<&'a str, Obstacle> {
    view.dependencies.common().namespace_uid.as_deref().ok_or_else(|| {
        let message = format!("the operator has not seen the namespace of the {} yet", R::TEXTS.noun);
        Obstacle::until_change(Reason::ErrorFindingNamespaceForInstance, message)
    })
}

/// The parameters, if a request can be sent to the broker at all.
///
/// # Errors
/// The broker's credentials or the parameters cannot be read.
pub fn parameters<'a, R: BrokerResource>(view: &View<'a, R>) -> Result<&'a Parameters, Obstacle> {
    if let Some(message) = &view.dependencies.common().precondition_error {
        let reason = Reason::ErrorGettingAuthCredentials;
        return Err(Obstacle::until_recheck(reason, message.to_owned()));
    }
    match view.dependencies.common().parameters.as_ref() {
        Some(Ok(parameters)) => Ok(parameters),
        Some(Err(error)) => Err(wrong_parameters(view, error.message.clone())),
        None => Err(Obstacle {
            reason: Reason::ErrorWithParameters,
            message: String::new(),
            clears_on: ClearsOn::Read,
        }),
    }
}

fn wrong_parameters<R: BrokerResource>(view: &View<'_, R>, message: String) -> Obstacle {
    let reason = Reason::ErrorWithParameters;
    if view.has_secret_parameters() {
        Obstacle::until_recheck(reason, message)
    } else {
        // All parameters come from the spec and the catalog, and a watch announces their changes.
        Obstacle::until_change(reason, message)
    }
}

/// Whether parameters that a request sends follow the schema of the plan with this name. The repetition of a
/// request that is under way is not checked, as it must say what the first one said. Neither is what the broker
/// has accepted before: a bind is repeated when the Secret is lost.
///
/// # Errors
/// They break a rule of the schema.
pub fn check_schema<R: BrokerResource>(
    view: &View<'_, R>,
    parameters: &Parameters,
    (schema, plan): (Option<&RawObject>, &str),
) -> Result<(), Obstacle> {
    let is_known = |sent: SentParameters<'_>| sent.checksum == parameters.checksum();
    let [in_progress, acknowledged] = view.status.sent_parameters();
    if (view.has_unanswered_request() && in_progress.is_none_or(is_known))
        || acknowledged.is_some_and(is_known)
    {
        return Ok(());
    }
    let broken = schema.and_then(|schema| parameters.violations(schema));
    broken.map_or(Ok(()), |broken| Err(wrong_parameters(view, schema::message(&broken, plan))))
}

/// Reports the obstacle. `pending`: what the next request waits for anyway. Until then nothing is read.
pub fn report_or_wait<R: StatusHooks>(
    view: &View<'_, R>,
    obstacle: &Obstacle,
    pending: Option<NextStep<R>>,
) -> NextStep<R> {
    match pending {
        Some(wait) if obstacle.clears_on == ClearsOn::Read => wait,
        _ => report(view, obstacle),
    }
}

/// Records the obstacle in `Ready`, and waits. The status does not record the generation as observed, as the
/// operator acts on it when the obstacle is gone.
pub fn report<R: StatusHooks>(view: &View<'_, R>, obstacle: &Obstacle) -> NextStep<R> {
    if obstacle.clears_on == ClearsOn::Read {
        return Step::Read;
    }
    let mut status = view.status_copy();
    R::record_printer_columns(view, &mut status);
    status.set_condition(Ready, False, obstacle.reason, &obstacle.message, view.now);
    // An instance or a binding that exists does not become `Failed` because its class has changed.
    if obstacle.clears_on == ClearsOn::SpecChange && !view.may_exist() {
        status.set_condition(Failed, True, obstacle.reason, &obstacle.message, view.now);
        R::finish_failed(&mut status, view.generation());
    } else {
        status.remove_condition(Failed);
    }
    status.set_conditions_generation(view.generation());
    let wait = match obstacle.clears_on {
        ClearsOn::Change | ClearsOn::SpecChange | ClearsOn::Read => Wait::ForChange,
        ClearsOn::Recheck => Wait::Until(later(view.now, view.settings.recheck_interval)),
    };
    record_or(view, status, Step::Wait(wait))
}
