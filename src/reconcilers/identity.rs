//! Which id has a resource at the broker, and for which user is a request made? All functions are pure.

use uuid::Uuid;

use crate::{crd::UserInfo, osb::Identity};

/// The id of a resource at the broker. It is the id that the user gave, or else the uid of the object. After
/// orphan mitigation it is a UUID made from the uid and the number of the attempt, because an id should not
/// be used again (OSB 2.17). The id is derived, so that a crash cannot lose it.
#[must_use]
pub fn attempt_id(external_id: &str, uid: &str, attempt: i64) -> String {
    if !external_id.is_empty() {
        return external_id.to_owned();
    }
    if attempt == 0 {
        return uid.to_owned();
    }
    let namespace =
        Uuid::parse_str(uid).unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_OID, uid.as_bytes()));
    Uuid::new_v5(&namespace, attempt.to_string().as_bytes()).to_string()
}

/// The originating identity for the `userInfo` of a spec (OSB 2.17, "Originating Identity"). `None` if
/// admission recorded no user.
#[must_use]
pub fn identity_of(user: Option<&UserInfo>) -> Option<Identity> {
    let user = user.filter(|user| !user.username.is_empty())?;
    Some(Identity::new(&user.username, &user.uid, &user.groups, &user.extra))
}

#[cfg(test)]
mod tests {
    use super::*;

    // OSB 20, 21
    // v0.3 D7, Q15
    #[test]
    fn ids_are_derived_and_a_users_id_is_kept() {
        let uid = "6f2f1a0e-3c67-4c5b-9d3f-0d7f2a2f5b11";
        assert_eq!(attempt_id("", uid, 0), uid);
        let second = attempt_id("", uid, 1);
        assert_eq!(second, attempt_id("", uid, 1));
        assert_ne!(second, attempt_id("", uid, 2));
        assert_eq!(attempt_id("mine", uid, 3), "mine");
    }

    #[test]
    fn without_a_recorded_user_no_identity_is_sent() {
        assert!(identity_of(None).is_none());
        assert!(identity_of(Some(&UserInfo::default())).is_none());
        assert!(identity_of(Some(&UserInfo { username: "alice".into(), ..UserInfo::default() })).is_some());
    }
}
