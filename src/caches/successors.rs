//! Which broker objects take the place of another one that is gone or is being deleted? Pure.
//!
//! Both objects are in the same namespace, or both are cluster-wide. So nobody can take over the instances of
//! another tenant: whoever may write broker objects there can see all of them.

use std::sync::Arc;

use kube::{Resource as _, ResourceExt as _};

use super::ScopeCaches;
use crate::{
    crd::{REPLACES_ANNOTATION, Scope, scope::BrokerObject},
    osb::endpoint::bare_url,
};

impl<S: Scope> ScopeCaches<S> {
    /// All broker objects of the cluster or of a namespace.
    #[must_use]
    pub fn brokers_in(&self, namespace: Option<&str>) -> Vec<Arc<S::Broker>> {
        let mut brokers = self.brokers.state();
        brokers.retain(|broker| broker.meta().namespace.as_deref() == namespace);
        brokers
    }

    /// Whether a broker object does not exist, or is being deleted.
    #[must_use]
    pub fn is_broker_leaving(&self, namespace: Option<&str>, name: &str) -> bool {
        self.broker(namespace, name).is_none_or(|broker| broker.meta().deletion_timestamp.is_some())
    }

    /// The broker objects that take the place of another one, sorted by name. Those that name it in their
    /// annotation count first. Without one, those count that have its URL. `url` is the recorded URL of an
    /// object that is gone.
    #[must_use]
    pub fn successors(&self, namespace: Option<&str>, name: &str, url: Option<&str>) -> Vec<Arc<S::Broker>> {
        let left = self.broker(namespace, name);
        if left.as_ref().is_some_and(|left| left.meta().deletion_timestamp.is_none()) {
            return Vec::new();
        }
        let url = left.map_or_else(|| url.map(str::to_owned), |left| bare_url(&left.common().url));
        let mut others = self.brokers_in(namespace);
        others.retain(|other| other.meta().deletion_timestamp.is_none());
        let (mut named, mut others): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|other| replaced_by_name(&**other) == Some(name));
        if named.is_empty() {
            others.retain(|other| url.is_some() && bare_url(&other.common().url) == url);
            named = others;
        }
        // The cache has no order. Without sorting, the status would change without a reason.
        named.sort_unstable_by_key(|broker| broker.name_any());
        named
    }
}

/// The name of the broker object that this one takes the place of, according to its annotation.
#[must_use]
pub fn replaced_by_name<B: BrokerObject>(broker: &B) -> Option<&str> {
    broker.annotations().get(REPLACES_ANNOTATION).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use kube::runtime::watcher::Event;

    use super::*;
    use crate::{
        caches::Caches,
        crd::{ServiceBroker, ServiceBrokerSpec, broker::CommonServiceBrokerSpec},
    };

    /// A broker as `namespace/name`, with its URL. `>old` after the name is the annotation, `!` a deletion.
    fn broker(text: &str, url: &str) -> ServiceBroker {
        let common = CommonServiceBrokerSpec { url: url.to_owned(), ..CommonServiceBrokerSpec::default() };
        let (namespace, rest) = text.split_once('/').unwrap();
        let (rest, deleted) = rest.strip_suffix('!').map_or((rest, false), |rest| (rest, true));
        let (name, replaces) = rest.split_once('>').map_or((rest, None), |(name, old)| (name, Some(old)));
        let mut broker = ServiceBroker::new(name, ServiceBrokerSpec { common, auth_info: None });
        broker.metadata.namespace = Some(namespace.to_owned());
        broker.metadata.deletion_timestamp = deleted.then_some(Time(jiff::Timestamp::UNIX_EPOCH));
        if let Some(old) = replaces {
            broker.annotations_mut().insert(REPLACES_ANNOTATION.to_owned(), old.to_owned());
        }
        broker
    }

    #[test]
    fn a_broker_object_takes_the_place_of_one_that_is_gone_or_going() {
        const A: &str = "https://a.example/osb";
        const B: &str = "https://b.example";
        for (what, brokers, recorded, expected) in [
            ("the same URL", &[("ns/new", A)][..], Some(A), "new"),
            ("the URL with a slash", &[("ns/new", "https://A.example/osb/")], Some(A), "new"),
            ("another URL", &[("ns/new", B)], Some(A), ""),
            ("no recorded URL", &[("ns/new", A)], None, ""),
            ("the annotation", &[("ns/new>old", B)], None, "new"),
            ("an annotation for another", &[("ns/new>other", B)], Some(A), ""),
            ("the annotation counts first", &[("ns/new>old", B), ("ns/same", A)], Some(A), "new"),
            ("two by URL", &[("ns/two", A), ("ns/one", A)], Some(A), "one two"),
            ("two by annotation", &[("ns/two>old", B), ("ns/one>old", A)], Some(A), "one two"),
            ("another namespace", &[("other/new>old", A)], Some(A), ""),
            ("it goes itself", &[("ns/new>old!", A)], Some(A), ""),
            ("the old one is there", &[("ns/new>old", A), ("ns/old", A)], Some(A), ""),
            ("the old one is going", &[("ns/new", A), ("ns/old!", A)], None, "new"),
            ("its URL is newer than the record", &[("ns/new", A), ("ns/old!", B)], Some(A), ""),
        ] {
            let caches = Caches::new(false);
            for (text, url) in brokers {
                caches.namespaced.brokers.apply(&Event::Apply(broker(text, url)));
            }
            let found = caches.namespaced.successors(Some("ns"), "old", recorded);
            let names: Vec<String> = found.iter().map(|broker| broker.name_any()).collect();
            assert_eq!(names.join(" "), expected, "{what}");
        }
    }
}
