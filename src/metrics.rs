//! Metrics in the text format of Prometheus. The first four have the names and labels of v0.3, so that its
//! dashboards continue to work.
//!
//! | metric | what it counts | labels |
//! | --- | --- | --- |
//! | `servicecatalog_osb_request_count` | requests to brokers | `broker`, `method`, `status`: `2xx`…`5xx`, or `client-error` when there was no answer |
//! | `servicecatalog_broker_service_class_count` | classes in the catalog of a broker | `broker`, `namespace` (empty for cluster-wide brokers) |
//! | `servicecatalog_broker_service_plan_count` | plans in the catalog of a broker | `broker`, `namespace` |
//! | `leader_election_master_status` | 1 where this replica leads, 0 where it stands by; absent without an election | `name` of the lease |
//! | `servicecatalog_osb_request_duration_seconds` | how long requests to brokers take (histogram) | `broker`, `namespace`, `operation`, `outcome`: `answered`, `refused`, `unsent`, `unknown` |
//! | `servicecatalog_reconcile_duration_seconds` | how long reconciles take, waiting for brokers included (histogram) | `kind`, `result`: `success` or the category of the error |
//! | `servicecatalog_api_write_count` | writes to the API server | `kind` of the written object, `verb`, `result`: `success`, `rejected` or the category of the error |
//! | `servicecatalog_credential_renewal_count` | renewals of credentials | `result`: `done`; `failed` once for each renewal that does not succeed at once; `expired` if the credentials expired before |
//! | `servicecatalog_credentials_renewing` | bindings whose credentials are being renewed | |
//! | `servicecatalog_credentials_first_expiry_timestamp_seconds` | when the first credentials of all bindings expire, as Unix time; absent if none do | |
//! | `servicecatalog_dropped_event_count` | Events that were not published, because too many waited | `type`: `Normal`, `Warning` |
//! | `servicecatalog_admission_policies_missing` | admission policies of this version that are not in force; absent where this replica stands by | `problem`: `missing`, `outdated`, or `unknown` (1 if the operator cannot read them) |
//! | `servicecatalog_queue_depth` | objects that wait for their reconcile to begin | `kind` |
//! | `servicecatalog_objects` | objects | `kind`, `state`: `ready`, `not-ready`, `failed`, `deleting` |
//!
//! `leader_election_master_status` has the name that client-go gives it. No label takes values without bound:
//! users create only the names of brokers, and the series of a broker end when its object is deleted.
//! Classes, plans, queues and objects are counted when the metrics are read, in one pass over the caches, so
//! these numbers are never out of date.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder, exponential_buckets,
};

use crate::{
    crd::common::BrokerKey,
    osb::{Operation, client::Exchange},
};

/// The metrics that are counted when something happens.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_durations: HistogramVec,
    reconciles: HistogramVec,
    writes: IntCounterVec,
    renewals: IntCounterVec,
    dropped_events: IntCounterVec,
    leads: IntGaugeVec,
    policies: IntGaugeVec,
    /// The brokers that have series, by name.
    brokers: Mutex<HashMap<String, HashSet<BrokerKey>>>,
}

/// The metrics that are counted when they are read.
#[derive(Default)]
pub struct Snapshot {
    /// Classes and plans in the catalog of a broker, by name and namespace of the broker.
    pub offered: BTreeMap<(String, String), Offered>,
    /// Objects that wait for their reconcile, by kind.
    pub queued: BTreeMap<Cow<'static, str>, usize>,
    /// When the first credentials of all bindings expire, in seconds of Unix time.
    pub first_expiry: Option<i64>,
    /// Bindings whose credentials are being renewed.
    pub renewing: usize,
    /// Objects by kind and state.
    pub objects: BTreeMap<(Cow<'static, str>, &'static str), usize>,
}

/// How many classes and plans a broker offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offered {
    /// Classes.
    pub classes: usize,
    /// Plans.
    pub plans: usize,
}

