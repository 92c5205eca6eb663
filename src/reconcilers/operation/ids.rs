//! Who has an id at a broker? An id is all that a broker asks for: whoever sends it can bind to what is behind
//! it, or delete that. So two objects never use one id at the same broker, whatever their namespaces and their
//! broker objects are.
//!
//! The order of two objects does not depend on who is faster:
//!
//! 1. An object that may have something at the broker under the id keeps it.
//! 2. Else the id belongs to the object that derives it from its uid. Nobody else can take it first.
//! 3. Else it belongs to the older object, and of two of one age to the one with the lower uid.
//!
//! An object with an id that another one has waits. If it derives its ids, it goes on with the next one.

use std::{cmp::Reverse, sync::Arc};

use kube::{Resource as _, ResourceExt as _};

use super::{
    dependencies::TakenId,
    resource::{BrokerResource, Decoded},
};
use crate::{
    caches::Caches,
    crd::common::BrokerKey,
    osb::ids::normal_form,
    reconcilers::{context::Context, error::ReconcileError, writes},
};

/// What the check of ids needs to know of a kind.
pub trait IdHooks: BrokerResource {
    /// The id at the broker: the current one, or the one that the next attempt will use.
    fn id(object: &Decoded<'_, Self>) -> String;
    /// Whether the object has this id, in normal form, at the broker, or gets it.
    fn has_id(object: &Decoded<'_, Self>, id: &str) -> bool {
        normal_form(&Self::id(object)) == id
    }
    /// The objects that may have this id, or get it.
    fn by_id(id: &str, caches: &Caches) -> Vec<Arc<Self::Object>>;
    /// The broker that has the resource, or gets the next request for it. `None` if it is not known yet.
    fn broker(object: &Decoded<'_, Self>, caches: &Caches) -> Option<BrokerKey>;
}

/// Whether other objects have the id of this one, or may get it. Then a decision about it must be made while
/// no request for the id is under way.
pub fn is_contested<R: IdHooks>(object: &Decoded<'_, R>, caches: &Caches) -> bool {
    (!object.may_exist() || object.is_restored()) && !rivals(object, caches).is_empty()
}

fn rivals<R: IdHooks>(object: &Decoded<'_, R>, caches: &Caches) -> Vec<Arc<R::Object>> {
    let mut others = R::by_id(&R::id(object), caches);
    others.retain(|other| other.meta().uid.as_deref() != Some(object.uid()));
    others
}

/// Whether another object has the id that this one is about to use.
///
/// # Errors
/// The API server did not answer. It is asked only for another object with this id that the cache shows in an
/// older version than this process has written.
pub async fn taken<R: IdHooks>(
    object: &Decoded<'_, R>,
    context: &Context,
) -> Result<Option<TakenId>, ReconcileError> {
    let caches = &context.caches;
    if !is_contested(object, caches) {
        return Ok(None);
    }
    let Some(broker) = R::broker(object, caches) else { return Ok(None) };
    let claim = Claim::<R> { object, id: normal_form(&R::id(object)).into_owned(), broker, caches };
    let mut owners = Vec::new();
    for other in rivals(object, caches) {
        let other = match context.expectations.stale_for(&*other) {
            None => other,
            Some(_) => match writes::reread(context, &*other).await? {
                Some(present) => Arc::new(present),
                None => continue,
            },
        };
        if claim.is_lost_to(&Decoded::of(&*other)) {
            owners.push(other);
        }
    }
    // The cache has no order. Without `max`, the status would change without a reason.
    let is_near = |owner: &Arc<R::Object>| owner.meta().namespace.as_deref() == Some(object.namespace());
    let by = owners
        .iter()
        .map(|owner| is_near(owner).then(|| owner.name_any()))
        .max_by_key(|name| name.clone().map(Reverse));
    Ok(by.map(|by| TakenId { id: claim.id, by }))
}

/// An object that wants to use an id.
struct Claim<'a, R: BrokerResource> {
    object: &'a Decoded<'a, R>,
    /// The id, in normal form.
    id: String,
    broker: BrokerKey,
    caches: &'a Caches,
}

impl<R: IdHooks> Claim<'_, R> {
    fn is_lost_to(&self, other: &Decoded<'_, R>) -> bool {
        let (mine, theirs) = (derives(self.object), derives(other));
        let has_id = R::has_id(other, &self.id);
        let is_recorded = other.may_exist() && !other.is_restored();
        if !is_recorded && other.is_being_deleted() {
            // It never uses the id.
            return false;
        }
        if !mine && theirs && (has_id || normal_form(other.uid()) == self.id) {
            // Whatever its broker is: it may not be known yet.
            return true;
        }
        let reached = |broker: &BrokerKey| self.caches.reached_broker(broker);
        let is_same_broker =
            || R::broker(other, self.caches).is_some_and(|broker| reached(&broker) == reached(&self.broker));
        has_id && (is_recorded || (!mine && age(other) < age(self.object))) && is_same_broker()
    }
}

/// Whether the id follows from the uid of this very object.
pub(super) fn derives<R: BrokerResource>(object: &Decoded<'_, R>) -> bool {
    object.is_id_derived() && !object.is_restored()
}

