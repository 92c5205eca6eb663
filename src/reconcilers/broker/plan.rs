//! What comes next for a broker. Pure.
//!
//! The catalog is fetched when the spec has changed, when fetching it has failed (later and later), and when the
//! interval has passed. What of that the status does not say is in the process's memory: a restart fetches no catalog
//! that is not due, and tries a failing broker once more.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::{Resource as _, ResourceExt as _};

use super::{
    BrokerDependencies, BrokerReconciler, FetchCatalog,
    memory::{failures, is_current, is_ready},
    owner::{self, Ownership},
    restrictions::Restrictions,
    status,
};
use crate::{
    caches::Watched,
    crd::{
        FINALIZER, ServiceBrokerStatus,
        broker::RelistBehavior,
        scope::{BrokerObject, CatalogObject},
    },
    reconcilers::{
        backoff::{self, Pace},
        reconciler::{Observed, Step, StepOf, Wait},
        writes::Write,
    },
};

/// How many of the instances that block a deletion are named.
const NAMED: usize = 5;

pub(super) fn plan<S: Watched>(observed: &Observed<BrokerReconciler<S>>) -> StepOf<BrokerReconciler<S>> {
    let broker = &*observed.object;
    let guarded = broker.finalizers().iter().any(|name| name == FINALIZER);
    match (guarded, broker.meta().deletion_timestamp.is_some()) {
        (true, true) => leave(observed),
        (true, false) => fetch(observed),
        (false, false) if observed.status().conditions.is_empty() => Step::AddFinalizer,
        // Either on its way out, or somebody has taken the finalizer away: the broker is abandoned.
        (false, _) => Step::Wait(Wait::ForChange),
    }
}

fn fetch<S: Watched>(observed: &Observed<BrokerReconciler<S>>) -> StepOf<BrokerReconciler<S>> {
    let broker = &*observed.object;
    if let Err(invalid) = Restrictions::parse(broker.common().catalog_restrictions.as_ref(), S::KIND) {
        return settle(observed, status::not_synced::<S>(observed, &invalid.to_string()));
    }
    match due(observed) {
        None => Step::Wait(Wait::ForChange),
        Some(at) if at > observed.now => Step::Wait(Wait::Until(at)),
        Some(_) => Step::Call { before: Vec::new(), call: FetchCatalog::of::<S>(broker) },
    }
}

/// Writes a finding, unless it is on record, and waits for somebody to act on it.
fn settle<S: Watched>(
    observed: &Observed<BrokerReconciler<S>>,
    status: ServiceBrokerStatus,
) -> StepOf<BrokerReconciler<S>> {
    if status == observed.status() { Step::Wait(Wait::ForChange) } else { Step::Record(status) }
}

/// When the catalog is to be fetched next; `None`: when the spec changes.
pub(super) fn due<S: Watched>(observed: &Observed<BrokerReconciler<S>>) -> Option<Timestamp> {
    let Observed { object: broker, memory, settings, now, .. } = observed;
    let status = observed.status();
    let generation = broker.meta().generation.unwrap_or_default();
    let settled = is_ready(&status)
        && status.reconciled_generation == generation
        && status.catalog_reader >= status::CATALOG_READER;
    let tried = memory.answered.filter(|_| is_current(observed));
    let failures = failures(observed);
    match tried {
        Some(at) if !settled || failures > 0 => {
            let uid = broker.uid().unwrap_or_default();
            let pace = Pace { now: *now, settings, uid: &uid };
            let retry = pace.retry_at(at, failures - 1);
            Some(memory.not_before.map_or(retry, |not_before| not_before.max(retry)))
        }
        None if !settled || memory.answered.is_some() => Some(*now),
        // Not more often than a broker that fails is asked.
        Some(at) if observed.dependencies.outdated => Some(backoff::later(at, settings.retry_base)),
        None if observed.dependencies.outdated => Some(*now),
        Some(_) | None => {
            let fetched = status.last_catalog_retrieval_time.map(|time| time.0).max(tried);
            let interval = interval(observed)?;
            Some(fetched.map_or(*now, |fetched| backoff::later(fetched, interval)))
        }
    }
}

/// How long a catalog is good for; `None`: until it is asked for again.
fn interval<S: Watched>(observed: &Observed<BrokerReconciler<S>>) -> Option<SignedDuration> {
    let common = observed.object.common();
    match common.relist_behavior {
        RelistBehavior::Manual => None,
        RelistBehavior::Unset | RelistBehavior::Duration => {
            let wanted = common.relist_duration.filter(|duration| !duration.is_negative());
            let wanted = wanted
                .and_then(|duration| SignedDuration::try_from(std::time::Duration::from(duration)).ok());
            let interval =
                wanted.filter(SignedDuration::is_positive).unwrap_or(observed.settings.relist_interval);
            // Not more often than a broker that fails is asked.
            Some(interval.max(observed.settings.retry_base))
        }
    }
}

/// The broker is being deleted: nothing while instances need it, then its plans, its classes, its finalizer.
fn leave<S: Watched>(observed: &Observed<BrokerReconciler<S>>) -> StepOf<BrokerReconciler<S>> {
    let BrokerDependencies { classes, plans, users, .. } = &observed.dependencies;
    let broker = &*observed.object;
    if !users.is_empty() {
        return settle(observed, status::deletion_blocked::<S>(observed, &blocked_by(users)));
    }
    let plans = ours(plans, broker);
    let entries = if plans.is_empty() { ours(classes, broker) } else { plans };
    if entries.is_empty() {
        return Step::RemoveFinalizer;
    }
    let deletions: Vec<Write> = entries.into_iter().flatten().collect();
    // What is left is on its way: its end is an event of its own.
    if deletions.is_empty() { Step::Wait(Wait::ForChange) } else { Step::Write(deletions) }
}

/// For each entry that is this broker's, its deletion, unless that is under way.
fn ours<E: CatalogObject, B: BrokerObject>(entries: &[Arc<E>], broker: &B) -> Vec<Option<Write>> {
    let ours = entries.iter().filter(|entry| owner::of(&***entry, broker) == Ownership::Ours);
    ours.map(|entry| entry.meta().deletion_timestamp.is_none().then(|| Write::delete(&**entry))).collect()
}

fn blocked_by(users: &[String]) -> String {
    let named = users.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = match users.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "The broker cannot be deleted while it has instances: {named}{more}. Delete these ServiceInstances first, or \
         give them up with `svcat deprovision --abandon`."
    )
}