impl Metrics {
    /// All metrics, without values.
    ///
    /// # Errors
    /// A name or label is invalid. A bug.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        // From 5 ms to 82 s: a request may take 60 s, a reconcile more.
        let seconds = exponential_buckets(0.005, 2.0, 15)?;
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let histogram = |name: &str, help: &str, labels: &[&str]| {
            let options = HistogramOpts::new(name, help).buckets(seconds.clone());
            let histogram = HistogramVec::new(options, labels)?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        let leads = Opts::new("leader_election_master_status", "Whether this replica leads");
        let leads = IntGaugeVec::new(leads, &["name"])?;
        registry.register(Box::new(leads.clone()))?;
        let policies = Opts::new(
            "servicecatalog_admission_policies_missing",
            "Admission policies of this version that are not in force",
        );
        let policies = IntGaugeVec::new(policies, &["problem"])?;
        registry.register(Box::new(policies.clone()))?;
        Ok(Self {
            requests: counter(
                "servicecatalog_osb_request_count",
                "Requests to Open Service Broker API brokers",
                &["broker", "method", "status"],
            )?,
            request_durations: histogram(
                "servicecatalog_osb_request_duration_seconds",
                "How long requests to brokers take",
                &["broker", "namespace", "operation", "outcome"],
            )?,
            reconciles: histogram(
                "servicecatalog_reconcile_duration_seconds",
                "How long reconciles take, waiting for brokers included",
                &["kind", "result"],
            )?,
            writes: counter(
                "servicecatalog_api_write_count",
                "Writes to the API server",
                &["kind", "verb", "result"],
            )?,
            renewals: counter(
                "servicecatalog_credential_renewal_count",
                "Renewals of the credentials of bindings",
                &["result"],
            )?,
            dropped_events: counter(
                "servicecatalog_dropped_event_count",
                "Events that were not published, because too many waited",
                &["type"],
            )?,
            leads,
            policies,
            brokers: Mutex::default(),
            registry,
        })
    }

    /// Sets whether this replica leads. `lease` is the name of the lease.
    pub fn set_leader(&self, lease: &str, leads: bool) {
        self.leads.with_label_values(&[lease]).set(i64::from(leads));
    }

    /// Sets how many admission policies are missing, are outdated, and (1 or 0) whether they cannot be read.
    pub fn set_policy_problems(&self, [missing, outdated, unknown]: [usize; 3]) {
        for (problem, count) in [("missing", missing), ("outdated", outdated), ("unknown", unknown)] {
            self.policies.with_label_values(&[problem]).set(number(count));
        }
    }

    /// Counts a request to a broker that has ended.
    pub fn broker_request(&self, broker: &BrokerKey, exchange: &Exchange) {
        let mut brokers = self.brokers.lock().unwrap_or_else(PoisonError::into_inner);
        if !brokers.get(&broker.name).is_some_and(|of_name| of_name.contains(broker)) {
            brokers.entry(broker.name.clone()).or_default().insert(broker.clone());
        }
        let Exchange { operation, status, outcome, duration, .. } = *exchange;
        self.requests
            .with_label_values(&[broker.name.as_str(), method(operation), status_class(status)])
            .inc();
        self.request_durations
            .with_label_values(&[broker.name.as_str(), namespace(broker), operation.name(), outcome])
            .observe(duration.as_secs_f64());
    }

    /// Ends the series of a broker whose object is gone.
    pub fn forget(&self, broker: &BrokerKey) {
        let mut brokers = self.brokers.lock().unwrap_or_else(PoisonError::into_inner);
        // The series of v0.3 are shared by brokers of the same name in different namespaces.
        let of_name = brokers.get_mut(&broker.name);
        let shares_name = of_name.is_some_and(|of_name| {
            of_name.remove(broker);
            !of_name.is_empty()
        });
        if !shares_name {
            brokers.remove(&broker.name);
        }
        for operation in Operation::ALL {
            for outcome in OUTCOMES {
                // There may be no such series.
                let labels = [broker.name.as_str(), namespace(broker), operation.name(), outcome];
                let _ = self.request_durations.remove_label_values(&labels);
            }
            for status in STATUS_CLASSES.iter().filter(|_| !shares_name) {
                let _ = self.requests.remove_label_values(&[broker.name.as_str(), method(operation), status]);
            }
        }
    }

    /// Counts a reconcile that has ended. `result` is one of a closed list.
    pub fn reconcile(&self, kind: &str, result: &str, duration: Duration) {
        self.reconciles.with_label_values(&[kind, result]).observe(duration.as_secs_f64());
    }

