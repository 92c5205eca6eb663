//! `ServiceInstance`: provision, update, deprovision.

mod absorb;
mod annotations;
mod defaults;
mod intent;
pub mod phase;
mod plan;
#[cfg(test)]
pub(super) mod tests;
mod verdict;
mod wanted;

use std::sync::Arc;

use kube::ResourceExt as _;

use super::{
    error::Error,
    inherited,
    machine::{Absorbed, Admitted, Machine, Observed, Step},
    offering::{self, Offering, Unresolved},
    ordered,
    parameters::{self, Parameters, ParametersError},
    write::Refused,
};
use crate::{
    brokers::{BrokerKey, Lane},
    context::Context,
    crd::{
        Condition, ServiceBinding, ServiceInstance, ServiceInstanceStatus,
        common::ResolvedOffering,
        instance::{ContextAnnotations, InstanceProperties},
    },
    json::RawObject,
    osb::{
        self, Identity,
        outcome::{Deleted, InstanceAnswer, Polled, Provisioned},
        wire::{ProvisionRequest, Target, UpdateRequest},
    },
    stores::Stores,
};

/// The machine of `ServiceInstance`.
pub struct InstanceMachine;

/// What else there is to know of an instance.
#[derive(Clone)]
pub struct World {
    /// What the references in spec mean now.
    pub offering: Result<Offering, Unresolved>,
    /// Another object, `namespace/name`, that has the id that this one is given at the same broker.
    pub rival: Option<String>,
    /// What the plan that the broker has for the instance is now, if it is still in the cluster.
    pub present: Option<Offering>,
    /// What the plan is now that the operation under way is about, likewise.
    pub requested: Option<Offering>,
    /// What the original ordered, where that is not on record yet.
    pub inherited: Option<ResolvedOffering>,
    /// What in this cluster stands in the way of asking the broker; looked for only when it is to be asked.
    pub hindrance: Option<String>,
    /// The parameters; `None` when they were not looked at, because nothing can come of it.
    pub parameters: Option<Result<Parameters, ParametersError>>,
    /// The parameters that the instance has, or gets, without its spec.
    pub defaults: Option<RawObject>,
    /// The bindings of this instance, by name.
    pub bindings: Vec<Arc<ServiceBinding>>,
    /// Uid of the namespace; `None` when the cache does not have it.
    pub namespace_uid: Option<String>,
    /// The annotations that brokers are told of; `None` when they are told of none.
    pub context_annotations: Option<ContextAnnotations>,
    /// The id of this cluster.
    pub cluster_id: String,
    /// Whether the broker that was last asked still has its object.
    pub recorded_broker_exists: bool,
}

impl World {
    /// How long the operation that is under way may be polled, in seconds, if its plan says so.
    fn maximum_polling_duration(&self) -> Option<i64> {
        self.requested.as_ref().or(self.present.as_ref())?.maximum_polling_duration
    }

    /// What a plan is now, as far as it has been looked at.
    fn plan(&self, id: &str) -> Option<&Offering> {
        let known = [self.offering.as_ref().ok(), self.present.as_ref(), self.requested.as_ref()];
        known.into_iter().flatten().find(|offering| offering.plan_id == id)
    }

    /// Whether the instance may be moved to another plan. The plan that it has decides (OSB 2.17, "Updating a Service
    /// Instance"); when that is not in the cluster any more, the one that it is to have.
    fn is_plan_updatable(&self, offering: &Offering) -> bool {
        self.present.as_ref().unwrap_or(offering).plan_updatable
    }
}

/// A request about an instance.
pub enum Call {
    /// `PUT`
    Provision(Recipient, Box<ProvisionRequest>),
    /// `PATCH`
    Update(Recipient, Box<UpdateRequest>),
    /// `DELETE`; the flag says that the object itself is being deleted.
    Deprovision(Recipient, Target, Cause),
    /// `GET …/last_operation`
    Poll(Recipient, Target, Option<String>),
    /// `GET`
    Fetch(Recipient, Target, Fetching),
}

