//! The settings of the operator: command line and environment, read once. Names and defaults are the original's where
//! the concept is the same.

mod election;

use std::{net::SocketAddr, str::FromStr};

use clap::Args;
use jiff::SignedDuration;
use kube::core::Duration as GoDuration;

pub use self::election::{Election, ResourceLock};
use crate::{
    annotations::Pattern,
    context::Tunables,
    osb::{ApiVersion, Settings},
};

/// The settings of `service-catalog run`.
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of the command line")]
pub struct Config {
    /// How long one request to a broker may take, all in all.
    #[arg(long, env, default_value = "60s", value_parser = duration, value_name = "DURATION")]
    pub osb_api_request_timeout: SignedDuration,

    /// How long a catalog is good for when the broker object does not say.
    #[arg(long, env, default_value = "24h", value_parser = duration, value_name = "DURATION")]
    pub broker_relist_interval: SignedDuration,

    /// How long a provision, update or bind is tried before it is given up. Deletions are never given up.
    #[arg(long, env, default_value = "168h", value_parser = duration, value_name = "DURATION")]
    pub reconciliation_retry_duration: SignedDuration,

    /// The longest delay before a failed operation is tried again.
    #[arg(long, env, default_value = "20m", value_parser = duration, value_name = "DURATION")]
    pub operation_polling_maximum_backoff_duration: SignedDuration,

    /// The first delay before a failed operation is tried again; it doubles with every failure.
    #[arg(long, env, default_value = "1s", value_parser = duration, value_name = "DURATION")]
    pub operation_retry_delay: SignedDuration,

    /// The first delay before a broker is asked about an asynchronous operation; it grows with the time that has passed.
    #[arg(long, env, default_value = "1s", value_parser = duration, value_name = "DURATION")]
    pub operation_polling_delay: SignedDuration,

    /// How often a Secret that a spec names is looked at again while it is missing or wrong.
    #[arg(long, env, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub secret_recheck_interval: SignedDuration,

    /// Name of the `ConfigMap` that keeps the id of this cluster.
    #[arg(long, env, default_value = "cluster-info", value_name = "NAME")]
    pub cluster_id_configmap_name: String,

    /// Namespace of the `ConfigMap` that keeps the id of this cluster.
    #[arg(long, env, default_value = "default", value_name = "NAMESPACE")]
    pub cluster_id_configmap_namespace: String,

    /// How many requests one broker gets at once.
    #[arg(long, env, default_value_t = 16, value_parser = at_least_one, value_name = "COUNT")]
    pub broker_concurrency: usize,

    /// How many writes the API server gets at once.
    #[arg(long, env, default_value_t = 64, value_parser = at_least_one, value_name = "COUNT")]
    pub write_concurrency: usize,

    /// Do without the right to list and watch Secrets: a deleted credential Secret is then noticed within minutes
    /// instead of at once.
    #[arg(long, env)]
    pub no_secret_watch: bool,

    /// Give a new instance the `defaultProvisionParameters` of its class and plan, under its own parameters. They are
    /// kept in its status, and stay what they were when it was provisioned.
    #[arg(long, env)]
    pub service_plan_defaults: bool,

    /// Delete the bindings of an instance that is deleted, in place of waiting until somebody does. The operator needs
    /// the right to delete bindings for it: `config/cascading-deletion`.
    #[arg(long, env)]
    pub cascading_deletion: bool,

    /// Tell brokers on whose behalf they are asked.
    #[arg(long, env, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub originating_identity: bool,

    /// Annotations of instances and their namespaces that brokers are told of, separated by commas: keys, or
    /// `example.com/*` for all with that prefix. None by default.
    #[arg(long, env, value_delimiter = ',', value_name = "KEYS")]
    pub context_annotations: Vec<Pattern>,

    /// Where `/livez` and `/readyz` are served.
    #[arg(long, env, default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,

    /// Which of several replicas works.
    #[command(flatten)]
    pub election: Election,
}

impl Config {
    /// The part that decisions depend on.
    #[must_use]
    pub fn tunables(&self) -> Tunables {
        Tunables {
            request_timeout: self.osb_api_request_timeout,
            retry_base: self.operation_retry_delay,
            retry_limit: self.operation_polling_maximum_backoff_duration,
            poll_base: self.operation_polling_delay,
            give_up_after: self.reconciliation_retry_duration,
            relist_interval: self.broker_relist_interval,
            recheck_interval: self.secret_recheck_interval,
            service_plan_defaults: self.service_plan_defaults,
            cascading_deletion: self.cascading_deletion,
            ..Tunables::default()
        }
    }

    /// The namespace of the lease of the leader: where the operator keeps the id of the cluster, unless it is said.
    #[must_use]
    pub fn election_namespace(&self) -> &str {
        let said = self.election.leader_election_namespace.as_deref();
        said.unwrap_or(&self.cluster_id_configmap_namespace)
    }

    /// The part that requests to brokers depend on.
    #[must_use]
    pub fn settings(&self) -> Settings {
        // The parser admits only positive durations, which a `std::time::Duration` can hold.
        let request_timeout = std::time::Duration::try_from(self.osb_api_request_timeout).unwrap_or_default();
        let originating_identity = self.originating_identity;
        Settings { request_timeout, api_version: ApiVersion::SPOKEN, originating_identity }
    }
}

/// A duration as Go and `relistDuration` write it.
fn duration(text: &str) -> Result<SignedDuration, String> {
    let parsed =
        GoDuration::from_str(text).map_err(|error| format!("{error}; write it as in 1h30m, 20s or 500ms"))?;
    let duration = std::time::Duration::from(parsed);
    match SignedDuration::try_from(duration) {
        Ok(duration) if duration.is_positive() && !parsed.is_negative() => Ok(duration),
        Ok(_) => Err("it must be longer than nothing".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err("it must be a whole number".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
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

    #[test]
    fn settings_of_the_original_keep_their_names_and_defaults() {
        let original = [
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
        let (said, unsaid) = (read(&original).unwrap(), read(&[]).unwrap());
        assert_eq!(format!("{said:?}"), format!("{unsaid:?}"));
        let Config { service_plan_defaults, cascading_deletion, originating_identity, .. } = unsaid;
        assert_eq!((service_plan_defaults, cascading_deletion, originating_identity), (false, false, true));
        let gates = ["--service-plan-defaults", "--cascading-deletion", "--originating-identity=false"];
        let turned = read(&gates).unwrap();
        assert!(turned.tunables().service_plan_defaults && turned.tunables().cascading_deletion);
        assert!(!turned.settings().originating_identity);
    }

    #[test]
    fn settings_of_the_original_that_are_gone_are_refused() {
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

    #[test]
    fn every_setting_may_be_a_variable_of_the_environment() {
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
    fn the_defaults_on_the_command_line_are_the_defaults_in_the_code() {
        let config = read(&[]).unwrap();
        assert_eq!(config.tunables(), Tunables::default());
        assert_eq!(config.settings(), Settings::default());
    }
}
