//! Which annotations of a namespace and of an instance go to brokers, in the context of a request (OSB 2.17,
//! Kubernetes profile: `namespace_annotations`, `instance_annotations`). The default is none, because
//! annotations can hold whole manifests and data of other programs, and a broker often belongs to another
//! organisation. Pure.

use std::{collections::BTreeMap, str::FromStr};

use crate::crd::instance::ContextAnnotations;

/// The annotations that brokers get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnotationAllowlist(Vec<Pattern>);

/// One annotation by its key, or all that have the same prefix before the slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// A key, as in `example.com/team`.
    Key(String),
    /// From `example.com/*`: the part before the star.
    Prefix(String),
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let pattern = match text.strip_suffix("/*") {
            Some(prefix) => Self::Prefix(format!("{prefix}/")),
            None => Self::Key(text.to_owned()),
        };
        if text.is_empty() || text.trim_end_matches("/*").contains('*') || text == "/*" {
            return Err(format!(
                "{text:?} is not the key of an annotation; write it as in example.com/team or example.com/*"
            ));
        }
        Ok(pattern)
    }
}

impl Pattern {
    fn matches(&self, key: &str) -> bool {
        match self {
            Self::Key(wanted) => wanted == key,
            Self::Prefix(prefix) => key.starts_with(prefix),
        }
    }
}

impl AnnotationAllowlist {
    /// Allows the annotations that match one of the patterns. Without a pattern, brokers get no annotations
    /// and no empty lists of them.
    #[must_use]
    pub fn new(patterns: &[Pattern]) -> Self {
        Self(patterns.to_vec())
    }

    /// What a broker gets, given all annotations of an instance and of its namespace (`None`: the namespace
    /// is not in the cache). The result `None` means nothing at all, not even empty lists.
    #[must_use]
    pub fn context(
        &self,
        namespace: Option<&BTreeMap<String, String>>,
        instance: &BTreeMap<String, String>,
    ) -> Option<ContextAnnotations> {
        (!self.0.is_empty()).then(|| ContextAnnotations {
            namespace: namespace.map(|annotations| self.allowed(annotations)).unwrap_or_default(),
            instance: self.allowed(instance),
        })
    }

    fn allowed(&self, annotations: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let is_allowed = |key: &str| self.0.iter().any(|pattern| pattern.matches(key));
        let allowed = annotations.iter().filter(|(key, _)| is_allowed(key));
        allowed.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations<const N: usize>(keys: [&str; N]) -> BTreeMap<String, String> {
        keys.map(|key| (key.to_owned(), "v".to_owned())).into()
    }

    #[test]
    fn a_pattern_is_a_key_or_all_keys_of_a_prefix() {
        let allowlist =
            AnnotationAllowlist::new(&["example.com/*", "team"].map(|text| text.parse().unwrap()));
        let all = annotations([
            "team",
            "teams",
            "example.com/cost",
            "example.community/cost",
            "sub.example.com/cost",
        ]);
        let context = allowlist.context(Some(&all), &annotations(["teams"])).unwrap();
        assert_eq!(context.namespace, annotations(["example.com/cost", "team"]));
        assert_eq!(context.instance, BTreeMap::new());
    }

    #[test]
    fn without_a_pattern_brokers_get_nothing() {
        let all = annotations(["team"]);
        assert_eq!(AnnotationAllowlist::default().context(Some(&all), &all), None);
    }

    // OSB 155
    #[test]
    fn an_invalid_pattern_or_one_for_all_annotations_is_refused() {
        for wrong in ["", "*", "/*", "ex*mple.com/team", "*/*"] {
            assert!(wrong.parse::<Pattern>().is_err(), "{wrong}");
        }
    }
}
