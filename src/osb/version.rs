//! The version of the API that requests name (OSB 2.17, "API Version Header"). Pure.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::printable::clip;

/// The annotation on a broker object that sets the version. It is not a field of the spec, because clients of
/// v0.3 write back whole specs, and would remove a field that they do not know. They keep annotations.
pub const ANNOTATION: &str = "servicecatalog.k8s.io/broker-api-version";

/// How much of a wrong value is shown, in bytes: an annotation may have 256 KiB.
const QUOTED: usize = 64;

/// A version, `2.<minor>`. There is no other major version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiVersion {
    minor: u16,
}

impl ApiVersion {
    /// The version that requests name unless the broker object sets another.
    pub const SPOKEN: Self = Self { minor: 17 };

    /// The version that the annotations of a broker object set, or [`ApiVersion::SPOKEN`].
    ///
    /// # Errors
    /// The value is not a version.
    pub fn of_annotations(annotations: &BTreeMap<String, String>) -> Result<Self, InvalidVersion> {
        annotations.get(ANNOTATION).map_or(Ok(Self::SPOKEN), |text| text.parse())
    }
}

impl Default for ApiVersion {
    fn default() -> Self {
        Self::SPOKEN
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "2.{}", self.minor)
    }
}

/// A text that is not a version. The text is cleaned and cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the annotation {ANNOTATION} is {value:?}, which is not a version such as \"2.14\"; correct it, or remove it to \
     use version {spoken}",
    spoken = ApiVersion::SPOKEN
)]
pub struct InvalidVersion {
    value: String,
}

impl FromStr for ApiVersion {
    type Err = InvalidVersion;

    /// Only the canonical form is accepted, because brokers compare versions as texts.
    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let minor = text.strip_prefix("2.").and_then(|minor| minor.parse().ok());
        let version = minor.map(|minor| Self { minor });
        version
            .filter(|version| version.to_string() == text)
            .ok_or_else(|| InvalidVersion { value: clip(text, QUOTED) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // v0.3 K6
    #[test]
    fn a_version_is_two_and_a_number() {
        for good in ["2.0", "2.14", "2.17", "2.65535"] {
            assert_eq!(good.parse::<ApiVersion>().unwrap().to_string(), good);
        }
        for bad in [
            "", "2", "2.", "2.x", "2.+7", "2.07", "2.-1", " 2.14", "2.14 ", "2.14.1", "3.0", "v2.14",
            "2.65536",
        ] {
            let message = bad.parse::<ApiVersion>().unwrap_err().to_string();
            assert!(
                message.contains(ANNOTATION) && message.contains(&format!("{:?}", bad.trim())),
                "{message}"
            );
        }
        let long = "9".repeat(1000).parse::<ApiVersion>().unwrap_err().to_string();
        assert!(long.len() < 300, "{long}");
    }

    #[test]
    fn a_broker_object_without_the_annotation_gets_the_default_version() {
        let with = |value: &str| BTreeMap::from([(ANNOTATION.to_owned(), value.to_owned())]);
        assert_eq!(ApiVersion::of_annotations(&BTreeMap::new()), Ok(ApiVersion::SPOKEN));
        assert_eq!(ApiVersion::of_annotations(&with("2.13")), "2.13".parse());
        assert!(ApiVersion::of_annotations(&with("latest")).is_err());
    }
}
