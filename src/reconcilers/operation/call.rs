//! Which requests does the operator send to a broker, and which answers do they have? The types here pair
//! them.

use std::future::Future;

use super::{
    phase::{Awaited, DeletePurpose},
    resource::{BrokerResource, View},
};
use crate::{
    crd::common::BrokerKey,
    osb::{
        self, BindingId, Identity, InstanceId,
        outcome::{Deleted, Polled},
        wire::Target,
    },
    reconcilers::context::Context,
};

/// The part of sending requests that differs between instances and bindings.
pub trait RequestHooks: BrokerResource {
    /// The address and target of a request about an existing resource. They come from the status, because
    /// class, plan and catalog may have changed since.
    fn recorded_target(view: &View<'_, Self>) -> Option<(Address, Target)>;
    /// The address and target of a poll.
    fn poll_target(view: &View<'_, Self>, _: Awaited<Self::Operation>) -> Option<(Address, Target)> {
        Self::recorded_target(view)
    }
    /// Whether a request changes something at the broker. Such a request needs an intent.
    fn is_mutating(request: &Self::Request) -> bool;
    /// Sends a request of this kind, and returns its reply.
    fn send(
        address: Address,
        request: Self::Request,
        context: &Context,
    ) -> impl Future<Output = Self::Reply> + Send;
}

/// The broker and the resource that a request is about, and the user it is made for.
#[derive(Clone, PartialEq)]
pub struct Address {
    /// The broker.
    pub broker: BrokerKey,
    /// The instance.
    pub instance_id: InstanceId,
    /// The binding, if the request is about one.
    pub binding_id: Option<BindingId>,
    /// The user, if admission recorded one (OSB 2.17, "Originating Identity").
    pub identity: Option<Identity>,
}

/// A request to a broker. `Q` is the type of the requests that only one kind has.
pub enum Call<Q> {
    /// PUT, PATCH or GET.
    Request(Address, Q),
    /// `DELETE`
    Delete(Address, Target, DeletePurpose),
    /// `GET …/last_operation`, with the `operation` that the broker returned.
    Poll(Address, Target, Option<String>),
}

/// The answer to a request. `P` is the type of the replies that only one kind has. It has no `Debug`, as a
/// reply may hold credentials.
pub enum Answer<P> {
    /// The answer to a PUT, PATCH or GET.
    Request(P),
    /// The answer to a DELETE.
    Delete(DeletePurpose, osb::Outcome<Deleted>),
    /// The answer to a poll.
    Poll(osb::Outcome<Polled>),
}

/// An answer, and the binding that it is about.
pub struct Answered<P> {
    /// The id of the binding. `None` if the answer is about an instance.
    pub binding_id: Option<BindingId>,
    /// The answer.
    pub answer: Answer<P>,
}

impl<Q> Call<Q> {
    /// The answer to this request.
    #[must_use]
    pub fn answered<P>(&self, answer: Answer<P>) -> Answered<P> {
        Answered { binding_id: self.address().binding_id.clone(), answer }
    }

    /// The broker and the resource that the request is about.
    #[must_use]
    pub fn address(&self) -> &Address {
        match self {
            Self::Request(address, _) | Self::Delete(address, ..) | Self::Poll(address, ..) => address,
        }
    }

    /// The same, for changes.
    pub fn address_mut(&mut self) -> &mut Address {
        match self {
            Self::Request(address, _) | Self::Delete(address, ..) | Self::Poll(address, ..) => address,
        }
    }
}
