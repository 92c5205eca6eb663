//! The Secrets with the credentials of namespaced brokers. When a namespace is deleted, its Secrets go before
//! its instances. A finalizer holds back those that the operator needs to have the instances deleted at the
//! broker.
//!
//! The reconciler of brokers adds the finalizer, once the catalog was fetched with the Secret. The controller
//! in this file removes it. It holds nothing back outside a namespace that is being deleted, so a Secret can
//! be deleted and created again at any time. A label lets the operator watch these Secrets and no others, so
//! without the watch on Secrets (`--no-secret-watch`) it holds back none.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::{
    ResourceExt as _,
    core::{ObjectMeta, PartialObjectMeta},
    runtime::reflector::ObjectRef,
};

use super::{
    action::Action,
    context::Context,
    error::ReconcileError,
    runner::{SAFETY_INTERVAL, traced},
    writes::{Write, secret::HELD},
};
use crate::{
    caches::{Caches, cached::Cached, queue::Slot},
    crd::{ServiceBroker, broker::SecretAuth, scope::BrokerObject as _},
    kube_api::{namespaces, secrets::secret_metadata},
};

/// The metadata of a Secret.
pub type SecretMetadata = PartialObjectMeta<Secret>;

/// A Secret that is not held back although a broker needs it.
#[derive(Clone, Debug, PartialEq)]
pub enum Unheld {
    /// It exists.
    Present(Box<ObjectMeta>),
    /// It does not exist, or is about to be gone.
    Missing,
}

impl Unheld {
    /// The write that holds back the Secret.
    #[must_use]
    pub fn hold(&self) -> Option<Write> {
        let Self::Present(present) = self else { return None };
        let mut finalizers = present.finalizers.clone().unwrap_or_default();
        if !finalizers.iter().any(|name| name == HELD) {
            finalizers.push(HELD.to_owned());
        }
        let held = ObjectMeta {
            finalizers: Some(finalizers),
            labels: Some([(HELD.to_owned(), "held".to_owned())].into()),
            ..identity(present)
        };
        Some(Write::LabelSecret(Box::new(held)))
    }
}

/// Which version of which object this is.
fn identity(metadata: &ObjectMeta) -> ObjectMeta {
    let ObjectMeta { name, namespace, uid, resource_version, .. } = metadata.clone();
    ObjectMeta { name, namespace, uid, resource_version, ..ObjectMeta::default() }
}

fn is_held(metadata: &ObjectMeta) -> bool {
    metadata.finalizers.iter().flatten().any(|name| name == HELD)
        && metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(HELD))
}

/// The Secret of a namespaced broker, if the operator has to hold it back and does not.
pub(super) async fn unheld(auth: &SecretAuth, context: &Context) -> Result<Option<Unheld>, ReconcileError> {
    let Some(held) = &context.caches.broker_secrets else { return Ok(None) };
    let SecretAuth { namespace, name, .. } = auth;
    if held.get(&ObjectRef::new(name).within(namespace)).is_some_and(|secret| is_held(&secret.metadata)) {
        return Ok(None);
    }
    let present = secret_metadata(&context.client, namespace, name).await?;
    Ok(state(present.map(|secret| secret.metadata)))
}

fn state(present: Option<ObjectMeta>) -> Option<Unheld> {
    match present {
        Some(metadata) if is_held(&metadata) => None,
        Some(metadata) if metadata.deletion_timestamp.is_none() => Some(Unheld::Present(Box::new(metadata))),
        Some(_) | None => Some(Unheld::Missing),
    }
}

/// Whether the finalizer of a Secret can go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Need {
    /// No broker names it.
    Nobody,
    /// A broker names it, and it is being deleted. It is needed only if its namespace is being deleted too.
    WhileNamespaceEnds,
    /// A broker names it.
    Broker,
}

