//! `spec.secret`: how do credentials stand in the Secret? All functions are pure.
//!
//! The steps have one order: the transforms ([`super::credentials`]), legal keys, the prefix or the JSON document,
//! templates, the entries of servicebinding.io ([`super::well_known`]). What a step does depends on the credentials and the spec alone, and not on the order in which the broker sends
//! its keys: otherwise a Secret could change without a reason.
//!
//! An annotation of the Secret says in which shape it was written. A Secret without it has the default shape.

use std::collections::{BTreeMap, HashMap};

use icu_normalizer::DecomposingNormalizerBorrowed;
use k8s_openapi::ByteString;
use kube::core::ObjectMeta;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{
    keys::{KEY_LIMIT, bytes, is_legal},
    well_known::{self, ServiceType},
};
use crate::{
    crd::secret_shape::SecretShape,
    jsonpath,
    printable::clip,
    reconcilers::{hex::hex, writes::digest::Data},
};

/// Annotation on Secrets of bindings: a digest of the `spec.secret` with which the Secret was written.
const ANNOTATION_SHAPE: &str = "servicecatalog.k8s.io/secret-shape";

/// The value of the annotation. `None` for the default shape.
fn digest(shape: &SecretShape) -> Option<String> {
    // The type writes only what is set, so a later version of the operator with more fields has the same digest.
    let text = serde_json::to_vec(shape).ok().filter(|_| !shape.is_default())?;
    Some(hex(&Sha256::digest(text)))
}

/// Whether a Secret was written in this shape.
pub fn is_of(shape: &SecretShape, metadata: &ObjectMeta) -> bool {
    let written = metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION_SHAPE));
    written == digest(shape).as_ref()
}

/// The annotations of a Secret in this shape: those of the spec, and the one that tells the shape.
pub fn annotations(shape: &SecretShape) -> impl Iterator<Item = (String, String)> {
    let ours = digest(shape).map(|digest| (ANNOTATION_SHAPE.to_owned(), digest));
    shape.annotations.clone().into_iter().chain(ours)
}

/// The data of a Secret, and the keys that have other names than the broker gave them. It has no `Debug`.
#[derive(Default)]
pub struct Shaped {
    /// The data.
    pub data: Data,
    /// The type of the Secret, if it has one of its own.
    pub type_: Option<String>,
    /// The old and the new names, in the order of the old ones.
    pub renamed: Vec<(String, String)>,
}

/// How many renamed keys a message names.
const MAX_NAMED: usize = 5;

