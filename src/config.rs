//! The settings of the operator: command line and environment, read once at the start. A setting that v0.3
//! has too keeps its name and default. [`crate::generate`] makes `docs/reference/configuration.md` from these
//! definitions.

mod election;

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use clap::Args;
use ipnet::IpNet;
use jiff::SignedDuration;
use kube::core::Duration as GoDuration;

pub(crate) use self::election::Election;
use crate::{
    annotation_allowlist::Pattern,
    memory_budget::limit,
    osb::{ClientSettings, Limits},
    reconcilers::settings::ReconcileSettings,
    telemetry::LogFormat,
};

const BROKERS: &str = "Requests to brokers";
const RETRIES: &str = "Retries and polling";
const FEATURES: &str = "Features";
const CLUSTER: &str = "The cluster";
const PROCESS: &str = "The process";

// The first paragraph of a comment is the help of the setting. The second one says when to change it.
/// The settings of `service-catalog run`.
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of the command line")]
pub struct Config {
    /// The time limit of one request to a broker, from the connection to the end of the answer.
    ///
    /// A broker needs longer for a synchronous operation. The Deployment's `terminationGracePeriodSeconds`
    /// must be longer than this limit, so that a request can end before the pod does.
    #[arg(long, env, default_value = "60s", value_parser = duration, value_name = "DURATION", help_heading = BROKERS)]
    pub(crate) osb_api_request_timeout: SignedDuration,

    /// The largest number of requests to one broker at the same time. One namespace gets three quarters of them at
    /// most, so that a broker that does not answer one namespace can still serve the others.
    ///
    /// A broker is overloaded (lower it), or many operations wait for a broker that can do more (raise it).
    #[arg(long, env, default_value_t = 16, value_parser = at_least_one, value_name = "COUNT", help_heading = BROKERS)]
    pub(crate) broker_concurrency: usize,

    /// The time between two reads of a broker's catalog, for brokers without `spec.relistDuration`.
    ///
    /// Catalogs change more often than once a day and the brokers do not set `spec.relistDuration`.
    #[arg(long, env, default_value = "24h", value_parser = duration, value_name = "DURATION", help_heading = BROKERS)]
    pub(crate) broker_relist_interval: SignedDuration,

    /// The shortest time between two reads of a broker's catalog that nobody has asked for. A shorter
    /// `spec.relistDuration` counts as this time.
    ///
    /// Changes of catalogs must be seen sooner (lower it), or tenants set intervals that load the API server (raise it).
    #[arg(long, env, default_value = "10s", value_parser = duration, value_name = "DURATION", help_heading = BROKERS)]
    pub(crate) broker_minimum_relist_interval: SignedDuration,

    /// The largest number of classes and plans together that one broker gets. The operator leaves out further entries of
    /// its catalog, and names them in the condition. It removes nothing that exists.
    ///
    /// A broker offers more (raise it), or tenants register brokers that offer too much (lower it). A class or plan takes
    /// about as much memory and room in etcd as its text.
    #[arg(long, env, default_value_t = 10_000, value_parser = at_least_one, value_name = "COUNT", help_heading = BROKERS)]
    pub(crate) broker_max_catalog_entries: usize,

    /// Send the user who created or changed an object to the broker (originating identity).
    ///
    /// Brokers must not learn the names of users.
    #[arg(long, env, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL", help_heading = BROKERS)]
    pub(crate) originating_identity: bool,

    /// The annotations of instances and of their namespaces that the operator sends to brokers: keys, or
    /// `example.com/*` for all keys with this prefix, separated by commas.
    ///
    /// A broker needs data about the instance or the namespace that only annotations hold, for example a cost
    /// centre.
    #[arg(long, env, value_delimiter = ',', value_name = "KEYS", help_heading = BROKERS)]
    pub(crate) context_annotations: Vec<Pattern>,

    /// The addresses that a `ServiceBroker` may have although they are private, loopback or reserved: addresses
    /// and ranges (`10.20.0.0/16`), separated by commas. By default it may only have addresses of the public
    /// internet. A range does not allow the API server, but its single address does.
    ///
    /// Namespaces have brokers inside the cluster or inside your network. Do not allow what their users must
    /// not reach: the nodes, the pods and Services of others.
    #[arg(long, env, value_delimiter = ',', value_parser = addresses, value_name = "CIDRS", help_heading = BROKERS)]
    pub(crate) namespaced_broker_allowed_cidrs: Vec<IpNet>,

    /// The addresses that a `ServiceBroker` may not have, although they are public or within an allowed range.
    ///
    /// The pods, Services or nodes of the cluster have public addresses, or an allowed range is too wide.
    #[arg(long, env, value_delimiter = ',', value_parser = addresses, value_name = "CIDRS", help_heading = BROKERS)]
    pub(crate) namespaced_broker_denied_cidrs: Vec<IpNet>,

