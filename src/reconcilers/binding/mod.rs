//! `ServiceBinding`: bind, credentials into a Secret, unbind.

mod absorb;
pub mod credentials;
mod intent;
mod lifetime;
pub mod phase;
mod plan;
mod secret;
mod takeover;
mod template;
#[cfg(test)]
mod tests;
mod verdict;
mod wanted;

use std::sync::Arc;

use kube::ResourceExt as _;

use self::credentials::OtherSecrets;
use super::{
    error::Error,
    machine::{Absorbed, Admitted, Machine, Observed, Step},
    offering::{self, Offering, Unresolved},
    ordered,
    parameters::{self, Parameters, ParametersError},
    write::Refused,
};
use crate::{
    brokers::{BrokerKey, Lane},
    context::Context,
    crd::{Condition, ServiceBinding, ServiceBindingStatus, ServiceInstance},
    osb::{
        self, Identity,
        outcome::{BindingAnswer, Bound, Deleted, Polled},
        wire::{BindRequest, Target},
    },
};

pub use secret::{SecretState, is_lost, secret_name};

/// The machine of `ServiceBinding`.
pub struct BindingMachine;

/// What else there is to know of a binding.
#[derive(Clone)]
pub struct World {
    /// The instance, if it exists.
    pub instance: Option<Arc<ServiceInstance>>,
    /// What the instance's references mean now; `None` without an instance.
    pub offering: Option<Result<Offering, Unresolved>>,
    /// The plan that the broker has for the instance, if it is there and the plan still in the cluster. The spec may ask for
    /// another one.
    pub present: Option<Offering>,
    /// How long an operation may be polled, in seconds, if the plan says so.
    pub maximum_polling_duration: Option<i64>,
    /// What in this cluster stands in the way of asking the broker; looked for only when it is to be asked.
    pub hindrance: Option<String>,
    /// The parameters; `None` when they were not looked at, because nothing can come of it.
    pub parameters: Option<Result<Parameters, ParametersError>>,
    /// The Secrets that transforms take keys from, as far as credentials are awaited.
    pub other_secrets: OtherSecrets,
    /// What is known of the Secret.
    pub secret: SecretState,
    /// Uid of the namespace; `None` when the cache does not have it.
    pub namespace_uid: Option<String>,
    /// The id of this cluster.
    pub cluster_id: String,
    /// Whether the broker that was last asked still has its object.
    pub recorded_broker_exists: bool,
}

/// A request about a binding.
pub enum Call {
    /// `PUT`; the flag is `accepts_incomplete`.
    Bind(Recipient, Box<BindRequest>, bool),
    /// `DELETE`
    Unbind(Recipient, Target, Cause),
    /// `GET …/last_operation`
    Poll(Recipient, Target, Option<String>),
    /// `GET`, for the credentials.
    Fetch(Recipient, Target),
}

/// Why a binding is deleted at the broker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// Its object is being deleted.
    Deletion,
    /// A bind may have left it behind, or its credentials are lost.
    Mitigation,
}

/// Whom a request goes to, and on whose behalf.
#[derive(Clone, PartialEq)]
pub struct Recipient {
    /// The broker.
    pub broker: BrokerKey,
    /// The instance.
    pub instance_id: String,
    /// The binding.
    pub binding_id: String,
    /// The user, where known.
    pub identity: Option<Identity>,
}

/// What became of a request. No `Debug`: credentials may be inside.
pub enum Outcome {
    /// Of a `PUT`.
    Bound(osb::Outcome<Bound>),
    /// Of a `DELETE`.
    Deleted(osb::Outcome<Deleted>),
    /// Of a poll.
    Polled(osb::Outcome<Polled>),
    /// Of a `GET`.
    Fetched(osb::Outcome<BindingAnswer>),
}

impl Machine for BindingMachine {
    type Object = ServiceBinding;
    type Status = ServiceBindingStatus;
    type World = World;
    type Call = Call;
    type Outcome = Outcome;

