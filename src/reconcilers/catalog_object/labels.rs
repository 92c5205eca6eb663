//! The labels by which clients of v0.3 find classes and plans, because its custom resources had no field
//! selectors. Pure.
//!
//! Key: `servicecatalog.k8s.io/` and the path of the field. Value: SHA-224 of the field's value in lower-case
//! hex, because a label value allows fewer characters than a name in a catalog. `svcat` needs the labels from
//! the moment of creation.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha224};

use crate::{
    crd::{GROUP, scope::CatalogObject},
    reconcilers::hex::hex,
};

/// The labels that a class or plan must have.
#[must_use]
pub fn wanted<E: CatalogObject>(entry: &E) -> BTreeMap<String, String> {
    entry.lookup_values().into_iter().map(|(path, value)| (format!("{GROUP}/{path}"), hash(value))).collect()
}

/// The labels that a class or plan lacks or has with another value.
#[must_use]
pub fn missing_or_wrong<E: CatalogObject>(entry: &E) -> BTreeMap<String, String> {
    let present = entry.meta().labels.as_ref();
    let is_wrong = |key: &String, value: &String| present.and_then(|labels| labels.get(key)) != Some(value);
    wanted(entry).into_iter().filter(|(key, value)| is_wrong(key, value)).collect()
}

/// The class or plan with its labels. Other labels stay.
#[must_use]
pub fn labelled<E: CatalogObject>(mut entry: E) -> E {
    let wanted = wanted(&entry);
    entry.meta_mut().labels.get_or_insert_default().extend(wanted);
    entry
}

fn hash(value: &str) -> String {
    hex(&Sha224::digest(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::{ClusterServicePlan, plan::CommonServicePlanSpec, scope::PlanObject as _};

    // v0.3 A5
    #[test]
    fn a_label_is_the_hash_of_the_field() {
        assert_eq!(hash(""), "d14a028c2a3a2bc9476102bb288234c415a2b01f828ea62ac5b3e42f");
        assert_eq!(hash("abc"), "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7");
    }

    #[test]
    fn only_missing_or_wrong_labels_are_set() {
        let common = CommonServicePlanSpec { external_id: "i".into(), ..CommonServicePlanSpec::default() };
        let mut plan = ClusterServicePlan::build("p", "b", "c", common);
        assert_eq!(missing_or_wrong(&plan).len(), 4);
        plan.metadata.labels = Some([("mine".to_owned(), "stays".to_owned())].into());
        let mut plan = labelled(plan);
        assert!(missing_or_wrong(&plan).is_empty());
        let key = "servicecatalog.k8s.io/spec.externalID";
        plan.metadata.labels.get_or_insert_default().insert(key.into(), "x".into());
        assert_eq!(missing_or_wrong(&plan), BTreeMap::from([(key.to_owned(), hash("i"))]));
        assert_eq!(plan.metadata.labels.unwrap_or_default().get("mine").map(String::as_str), Some("stays"));
    }
}