    /// The delay before the first retry of a failed operation. Each further failure doubles the delay.
    ///
    /// Only tests need another delay.
    #[arg(long, env, default_value = "1s", value_parser = duration, value_name = "DURATION", help_heading = RETRIES)]
    pub(crate) operation_retry_delay: SignedDuration,

    /// The longest delay between two retries of a failed operation.
    ///
    /// A broker that was away for hours must be tried sooner after it comes back.
    #[arg(long, env, default_value = "20m", value_parser = duration, value_name = "DURATION", help_heading = RETRIES)]
    pub(crate) operation_polling_maximum_backoff_duration: SignedDuration,

    /// The time after which the operator gives up a provision, update or bind that fails. It never gives up a
    /// deletion.
    ///
    /// A broker needs more than a week for an operation, or users want to see the failure sooner.
    #[arg(long, env, default_value = "168h", value_parser = duration, value_name = "DURATION", help_heading = RETRIES)]
    pub(crate) reconciliation_retry_duration: SignedDuration,

    /// The delay before the first poll of an asynchronous operation. It grows with the time that the
    /// operation takes.
    ///
    /// Only tests need another delay.
    #[arg(long, env, default_value = "1s", value_parser = duration, value_name = "DURATION", help_heading = RETRIES)]
    pub(crate) operation_polling_delay: SignedDuration,

    /// The time between two reads of a Secret that a spec names while the Secret is missing or wrong.
    ///
    /// Many objects name Secrets that do not exist, and the reads load the API server.
    #[arg(long, env, default_value = "10s", value_parser = duration, value_name = "DURATION", help_heading = RETRIES)]
    pub(crate) secret_recheck_interval: SignedDuration,

    /// Give a new instance the `defaultProvisionParameters` of its class and plan. The parameters of the
    /// instance have precedence. The status keeps the defaults as they were when the instance was
    /// provisioned.
    ///
    /// Classes or plans have such defaults, and new instances need them. v0.3 has this as a feature gate.
    #[arg(long, env, help_heading = FEATURES)]
    pub(crate) service_plan_defaults: bool,

    /// Delete the bindings of an instance that is deleted. Without it, the instance waits until its bindings
    /// are deleted.
    ///
    /// Users want to delete an instance in one step. The operator then needs the right to delete bindings:
    /// `config/cascading-deletion`. v0.3 has this as a feature gate.
    #[arg(long, env, help_heading = FEATURES)]
    pub(crate) cascading_deletion: bool,

    /// Do not list and watch Secrets. The operator then notices a deleted or changed credential Secret within
    /// minutes instead of at once, and does not hold back the Secrets of brokers in a namespace that is being
    /// deleted.
    ///
    /// The operator must not have the right to list all Secrets of the cluster
    /// (`config/rbac/cluster-role.yaml`).
    #[arg(long, env, help_heading = FEATURES)]
    pub(crate) no_secret_watch: bool,

    /// Watch the metadata of all pods, and count in `status.pods` of a binding which pods of `spec.pods` have the
    /// credentials and which do not.
    ///
    /// Users must see which pods run without credentials. The operator then needs the right to watch pods, which
    /// `config/watched-pods` gives it, and about 1 KiB of memory for each pod.
    #[arg(long, env, help_heading = FEATURES)]
    pub(crate) watch_pods: bool,

    /// Restart pods when the credentials of a binding change, where `spec.pods.restart` asks for it.
    ///
    /// Programs read their credentials only once. The operator then needs the right to change workloads and to evict pods,
    /// which `config/restarted-pods` gives it. It has no effect with `--no-secret-watch`.
    #[arg(long, env, help_heading = FEATURES)]
    pub(crate) restart_pods: bool,

    /// The name of the `ConfigMap` that keeps the id of this cluster.
    ///
    /// v0.3 ran with another name: brokers must continue to get the same id.
    #[arg(long, env, default_value = "cluster-info", value_name = "NAME", help_heading = CLUSTER)]
    pub(crate) cluster_id_configmap_name: String,

    /// The namespace of the `ConfigMap` that keeps the id of this cluster.
    ///
    /// The operator runs in a namespace of its own. The Deployment in `config/operator` sets it to that
    /// namespace.
    #[arg(long, env, default_value = "default", value_name = "NAMESPACE", help_heading = CLUSTER)]
    pub(crate) cluster_id_configmap_namespace: String,

    /// The time between two checks whether the admission policies of this version are installed.
    ///
    /// The API server should be asked less often, or a policy that was taken away must be noticed sooner.
    #[arg(long, env, default_value = "1m", value_parser = duration, value_name = "DURATION", help_heading = CLUSTER)]
    pub(crate) admission_policy_check_interval: SignedDuration,