impl Shaped {
    /// What a message says about the renamed keys. `None` if there are none.
    #[must_use]
    pub fn told(&self) -> Option<String> {
        let named = |(old, new): &(String, String)| format!("{:?} is {:?}", clip(old, 64), clip(new, 64));
        let all: Vec<_> = self.renamed.iter().take(MAX_NAMED).map(named).collect();
        let more = match self.renamed.len().saturating_sub(MAX_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (!all.is_empty())
            .then(|| format!("keys that cannot stand in a Secret have other names: {}{more}", all.join(", ")))
    }
}

/// Checks whether a shape can be applied to any credentials. The operator checks this before it sends a request to the
/// broker.
///
/// # Errors
/// A sentence for the user.
pub fn check(shape: &SecretShape) -> Result<(), String> {
    for (index, template) in shape.templates.iter().enumerate() {
        jsonpath::check(&template.template).map_err(|what| of_template(index, &what))?;
    }
    Ok(())
}

fn of_template(index: usize, what: &str) -> String {
    format!("spec.secret.templates[{index}].template: {what}; correct it")
}

/// Gives credentials this shape. Templates may add up to `limit` bytes. The service is needed if the shape has
/// `serviceBinding`.
///
/// # Errors
/// A template cannot be filled in. The error is a sentence for the user, without values.
pub fn apply(
    shape: &SecretShape,
    credentials: Map<String, Value>,
    binary: BTreeMap<String, Zeroizing<Vec<u8>>>,
    limit: usize,
    service: Option<&ServiceType>,
) -> Result<Shaped, String> {
    let added = fill(shape, &credentials, limit)?;
    let entries =
        shape.service_binding.as_ref().zip(service).map(|asked| (asked, well_known::find(&credentials)));
    let binary = binary.into_iter().map(|(key, mut value)| (key, ByteString(std::mem::take(&mut *value))));
    let mut shaped = if shape.json_key.is_empty() {
        let values = credentials.into_iter().map(|(key, value)| (key, ByteString(bytes(value))));
        flat(shape, values.chain(binary).collect())
    } else {
        // JSON has no bytes, so they stay keys of their own.
        let document =
            (shape.json_key.clone(), ByteString(Value::Object(credentials).to_string().into_bytes()));
        Shaped { data: binary.chain([document]).collect(), ..Shaped::default() }
    };
    shaped.data.extend(added);
    shaped.type_ = entries
        .map(|((entries, service), found)| well_known::complete(entries, found, service, &mut shaped.data));
    Ok(shaped)
}

fn fill(shape: &SecretShape, credentials: &Map<String, Value>, mut limit: usize) -> Result<Data, String> {
    let mut added = Data::new();
    for (index, template) in shape.templates.iter().enumerate() {
        let text = jsonpath::fill(&template.template, credentials, limit)
            .map_err(|what| of_template(index, &what))?;
        limit -= text.len();
        added.insert(template.key.clone(), ByteString(text.into_bytes()));
    }
    Ok(added)
}

fn flat(shape: &SecretShape, data: Data) -> Shaped {
    let prefix = &*shape.key_prefix;
    let Shaped { data, renamed, .. } = if shape.legal_keys {
        legalized(data, KEY_LIMIT - prefix.len().min(KEY_LIMIT))
    } else {
        Shaped { data, ..Shaped::default() }
    };
    if prefix.is_empty() {
        return Shaped { data, renamed, ..Shaped::default() };
    }
    let prefixed = |key: String| format!("{prefix}{key}");
    Shaped {
        data: data.into_iter().map(|(key, value)| (prefixed(key), value)).collect(),
        renamed: renamed.into_iter().map(|(old, new)| (old, prefixed(new))).collect(),
        ..Shaped::default()
    }
}

/// The room at the end of a key for the number that tells it from another one.
const NUMBER: usize = "_10000".len();

/// Gives other names to the keys that cannot stand in a Secret. A key that is legal keeps its name, and the others
/// take theirs in the order of the old names.
fn legalized(data: Data, longest: usize) -> Shaped {
    let is_kept = |key: &str| is_legal(key) && key.len() <= longest;
    let (mut legal, illegal): (Data, Data) = data.into_iter().partition(|(key, _)| is_kept(key));
    let mut renamed = Vec::new();
    // The last number at the end of a name. Without it, many keys that become one would take long.
    let mut numbers = HashMap::<String, usize>::new();
    for (old, value) in illegal {
        let mut new = legal_key(&old);
        new.truncate(longest);
        let stem = new[..new.len().min(longest.saturating_sub(NUMBER))].to_owned();
        while legal.contains_key(&new) {
            let number = numbers.entry(stem.clone()).or_insert(1);
            *number += 1;
            new = format!("{stem}_{number}");
        }
        legal.insert(new.clone(), value);
        renamed.push((old, new));
    }
    Shaped { data: legal, renamed, ..Shaped::default() }
}

/// A legal key that looks like this one: letters lose their accents, and what is still illegal becomes `_`. All of it is
/// ASCII.
fn legal_key(key: &str) -> String {
    let decomposed = DecomposingNormalizerBorrowed::new_nfd().normalize_iter(key.chars());
    let without_accents = decomposed.filter(|character| !matches!(character, '\u{300}'..='\u{36f}'));
    let is_allowed =
        |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    let legal: String =
        without_accents.map(|character| if is_allowed(character) { character } else { '_' }).collect();
    match legal.strip_prefix('.') {
        _ if legal.is_empty() => "_".to_owned(),
        Some(rest) if rest.is_empty() || rest.starts_with('.') => format!("_{rest}"),
        _ => legal,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shape(fields: &Value) -> SecretShape {
        serde_json::from_value(fields.clone()).unwrap()
    }

    fn service() -> ServiceType {
        ServiceType { type_: "postgresql".into(), provider: "acme".into() }
    }

    fn shaped(
        fields: &Value,
        credentials: &Value,
    ) -> Result<(BTreeMap<String, String>, Vec<String>), String> {
        let credentials = credentials.as_object().cloned().unwrap();
        let Shaped { data, renamed, .. } =
            apply(&shape(fields), credentials, BTreeMap::new(), 100, Some(&service()))?;
        let data = data.into_iter().map(|(key, value)| (key, String::from_utf8(value.0).unwrap()));
        Ok((data.collect(), renamed.into_iter().map(|(old, new)| format!("{old} {new}")).collect()))
    }

    fn data(fields: &Value, credentials: &Value) -> Value {
        json!(shaped(fields, credentials).unwrap().0)
    }

    #[test]
    fn the_layouts_of_a_secret() {
        let credentials = json!({ "user": "u", "port": 1, "tls": { "ca": "PEM" } });
        let flat = json!({ "user": "u", "port": "1", "tls": r#"{"ca":"PEM"}"# });
        assert_eq!(data(&json!({}), &credentials), flat);
        assert_eq!(
            data(&json!({ "keyPrefix": "DB_" }), &credentials),
            json!({ "DB_user": "u", "DB_port": "1", "DB_tls": r#"{"ca":"PEM"}"# })
        );
        assert_eq!(
            data(&json!({ "jsonKey": "credentials.json" }), &credentials),
            json!({ "credentials.json": r#"{"user":"u","port":1,"tls":{"ca":"PEM"}}"# })
        );
    }

    #[test]
    fn bytes_that_are_no_text_stay_beside_the_document() {
        let binary = [("der".to_owned(), Zeroizing::new(vec![0xff]))].into();
        let credentials = json!({ "a": 1 }).as_object().cloned().unwrap();
        let Shaped { data, .. } =
            apply(&shape(&json!({ "jsonKey": "all" })), credentials, binary, 0, Some(&service())).unwrap();
        assert_eq!((&*data["all"].0, &*data["der"].0), (&br#"{"a":1}"#[..], &[0xff][..]));
    }

    #[test]
    fn keys_are_made_legal_whatever_their_order_is() {
        let legal = json!({ "legalKeys": true });
        for credentials in [
            json!({ "ÄB c": 1, "AB_c": 2, "AB c": 3, "good": 4 }),
            json!({ "good": 4, "AB c": 3, "ÄB c": 1, "AB_c": 2 }),
        ] {
            let (data, renamed) = shaped(&legal, &credentials).unwrap();
            assert_eq!(json!(data), json!({ "AB_c": "2", "AB_c_2": "3", "AB_c_3": "1", "good": "4" }));
            assert_eq!(renamed, ["AB c AB_c_2", "ÄB c AB_c_3"]);
        }
        for (old, new) in [
            ("", "_"),
            (".", "_"),
            ("..", "_."),
            ("..x", "_.x"),
            (".x", ".x"),
            ("a/b", "a_b"),
            ("Ångström", "Angstrom"),
            ("日本", "__"),
            ("a\u{0}b", "a_b"),
        ] {
            assert_eq!(legal_key(old), new);
            assert!(is_legal(new), "{new}");
        }
    }

    #[test]
    fn a_key_and_its_prefix_fit_together() {
        let fields = json!({ "legalKeys": true, "keyPrefix": "DB_" });
        let (long, longer) = ("k".repeat(250), "k".repeat(300));
        let (data, renamed) =
            shaped(&fields, &json!({ &long: 1, &longer: 2, (longer.clone() + "é"): 3 })).unwrap();
        let stem = "k".repeat(244);
        let expected = [format!("DB_{long}"), format!("DB_{stem}_2"), format!("DB_{stem}_3")];
        let mut keys: Vec<_> = data.into_keys().collect();
        keys.sort_by_key(|key| std::cmp::Reverse(key.len()));
        assert_eq!(keys, expected);
        assert_eq!(renamed.len(), 2);
    }

    /// Ten thousand keys are the most that credentials have.
    #[test]
    fn many_keys_that_become_one_take_no_time() {
        let many: Map<String, Value> =
            (0..10_000).map(|n| ("ä".repeat(n % 300) + &" ".repeat(n / 300), json!(n))).collect();
        let began = std::time::Instant::now();
        let (data, renamed) = shaped(&json!({ "legalKeys": true }), &Value::Object(many.clone())).unwrap();
        assert_eq!(data.len(), many.len());
        assert!(data.keys().all(|key| is_legal(key)));
        assert!(renamed.len() >= 9_000 && began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    }

    #[test]
    fn a_message_names_a_few_of_the_renamed_keys() {
        let told = |count: usize| {
            let renamed = (0..count).map(|n| (format!("a {n}"), format!("a_{n}"))).collect();
            Shaped { renamed, ..Shaped::default() }.told()
        };
        assert_eq!(told(0), None);
        assert_eq!(
            told(1).unwrap(),
            "keys that cannot stand in a Secret have other names: \"a 0\" is \"a_0\""
        );
        assert!(told(7).unwrap().ends_with("\"a 4\" is \"a_4\" and 2 more"));
    }

    #[test]
    fn the_entries_of_servicebinding_have_no_prefix_and_templates_come_before_them() {
        let fields = json!({
            "keyPrefix": "DB_", "serviceBinding": {}, "templates": [{ "key": "uri", "template": "pg://{.server}" }],
        });
        let credentials = json!({ "server": "h", "url": "pg://other", "password": "p" });
        let expected = json!({
            "DB_server": "h", "DB_url": "pg://other", "DB_password": "p", "type": "postgresql", "provider": "acme",
            "host": "h", "password": "p", "uri": "pg://h",
        });
        assert_eq!(data(&fields, &credentials), expected);
        let fields = shape(&fields);
        let made = apply(&fields, Map::new(), BTreeMap::new(), 0, Some(&service()));
        assert!(made.is_err(), "the template has no server");
        let fields = shape(&json!({ "serviceBinding": { "type": "mysql" } }));
        let made = apply(&fields, Map::new(), BTreeMap::new(), 0, Some(&service())).unwrap();
        assert_eq!(made.type_.as_deref(), Some("servicebinding.io/mysql"));
    }

    #[test]
    fn templates_read_the_credentials_and_replace_keys() {
        let fields = json!({ "keyPrefix": "DB_", "templates": [
            { "key": "url", "template": "pg://{.user}@{.tls.host}" },
            { "key": "DB_user", "template": "{.port}" },
        ] });
        let credentials = json!({ "user": "u", "port": 1, "tls": { "host": "h" } });
        assert_eq!(
            data(&fields, &credentials),
            json!({ "url": "pg://u@h", "DB_user": "1", "DB_port": "1", "DB_tls": r#"{"host":"h"}"# })
        );
    }

    #[test]
    fn a_template_that_cannot_be_filled_in_is_named_without_a_value() {
        let of = |template: &str| json!({ "templates": [{ "key": "ok", "template": "x" }, { "key": "k", "template": template }] });
        let credentials = json!({ "password": "hunter2", "list": vec!["hunter2"; 20] });
        for (template, words) in [
            ("{.gone}", "{.gone}"),
            ("{range .list[*]}{@}{end}", "larger than a Secret"),
            ("{.a", "without a }"),
        ] {
            let error = shaped(&of(template), &credentials).unwrap_err();
            assert!(error.starts_with("spec.secret.templates[1].template: "), "{error}");
            assert!(error.contains(words) && !error.contains("hunter2"), "{error}");
        }
        assert!(check(&shape(&of("{.a"))).is_err());
        assert_eq!(check(&shape(&of("{.gone}"))), Ok(()), "it depends on the credentials");
    }

    #[test]
    fn a_secret_tells_its_shape() {
        let with = |annotations: BTreeMap<String, String>| ObjectMeta {
            annotations: Some(annotations),
            ..ObjectMeta::default()
        };
        let prefix = shape(&json!({ "keyPrefix": "DB_" }));
        let labelled = shape(&json!({ "labels": { "a": "b" }, "annotations": { "c": "d" } }));
        for (one, other) in [(&prefix, &labelled), (&labelled, &prefix), (&SecretShape::default(), &prefix)] {
            let written = with(annotations(one).collect());
            assert!(is_of(one, &written) && !is_of(other, &written), "{one:?}");
        }
        assert_eq!(annotations(&labelled).next(), Some(("c".to_owned(), "d".to_owned())));
        // What earlier versions wrote.
        assert!(is_of(&SecretShape::default(), &ObjectMeta::default()));
        assert_eq!(digest(&shape(&json!({ "legalKeys": false, "templates": null }))), None);
        assert_eq!(
            digest(&prefix).as_deref(),
            Some("9ba9b9b226aa719c4b89ff7619b03f59b9328fbe312dc17372266ecd18e85c70"),
            "another digest would make the operator write every Secret again after an upgrade"
        );
    }
}
