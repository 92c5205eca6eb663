//! The four kinds of id. Each has a type of its own, so that the id of an instance cannot be sent as that of
//! a binding. Pure.
//!
//! The platform makes the ids of instances and bindings, the broker those of offerings and plans. An id may
//! be any string. The empty string means that there is no id.

use std::{borrow::Cow, fmt, ops::Deref};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An id in its normal form, in which ids are compared. A broker may read ids as UUIDs, so the case and the
/// spelling of a UUID do not count. Any other text is its own normal form.
#[must_use]
pub fn normal_form(id: &str) -> Cow<'_, str> {
    Uuid::try_parse(id).map_or(Cow::Borrowed(id), |uuid| Cow::Owned(uuid.hyphenated().to_string()))
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
        )]
        #[serde(transparent)]
        #[schemars(inline)]
        pub struct $name(String);

        impl $name {
            /// The id as it is sent to the broker.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether there is no id.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self(id)
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.to_owned())
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }
    };
}

id! {
    /// `instance_id`: a service instance at its broker.
    InstanceId
}
id! {
    /// `binding_id`: a service binding at its broker.
    BindingId
}
id! {
    /// `service_id`: a service offering in a broker's catalog.
    ServiceId
}
id! {
    /// `plan_id`: a service plan in a broker's catalog.
    PlanId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_uuids_have_more_than_one_spelling() {
        let uuid = "6f2f1a0e-3c67-4c5b-9d3f-0d7f2a2f5b11";
        for same in [uuid, "6F2F1A0E-3C67-4C5B-9D3F-0D7F2A2F5B11", "6f2f1a0e3c674c5b9d3f0d7f2a2f5b11"] {
            assert_eq!(normal_form(same), uuid);
        }
        for other in ["", "mine", "MINE", "6f2f1a0e-3c67-4c5b-9d3f-0d7f2a2f5b1"] {
            assert_eq!(normal_form(other), other);
        }
    }
}