/// Why an instance is fetched from the broker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fetching {
    /// A provision has succeeded, asynchronously; the instance says more than the answers so far.
    Provisioned,
    /// An update has.
    Updated,
    /// A provision that may have been done was refused when it was repeated, with this message: has it been done?
    Refused(String),
}

/// Why an instance is deleted at the broker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// Its object is being deleted.
    Deletion,
    /// A create may have left it behind.
    Mitigation,
}

/// Whom a request goes to, and on whose behalf.
#[derive(Clone, PartialEq)]
pub struct Recipient {
    /// The broker.
    pub broker: BrokerKey,
    /// The instance.
    pub instance_id: String,
    /// The user, where known.
    pub identity: Option<Identity>,
}

/// What became of a request.
pub enum Outcome {
    /// Of a `PUT` or `PATCH`.
    Provisioned(osb::Outcome<Provisioned>),
    /// Of a `DELETE`.
    Deleted(osb::Outcome<Deleted>),
    /// Of a poll.
    Polled(osb::Outcome<Polled>),
    /// Of a `GET`.
    Fetched(osb::Outcome<InstanceAnswer>),
}

impl Machine for InstanceMachine {
    type Object = ServiceInstance;
    type Status = ServiceInstanceStatus;
    type World = World;
    type Call = Call;
    type Outcome = Outcome;

