//! How long are the credentials of a binding valid (OSB 2.17, "Binding Metadata Object")? All functions are
//! pure.
//!
//! Annotations of the Secret have the times. So the times are not lost if the status cannot be written, and
//! users of the Secret can read them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    crd::{
        ConditionStatus::{self, False, True},
        ServiceBindingStatus,
    },
    osb::outcome::Lifetime,
    reconcilers::reason::Reason,
};

/// Annotation on Secrets of bindings: when the credentials expire.
const ANNOTATION_EXPIRES_AT: &str = "servicecatalog.k8s.io/expires-at";

/// Annotation on Secrets of bindings: the time before which the credentials should be renewed.
const ANNOTATION_RENEW_BEFORE: &str = "servicecatalog.k8s.io/renew-before";

/// Reads the lifetime of credentials from the annotations of a Secret.
pub(super) fn read(annotations: Option<&BTreeMap<String, String>>) -> Lifetime {
    let time = |key: &str| annotations.and_then(|all| all.get(key)?.parse().ok());
    Lifetime { expires_at: time(ANNOTATION_EXPIRES_AT), renew_before: time(ANNOTATION_RENEW_BEFORE) }
}

/// The annotations of a Secret whose credentials have this lifetime.
pub(super) fn annotations(lifetime: Lifetime) -> impl Iterator<Item = (String, String)> {
    let times =
        [(ANNOTATION_EXPIRES_AT, lifetime.expires_at), (ANNOTATION_RENEW_BEFORE, lifetime.renew_before)];
    times.into_iter().filter_map(|(key, time)| Some((key.to_owned(), time?.to_string())))
}

/// Records the lifetime in the status.
pub(super) fn record(status: &mut ServiceBindingStatus, lifetime: Lifetime) {
    status.expires_at = lifetime.expires_at.map(Time);
    status.renew_before = lifetime.renew_before.map(Time);
}

/// The lifetime that the status records.
pub(super) fn recorded(status: &ServiceBindingStatus) -> Lifetime {
    let time = |time: &Option<Time>| time.as_ref().map(|time| time.0);
    Lifetime { expires_at: time(&status.expires_at), renew_before: time(&status.renew_before) }
}

/// The `Ready` condition of credentials that have expired or should be renewed. `None` for other credentials.
pub(super) fn expiry_condition(
    status: &ServiceBindingStatus,
    now: Timestamp,
) -> Option<(ConditionStatus, Reason, String)> {
    let expires_at = status.expires_at.as_ref().map(|time| time.0);
    if let Some(end) = expires_at.filter(|end| *end <= now) {
        let message = format!("The credentials expired at {end}");
        return Some((False, Reason::CredentialsExpired, message));
    }
    let renew_before = status.renew_before.as_ref().map(|time| time.0).filter(|time| *time <= now)?;
    let end = expires_at.map_or_else(String::new, |end| format!(" and they expire at {end}"));
    let message = format!("The broker wanted the credentials renewed before {renew_before}{end}");
    Some((True, Reason::CredentialsToBeRenewed, message))
}

/// The time at which [`expiry_condition`] changes next.
pub(super) fn next_change(status: &ServiceBindingStatus, now: Timestamp) -> Option<Timestamp> {
    let times = [&status.renew_before, &status.expires_at];
    times.into_iter().flatten().map(|time| time.0).filter(|time| *time > now).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn credentials_age() {
        let mut status = ServiceBindingStatus::default();
        assert_eq!((expiry_condition(&status, at(0)), next_change(&status, at(0))), (None, None));
        record(&mut status, Lifetime { expires_at: Some(at(20)), renew_before: Some(at(10)) });
        assert_eq!((expiry_condition(&status, at(9)), next_change(&status, at(9))), (None, Some(at(10))));
        let (state, reason, _) = expiry_condition(&status, at(10)).unwrap();
        assert_eq!(
            (state, reason, next_change(&status, at(10))),
            (True, Reason::CredentialsToBeRenewed, Some(at(20)))
        );
        let (state, reason, _) = expiry_condition(&status, at(20)).unwrap();
        assert_eq!((state, reason, next_change(&status, at(20))), (False, Reason::CredentialsExpired, None));
    }

    #[test]
    fn a_secret_tells_what_it_was_told() {
        let lifetime = Lifetime { expires_at: Some(at(20)), renew_before: None };
        let written: BTreeMap<_, _> = annotations(lifetime).collect();
        assert_eq!(written.len(), 1);
        assert_eq!(read(Some(&written)), lifetime);
        let spoiled = [(ANNOTATION_EXPIRES_AT.to_owned(), "soon".to_owned())].into();
        assert_eq!(read(Some(&spoiled)), Lifetime::default());
    }
}
