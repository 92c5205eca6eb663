//! Which of several replicas works: the settings of the original, with its defaults.

use clap::Args;
use jiff::SignedDuration;

use super::duration;
use crate::leader::lease::{Mismatch, Timing};

/// The settings of the election.
#[derive(Args, Clone, Debug)]
pub struct Election {
    /// Work only while this process holds a lease, so that of several replicas one works and the others stand by.
    #[arg(
        long,
        env,
        default_value_t = true,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "BOOL"
    )]
    pub leader_elect: bool,

    /// For how long replicas that stand by leave a lease alone that is not renewed. Whole seconds; a part of one counts
    /// as one.
    #[arg(long, env, default_value = "15s", value_parser = duration, value_name = "DURATION")]
    pub leader_elect_lease_duration: SignedDuration,

    /// For how long a leader that cannot renew its lease goes on before it ends itself.
    #[arg(long, env, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub leader_elect_renew_deadline: SignedDuration,

    /// How often the leader renews the lease, and the others look at it.
    #[arg(long, env, default_value = "2s", value_parser = duration, value_name = "DURATION")]
    pub leader_elect_retry_period: SignedDuration,

    /// What the leader holds: `leases`, which is all that Kubernetes still has for that.
    #[arg(long, env, default_value = "leases", value_parser = resource_lock, value_name = "KIND")]
    pub leader_elect_resource_lock: ResourceLock,

    /// Namespace of the lease. By default that of the id of this cluster, `--cluster-id-configmap-namespace`.
    #[arg(long, env, value_name = "NAMESPACE")]
    pub leader_election_namespace: Option<String>,
}

/// What the leader holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceLock {
    /// A `Lease`.
    Leases,
}

impl Election {
    /// How the lease is kept; `None` without an election.
    ///
    /// # Errors
    /// The durations do not go together.
    pub fn timing(&self) -> Result<Option<Timing>, Mismatch> {
        // The parser admits only positive durations, which a `std::time::Duration` can hold.
        let [lease, renew, retry] = [
            self.leader_elect_lease_duration,
            self.leader_elect_renew_deadline,
            self.leader_elect_retry_period,
        ]
        .map(|duration| std::time::Duration::try_from(duration).unwrap_or_default());
        self.leader_elect.then(|| Timing::new(lease, renew, retry)).transpose()
    }
}

fn resource_lock(text: &str) -> Result<ResourceLock, String> {
    match text {
        "leases" => Ok(ResourceLock::Leases),
        _ => Err("it can only be leases, as Kubernetes has no locks of other kinds any more; leave this setting away"
            .to_owned()),
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

    #[test]
    fn a_leader_is_elected_unless_that_is_switched_off() {
        let usual = Timing {
            lease: Duration::from_secs(15),
            renew: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        };
        for on in [vec![], vec!["--leader-elect"], vec!["--leader-elect=true"]] {
            assert_eq!(read(&on).unwrap().timing(), Ok(Some(usual)), "{on:?}");
        }
        // Durations that nobody uses may be anything.
        let off = ["--leader-elect=false", "--leader-elect-retry-period=1h"];
        assert_eq!(read(&off).unwrap().timing(), Ok(None));
    }

    #[test]
    fn durations_that_do_not_go_together_are_refused_by_name() {
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

    #[test]
    fn only_leases_are_held() {
        assert!(read(&["--leader-elect-resource-lock=leases"]).is_ok());
        // The original's default, what its chart set, and what client-go had on the way.
        for gone in ["endpoints", "configmaps", "endpointsleases", "configmapsleases", ""] {
            let error = read(&[&format!("--leader-elect-resource-lock={gone}")]).unwrap_err().to_string();
            for said in ["--leader-elect-resource-lock", gone, "only be leases", "leave this setting away"] {
                assert!(error.contains(said), "{gone}: {error}");
            }
        }
    }
}
