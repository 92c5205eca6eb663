//! The entries of a Secret that applications expect by the specification of servicebinding.io 1.1: `type`, `provider`, and
//! the well-known ones, found among the credentials by the usual spellings of brokers. All functions are pure.

use std::net::IpAddr;

use reqwest::Url;
use serde_json::{Map, Value};

use super::keys::bytes;
use crate::{
    crd::secret_shape::ServiceBindingEntries, json::RawObject, printable::clip,
    reconcilers::writes::digest::Data,
};

/// Before the type of the service, in the type of the Secret.
const SECRET_TYPE: &str = "servicebinding.io/";

/// The longest type of a service, and the longest name of a provider.
const MAX_TYPE: usize = 63;
const MAX_PROVIDER: usize = 253;

/// A well-known entry, the spellings of it in lower case and without punctuation, and whether a value is what applications
/// expect there. The order of the spellings is that in which they are preferred.
struct WellKnown(&'static str, &'static [&'static str], fn(&str) -> bool);

const ENTRIES: [WellKnown; 8] = [
    WellKnown("host", &["host", "hostname", "server", "servername", "fqdn"], is_host),
    WellKnown("port", &["port", "portnumber"], is_port),
    WellKnown("uri", &["uri", "url", "connectionuri", "connectionurl", "connectionstring"], is_uri),
    WellKnown("username", &["username", "user", "login"], is_word),
    WellKnown("password", &["password", "passwd", "pwd", "pass"], is_word),
    WellKnown("database", &["database", "databasename", "dbname", "db"], is_word),
    WellKnown(
        "certificates",
        &["certificates", "cacertificate", "cacert", "cacrt", "ca", "sslrootcert"],
        is_certificate,
    ),
    WellKnown("private-key", &["privatekey", "clientkey", "tlskey", "sslkey"], is_private_key),
];

/// Tags of offerings that say the type of the service, and the type.
const TYPES: [(&str, &str); 21] = [
    ("postgresql", "postgresql"),
    ("postgres", "postgresql"),
    ("pgsql", "postgresql"),
    ("mysql", "mysql"),
    ("mariadb", "mariadb"),
    ("redis", "redis"),
    ("valkey", "valkey"),
    ("mongodb", "mongodb"),
    ("mongo", "mongodb"),
    ("rabbitmq", "rabbitmq"),
    ("kafka", "kafka"),
    ("cassandra", "cassandra"),
    ("couchdb", "couchdb"),
    ("couchbase", "couchbase"),
    ("elasticsearch", "elasticsearch"),
    ("opensearch", "opensearch"),
    ("neo4j", "neo4j"),
    ("sqlserver", "sqlserver"),
    ("mssql", "sqlserver"),
    ("oracle", "oracle"),
    ("db2", "db2"),
];

/// What is known of a service if neither the spec nor the credentials say it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServiceType {
    /// The type, as `postgresql`.
    pub type_: String,
    /// The provider.
    pub provider: String,
}

impl ServiceType {
    /// What the catalog says: a known tag or else the name of the offering, and the provider or else the name of the
    /// broker object.
    #[must_use]
    pub fn of((name, tags): (&str, &[String]), metadata: Option<&RawObject>, broker: &str) -> Self {
        let tags = tags.iter().map(|tag| plain(tag));
        let known = |tag: String| TYPES.iter().find(|(known, _)| *known == tag).map(|(_, type_)| *type_);
        let type_ = tags.filter_map(known).map(str::to_owned).next().unwrap_or_else(|| type_of(name));
        let metadata = metadata.and_then(|metadata| metadata.parse().ok()).unwrap_or_default();
        let provider = metadata.get("providerDisplayName").and_then(Value::as_str);
        let provider = provider.map(|name| clip(name, MAX_PROVIDER)).filter(|name| !name.is_empty());
        Self { type_, provider: provider.unwrap_or_else(|| broker.to_owned()) }
    }
}

/// The name of an offering as a type.
fn type_of(name: &str) -> String {
    let allowed = |character: char| if character.is_ascii_alphanumeric() { character } else { '-' };
    let type_: String = name.to_lowercase().chars().map(allowed).take(MAX_TYPE).collect();
    let type_ = type_.trim_matches('-');
    if type_.is_empty() { "service".to_owned() } else { type_.to_owned() }
}

/// The well-known entries among the credentials. The order of the credentials does not matter.
pub fn find(credentials: &Map<String, Value>) -> Data {
    let mut keys: Vec<(String, &str, &Value)> =
        credentials.iter().map(|(key, value)| (plain(key), &**key, value)).collect();
    keys.sort_by_key(|(_, key, _)| *key);
    let found = ENTRIES.iter().filter_map(|WellKnown(entry, spellings, fits)| {
        let spelt =
            spellings.iter().flat_map(|spelling| keys.iter().filter(move |(key, ..)| key == spelling));
        let mut texts = spelt.filter_map(|(.., value)| match value {
            Value::String(text) => fits(text).then_some(*value),
            Value::Number(number) => fits(&number.to_string()).then_some(*value),
            _ => None,
        });
        Some(((*entry).to_owned(), k8s_openapi::ByteString(bytes(texts.next()?.clone()))))
    });
    found.collect()
}

/// Adds the entries that are missing, and returns the type of the Secret.
pub fn complete(
    entries: &ServiceBindingEntries,
    found: Data,
    service: &ServiceType,
    data: &mut Data,
) -> String {
    for (key, value) in found {
        data.entry(key).or_insert(value);
    }
    let given = |key: &str, fits: fn(&str) -> bool| {
        let text = data.get(key).and_then(|value| std::str::from_utf8(&value.0).ok());
        text.filter(|text| fits(text)).map(str::to_owned)
    };
    let or_given = |said: &str, given: Option<String>, known: &str| match said {
        "" => given.unwrap_or_else(|| known.to_owned()),
        said => said.to_owned(),
    };
    let type_ = or_given(&entries.type_, given("type", is_type), &service.type_);
    let provider = or_given(&entries.provider, given("provider", is_word), &service.provider);
    for (key, value) in [("type", &type_), ("provider", &provider)] {
        data.insert(key.to_owned(), k8s_openapi::ByteString(value.clone().into_bytes()));
    }
    format!("{SECRET_TYPE}{type_}")
}

/// Lower case, without punctuation: `user_name` and `userName` are `username`.
fn plain(key: &str) -> String {
    key.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

fn is_type(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    (1..=MAX_TYPE).contains(&text.len())
        && text.bytes().all(known)
        && !text.starts_with(['-', '.'])
        && !text.ends_with(['-', '.'])
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control)
}

fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        (1..=63).contains(&label.len()) && label.bytes().all(known)
    };
    text.parse::<IpAddr>().is_ok()
        || (text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(is_label))
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_uri(text: &str) -> bool {
    text.contains("://") && !text.contains(char::is_whitespace) && Url::parse(text).is_ok()
}

