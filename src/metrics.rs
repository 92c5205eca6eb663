//! What dashboards of the original show, under the names and labels that they look for, in Prometheus' text format.
//!
//! | metric | | labels |
//! | --- | --- | --- |
//! | `servicecatalog_osb_request_count` | requests to brokers | `broker`, `method`, `status`: `2xx`…`5xx`, or `client-error` when there was no answer |
//! | `servicecatalog_broker_service_class_count` | classes in the catalog of a broker | `broker`, `namespace` (empty for cluster-wide ones) |
//! | `servicecatalog_broker_service_plan_count` | plans, likewise | likewise |
//! | `leader_election_master_status` | 1 where this replica leads, 0 where it stands by; absent without an election | `name` of the lease |
//!
//! The last is client-go's, under its own name.
//!
//! The original kept the gauges beside its caches; here they are counted from the caches when somebody looks, so that they
//! can neither lag behind nor outlive a broker.

use std::{collections::BTreeMap, sync::Arc};

use kube::{Resource as _, runtime::reflector::Store};
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::{
    brokers::BrokerKey,
    crd::{Scope, scope::EntryObject},
    leader,
    osb::classify::Operation,
    stores::{ScopeStores, Stores},
};

/// What is counted as it happens.
pub struct Metrics {
    requests: IntCounterVec,
    leads: IntGaugeVec,
}

/// Counts the requests to one broker.
#[derive(Clone)]
pub struct RequestCounter {
    requests: IntCounterVec,
    broker: String,
}

impl Metrics {
    /// Nothing has happened yet.
    ///
    /// # Errors
    /// A name or label is none. A bug.
    pub fn new() -> Result<Self, prometheus::Error> {
        let options =
            Opts::new("servicecatalog_osb_request_count", "Requests to Open Service Broker API brokers");
        let requests = IntCounterVec::new(options, &["broker", "method", "status"])?;
        let options = Opts::new("leader_election_master_status", "Whether this replica leads");
        Ok(Self { requests, leads: IntGaugeVec::new(options, &["name"])? })
    }

    /// Whether this replica leads, where one is elected.
    pub fn leads(&self, leads: bool) {
        self.leads.with_label_values(&[leader::NAME]).set(i64::from(leads));
    }

    /// For the requests to one broker.
    #[must_use]
    pub fn of(&self, broker: &BrokerKey) -> RequestCounter {
        RequestCounter { requests: self.requests.clone(), broker: broker.name.clone() }
    }

    /// All metrics as they are now.
    ///
    /// # Errors
    /// Two metrics have one name. A bug.
    pub fn render(&self, stores: &Stores) -> Result<String, prometheus::Error> {
        let registry = Registry::new();
        registry.register(Box::new(self.requests.clone()))?;
        registry.register(Box::new(self.leads.clone()))?;
        let gauge = |name: &str, help: &str| {
            let gauge = IntGaugeVec::new(Opts::new(name, help), &["broker", "namespace"])?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let classes =
            gauge("servicecatalog_broker_service_class_count", "Classes in the catalog of a broker")?;
        let plans = gauge("servicecatalog_broker_service_plan_count", "Plans in the catalog of a broker")?;
        count_scope(&stores.cluster, &classes, &plans);
        count_scope(&stores.namespaced, &classes, &plans);
        TextEncoder::new().encode_to_string(&registry.gather())
    }
}

impl RequestCounter {
    /// One request has been sent, or was to be; without a status it was not answered.
    pub fn count(&self, operation: Operation, status: Option<u16>) {
        let status = status.map_or_else(|| "client-error".to_owned(), |status| format!("{}xx", status / 100));
        self.requests.with_label_values(&[self.broker.as_str(), method(operation), &status]).inc();
    }
}

/// The original's name of an operation.
fn method(operation: Operation) -> &'static str {
    match operation {
        Operation::Catalog => "GetCatalog",
        Operation::Provision => "ProvisionInstance",
        Operation::Update => "UpdateInstance",
        Operation::Deprovision => "DeprovisionInstance",
        Operation::PollInstance => "PollLastOperation",
        Operation::GetInstance => "GetInstance",
        Operation::Bind => "Bind",
        Operation::Unbind => "Unbind",
        Operation::PollBinding => "PollBindingLastOperation",
        Operation::GetBinding => "GetBinding",
    }
}

fn count_scope<S: Scope>(stores: &ScopeStores<S>, classes: &IntGaugeVec, plans: &IntGaugeVec) {
    // A broker that offers nothing has a zero, as in the original.
    for broker in stores.brokers.state() {
        let name = broker.meta().name.clone().unwrap_or_default();
        let namespace = broker.meta().namespace.clone().unwrap_or_default();
        for gauge in [classes, plans] {
            gauge.with_label_values(&[name.as_str(), namespace.as_str()]).set(0);
        }
    }
    count(&stores.classes, classes);
    count(&stores.plans, plans);
}

fn count<E: EntryObject>(entries: &Store<E>, gauge: &IntGaugeVec) {
    let mut counts = BTreeMap::<(String, String), i64>::new();
    let present = |entry: &Arc<E>| !entry.is_removed();
    for entry in entries.state().iter().filter(|entry| present(entry)) {
        let namespace = entry.meta().namespace.clone().unwrap_or_default();
        *counts.entry((entry.broker_name().to_owned(), namespace)).or_default() += 1;
    }
    for ((broker, namespace), count) in counts {
        gauge.with_label_values(&[broker, namespace]).set(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::ScopeKind;

    #[test]
    fn requests_are_counted_by_broker_method_and_class_of_status() {
        let metrics = Metrics::new().unwrap();
        let counter = metrics.of(&BrokerKey::new(ScopeKind::Namespace, Some("ns"), "b"));
        for status in [Some(200), Some(202), Some(503), None] {
            counter.count(Operation::Provision, status);
        }
        let count = |status| metrics.requests.with_label_values(&["b", "ProvisionInstance", status]).get();
        assert_eq!(["2xx", "5xx", "client-error", "4xx"].map(count), [2, 1, 1, 0]);
    }

    #[test]
    fn operations_are_called_what_the_original_called_them() {
        let metrics = Metrics::new().unwrap();
        let counter = metrics.of(&BrokerKey::new(ScopeKind::Cluster, None, "b"));
        for (operation, method) in [
            (Operation::Catalog, "GetCatalog"),
            (Operation::Provision, "ProvisionInstance"),
            (Operation::Update, "UpdateInstance"),
            (Operation::Deprovision, "DeprovisionInstance"),
            (Operation::PollInstance, "PollLastOperation"),
            (Operation::GetInstance, "GetInstance"),
            (Operation::Bind, "Bind"),
            (Operation::Unbind, "Unbind"),
            (Operation::PollBinding, "PollBindingLastOperation"),
            (Operation::GetBinding, "GetBinding"),
        ] {
            counter.count(operation, Some(200));
            assert_eq!(metrics.requests.with_label_values(&["b", method, "2xx"]).get(), 1, "{method}");
        }
    }
}
