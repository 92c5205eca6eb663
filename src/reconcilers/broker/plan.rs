//! What comes next for a broker. Pure.
//!
//! The catalog is fetched when the spec has changed, when the interval is over, and after a failure with
//! growing delays. Some of this is only in the memory of the process. After a restart the operator fetches no
//! catalog before its time, except that it tries once more if the last fetch has failed.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::{Resource as _, ResourceExt as _};
use serde_json::json;

use super::{
    BrokerDependencies, BrokerReconciler, FetchCatalog,
    memory::{failures, fetch_not_before, is_current, is_ready},
    owner::{self, Ownership},
    restrictions::Restrictions,
    status,
};
use crate::{
    caches::Watched,
    clock,
    crd::{
        FINALIZER, ServiceBrokerStatus,
        broker::RelistBehavior,
        scope::{BrokerObject, CatalogObject, Object as _},
    },
    reconcilers::{
        backoff::Pace,
        credentials::Unheld,
        messages,
        reconciler::{ObjectPatch, Observed, Step, StepOf, Wait, with_finalizer},
        references::replaced::ambiguous,
        writes::Write,
    },
};

/// How many of the instances that block a deletion the message names.
const NAMED: usize = 5;

pub(super) fn plan<S: Watched>(observed: &Observed<BrokerReconciler<S>>) -> StepOf<BrokerReconciler<S>> {
    let broker = &*observed.object;
    let has_finalizer = broker.finalizers().iter().any(|name| name == FINALIZER);
    match (has_finalizer, broker.meta().deletion_timestamp.is_some()) {
        (true, true) => plan_deletion(observed),
        (true, false) => plan_fetch(observed),
        (false, false) if observed.status().conditions.is_empty() => Step::Claim(ObjectPatch {
            patch: json!({ "metadata": { "finalizers": with_finalizer(broker) } }),
            status: observed.status(),
        }),
        // The broker is being deleted, or a user has removed the finalizer: the operator no longer works on
        // it.
        (false, _) => Step::Wait(Wait::ForChange),
    }
}

fn plan_fetch<S: Watched>(observed: &Observed<BrokerReconciler<S>>) -> StepOf<BrokerReconciler<S>> {
    let broker = &*observed.object;
    // The status of a broker can be made anew from its catalog.
    if let Some(defects) = broker.defects().filter(|defects| !defects.spec.is_empty()) {
        return record_and_wait(observed, status::unreadable::<S>(observed, &messages::unreadable(defects)));
    }
    if let Err(invalid) = Restrictions::parse(broker.common().catalog_restrictions.as_ref(), S::KIND) {
        return record_and_wait(observed, status::not_synced::<S>(observed, &invalid.to_string()));
    }
    match due(observed) {
        None => wait_holding(observed, None),
        Some(at) if at > observed.now => wait_holding(observed, Some(at)),
        Some(_) => Step::Call { before: Vec::new(), call: FetchCatalog::of::<S>(broker) },
    }
}

/// Waits until the catalog is due. Before that, holds back the Secret of the broker. No watch shows when a
/// missing Secret is created, so the operator looks for it.
fn wait_holding<S: Watched>(
    observed: &Observed<BrokerReconciler<S>>,
    due: Option<Timestamp>,
) -> StepOf<BrokerReconciler<S>> {
    let unheld = observed.dependencies.unheld.as_ref();
    if let Some(write) = unheld.and_then(Unheld::hold) {
        return Step::Write(vec![write]);
    }
    let recheck = unheld.map(|_| clock::later(observed.now, observed.settings.recheck_interval));
    let until = due.into_iter().chain(recheck).min();
    Step::Wait(Wait::until_first(until))
}

/// Writes a status, unless it is the present one, and waits for a change.
fn record_and_wait<S: Watched>(
    observed: &Observed<BrokerReconciler<S>>,
    status: ServiceBrokerStatus,
) -> StepOf<BrokerReconciler<S>> {
    if status == observed.status() { Step::Wait(Wait::ForChange) } else { Step::Record(status) }
}

/// When the catalog is fetched next. `None`: not before the spec changes.
pub(super) fn due<S: Watched>(observed: &Observed<BrokerReconciler<S>>) -> Option<Timestamp> {
    let due = wanted(observed)?;
    Some(fetch_not_before(observed).map_or(due, |not_before| not_before.max(due)))
}

