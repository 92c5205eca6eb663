//! The version of the protocol ("API Version Header"): the one a broker is asked with, and what its refusal says about
//! the one it wants. Pure.

use std::{collections::BTreeMap, fmt, str::FromStr};

use super::text::clip;

/// The annotation on a broker object that sets the version. Not a field of its spec: clients of the original write back
/// whole specs and would erase a field that they do not know, while they keep annotations.
pub const ANNOTATION: &str = "servicecatalog.k8s.io/broker-api-version";

/// How much of a wrong value is shown: an annotation may be 256 KiB long.
const QUOTED: usize = 64;

/// `2.<minor>`: there has been no other major version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiVersion {
    minor: u16,
}

impl ApiVersion {
    /// The version that is spoken unless a broker is set to another.
    pub const SPOKEN: Self = Self { minor: 17 };

    /// The version that the annotations of a broker object ask for, [`ApiVersion::SPOKEN`] without one.
    ///
    /// # Errors
    /// The value is no version.
    pub fn of_annotations(annotations: &BTreeMap<String, String>) -> Result<Self, InvalidVersion> {
        annotations.get(ANNOTATION).map_or(Ok(Self::SPOKEN), |text| text.parse())
    }

    /// The one version other than this that a broker's text mentions.
    pub(super) fn other_in(self, text: &str) -> Option<Self> {
        let words = text.split(|character: char| !character.is_ascii_digit() && character != '.');
        let mut others = words.filter_map(|word| word.trim_matches('.').parse().ok());
        let wanted = others.find(|version| *version != self)?;
        others.all(|version| version == wanted || version == self).then_some(wanted)
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

/// A text that is no version, made fit to be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the annotation {ANNOTATION} is {value:?}, which is not 2 and a number as in \"2.14\"; correct it, or remove it to \
     have {spoken} spoken",
    spoken = ApiVersion::SPOKEN
)]
pub struct InvalidVersion {
    value: String,
}

impl FromStr for ApiVersion {
    type Err = InvalidVersion;

    /// Brokers compare versions as texts, so there is one spelling only.
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
    fn a_broker_object_without_the_annotation_is_spoken_to_in_ours() {
        let with = |value: &str| BTreeMap::from([(ANNOTATION.to_owned(), value.to_owned())]);
        assert_eq!(ApiVersion::of_annotations(&BTreeMap::new()), Ok(ApiVersion::SPOKEN));
        assert_eq!(ApiVersion::of_annotations(&with("2.13")), "2.13".parse());
        assert!(ApiVersion::of_annotations(&with("latest")).is_err());
    }

    #[test]
    fn the_version_that_a_text_asks_for_is_the_one_other_than_ours() {
        for (text, wanted) in [
            ("this broker depends on version 2.14", Some("2.14")),
            ("X-Broker-API-Version must be 2.14, not 2.17.", Some("2.14")),
            ("wants v2.13; 2.13 it must be", Some("2.13")),
            ("speaks 2.13 and 2.14", None),
            ("10.2.14.1 speaks 2.17", None),
            ("another one", None),
            ("", None),
        ] {
            let wanted = wanted.map(|text| text.parse().unwrap());
            assert_eq!(ApiVersion::SPOKEN.other_in(text), wanted, "{text}");
        }
    }
}