    async fn observe(object: &Arc<ServiceInstance>, context: &Context) -> Result<World, Error> {
        let namespace = object.namespace().unwrap_or_default();
        let stores = &context.stores;
        let status = object.status.clone().unwrap_or_default();
        let asks = phase::asks(object, &status);
        let inherited = inherited::ordered(object, &status, &namespace, stores);
        let recorded = status.resolved.as_ref().or(inherited.as_ref());
        let offering = ordered::resolve(object, &namespace, stores);
        let defaults = defaults::in_force(&status, offering.as_ref().ok(), &context.tunables);
        let parameters = if phase::needs_parameters(object) {
            let sources = parameters::read(&context.client, &namespace, &object.spec.parameters_from).await?;
            let given = parameters::merge(object.spec.parameters.as_ref(), &sources);
            Some(given.and_then(|given| given.over(defaults.clone()?.as_ref())))
        } else {
            None
        };
        let plan_of = |properties: Option<&InstanceProperties>| {
            let (record, properties) = recorded.zip(properties)?;
            offering::recorded(record, properties.plan_id(), &namespace, stores)
        };
        let (present, requested) =
            (plan_of(status.external_properties.as_ref()), plan_of(status.in_progress_properties.as_ref()));
        let (hindrance, rival) = match &offering {
            Ok(offering) if asks => (
                context.brokers.hindrance(stores, &offering.broker).await,
                rival(object, &status, offering, stores),
            ),
            Ok(_) | Err(_) => (None, None),
        };
        let mut bindings = stores.bindings_of(&namespace, &object.name_any());
        // The cache has no order, and a status must not change with it.
        bindings.sort_unstable_by_key(|binding| binding.name_any());
        Ok(World {
            rival,
            offering,
            present,
            requested,
            hindrance,
            parameters,
            // Where they are in the way, nothing is ordered.
            defaults: defaults.unwrap_or_default(),
            bindings,
            namespace_uid: stores.namespace_uid(&namespace),
            context_annotations: context.passed_on.of(object, stores),
            cluster_id: context.cluster_id.clone(),
            recorded_broker_exists: recorded
                .is_some_and(|recorded| stores.has_broker(&offering::recorded_broker(recorded, &namespace))),
            inherited,
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
            Call::Provision(..) | Call::Update(..) | Call::Deprovision(_, _, Cause::Mitigation) => true,
            Call::Deprovision(_, _, Cause::Deletion) | Call::Poll(..) | Call::Fetch(..) => false,
        }
    }

    fn lane(call: &Call) -> Lane {
        let changes = !matches!(call, Call::Poll(..) | Call::Fetch(..));
        let recipient = call.recipient();
        Lane { broker: recipient.broker.clone(), instance_id: changes.then(|| recipient.instance_id.clone()) }
    }

    async fn call(call: &Admitted<Call>, context: &Context) -> Outcome {
        let Context { brokers, stores, .. } = context;
        let call = call.get();
        let Recipient { broker, instance_id, identity } = call.recipient();
        let identity = identity.as_ref();
        match call {
            Call::Provision(_, body) => Outcome::Provisioned(
                brokers
                    .ask(stores, broker, async |client| client.provision(instance_id, body, identity).await)
                    .await,
            ),
            Call::Update(_, body) => Outcome::Provisioned(
                brokers
                    .ask(stores, broker, async |client| client.update(instance_id, body, identity).await)
                    .await,
            ),
            Call::Deprovision(_, target, _) => Outcome::Deleted(
                brokers
                    .ask(stores, broker, async |client| {
                        client.deprovision(instance_id, target, identity).await
                    })
                    .await,
            ),
            Call::Poll(_, target, operation) => Outcome::Polled(
                brokers
                    .ask(stores, broker, async |client| {
                        client.poll_instance(instance_id, target, operation.as_deref(), identity).await
                    })
                    .await,
            ),
            Call::Fetch(_, target, _) => Outcome::Fetched(
                brokers
                    .ask(stores, broker, async |client| {
                        client.get_instance(instance_id, target, identity).await
                    })
                    .await,
            ),
        }
    }

    fn absorb(observed: &Observed<Self>, call: &Call, outcome: Outcome) -> Absorbed<Self> {
        absorb::absorb(observed, call, outcome)
    }

    /// No answer about an instance asks for a write of another object.
    fn absorb_refused_write(observed: &Observed<Self>, _: &Refused) -> ServiceInstanceStatus {
        observed.status()
    }

    fn conditions(status: &ServiceInstanceStatus) -> &[Condition] {
        &status.conditions
    }
}

/// An id that a user gives may be somebody else's: whoever has it already, or is older, keeps it. Without this, a user of
/// one namespace could bind to, or delete, the instance of another.
fn rival(
    object: &ServiceInstance,
    own: &ServiceInstanceStatus,
    offering: &Offering,
    stores: &Stores,
) -> Option<String> {
    let id = Some(&object.spec.external_id).filter(|id| !id.is_empty() && !phase::may_exist(own))?;
    let age = |instance: &ServiceInstance| {
        (instance.metadata.creation_timestamp.clone().map(|time| time.0), instance.metadata.uid.clone())
    };
    let broker_of = |other: &ServiceInstance, status: &ServiceInstanceStatus| {
        let namespace = other.namespace().unwrap_or_default();
        match &status.resolved {
            Some(record) => Some(offering::recorded_broker(record, &namespace)),
            None => {
                offering::resolve(&other.spec.plan_reference, &namespace, stores).ok().map(|it| it.broker)
            }
        }
    };
    let found = stores.instances.find(|other| {
        let status = other.status.clone().unwrap_or_default();
        other.metadata.uid != object.metadata.uid
            && phase::instance_id(other, &status) == *id
            && (phase::may_exist(&status) || age(other) < age(object))
            && broker_of(other, &status).as_ref() == Some(&offering.broker)
    })?;
    Some(format!("{}/{}", found.namespace().unwrap_or_default(), found.name_any()))
}

impl Call {
    /// Whom it goes to.
    #[must_use]
    pub fn recipient(&self) -> &Recipient {
        match self {
            Self::Provision(recipient, _)
            | Self::Update(recipient, _)
            | Self::Deprovision(recipient, ..)
            | Self::Poll(recipient, ..)
            | Self::Fetch(recipient, ..) => recipient,
        }
    }
}