    /// Be ready (`/readyz`) only while the admission policies of this version are installed.
    ///
    /// An update of the operator must not go on without its policies.
    #[arg(long, env, help_heading = CLUSTER)]
    pub(crate) require_admission_policies: bool,

    /// The largest number of writes to the API server at the same time.
    ///
    /// The API server throttles the operator (lower it).
    #[arg(long, env, default_value_t = 64, value_parser = at_least_one, value_name = "COUNT", help_heading = CLUSTER)]
    pub(crate) write_concurrency: usize,

    /// The settings of the leader election.
    #[command(flatten)]
    pub(crate) election: Election,

    /// The memory for everything that comes from users and brokers, apart from the objects in the caches: Secrets,
    /// parameters, answers, catalogs. By default it is half of the memory limit of the container, and 256Mi if there
    /// is no limit. The least is 128Mi.
    ///
    /// The limit is far higher than what the operator needs, or thousands of large objects leave it less than half.
    #[arg(long, env, value_parser = limit::bytes, value_name = "BYTES", help_heading = PROCESS)]
    pub(crate) memory_budget: Option<u64>,

    /// The address of the HTTP endpoints `/livez`, `/readyz` and `/metrics`.
    ///
    /// The port is taken, or the endpoints must be reachable on one interface only.
    #[arg(long, env, default_value = "0.0.0.0:8080", value_name = "ADDRESS", help_heading = PROCESS)]
    pub listen: SocketAddr,

    /// The format of the log lines on standard error.
    ///
    /// A program reads the log.
    #[arg(long, env, value_enum, default_value = "text", value_name = "FORMAT", help_heading = PROCESS)]
    pub log_format: LogFormat,
}

impl Config {
    /// The settings of the reconcilers.
    pub(crate) fn reconcile_settings(&self) -> ReconcileSettings {
        ReconcileSettings {
            request_timeout: self.osb_api_request_timeout,
            retry_base: self.operation_retry_delay,
            retry_limit: self.operation_polling_maximum_backoff_duration,
            poll_base: self.operation_polling_delay,
            give_up_after: self.reconciliation_retry_duration,
            relist_interval: self.broker_relist_interval,
            relist_minimum: self.broker_minimum_relist_interval,
            max_catalog_entries: self.broker_max_catalog_entries,
            recheck_interval: self.secret_recheck_interval,
            service_plan_defaults: self.service_plan_defaults,
            cascading_deletion: self.cascading_deletion,
            restart_pods: self.restart_pods,
            ..ReconcileSettings::default()
        }
    }

    /// The memory for what comes from users and brokers, in bytes.
    pub(crate) fn memory_budget(&self) -> u64 {
        self.memory_budget.unwrap_or_else(|| limit::budget_for(limit::of_container()))
    }

    /// The namespace of the lease. By default it is the namespace of the cluster id.
    pub(crate) fn election_namespace(&self) -> &str {
        self.election.leader_election_namespace.as_deref().unwrap_or(&self.cluster_id_configmap_namespace)
    }

    /// The settings of the clients of brokers.
    pub(crate) fn client_settings(&self) -> ClientSettings {
        // The parser accepts only positive durations, which a `std::time::Duration` can hold.
        let request_timeout = std::time::Duration::try_from(self.osb_api_request_timeout).unwrap_or_default();
        let originating_identity = self.originating_identity;
        ClientSettings { request_timeout, originating_identity, ..ClientSettings::default() }
    }

    /// The addresses that namespaced brokers may have.
    pub(crate) fn limits(&self, api_server: Vec<IpAddr>) -> Limits {
        let allowed = self.namespaced_broker_allowed_cidrs.clone();
        Limits { allowed, denied: self.namespaced_broker_denied_cidrs.clone(), api_server }
    }
}

