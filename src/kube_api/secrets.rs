//! Reads of single Secrets.

use std::{collections::BTreeMap, fmt, future::poll_fn, pin::Pin};

use http_body::Body as _;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client, Resource as _,
    api::GetParams,
    client::Body,
    core::{PartialObjectMeta, Request, Status},
};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use zeroize::Zeroizing;

use super::{error::Error, request::timed};
use crate::{memory_budget::Share, wiped::append};

/// The longest answer to a read of a Secret, in bytes. The API server stores at most 1.5 MiB for an object, and
/// binary values take a third more in JSON.
const MAX_ANSWER: usize = 4 << 20;

/// The most keys that are read of one Secret. A Secret may have a hundred thousand keys without values, and
/// each takes far more memory than its text.
pub const MAX_KEYS: usize = 10_000;

/// Values of a Secret by key. They are wiped when dropped.
pub type SecretValues = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// The keys that are read of a Secret.
#[derive(Clone, Copy)]
pub enum Keys<'a> {
    /// These, if the Secret has them.
    Only(&'a [&'a str]),
    /// All. A Secret with more than [`MAX_KEYS`] cannot be read.
    All,
}

/// Reads values of a Secret that a spec names. Other values are not kept, and `memory` is reserved meanwhile.
/// For an illegal name the result is `None`, without a request: specs from before the CRDs had rules can have
/// such names, and as part of a URL path they could lead to another Secret.
pub(crate) async fn read_secret(
    client: &Client,
    memory: &Share,
    (namespace, name): (&str, &str),
    keys: Keys<'_>,
) -> Result<Option<SecretValues>, Error> {
    if !(is_path_segment(namespace) && is_path_segment(name)) {
        return Ok(None);
    }
    let _memory = memory.reserve(MAX_ANSWER).await;
    let read = timed(&format!("read Secret {namespace}/{name}"), read(client, namespace, name, keys)).await;
    match read {
        Err(error) if error.is_not_found() => Ok(None),
        read => read.map(Some),
    }
}

async fn read(client: &Client, namespace: &str, name: &str, keys: Keys<'_>) -> kube::Result<SecretValues> {
    let request = Request::new(Secret::url_path(&(), Some(namespace))).get(name, &GetParams::default());
    let request = request.map_err(kube::Error::BuildRequest)?;
    let response = client.send(request.map(Body::from)).await?;
    let status = response.status();
    let text = collect(response.into_body()).await?;
    if status.is_success() {
        let mut reader = serde_json::Deserializer::from_slice(&text);
        return Picked(keys).deserialize(&mut reader).map_err(kube::Error::SerdeError);
    }
    let said: Option<Status> = serde_json::from_slice(&text).ok();
    let unreadable = || Status::failure("the answer has no status", "Unknown").with_code(status.as_u16());
    Err(kube::Error::Api(Box::new(said.unwrap_or_else(unreadable))))
}

async fn collect(mut body: Body) -> kube::Result<Zeroizing<Vec<u8>>> {
    let mut text = Zeroizing::new(Vec::new());
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(data) = frame?.into_data() else { continue };
        if text.len() + data.len() > MAX_ANSWER {
            return Err(kube::Error::Service("the Secret is too large".into()));
        }
        append(&mut text, &data);
    }
    Ok(text)
}

/// Reads the JSON of a Secret, or of its `data`, and keeps only the values of some keys.
struct Picked<'a>(Keys<'a>);

impl<'de> DeserializeSeed<'de> for Picked<'_> {
    type Value = SecretValues;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<SecretValues, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Picked<'_> {
    type Value = SecretValues;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Secret")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<SecretValues, A::Error> {
        let mut values = SecretValues::new();
        while let Some(member) = members.next_key::<String>()? {
            if member == "data" {
                values = members.next_value_seed(Data(self.0))?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(values)
    }
}

/// Reads the `data` of a Secret.
struct Data<'a>(Keys<'a>);

impl<'de> DeserializeSeed<'de> for Data<'_> {
    type Value = SecretValues;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<SecretValues, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Data<'_> {
    type Value = SecretValues;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the data of a Secret")
    }

    fn visit_unit<E>(self) -> Result<SecretValues, E> {
        Ok(SecretValues::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<SecretValues, A::Error> {
        let mut values = SecretValues::new();
        while let Some(key) = members.next_key::<String>()? {
            let is_wanted = match self.0 {
                Keys::Only(keys) => keys.contains(&&*key),
                Keys::All => true,
            };
            if !is_wanted {
                members.next_value::<IgnoredAny>()?;
            } else if values.len() == MAX_KEYS {
                return Err(A::Error::custom(format_args!("the Secret has more than {MAX_KEYS} keys")));
            } else {
                values.insert(key, Zeroizing::new(members.next_value::<ByteString>()?.0));
            }
        }
        Ok(values)
    }
}

/// Whether a name can be one segment of a URL path. All names of objects can; the API server checks the rest.
fn is_path_segment(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
        && !matches!(name, "" | "." | "..")
}

/// Reads the metadata of a Secret from the API server, not from the cache.
pub(crate) async fn secret_metadata(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<PartialObjectMeta<Secret>>, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    timed(&format!("read the metadata of Secret {namespace}/{name}"), api.get_metadata_opt(name)).await
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn picked(text: &str, keys: Keys<'_>) -> Result<Vec<(String, String)>, String> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let values = Picked(keys).deserialize(&mut reader).map_err(|error| error.to_string())?;
        let text = |value: Zeroizing<Vec<u8>>| String::from_utf8(value.to_vec()).unwrap();
        Ok(values.into_iter().map(|(key, value)| (key, text(value))).collect())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn only_the_values_that_are_asked_for_are_kept() {
        let text = r#"{"kind":"Secret","metadata":{"data":{"a":"eA=="}},"data":{"a":"YQ==","b":"Yg==","c":""},"type":"Opaque"}"#;
        assert_eq!(picked(text, Keys::Only(&["b", "gone"])), Ok(pairs(&[("b", "b")])));
        assert_eq!(picked(text, Keys::All), Ok(pairs(&[("a", "a"), ("b", "b"), ("c", "")])));
        for empty in ["{}", r#"{"data":null}"#, r#"{"data":{}}"#] {
            assert_eq!(picked(empty, Keys::All), Ok(Vec::new()), "{empty}");
        }
        assert!(picked(r#"{"data":{"a":"!"}}"#, Keys::All).is_err());
    }

    #[test]
    fn a_secret_of_very_many_keys_is_read_only_in_part() {
        let keys = (0..=MAX_KEYS).fold(String::new(), |mut keys, number| {
            let _ = write!(keys, "\"{number}\":\"\",");
            keys
        });
        let text = format!(r#"{{"data":{{{keys}"last":"YQ=="}}}}"#);
        assert_eq!(picked(&text, Keys::Only(&["last"])), Ok(pairs(&[("last", "a")])));
        assert!(picked(&text, Keys::All).unwrap_err().contains("more than 10000 keys"));
    }

    #[test]
    fn a_name_stays_one_segment_of_a_path() {
        for name in ["db", "db.example.com", "0", "a-b", "Capital"] {
            assert!(is_path_segment(name), "{name}");
        }
        for name in
            ["", ".", "..", "../other/secrets/db", "db/log", "db?watch=1", "db#", "%2e%2e", "a b", "é"]
        {
            assert!(!is_path_segment(name), "{name}");
        }
    }
}