fn age<'a, R: BrokerResource>(object: &'a Decoded<'_, R>) -> (Option<jiff::Timestamp>, &'a str) {
    (object.object.meta().creation_timestamp.as_ref().map(|time| time.0), object.uid())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        caches::tests::{entries, filled},
        crd::{ClusterWide, Namespaced, ServiceBroker, ServiceInstance},
        reconcilers::{identity::attempt_id, instance::Instance},
    };

    const UID: &str = "6f2f1a0e-3c67-4c5b-9d3f-0d7f2a2f5b11";
    const OTHER: &str = "11111111-3c67-4c5b-9d3f-0d7f2a2f5b11";

    /// An object of the namespace `a` or `b`, created at this second, with this id in the spec.
    fn object(namespace: &str, uid: &str, second: i64, id: &str) -> Value {
        json!({
            "metadata": {
                "name": "db", "namespace": namespace, "uid": uid,
                "creationTimestamp": jiff::Timestamp::from_second(second).unwrap(),
            },
            "spec": { "serviceClassExternalName": "db", "externalID": id },
        })
    }

    /// The same after its request, at the broker of this name.
    fn recorded(mut object: Value, id: &str, broker: &str) -> Value {
        object["status"] = json!({
            "conditions": [], "deprovisionStatus": "Required", "instanceID": id, "resolved": {
                "scope": "Namespace", "broker": broker, "class": "c", "plan": "p", "serviceID": "s", "planID": "p",
            },
        });
        object
    }

    /// `a/broker` and `b/same` have one URL, `b/other` has another.
    fn caches() -> Caches {
        let caches = filled(entries::<ClusterWide>(vec![], vec![]), entries::<Namespaced>(vec![], vec![]));
        for (namespace, name, url) in [
            ("a", "broker", "https://broker.example/osb"),
            ("b", "same", "https://BROKER.example:443/osb/"),
            ("b", "other", "https://other.example"),
        ] {
            let broker: ServiceBroker = serde_json::from_value(json!({
                "metadata": { "namespace": namespace, "name": name }, "spec": { "url": url },
            }))
            .unwrap();
            caches.namespaced.brokers.apply(&kube::runtime::watcher::Event::Apply(broker));
        }
        caches
    }

    /// Whether the first object loses its id, for `a/broker`, to the second one.
    fn is_lost(mine: &Value, theirs: &Value) -> bool {
        let [mine, theirs] = [mine, theirs].map(|object| {
            use crate::crd::scope::Object as _;
            serde_json::from_value::<ServiceInstance>(object.clone()).unwrap().complete()
        });
        let (mine, theirs) = (Decoded::<Instance>::of(&mine), Decoded::<Instance>::of(&theirs));
        let id = normal_form(&Instance::id(&mine)).into_owned();
        let broker = BrokerKey::new(crate::crd::ScopeKind::Namespace, Some("a"), "broker");
        Claim::<Instance> { object: &mine, id, broker, caches: &caches() }.is_lost_to(&theirs)
    }

    #[test]
    fn what_has_been_asked_for_keeps_its_id_at_every_broker_object_with_the_url() {
        let mine = object("a", UID, 1, "X");
        assert!(is_lost(&mine, &recorded(object("b", OTHER, 2, "X"), "X", "same")));
        assert!(!is_lost(&mine, &recorded(object("b", OTHER, 2, "X"), "X", "other")));
        assert!(!is_lost(&mine, &recorded(object("b", OTHER, 2, "Y"), "Y", "same")));
        // A broker may read both as one UUID.
        let upper = OTHER.to_uppercase();
        assert!(is_lost(&object("a", UID, 1, &upper), &recorded(object("b", OTHER, 2, ""), OTHER, "same")));
        // The order of the objects does not count, and neither does a derived id.
        assert!(is_lost(&object("a", UID, 1, ""), &recorded(object("b", OTHER, 2, UID), UID, "same")));
    }

    #[test]
    fn an_id_that_follows_from_a_uid_belongs_to_its_object() {
        let (mine, squatter) = (object("a", UID, 2, ""), object("b", OTHER, 1, UID));
        assert!(!is_lost(&mine, &squatter));
        assert!(is_lost(&squatter, &mine));
        // It may have used the uid, and is at a later attempt.
        let later = recorded(mine, &attempt_id("", UID, 1), "broker");
        assert!(is_lost(&squatter, &later));
        assert!(is_lost(&object("b", OTHER, 1, &attempt_id("", UID, 1)), &later));
    }

    #[test]
    fn of_two_given_ids_the_older_object_has_it_and_of_one_age_the_lower_uid() {
        let (older, newer) = (object("a", UID, 1, "X"), object("a", OTHER, 2, "X"));
        // Their class is not known, so their brokers may differ.
        assert!(!is_lost(&newer, &older) && !is_lost(&older, &newer));
        let age = |second, uid| {
            let object: ServiceInstance = serde_json::from_value(object("a", uid, second, "X")).unwrap();
            let decoded = Decoded::<Instance>::of(&object);
            let (at, uid) = age(&decoded);
            (at, uid.to_owned())
        };
        assert!(age(1, UID) < age(2, OTHER) && age(1, OTHER) < age(1, UID));
    }
}