/// A positive duration in the notation of Go, which `spec.relistDuration` uses too.
fn duration(text: &str) -> Result<SignedDuration, String> {
    let parsed = GoDuration::from_str(text)
        .map_err(|error| format!("{error}; write a duration as in 1h30m, 20s or 500ms"))?;
    let duration = std::time::Duration::from(parsed);
    match SignedDuration::try_from(duration) {
        Ok(duration) if duration.is_positive() && !parsed.is_negative() => Ok(duration),
        Ok(_) => Err("the duration must be greater than zero".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A range of addresses, or one address.
fn addresses(text: &str) -> Result<IpNet, String> {
    let range = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    range.map_err(|_| "write an address or a range, as in 10.0.0.7, 10.0.0.0/8 or fd00::/8".to_owned())
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("the number must be at least 1".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err("the value must be a whole number".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_notation_of_go() {
        assert_eq!(duration("1h30m"), Ok(SignedDuration::from_mins(90)));
        assert_eq!(duration("500ms"), Ok(SignedDuration::from_millis(500)));
        assert_eq!(duration("168h0m0s"), Ok(SignedDuration::from_hours(168)));
        for wrong in ["", "7", "-5s", "0s", "soon"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        config: Config,
    }

    fn read(arguments: &[&str]) -> Result<Config, clap::Error> {
        let line = <Line as clap::Parser>::try_parse_from([&["run"], arguments].concat());
        line.map(|line| line.config)
    }

    // v0.3 K1
    #[test]
    fn settings_of_v0_3_keep_their_names_and_defaults() {
        let v0_3 = [
            "--osb-api-request-timeout=60s",
            "--broker-relist-interval=24h",
            "--reconciliation-retry-duration=168h",
            "--operation-polling-maximum-backoff-duration=20m",
            "--cluster-id-configmap-name=cluster-info",
            "--cluster-id-configmap-namespace=default",
            "--leader-elect",
            "--leader-elect-lease-duration=15s",
            "--leader-elect-renew-deadline=10s",
            "--leader-elect-retry-period=2s",
        ];
        let (said, unsaid) = (read(&v0_3).unwrap(), read(&[]).unwrap());
        assert_eq!(format!("{said:?}"), format!("{unsaid:?}"));
        let Config { service_plan_defaults, cascading_deletion, originating_identity, .. } = unsaid;
        assert_eq!((service_plan_defaults, cascading_deletion, originating_identity), (false, false, true));
        let gates = ["--service-plan-defaults", "--cascading-deletion", "--originating-identity=false"];
        let turned = read(&gates).unwrap();
        assert!(
            turned.reconcile_settings().service_plan_defaults
                && turned.reconcile_settings().cascading_deletion
        );
        assert!(!turned.client_settings().originating_identity);
    }

    // v0.3 K2, K3, K4, K5, K6, L8
    #[test]
    fn settings_of_v0_3_that_are_gone_are_refused() {
        for gone in [
            "--concurrent-syncs=5",
            "--resync-interval=5m",
            "--address=0.0.0.0",
            "--port=0",
            "--bind-address=0.0.0.0",
            "--secure-port=8444",
            "--cert-dir=x",
            "--tls-cert-file=x",
            "--tls-private-key-file=x",
            "--k8s-kubeconfig=x",
            "--k8s-api-server-url=x",
            "--service-catalog-kubeconfig=x",
            "--service-catalog-api-server-url=x",
            "--service-catalog-insecure-skip-verify=true",
            "--profiling=true",
            "--contention-profiling=true",
            "-v=10",
            "--osb-api-preferred-version=2.14",
            "--enable-osb-api-context-profile=true",
            "--api-content-type=application/json",
            "--feature-gates=PodPreset=true",
        ] {
            let refused = read(&[gone]).err().map(|error| error.kind());
            assert_eq!(refused, Some(clap::error::ErrorKind::UnknownArgument), "{gone}");
        }
    }

    // v0.3 K1
    #[test]
    fn every_setting_can_be_an_environment_variable() {
        let command = <Line as clap::CommandFactory>::command();
        let settings: Vec<_> = command.get_arguments().filter(|setting| setting.get_id() != "help").collect();
        assert!(settings.len() > 15, "{}", settings.len());
        for setting in settings {
            let name = setting.get_long().unwrap_or_default();
            let variable = name.to_uppercase().replace('-', "_");
            assert_eq!(setting.get_env().and_then(|env| env.to_str()), Some(variable.as_str()), "{name}");
        }
    }

    #[test]
    fn every_setting_has_a_group_and_says_when_to_change_it() {
        let command = <Line as clap::CommandFactory>::command();
        for setting in command.get_arguments().filter(|setting| setting.get_id() != "help") {
            assert!(setting.get_help_heading().is_some(), "{}", setting.get_id());
            let paragraphs = setting.get_long_help().map(|help| help.to_string().split("\n\n").count());
            assert_eq!(paragraphs, Some(2), "{}", setting.get_id());
        }
    }

    #[test]
    fn ranges_of_addresses_are_read() {
        let read = |text: &str| addresses(text).map(|range| range.to_string());
        assert_eq!(read("10.0.0.7"), Ok("10.0.0.7/32".to_owned()));
        assert_eq!(read("fd00::/8"), Ok("fd00::/8".to_owned()));
        for wrong in ["", "10.0.0.0/33", "example.com", "10.0.0"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_defaults_of_the_command_line_are_the_defaults_of_the_code() {
        let config = read(&[]).unwrap();
        assert_eq!(config.reconcile_settings(), ReconcileSettings::default());
        assert_eq!(config.client_settings(), ClientSettings::default());
    }
}