fn is_certificate(text: &str) -> bool {
    is_pem(text, "CERTIFICATE-----")
}

fn is_private_key(text: &str) -> bool {
    is_pem(text, "PRIVATE KEY-----")
}

fn is_pem(text: &str, label: &str) -> bool {
    let first = text.trim_start().lines().next().unwrap_or_default();
    first.starts_with("-----BEGIN ") && first.trim_end().ends_with(label)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn texts(data: Data) -> BTreeMap<String, String> {
        data.into_iter().map(|(key, value)| (key, String::from_utf8(value.0).unwrap())).collect()
    }

    fn found(credentials: &Value) -> Value {
        json!(texts(find(credentials.as_object().unwrap())))
    }

    #[test]
    fn usual_spellings_are_found() {
        let pem = |label: &str| format!("-----BEGIN {label}-----\nAA==\n-----END {label}-----\n");
        let (certificate, key) = (pem("CERTIFICATE"), pem("RSA PRIVATE KEY"));
        let credentials = json!({
            "hostname": "db.example.com", "port": 5432, "user": "u", "pwd": "p", "dbName": "d", "URL": "pg://u@h/d",
            "ca_certificate": certificate, "client-key": key, "jdbcUrl": "jdbc:x", "more": 1,
        });
        let expected = json!({
            "host": "db.example.com", "port": "5432", "username": "u", "password": "p", "database": "d", "uri": "pg://u@h/d",
            "certificates": certificate, "private-key": key,
        });
        assert_eq!(found(&credentials), expected);
    }

    #[test]
    fn what_does_not_fit_is_not_taken() {
        for (key, value) in [
            ("host", json!("a.example.com,b.example.com")),
            ("server", json!("db.example.com:5432")),
            ("hostname", json!("")),
            ("port", json!(0)),
            ("port", json!("x")),
            ("port", json!([5432])),
            ("url", json!("db.example.com/x")),
            ("connectionString", json!("Server=tcp:db;Password=x")),
            ("user", json!("a\u{0}b")),
            ("ca", json!("/etc/ssl/ca.crt")),
            ("private_key", json!("PRIVATE KEY-----")),
        ] {
            assert_eq!(found(&json!({ key: value })), json!({}), "{key}: {value}");
        }
        for host in ["10.0.0.1", "::1", "db", "db_1.example.com."] {
            assert_eq!(found(&json!({ "server": host })), json!({ "host": host }));
        }
    }

    #[test]
    fn the_order_of_the_credentials_does_not_matter() {
        for credentials in [
            json!({ "user": "1", "userName": "2", "user_name": "3", "server": ":", "fqdn": "f" }),
            json!({ "fqdn": "f", "server": ":", "user_name": "3", "userName": "2", "user": "1" }),
        ] {
            assert_eq!(found(&credentials), json!({ "username": "2", "host": "f" }));
        }
    }

    fn completed(entries: &Value, data: &Value) -> (String, Value) {
        let entries: ServiceBindingEntries = serde_json::from_value(entries.clone()).unwrap();
        let text = |value: &Value| k8s_openapi::ByteString(value.as_str().unwrap().as_bytes().to_vec());
        let members = data.as_object().unwrap().iter();
        let mut data: Data = members.map(|(key, value)| (key.clone(), text(value))).collect();
        let service = ServiceType { type_: "mysql".into(), provider: "acme".into() };
        let found = find(json!({ "hostname": "h" }).as_object().unwrap());
        let type_ = complete(&entries, found, &service, &mut data);
        (type_, json!(texts(data)))
    }

    #[test]
    fn the_spec_counts_before_the_credentials_and_these_before_the_catalog() {
        let secret = |type_: &str| format!("servicebinding.io/{type_}");
        let said = json!({ "type": "postgresql", "provider": "me" });
        let given = json!({ "type": "redis", "provider": "them", "host": "kept" });
        assert_eq!(
            completed(&said, &given),
            (secret("postgresql"), json!({ "type": "postgresql", "provider": "me", "host": "kept" }))
        );
        assert_eq!(completed(&json!({}), &given), (secret("redis"), given));
        let unfit = json!({ "type": "A Database", "provider": "" });
        assert_eq!(
            completed(&json!({}), &unfit),
            (secret("mysql"), json!({ "type": "mysql", "provider": "acme", "host": "h" }))
        );
    }

    #[test]
    fn the_catalog_says_type_and_provider() {
        let of = |name: &str, tags: &[&str], metadata: Option<Value>| {
            let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
            let metadata = metadata.map(|metadata| RawObject::from(metadata.as_object().cloned().unwrap()));
            let ServiceType { type_, provider } = ServiceType::of((name, &tags), metadata.as_ref(), "broker");
            format!("{type_}, {provider}")
        };
        assert_eq!(of("db", &["cheap", "Postgres"], None), "postgresql, broker");
        assert_eq!(
            of("My Database!", &[], Some(json!({ "providerDisplayName": "ACME\n Inc." }))),
            "my-database, ACME Inc."
        );
        assert_eq!(of("日本", &[], Some(json!({ "providerDisplayName": 7 }))), "service, broker");
        for name in ["a".repeat(100), ".-".to_owned(), "X_y.z".to_owned()] {
            assert!(is_type(&type_of(&name)), "{name}");
        }
    }
}
