//! Which annotations of a namespace and an instance brokers are told of, in the context of a request (Kubernetes profile,
//! `namespace_annotations` and `instance_annotations`). None, unless the operator is set to: annotations hold whole
//! manifests and what other programs keep there, and a broker is somebody else.

use std::{collections::BTreeMap, str::FromStr};

use kube::ResourceExt as _;

use crate::{
    crd::{ServiceInstance, instance::ContextAnnotations},
    stores::Stores,
};

/// The annotations that are passed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassedOn(Vec<Pattern>);

/// One annotation by its key, or all with the same prefix before the slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// `example.com/team`
    Key(String),
    /// `example.com/*`: what stands before the star.
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
                "{text:?} is no key of an annotation; write it as in example.com/team or example.com/*"
            ));
        }
        Ok(pattern)
    }
}

impl Pattern {
    fn fits(&self, key: &str) -> bool {
        match self {
            Self::Key(wanted) => wanted == key,
            Self::Prefix(prefix) => key.starts_with(prefix),
        }
    }
}

impl PassedOn {
    /// Those that fit one of the patterns; without a pattern none, and brokers are not told that there could be any.
    #[must_use]
    pub fn new(patterns: &[Pattern]) -> Self {
        Self(patterns.to_vec())
    }

    /// What a broker is told of an instance.
    #[must_use]
    pub fn of(&self, instance: &ServiceInstance, stores: &Stores) -> Option<ContextAnnotations> {
        if self.0.is_empty() {
            return None;
        }
        let namespace = stores.namespace(&instance.namespace().unwrap_or_default());
        Some(ContextAnnotations {
            namespace: namespace.map(|namespace| self.among(namespace.annotations())).unwrap_or_default(),
            instance: self.among(instance.annotations()),
        })
    }

    fn among(&self, annotations: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let fits = |key: &str| self.0.iter().any(|pattern| pattern.fits(key));
        annotations
            .iter()
            .filter(|(key, _)| fits(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_key_or_all_keys_of_a_prefix() {
        let passed_on = PassedOn::new(&["example.com/*", "team"].map(|text| text.parse().unwrap()));
        let keys = ["team", "teams", "example.com/cost", "example.community/cost", "sub.example.com/cost"];
        let annotations = keys.map(|key| (key.to_owned(), "v".to_owned())).into();
        assert_eq!(
            passed_on.among(&annotations).into_keys().collect::<Vec<_>>(),
            ["example.com/cost", "team"]
        );
    }

    #[test]
    fn what_would_pass_on_everything_is_refused() {
        for wrong in ["", "*", "/*", "ex*mple.com/team", "*/*"] {
            assert!(wrong.parse::<Pattern>().is_err(), "{wrong}");
        }
    }
}
