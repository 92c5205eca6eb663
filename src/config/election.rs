//! The settings of the leader election, with the names and defaults of v0.3.

use clap::Args;
use jiff::SignedDuration;

use super::duration;
use crate::leader::lease::{InvalidTiming, Timing};

const ELECTION: &str = "Leader election";

/// The settings of the leader election.
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_field_names, reason = "clap derives the flags of v0.3 from the names")]
pub(crate) struct Election {
    /// Work only while this replica holds a lease. Of several replicas one works and the others stand by.
    ///
    /// Exactly one replica runs and the API server cannot keep a lease.
    #[arg(
        long,
        env,
        default_value_t = true,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "BOOL",
        help_heading = ELECTION
    )]
    pub(crate) leader_elect: bool,

    /// A replica that stands by takes the lease when it has seen it unchanged for this time. Whole seconds,
    /// rounded up.
    ///
    /// Another replica must take over sooner after a crash (lower it), or a slow API server causes changes of
    /// the leader (raise it). It must be longer than the renew deadline.
    #[arg(long, env, default_value = "15s", value_parser = duration, value_name = "DURATION", help_heading = ELECTION)]
    pub(crate) leader_elect_lease_duration: SignedDuration,

    /// A leader that cannot renew its lease for this time stops its work and becomes a candidate again.
    ///
    /// You change the lease duration. It must be longer than 1.2 times the retry period.
    #[arg(long, env, default_value = "10s", value_parser = duration, value_name = "DURATION", help_heading = ELECTION)]
    pub(crate) leader_elect_renew_deadline: SignedDuration,

    /// The leader renews the lease, and the other replicas read it, once in this time.
    ///
    /// You change the lease duration. A shorter time means more requests to the API server.
    #[arg(long, env, default_value = "2s", value_parser = duration, value_name = "DURATION", help_heading = ELECTION)]
    pub(crate) leader_elect_retry_period: SignedDuration,

    /// The kind of the lock. Kubernetes has no other kind than `leases` any more.
    ///
    /// Never. The setting exists because deployments of v0.3 have it.
    #[arg(long, env, default_value = "leases", value_parser = ["leases"], value_name = "KIND", help_heading = ELECTION)]
    pub(crate) leader_elect_resource_lock: String,

    /// The namespace of the lease. The default is the value of `--cluster-id-configmap-namespace`.
    ///
    /// The operator may not write leases in that namespace.
    #[arg(long, env, value_name = "NAMESPACE", help_heading = ELECTION)]
    pub(crate) leader_election_namespace: Option<String>,
}

impl Election {
    /// The durations of the election; `None` without an election.
    pub(crate) fn timing(&self) -> Result<Option<Timing>, InvalidTiming> {
        // The parser accepts only positive durations, which a `std::time::Duration` can hold.
        let [lease, renew, retry] = [
            self.leader_elect_lease_duration,
            self.leader_elect_renew_deadline,
            self.leader_elect_retry_period,
        ]
        .map(|duration| std::time::Duration::try_from(duration).unwrap_or_default());
        self.leader_elect.then(|| Timing::new(lease, renew, retry)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        election: Election,
    }

    fn read(arguments: &[&str]) -> Result<Election, clap::Error> {
        let line = <Line as clap::Parser>::try_parse_from([&["run"], arguments].concat());
        line.map(|line| line.election)
    }

    // v0.3 K7
    #[test]
    fn a_leader_is_elected_unless_that_is_switched_off() {
        let usual = Timing {
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        };
        for on in [vec![], vec!["--leader-elect"], vec!["--leader-elect=true"]] {
            assert_eq!(read(&on).unwrap().timing(), Ok(Some(usual)), "{on:?}");
        }
        // Without an election the durations have no effect, so they may be anything.
        let off = ["--leader-elect=false", "--leader-elect-retry-period=1h"];
        assert_eq!(read(&off).unwrap().timing(), Ok(None));
    }

    // v0.3 K7
    #[test]
    fn durations_that_contradict_each_other_are_refused_by_name() {
        for (arguments, named) in [
            (
                ["--leader-elect-lease-duration=10s", "--leader-elect-retry-period=2s"],
                ["--leader-elect-lease-duration (10s)", "--leader-elect-renew-deadline (10s)"],
            ),
            (
                ["--leader-elect-renew-deadline=2400ms", "--leader-elect-retry-period=2s"],
                ["--leader-elect-renew-deadline (2.4s)", "--leader-elect-retry-period (2s)"],
            ),
        ] {
            let error = read(&arguments).unwrap().timing().unwrap_err().to_string();
            assert!(named.iter().all(|named| error.contains(named)), "{error}");
        }
        let close = ["--leader-elect-renew-deadline=2401ms", "--leader-elect-lease-duration=2402ms"];
        assert!(read(&close).unwrap().timing().is_ok());
        for setting in ["lease-duration", "renew-deadline", "retry-period"] {
            for wrong in ["0s", "-1s", "2", "soon"] {
                let argument = format!("--leader-elect-{setting}={wrong}");
                let error = read(&[&argument]).unwrap_err().to_string();
                assert!(error.contains(setting) && error.contains(wrong), "{error}");
            }
        }
    }

    // v0.3 K8
    #[test]
    fn the_only_kind_of_lock_is_a_lease() {
        assert!(read(&["--leader-elect-resource-lock=leases"]).is_ok());
        // The default of v0.3, the value of its chart, and the values of later versions of client-go.
        for gone in ["endpoints", "configmaps", "endpointsleases", "configmapsleases", ""] {
            let error = read(&[&format!("--leader-elect-resource-lock={gone}")]).unwrap_err().to_string();
            for said in ["--leader-elect-resource-lock", gone, "[possible values: leases]"] {
                assert!(error.contains(said), "{gone}: {error}");
            }
        }
    }
}