/// When the catalog would be fetched next if it had not changed.
fn wanted<S: Watched>(observed: &Observed<BrokerReconciler<S>>) -> Option<Timestamp> {
    let Observed { object: broker, memory, settings, now, .. } = observed;
    let status = observed.status();
    let generation = broker.meta().generation.unwrap_or_default();
    let is_synced = is_ready(&status)
        && status.reconciled_generation == generation
        && status.catalog_reader >= status::CATALOG_READER;
    let last_attempt = memory.answered.filter(|_| is_current(observed));
    let failures = failures(observed);
    match last_attempt {
        Some(at) if !is_synced || failures > 0 => {
            let uid = broker.uid().unwrap_or_default();
            let pace = Pace { now: *now, settings, uid: &uid };
            let retry = pace.retry_at(at, failures - 1);
            Some(memory.not_before.map_or(retry, |not_before| not_before.max(retry)))
        }
        // A spec that changes all the time must not overload the broker.
        None if !is_synced || memory.answered.is_some() => {
            Some(memory.answered.map_or(*now, |at| clock::later(at, settings.retry_base)))
        }
        // This limits how often a broker is asked that always says that its catalog has changed.
        Some(at) if observed.dependencies.outdated => Some(clock::later(at, settings.relist_minimum)),
        None if observed.dependencies.outdated => Some(*now),
        Some(_) | None => {
            let recorded = status.last_catalog_retrieval_time.map(|time| settings.past(time.0, *now));
            let fetched = recorded.max(last_attempt);
            let interval = interval(observed)?;
            Some(fetched.map_or(*now, |fetched| clock::later(fetched, interval)))
        }
    }
}

/// The time between two fetches. `None`: the catalog is fetched only on request.
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
            // A very short interval must overload neither the broker nor the API server.
            Some(interval.max(observed.settings.relist_minimum))
        }
    }
}

/// For a broker that is being deleted: waits while instances need it, then deletes its plans and its classes,
/// and removes the finalizer last.
fn plan_deletion<S: Watched>(observed: &Observed<BrokerReconciler<S>>) -> StepOf<BrokerReconciler<S>> {
    let BrokerDependencies { classes, plans, blocking_instances, .. } = &observed.dependencies;
    let broker = &*observed.object;
    if !blocking_instances.is_empty() {
        return record_and_wait(
            observed,
            status::deletion_blocked::<S>(observed, &blocked_by(blocking_instances, &successors(observed))),
        );
    }
    let plans = deletions_of_owned(plans, broker);
    let entries = if plans.is_empty() { deletions_of_owned(classes, broker) } else { plans };
    if entries.is_empty() {
        return Step::RemoveFinalizer;
    }
    let deletions: Vec<Write> = entries.into_iter().flatten().collect();
    // The others are being deleted already. The end of their deletion triggers a reconcile.
    if deletions.is_empty() { Step::Wait(Wait::ForChange) } else { Step::Write(deletions) }
}

/// For each object that the broker owns, its deletion. `None` for an object that is being deleted already.
fn deletions_of_owned<E: CatalogObject, B: BrokerObject>(
    entries: &[Arc<E>],
    broker: &B,
) -> Vec<Option<Write>> {
    let owned = entries.iter().filter(|entry| owner::of(&***entry, broker) == Ownership::Ours);
    owned.map(|entry| entry.meta().deletion_timestamp.is_none().then(|| Write::delete(&**entry))).collect()
}

/// A sentence about the broker objects that take the place of this one. Empty if there are none.
fn successors<S: Watched>(observed: &Observed<BrokerReconciler<S>>) -> String {
    let key = super::key::<S>(&observed.object).to_string();
    match &observed.dependencies.successors[..] {
        [] => String::new(),
        [only] => format!(
            " The broker {only} takes its place: instances go on with it if it offers their class and plan under the same ids."
        ),
        several => format!(" No instance goes on with another broker: {}.", ambiguous(&key, several)),
    }
}

fn blocked_by(blocking_instances: &[String], successors: &str) -> String {
    let named = blocking_instances.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = match blocking_instances.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "The broker cannot be deleted while it has instances: {named}{more}. Delete these ServiceInstances first, or \
         give them up with `svcat deprovision --abandon`.{successors}"
    )
}