    async fn observe(object: &Arc<ServiceBinding>, context: &Context) -> Result<World, Error> {
        let namespace = object.namespace().unwrap_or_default();
        let stores = &context.stores;
        let instance = stores.instance(&namespace, &object.spec.instance_ref.name);
        let secret = secret::observe(object, context).await?;
        let parameters = if phase::needs_parameters(object, secret::is_lost(&secret, object)) {
            let sources = parameters::read(&context.client, &namespace, &object.spec.parameters_from).await?;
            Some(parameters::merge(object.spec.parameters.as_ref(), &sources))
        } else {
            None
        };
        // A binding of the original is on record with its instance before it is itself.
        let of_instance = instance.as_ref().and_then(|instance| instance.status.as_ref());
        let own = object.status.as_ref().and_then(|status| status.resolved.as_ref());
        let recorded = own.or(of_instance.and_then(|status| status.resolved.as_ref()));
        let offering = instance.as_ref().map(|instance| ordered::resolve(instance, &namespace, stores));
        let status = object.status.clone().unwrap_or_default();
        let other_secrets = if phase::awaits_credentials(object, secret::is_lost(&secret, object)) {
            OtherSecrets::read(&context.client, &namespace, &object.spec.secret_transforms).await?
        } else {
            OtherSecrets::default()
        };
        let hindrance = match &offering {
            Some(Ok(offering)) if phase::asks(object, &status, secret::is_lost(&secret, object)) => {
                context.brokers.hindrance(stores, &offering.broker).await
            }
            Some(_) | None => None,
        };
        let acknowledged =
            of_instance.and_then(|status| status.resolved.as_ref().zip(status.external_properties.as_ref()));
        Ok(World {
            offering,
            present: acknowledged.and_then(|(record, properties)| {
                offering::recorded(record, properties.plan_id(), &namespace, stores)
            }),
            maximum_polling_duration: recorded
                .filter(|_| status.progress.async_op_in_progress)
                .and_then(|record| offering::recorded(record, &record.plan_id, &namespace, stores))
                .and_then(|offering| offering.maximum_polling_duration),
            hindrance,
            parameters,
            other_secrets,
            secret,
            namespace_uid: stores.namespace_uid(&namespace),
            cluster_id: context.cluster_id.clone(),
            recorded_broker_exists: recorded
                .is_some_and(|recorded| stores.has_broker(&offering::recorded_broker(recorded, &namespace))),
            instance,
        })
    }

    fn lighten(world: &mut World) {
        world.parameters = None;
    }

    fn plan(observed: &Observed<Self>) -> Step<Self> {
        plan::plan(observed)
    }

    fn needs_fence(call: &Call) -> bool {
        match call {
            Call::Bind(..) | Call::Unbind(.., Cause::Mitigation) => true,
            Call::Unbind(.., Cause::Deletion) | Call::Poll(..) | Call::Fetch(..) => false,
        }
    }

    fn lane(call: &Call) -> Lane {
        let changes = match call {
            Call::Bind(..) | Call::Unbind(..) => true,
            Call::Poll(..) | Call::Fetch(..) => false,
        };
        let recipient = call.recipient();
        Lane { broker: recipient.broker.clone(), instance_id: changes.then(|| recipient.instance_id.clone()) }
    }

    async fn call(call: &Admitted<Call>, context: &Context) -> Outcome {
        let Context { brokers, stores, .. } = context;
        let call = call.get();
        let Recipient { broker, instance_id, binding_id, identity } = call.recipient();
        let identity = identity.as_ref();
        match call {
            Call::Bind(_, body, incomplete) => Outcome::Bound(
                brokers
                    .ask(stores, broker, async |client| {
                        client.bind(instance_id, binding_id, body, *incomplete, identity).await
                    })
                    .await,
            ),
            Call::Unbind(_, target, _) => Outcome::Deleted(
                brokers
                    .ask(stores, broker, async |client| {
                        client.unbind(instance_id, binding_id, target, identity).await
                    })
                    .await,
            ),
            Call::Poll(_, target, operation) => Outcome::Polled(
                brokers
                    .ask(stores, broker, async |client| {
                        client
                            .poll_binding(instance_id, binding_id, target, operation.as_deref(), identity)
                            .await
                    })
                    .await,
            ),
            Call::Fetch(_, target) => Outcome::Fetched(
                brokers
                    .ask(stores, broker, async |client| {
                        client.get_binding(instance_id, binding_id, target, identity).await
                    })
                    .await,
            ),
        }
    }

    fn absorb(observed: &Observed<Self>, call: &Call, outcome: Outcome) -> Absorbed<Self> {
        absorb::absorb(observed, call, outcome)
    }

    fn absorb_refused_write(observed: &Observed<Self>, refused: &Refused) -> ServiceBindingStatus {
        verdict::secret_refused(observed, &refused.message)
    }

    fn conditions(status: &ServiceBindingStatus) -> &[Condition] {
        &status.conditions
    }
}

impl Call {
    /// Whom it goes to.
    #[must_use]
    pub fn recipient(&self) -> &Recipient {
        match self {
            Self::Bind(recipient, ..)
            | Self::Unbind(recipient, ..)
            | Self::Poll(recipient, ..)
            | Self::Fetch(recipient, _) => recipient,
        }
    }
}
