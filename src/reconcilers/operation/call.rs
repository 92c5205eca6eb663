//! Requests to brokers and their answers, paired by type.

use std::future::Future;

use super::{
    phase::{Awaited, Cause},
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

/// What a kind adds to requests: those of its own, and where all of them go.
pub trait RequestHooks: BrokerResource {
    /// Where a request about what exists goes, from what is on record: class, plan and catalog may have changed since.
    fn recorded_target(view: &View<'_, Self>) -> Option<(Address, Target)>;
    /// Where a poll goes.
    fn poll_target(view: &View<'_, Self>, _: Awaited<Self::Operation>) -> Option<(Address, Target)> {
        Self::recorded_target(view)
    }
    /// Whether a request of the kind changes something at the broker. Such a request needs an intent.
    fn changes(request: &Self::Request) -> bool;
    /// Sends a request of the kind.
    fn send(
        address: Address,
        request: Self::Request,
        context: &Context,
    ) -> impl Future<Output = Self::Reply> + Send;
}

/// What a request is about, and for whom it is made.
#[derive(Clone, PartialEq)]
pub struct Address {
    /// The broker.
    pub broker: BrokerKey,
    /// The instance.
    pub instance_id: InstanceId,
    /// The binding, where the request is about one.
    pub binding_id: Option<BindingId>,
    /// The user, where admission recorded one.
    pub identity: Option<Identity>,
}

/// A request to a broker. `Q` are the requests of one kind.
pub enum Call<Q> {
    /// A request of the kind: PUT, PATCH, GET.
    Request(Address, Q),
    /// `DELETE`
    Delete(Address, Target, Cause),
    /// `GET …/last_operation`, with the `operation` that the broker gave.
    Poll(Address, Target, Option<String>),
}

/// A request together with what came of it. `P` are the replies of one kind. No `Debug`: a reply may hold credentials.
pub enum Answer<P> {
    /// To a request of the kind.
    Request(P),
    /// To a `DELETE`.
    Delete(Cause, osb::Outcome<Deleted>),
    /// To a poll.
    Poll(osb::Outcome<Polled>),
}

impl<Q> Call<Q> {
    /// What it is about.
    #[must_use]
    pub fn address(&self) -> &Address {
        match self {
            Self::Request(address, _) | Self::Delete(address, ..) | Self::Poll(address, ..) => address,
        }
    }
}