    /// Counts a write to the API server that has ended. `verb` and `result` are of closed lists.
    pub fn api_write(&self, kind: &str, verb: &str, result: &str) {
        self.writes.with_label_values(&[kind, verb, result]).inc();
    }

    /// Counts a change of a condition to this reason, if it ends or delays a renewal of credentials.
    pub fn condition_changed(&self, reason: &str) {
        let result = match reason {
            "CredentialsRenewed" => "done",
            "CredentialsRenewalFailed" => "failed",
            "CredentialsExpired" => "expired",
            _ => return,
        };
        self.renewals.with_label_values(&[result]).inc();
    }

    /// Counts an Event that is not published.
    pub fn dropped_event(&self, type_: &str) {
        self.dropped_events.with_label_values(&[type_]).inc();
    }

    /// All metrics as text.
    ///
    /// # Errors
    /// Two metrics have one name. A bug.
    pub fn render(&self, snapshot: &Snapshot) -> Result<String, prometheus::Error> {
        let shown = Registry::new();
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
            shown.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let by_broker = ["broker", "namespace"];
        let classes = gauge(
            "servicecatalog_broker_service_class_count",
            "Classes in the catalog of a broker",
            &by_broker,
        )?;
        let plans = gauge(
            "servicecatalog_broker_service_plan_count",
            "Plans in the catalog of a broker",
            &by_broker,
        )?;
        for ((broker, namespace), offered) in &snapshot.offered {
            classes.with_label_values(&[broker, namespace]).set(number(offered.classes));
            plans.with_label_values(&[broker, namespace]).set(number(offered.plans));
        }
        let queued =
            gauge("servicecatalog_queue_depth", "Objects that wait for their reconcile to begin", &["kind"])?;
        for (kind, waiting) in &snapshot.queued {
            queued.with_label_values(&[kind]).set(number(*waiting));
        }
        if let Some(first) = snapshot.first_expiry {
            let name = "servicecatalog_credentials_first_expiry_timestamp_seconds";
            gauge(name, "When the first credentials of all bindings expire, as Unix time", &[])?
                .with_label_values::<&str>(&[])
                .set(first);
        }
        gauge("servicecatalog_credentials_renewing", "Bindings whose credentials are being renewed", &[])?
            .with_label_values::<&str>(&[])
            .set(number(snapshot.renewing));
        let objects = gauge("servicecatalog_objects", "Objects by state", &["kind", "state"])?;
        for ((kind, state), count) in &snapshot.objects {
            objects.with_label_values(&[&**kind, *state]).set(number(*count));
        }
        let mut families = self.registry.gather();
        families.extend(shown.gather());
        TextEncoder::new().encode_to_string(&families)
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn namespace(broker: &BrokerKey) -> &str {
    broker.namespace.as_deref().unwrap_or_default()
}

/// The results of a request: the values of `Outcome::name`.
const OUTCOMES: [&str; 4] = ["answered", "refused", "unsent", "unknown"];

/// The classes of HTTP statuses, and the word of v0.3 for no answer.
const STATUS_CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "client-error"];

fn status_class(status: Option<u16>) -> &'static str {
    match status {
        Some(100..=199) => STATUS_CLASSES[0],
        Some(200..=299) => STATUS_CLASSES[1],
        Some(300..=399) => STATUS_CLASSES[2],
        Some(400..=499) => STATUS_CLASSES[3],
        // A status above 599 is not valid, but it is an answer.
        Some(_) => STATUS_CLASSES[4],
        None => STATUS_CLASSES[5],
    }
}

