//! When are the Secrets of a spec read, and the parameters merged? Only when nothing but they decides what comes
//! next, and only with memory reserved for them.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    NextStep,
    dependencies::OperationDependencies as _,
    resource::{BrokerResource, View},
};
use crate::{
    clock::later,
    memory_budget::{Reservation, Share},
    reconcilers::{
        binding::credentials::MAX_SOURCE_BYTES,
        parameters::{MAX_SECRET_BYTES, Parameters},
        reconciler::{Step, Wait},
    },
};

/// How many times the text of parameters in a spec exists while a request is under way: in the request, in the
/// statuses, and on the way to the API server.
const INLINE_COPIES: usize = 6;

/// How many times the text of parameters from Secrets exists: merged, and in the request.
const SECRET_COPIES: usize = 2;

/// Parameters that take less than this need no memory of their own, in bytes. The reservation of the request
/// covers them.
const SMALL: usize = 16 << 10;

/// Reads before a step, if the step needs it. A request needs the Secrets also because its answer may repeat
/// their values, which no message may show. If they were missing or wrong a moment ago, they are not read again.
pub(super) fn first<R: BrokerResource>(view: &View<'_, R>, step: NextStep<R>) -> NextStep<R> {
    let recheck = view.memory.unreadable.filter(|(generation, _)| *generation == view.generation());
    let recheck =
        recheck.map(|(_, at)| later(at, view.settings.recheck_interval)).filter(|at| *at > view.now);
    let is_read = view.dependencies.common().parameters.is_some();
    match (step, recheck) {
        (Step::Read, Some(at)) => Step::Wait(Wait::Until(at)),
        (Step::Attempt { .. } | Step::Call { .. }, None) if !is_read && R::names_secrets(view.object) => {
            Step::Read
        }
        (step, _) => step,
    }
}

/// What to remember of a read: when Secrets were missing or wrong.
pub(super) fn unreadable<R: BrokerResource>(view: &View<'_, R>) -> Option<(i64, Timestamp)> {
    let is_wrong = R::names_secrets(view.object) && !R::is_readable(view.dependencies, view.object);
    is_wrong.then(|| (view.generation(), view.now))
}

/// The memory for what a spec may need at most: what was reserved for it, or what is free. `Err`: so many bytes are not
/// free now.
pub(super) fn memory_for<R: BrokerResource>(
    object: &R::Object,
    reserved: Option<Reservation>,
    share: &Share,
) -> Result<Option<Reservation>, usize> {
    let secrets =
        if R::names_secrets(object) { SECRET_COPIES * MAX_SECRET_BYTES + MAX_SOURCE_BYTES } else { 0 };
    let most = secrets + INLINE_COPIES * inline_length::<R>(object);
    if most <= SMALL {
        return Ok(None);
    }
    let reserved = reserved.filter(|reserved| share.suffices(reserved, most));
    reserved.or_else(|| share.try_reserve(most)).map(Some).ok_or(most)
}

/// Parameters with the memory that they take; the rest of the memory is free again.
pub(in crate::reconcilers) fn keep<R: BrokerResource>(
    parameters: Parameters,
    object: &R::Object,
    memory: Option<Reservation>,
) -> Parameters {
    let memory = memory.map(|mut memory| {
        memory.shrink_to(SECRET_COPIES * parameters.length() + INLINE_COPIES * inline_length::<R>(object));
        Arc::new(memory)
    });
    parameters.keeping(memory)
}

fn inline_length<R: BrokerResource>(object: &R::Object) -> usize {
    R::inline_parameters(object).map_or(0, |parameters| parameters.text().len())
}
