//! The owner of an object. Pure.

use kube::core::ObjectMeta;

/// Whether the controller reference of an object has this uid. Other owner references do not count.
pub(crate) fn is_owned(metadata: &ObjectMeta, owner_uid: &str) -> bool {
    metadata
        .owner_references
        .iter()
        .flatten()
        .any(|owner| owner.controller == Some(true) && owner.uid == owner_uid)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    use super::*;

    #[test]
    fn only_a_controller_reference_with_the_same_uid_makes_an_owner() {
        let owner = |uid: &str, controller| OwnerReference {
            uid: uid.into(),
            controller,
            ..OwnerReference::default()
        };
        let metadata = |owners: Vec<OwnerReference>| ObjectMeta {
            owner_references: Some(owners),
            ..ObjectMeta::default()
        };
        assert!(is_owned(&metadata(vec![owner("other", Some(true)), owner("ours", Some(true))]), "ours"));
        assert!(!is_owned(&metadata(vec![owner("ours", None)]), "ours"));
        assert!(!is_owned(&metadata(vec![owner("other", Some(true))]), "ours"));
        assert!(!is_owned(&ObjectMeta::default(), "ours"));
    }
}