/// The name that v0.3 has for an operation.
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::crd::ScopeKind;

    fn broker(namespace: Option<&str>) -> BrokerKey {
        let scope = if namespace.is_some() { ScopeKind::Namespace } else { ScopeKind::Cluster };
        BrokerKey::new(scope, namespace, "b")
    }

    fn exchange(operation: Operation, status: Option<u16>) -> Exchange {
        let outcome = if status == Some(200) { "answered" } else { "unknown" };
        Exchange { operation, request_id: Uuid::nil(), status, outcome, duration: Duration::from_millis(7) }
    }

    fn lines(metrics: &Metrics, name: &str) -> Vec<String> {
        let text = metrics.render(&Snapshot::default()).unwrap();
        text.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
    }

    // v0.3 M1
    #[test]
    fn requests_are_counted_by_broker_method_and_class_of_status() {
        let metrics = Metrics::new().unwrap();
        for status in [Some(200), Some(202), Some(503), None] {
            metrics.broker_request(&broker(Some("ns")), &exchange(Operation::Provision, status));
        }
        let count = |status| metrics.requests.with_label_values(&["b", "ProvisionInstance", status]).get();
        assert_eq!(["2xx", "5xx", "client-error", "4xx"].map(count), [2, 1, 1, 0]);
        let measured = lines(&metrics, "servicecatalog_osb_request_duration_seconds_count");
        assert_eq!(
            measured,
            [
                r#"servicecatalog_osb_request_duration_seconds_count{broker="b",namespace="ns",operation="provision",outcome="answered"} 1"#,
                r#"servicecatalog_osb_request_duration_seconds_count{broker="b",namespace="ns",operation="provision",outcome="unknown"} 3"#,
            ]
        );
    }

    // v0.3 M1
    #[test]
    fn operations_have_the_names_of_v0_3() {
        let metrics = Metrics::new().unwrap();
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
            metrics.broker_request(&broker(None), &exchange(operation, Some(200)));
            assert_eq!(metrics.requests.with_label_values(&["b", method, "2xx"]).get(), 1, "{method}");
        }
    }

    #[test]
    fn the_series_of_a_broker_end_with_its_object() {
        let metrics = Metrics::new().unwrap();
        for broker in [broker(None), broker(Some("ns"))] {
            for operation in Operation::ALL {
                for status in [Some(200), Some(404), Some(700), None] {
                    metrics.broker_request(&broker, &exchange(operation, status));
                }
            }
        }
        let (counts, durations) =
            ("servicecatalog_osb_request_count", "servicecatalog_osb_request_duration_seconds_count");
        metrics.forget(&broker(None));
        assert!(!lines(&metrics, counts).is_empty(), "another broker has the name");
        assert!(lines(&metrics, durations).iter().all(|line| line.contains(r#"namespace="ns""#)));
        metrics.forget(&broker(Some("ns")));
        assert_eq!(lines(&metrics, counts), Vec::<String>::new());
        assert_eq!(lines(&metrics, durations), Vec::<String>::new());
    }

    #[test]
    fn renewals_are_counted_by_their_result() {
        use crate::reconcilers::reason::Reason;
        let metrics = Metrics::new().unwrap();
        let reasons = [
            Reason::CredentialsRenewed,
            Reason::CredentialsRenewed,
            Reason::CredentialsRenewalFailed,
            Reason::CredentialsExpired,
            Reason::InjectedBindResult,
        ];
        for reason in reasons {
            metrics.condition_changed(reason.as_str());
        }
        let count = |result| metrics.renewals.with_label_values(&[result]).get();
        assert_eq!(["done", "failed", "expired"].map(count), [2, 1, 1]);
    }

    #[test]
    fn the_numbers_of_a_snapshot_are_shown() {
        let mut snapshot = Snapshot::default();
        snapshot.offered.insert(("b".into(), String::new()), Offered { classes: 1, plans: 2 });
        snapshot.queued.insert("ServiceInstance".into(), 3);
        snapshot.objects.insert(("ServiceInstance".into(), "ready"), 4);
        (snapshot.first_expiry, snapshot.renewing) = (Some(1_800_000_000), 5);
        let text = Metrics::new().unwrap().render(&snapshot).unwrap();
        for line in [
            r#"servicecatalog_broker_service_class_count{broker="b",namespace=""} 1"#,
            r#"servicecatalog_broker_service_plan_count{broker="b",namespace=""} 2"#,
            r#"servicecatalog_queue_depth{kind="ServiceInstance"} 3"#,
            r#"servicecatalog_objects{kind="ServiceInstance",state="ready"} 4"#,
            "servicecatalog_credentials_first_expiry_timestamp_seconds 1800000000",
            "servicecatalog_credentials_renewing 5",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
    }
}
