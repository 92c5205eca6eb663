//! How does the engine run as a [`Reconciler`]? It decides with `plan` and `answers`, and it sends the
//! requests that instances and bindings have in common: DELETE and polls.

use std::{future::Future, marker::PhantomData, sync::Arc};

use kube::ResourceExt as _;

use super::{
    apart::{self, ApartHooks},
    call::{Address, Answer, Answered, Call},
    dependencies::CommonDependencies,
    ids::{self, IdHooks},
    phase::DeletePurpose,
    reading,
    resource::{BrokerResource, Decoded, OperationStatus as _, View},
    status,
};
use crate::{
    brokers::{Lane, permits::ConcurrencyKey},
    caches::{Caches, kind::Kind},
    crd::{
        Condition,
        common::{BrokerKey, ResolvedOffering},
    },
    memory_budget::Reservation,
    osb::{
        self,
        outcome::{Deleted, Polled},
        wire::Target,
    },
    reconcilers::{
        context::Context,
        error::ReconcileError,
        memory::{Memories, OperationMemory},
        reconciler::{AbsorbedOf, Admitted, Observed, Read, Reconciler, StepOf},
        references::{self, replaced::Replacement},
        writes::RejectedWrite,
    },
};

/// The part of observing that differs between instances and bindings.
pub trait ObserveHooks: BrokerResource {
    /// The cache of the kind.
    fn kind(caches: &Caches) -> &Kind<Self::Object>;

    /// Reads the state outside the object that decisions depend on.
    fn observe(
        object: &Arc<Self::Object>,
        context: &Context,
    ) -> impl Future<Output = Result<Self::Dependencies, ReconcileError>> + Send;

    /// Reads the Secrets that the spec names, and merges the parameters. `memory` is for what is read.
    fn read_secrets(
        object: &Self::Object,
        dependencies: &mut Self::Dependencies,
        memory: Option<Reservation>,
        context: &Context,
    ) -> impl Future<Output = Result<(), ReconcileError>> + Send;
}

/// Observes what every operation depends on, without the parameters. The brokers are the recorded one, and the one that
/// the next request goes to.
///
/// # Errors
/// The API server did not answer.
pub async fn observe_common<R: IdHooks>(
    decoded: &Decoded<'_, R>,
    (recorded, next): (Option<&ResolvedOffering>, Option<&BrokerKey>),
    needs_request: bool,
    replacement: Replacement,
    context: &Context,
) -> Result<CommonDependencies, ReconcileError> {
    let (caches, namespace) = (&context.caches, decoded.namespace());
    let precondition_error = match next.filter(|_| needs_request) {
        Some(broker) => context.brokers.precondition_error(caches, broker).await,
        None => None,
    };
    let taken_id =
        if needs_request || decoded.is_restored() { ids::taken(decoded, context).await? } else { None };
    Ok(CommonDependencies {
        parameters: None,
        recorded_broker_exists: recorded
            .is_some_and(|recorded| caches.has_broker(&references::recorded_broker(recorded, namespace))),
        replacement,
        namespace_uid: caches.namespace_uid(namespace),
        cluster_id: context.cluster_id.clone(),
        precondition_error,
        taken_id,
    })
}

/// The reconciler of a kind that has operations at a broker: instances and bindings.
pub struct OperationReconciler<R>(PhantomData<R>);

impl<R: ObserveHooks + ApartHooks> Reconciler for OperationReconciler<R> {
    type Object = R::Object;
    type Status = R::Status;
    type Dependencies = R::Dependencies;
    type Memory = OperationMemory;
    type Call = Call<R::Request>;
    type Answer = Answered<R::Reply>;

    async fn observe(object: &Arc<R::Object>, context: &Context) -> Result<R::Dependencies, ReconcileError> {
        R::observe(object, context).await
    }

    async fn read_secrets(
        observed: &mut Observed<Self>,
        reserved: Option<Reservation>,
        context: &Context,
    ) -> Result<Read, ReconcileError> {
        let object = Arc::clone(&observed.object);
        let memory = match reading::memory_for::<R>(&object, reserved, &context.memory.parameters) {
            Ok(memory) => memory,
            Err(bytes) => return Ok(Read::NeedsMemory(bytes)),
        };
        let apart = R::instead(&View::of(observed)).map(|apart| apart.object);
        let asking = apart.as_ref().unwrap_or(&object);
        R::read_secrets(asking, &mut observed.dependencies, memory, context).await?;
        observed.memory.unreadable = reading::unreadable(&View::<R>::of(observed));
        context.operations.set(View::<R>::of(observed).uid(), observed.memory);
        Ok(Read::Done)
    }

    fn kind(caches: &Caches) -> &Kind<R::Object> {
        R::kind(caches)
    }

    fn memories(context: &Context) -> &Memories<OperationMemory> {
        &context.operations
    }