fn need(secret: &ObjectMeta, brokers: &[Arc<ServiceBroker>]) -> Need {
    let names = |broker: &Arc<ServiceBroker>| {
        broker.auth().is_some_and(|auth| Some(&auth.name) == secret.name.as_ref())
    };
    match (brokers.iter().any(names), &secret.deletion_timestamp) {
        (false, _) => Need::Nobody,
        (true, Some(_)) => Need::WhileNamespaceEnds,
        (true, None) => Need::Broker,
    }
}

/// Removes the finalizer and the label of a Secret that nobody needs.
///
/// # Errors
/// The API server did not answer, or refuses the write.
pub async fn reconcile(
    secret: Cached<SecretMetadata>,
    context: Arc<Context>,
    _slot: Slot,
) -> Result<Action, ReconcileError> {
    traced(&secret, &context, async {
        let secret = secret.read();
        let namespace = secret.namespace().unwrap_or_default();
        let can_go = match need(&secret.metadata, &brokers_in(&namespace, &context.caches)) {
            Need::Nobody => true,
            // The caches have no common order: the end of the namespace may be later in its own.
            Need::WhileNamespaceEnds => {
                !context.caches.is_namespace_ending(&namespace)
                    && !namespaces::is_ending(&context.client, &namespace).await?
            }
            Need::Broker => false,
        };
        if can_go {
            Write::ReleaseSecret(Box::new(secret.metadata.clone())).perform(&context).await?;
        }
        Ok(Action::requeue(SAFETY_INTERVAL))
    })
    .await
}

fn brokers_in(namespace: &str, caches: &Caches) -> Vec<Arc<ServiceBroker>> {
    caches.namespaced.brokers_in(Some(namespace))
}

/// The brokers of a namespace that name this Secret.
#[must_use]
pub fn brokers_of(secret: &SecretMetadata, caches: &Caches) -> Vec<Arc<ServiceBroker>> {
    let mut brokers = brokers_in(&secret.namespace().unwrap_or_default(), caches);
    brokers.retain(|broker| need(&secret.metadata, std::slice::from_ref(broker)) != Need::Nobody);
    brokers
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::*;

    fn secret(held: bool, deleted: bool) -> ObjectMeta {
        ObjectMeta {
            name: Some("credentials".into()),
            namespace: Some("shop".into()),
            uid: Some("u".into()),
            resource_version: Some("7".into()),
            finalizers: Some(
                [Some("other".to_owned()), held.then(|| HELD.to_owned())].into_iter().flatten().collect(),
            ),
            labels: held.then(|| [(HELD.to_owned(), "held".to_owned())].into()),
            deletion_timestamp: deleted.then_some(Time(jiff::Timestamp::UNIX_EPOCH)),
            ..ObjectMeta::default()
        }
    }

    fn broker(secret: &str) -> Arc<ServiceBroker> {
        let spec = json!({ "authInfo": { "basic": { "secretRef": { "name": secret } } } });
        Arc::new(ServiceBroker::new("b", serde_json::from_value(spec).unwrap()))
    }

    #[test]
    fn a_secret_is_held_back_once_and_keeps_its_other_finalizers() {
        assert_eq!(state(Some(secret(true, false))), None);
        assert_eq!(state(Some(secret(true, true))), None);
        assert_eq!(state(Some(secret(false, true))), Some(Unheld::Missing));
        assert_eq!(state(None), Some(Unheld::Missing));
        let Some(Write::LabelSecret(written)) = state(Some(secret(false, false))).unwrap().hold() else {
            panic!("no write")
        };
        assert_eq!(*written, secret(true, false));
        assert!(Unheld::Missing.hold().is_none());
    }

    #[test]
    fn a_secret_is_needed_while_a_broker_names_it() {
        for (deleted, brokers, expected) in [
            (false, vec![broker("credentials")], Need::Broker),
            (true, vec![broker("other"), broker("credentials")], Need::WhileNamespaceEnds),
            (false, vec![broker("other")], Need::Nobody),
            (true, vec![], Need::Nobody),
        ] {
            assert_eq!(need(&secret(true, deleted), &brokers), expected);
        }
    }
}
