//! What a candidate may do with a lease, and what it writes.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use tokio::time::Instant;

use super::super::lease::{LeaseAction, ObservedLease, Timing, claimed, evaluate, holder, released};

const ME: &str = "me";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(second: i64) -> MicroTime {
    MicroTime(Timestamp::from_second(second).unwrap())
}

fn timing(lease: Duration) -> Timing {
    Timing::new(lease, lease / 2, lease / 10).unwrap()
}

/// A lease of 15 s, renewed at this time by the clock of its holder.
fn held(by: &str, renewed: i64) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(by.to_owned()),
        lease_duration_seconds: Some(15),
        renew_time: Some(at(renewed)),
        ..LeaseSpec::default()
    }
}

// v0.3 K7
#[test]
fn every_lease_in_every_situation() {
    let start = Instant::now();
    let seen = |lease: &LeaseSpec| ObservedLease::after(None, Some(lease), start);
    let wait = |until| LeaseAction::Wait(start + seconds(until));
    let (other, later, mine) = (held("other", 0), held("other", 1), held(ME, 0));
    let nobody = LeaseSpec::default();
    let given_back = LeaseSpec { lease_duration_seconds: Some(1), ..held("", 0) };
    let short = LeaseSpec { lease_duration_seconds: Some(3), ..other.clone() };
    let unsaid = LeaseSpec { lease_duration_seconds: None, ..other.clone() };
    let nonsense = LeaseSpec { lease_duration_seconds: Some(-1), ..other.clone() };
    let zero = LeaseSpec { lease_duration_seconds: Some(0), ..other.clone() };
    // The time that another node wrote makes no difference, whether its clock is fast or slow.
    let (ahead, behind) = (held("other", 100_000_000_000), held("other", -100_000_000_000));
    for (what, lease, observed, after, expected) in [
        ("there is none", None, None, 0, LeaseAction::Acquire),
        ("nobody has had it", Some(&nobody), seen(&nobody), 0, LeaseAction::Acquire),
        ("it was given back", Some(&given_back), seen(&given_back), 0, LeaseAction::Acquire),
        ("it was given back just now", Some(&given_back), seen(&other), 1, LeaseAction::Acquire),
        ("it is ours", Some(&mine), seen(&mine), 0, LeaseAction::Renew),
        ("it is ours, and old", Some(&mine), seen(&mine), 100, LeaseAction::Renew),
        ("it became ours without our knowing", Some(&mine), seen(&other), 1, LeaseAction::Renew),
        ("seen for the first time", Some(&other), None, 7, wait(22)),
        ("seen a while ago", Some(&other), seen(&other), 14, wait(15)),
        ("seen long enough ago", Some(&other), seen(&other), 15, LeaseAction::Acquire),
        ("renewed since", Some(&later), seen(&other), 16, wait(31)),
        ("short", Some(&short), seen(&short), 2, wait(3)),
        ("short and over", Some(&short), seen(&short), 3, LeaseAction::Acquire),
        ("of no said length", Some(&unsaid), seen(&unsaid), 14, wait(15)),
        ("of a length that is none", Some(&nonsense), seen(&nonsense), 14, wait(15)),
        ("of no length", Some(&zero), seen(&zero), 14, wait(15)),
        ("of no said length and over", Some(&unsaid), seen(&unsaid), 15, LeaseAction::Acquire),
        ("from the future", Some(&ahead), seen(&ahead), 15, LeaseAction::Acquire),
        ("from the past", Some(&behind), seen(&behind), 14, wait(15)),
        ("deleted under its holder", None, seen(&other), 14, wait(15)),
        ("deleted, and its holder silent", None, seen(&other), 15, LeaseAction::Acquire),
        ("deleted after it was given back", None, seen(&given_back), 0, LeaseAction::Acquire),
        ("deleted, and it was ours", None, seen(&mine), 0, LeaseAction::Acquire),
    ] {
        let action = evaluate(lease, observed.as_ref(), ME, start + seconds(after));
        assert_eq!(action, expected, "{what}");
    }
}

#[test]
fn an_unchanged_lease_keeps_the_time_of_its_first_observation() {
    let start = Instant::now();
    let (first, second) = (held("other", 0), held("other", 1));
    let mut seen = None;
    let mut read = |lease: Option<&LeaseSpec>, after: u64| {
        seen = ObservedLease::after(seen.take(), lease, start + seconds(after));
        let action = evaluate(lease, seen.as_ref(), ME, start + seconds(after));
        match action {
            LeaseAction::Wait(until) => Some((until - start).as_secs()),
            LeaseAction::Acquire | LeaseAction::Renew => None,
        }
    };
    assert_eq!(read(Some(&first), 0), Some(15));
    assert_eq!(read(Some(&first), 5), Some(15));
    assert_eq!(read(Some(&second), 6), Some(21));
    assert_eq!(read(None, 10), Some(21));
    // Somebody has restored the lease by hand, as it was.
    assert_eq!(read(Some(&second), 20), Some(21));
    assert_eq!(read(Some(&second), 21), None);
}

#[test]
fn a_lease_that_is_taken_says_by_whom_and_for_how_long() {
    let now = Timestamp::from_second(100).unwrap();
    let claim = |lease: Option<Lease>, timing| claimed(lease, "lock", ME, &timing, now);
    let fresh = claim(None, timing(seconds(15)));
    assert_eq!(fresh.metadata.name.as_deref(), Some("lock"));
    let expected = LeaseSpec { acquire_time: Some(at(100)), lease_transitions: Some(0), ..held(ME, 100) };
    assert_eq!(fresh.spec, Some(expected));
    // Whole seconds, rounded up.
    for (meant, said) in [(1, 1), (999, 1), (1000, 1), (1001, 2), (15_000, 15)] {
        let spec = claim(None, timing(Duration::from_millis(meant))).spec.unwrap();
        assert_eq!(spec.lease_duration_seconds, Some(said), "{meant}");
    }
}

#[test]
fn a_renewal_keeps_the_times_and_counts_that_a_new_holder_changes() {
    let now = Timestamp::from_second(100).unwrap();
    let timing = timing(seconds(15));
    let history = |by: &str| {
        let mut lease = Lease { spec: Some(held(by, 7)), ..Lease::default() };
        lease.metadata.resource_version = Some("9".to_owned());
        lease.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
        let spec = lease.spec.as_mut().unwrap();
        (spec.acquire_time, spec.lease_transitions) = (Some(at(5)), Some(3));
        lease
    };
    for (by, acquired, transitions) in [(ME, 5, 3), ("other", 100, 4), ("", 100, 4)] {
        let lease = claimed(Some(history(by)), "lock", ME, &timing, now);
        assert_eq!(
            lease.metadata,
            history(by).metadata,
            "the version that was read, with all that is not ours"
        );
        let expected = LeaseSpec {
            acquire_time: Some(at(acquired)),
            lease_transitions: Some(transitions),
            ..held(ME, 100)
        };
        assert_eq!(lease.spec, Some(expected), "{by:?}");
    }
    let given_back = released(history(ME), now);
    assert_eq!(given_back.metadata, history(ME).metadata);
    let spec = given_back.spec.unwrap();
    assert_eq!(
        (holder(&spec), spec.lease_transitions, spec.lease_duration_seconds),
        (None, Some(3), Some(1))
    );
}