    fn plan(observed: &Observed<Self>) -> StepOf<Self> {
        apart::plan_all(&View::<R>::of(observed))
    }

    fn needs_intent(call: &Call<R::Request>) -> bool {
        match call {
            Call::Request(_, request) => R::is_mutating(request),
            Call::Delete(.., DeletePurpose::Mitigation) => true,
            Call::Delete(.., DeletePurpose::Deletion) | Call::Poll(..) => false,
        }
    }

    fn unanswered(observed: &Observed<Self>, call: &Call<R::Request>) -> Option<R::Status> {
        let address = call.address();
        apart::change_of(&View::<R>::of(observed), address.binding_id.as_ref(), |view| match call {
            Call::Delete(_, _, DeletePurpose::Deletion) => {
                Some(status::waiting_for_deletion(view, &address.broker))
            }
            Call::Request(..) | Call::Delete(_, _, DeletePurpose::Mitigation) => {
                view.is_ahead().then(|| status::waiting_for_answer(view, &address.broker))
            }
            Call::Poll(..) => None,
        })
    }

    fn queued(observed: &Observed<Self>, key: &ConcurrencyKey, under_way: usize) -> Option<R::Status> {
        let (view, changes) = (View::<R>::of(observed), key.instance_id.is_some());
        let queued = |view: &View<'_, R>| status::waiting_for_turn(view, &key.broker, under_way);
        changes.then(|| apart::change_of(&view, key.binding_id.as_ref(), queued)).flatten()
    }

    fn concurrency_key(object: &R::Object, call: &Call<R::Request>) -> ConcurrencyKey {
        let namespace = object.namespace().unwrap_or_default();
        let (changes, lane) = match call {
            Call::Request(_, request) if R::is_mutating(request) => (true, Lane::Orders(namespace)),
            Call::Delete(..) => (true, Lane::Others(namespace)),
            Call::Request(..) | Call::Poll(..) => (false, Lane::Others(namespace)),
        };
        let address = call.address();
        let instance_id = changes.then(|| address.instance_id.clone());
        let binding_id = address.binding_id.clone().filter(|_| changes);
        ConcurrencyKey { broker: address.broker.clone(), instance_id, binding_id, lane }
    }

    fn is_contested(object: &R::Object, context: &Context) -> bool {
        ids::is_contested(&Decoded::<R>::of(object), &context.caches)
    }

    async fn call(call: Admitted<Call<R::Request>>, context: &Context) -> Answered<R::Reply> {
        let mut call = call.into_inner();
        if !context.policies.vouch_for::<R::Object>() {
            call.address_mut().identity = None;
        }
        let binding_id = call.address().binding_id.clone();
        let answer = match call {
            Call::Request(address, request) => Answer::Request(R::send(address, request, context).await),
            Call::Delete(address, target, purpose) => {
                Answer::Delete(purpose, delete(&address, &target, context).await)
            }
            Call::Poll(address, target, operation) => {
                Answer::Poll(poll(&address, &target, operation.as_deref(), context).await)
            }
        };
        Answered { binding_id, answer }
    }

    fn absorb(observed: &Observed<Self>, answered: Answered<R::Reply>) -> AbsorbedOf<Self> {
        apart::absorb_all(&View::<R>::of(observed), answered)
    }

    fn absorb_rejected_write(observed: &Observed<Self>, rejected: &RejectedWrite) -> R::Status {
        let (view, message) = (View::<R>::of(observed), &rejected.message);
        match R::instead(&view) {
            Some(apart) => {
                let of_apart = apart.view(&view);
                let status = R::absorb_rejected_write(&of_apart, message);
                R::absorb_apart(&view, &of_apart, status)
            }
            None => R::absorb_rejected_write(&view, message),
        }
    }

    fn conditions(status: &R::Status) -> &[Condition] {
        status.conditions()
    }
}

async fn delete(address: &Address, target: &Target, context: &Context) -> osb::Outcome<Deleted> {
    let Address { broker, instance_id, binding_id, identity } = address;
    let identity = identity.as_ref();
    context
        .brokers
        .ask(&context.caches, broker, async |client| match binding_id {
            None => client.deprovision(instance_id, target, identity).await,
            Some(binding_id) => client.unbind(instance_id, binding_id, target, identity).await,
        })
        .await
}

async fn poll(
    address: &Address,
    target: &Target,
    operation: Option<&str>,
    context: &Context,
) -> osb::Outcome<Polled> {
    let Address { broker, instance_id, binding_id, identity } = address;
    let identity = identity.as_ref();
    context
        .brokers
        .ask(&context.caches, broker, async |client| match binding_id {
            None => client.poll_instance(instance_id, target, operation, identity).await,
            Some(binding_id) => {
                client.poll_binding(instance_id, binding_id, target, operation, identity).await
            }
        })
        .await
}
