//! What the answer to a bind gives beside credentials: endpoints, volumes, a drain for logs, a proxy for a route (OSB 2.17,
//! "Binding", "Response"). Pure.
//!
//! The operator shows these in the status of a binding. So what is kept is short, printable and without secrets, whatever
//! the broker sends: the configuration of a volume is left out, and of a URL what may be a credential.

use reqwest::Url;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{json::null_default, printable::clip};

/// What an answer gives beside credentials, as the status shows it.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Extras {
    /// The network endpoints that the credentials are for, if the broker names them.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_ENDPOINTS))]
    pub endpoints: Vec<ServiceEndpoint>,
    /// The volumes that the broker offers. The operator does not mount them. Their configuration is not shown, because it
    /// may have secrets.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_MOUNTS))]
    pub volume_mounts: Vec<VolumeMount>,
    /// Where the broker wants logs to be sent, without user, path and query, which may be credentials. The operator sends
    /// no logs.
    #[serde(default, rename = "syslogDrainURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_URL))]
    pub syslog_drain_url: Option<String>,
    /// Through what the broker wants requests to be sent, without user, path and query, which may be credentials. The
    /// operator sends no requests there.
    #[serde(default, rename = "routeServiceURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_URL))]
    pub route_service_url: Option<String>,
}

/// A network endpoint ("Endpoint Object").
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ServiceEndpoint {
    /// The name or address of the host.
    #[schemars(length(max = MAX_HOST))]
    pub host: String,
    /// Ports, as `5432`, and ranges of ports, as `9000-9010`.
    #[schemars(length(max = MAX_PORTS))]
    pub ports: Vec<String>,
    /// The protocol.
    #[serde(default)]
    pub protocol: Protocol,
}

/// The protocol of an endpoint.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP
    #[default]
    Tcp,
    /// UDP
    Udp,
    /// TCP and UDP
    All,
}

/// A volume ("Volume Mount Object").
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// The name of the driver of the volume.
    #[schemars(length(max = MAX_WORD))]
    pub driver: String,
    /// The path at which applications expect the volume.
    #[schemars(length(max = MAX_WORD))]
    pub container_dir: String,
    /// `r` or `rw`.
    #[schemars(length(max = MAX_WORD))]
    pub mode: String,
    /// The type of the device: `shared`.
    #[schemars(length(max = MAX_WORD))]
    pub device_type: String,
    /// The id of the volume.
    #[serde(rename = "volumeID")]
    #[schemars(length(max = MAX_WORD))]
    pub volume_id: String,
}

/// What is shown at most. Lengths are in bytes.
const MAX_ENDPOINTS: usize = 32;
const MAX_PORTS: usize = 16;
const MAX_HOST: usize = 253;
const MAX_MOUNTS: usize = 16;
const MAX_WORD: usize = 256;
const MAX_URL: usize = 1024;

/// Reads an answer. The second list names the fields of which something is left out, because it is not what the
/// protocol says, or is too much.
#[must_use]
pub fn of(body: &Map<String, Value>) -> (Extras, Vec<&'static str>) {
    let list = |key: &str| body.get(key).and_then(Value::as_array).into_iter().flatten();
    let text = |key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
    let given = Extras {
        // One more than is shown, to tell that there are more.
        endpoints: list("endpoints").take(MAX_ENDPOINTS + 1).map(endpoint_of).collect(),
        volume_mounts: list("volume_mounts").take(MAX_MOUNTS + 1).map(mount_of).collect(),
        syslog_drain_url: text("syslog_drain_url"),
        route_service_url: text("route_service_url"),
    };
    given.shown()
}

impl Extras {
    /// What can be shown of it, and the fields of which something cannot.
    #[must_use]
    pub fn shown(mut self) -> (Self, Vec<&'static str>) {
        let mut incomplete = Vec::new();
        let counts = (self.endpoints.len(), self.volume_mounts.len());
        self.endpoints.retain(ServiceEndpoint::is_sound);
        self.endpoints.truncate(MAX_ENDPOINTS);
        self.volume_mounts.retain(VolumeMount::is_sound);
        self.volume_mounts.truncate(MAX_MOUNTS);
        let mut shorten = |url: &mut Option<String>, name, schemes: &[&str]| {
            let given = url.take().filter(|url| !url.is_empty());
            *url = given.as_deref().and_then(|url| shown_url(url, schemes));
            incomplete.extend((given.is_some() && url.is_none()).then_some(name));
        };
        shorten(&mut self.syslog_drain_url, "syslog_drain_url", &["syslog", "syslog-tls", "http", "https"]);
        shorten(&mut self.route_service_url, "route_service_url", &["http", "https"]);
        incomplete.extend((self.endpoints.len() < counts.0).then_some("endpoints"));
        incomplete.extend((self.volume_mounts.len() < counts.1).then_some("volume_mounts"));
        (self, incomplete)
    }

    /// Whether there is nothing to show.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An endpoint without a host stands for one that cannot be read.
fn endpoint_of(value: &Value) -> ServiceEndpoint {
    let protocol = match value.get("protocol") {
        None | Some(Value::Null) => Some(Protocol::Tcp),
        Some(given) => Protocol::deserialize(given).ok(),
    };
    let ports = value.get("ports").and_then(Value::as_array).into_iter().flatten().take(MAX_PORTS + 1);
    let text = |port: &Value| match port {
        Value::String(text) => text.clone(),
        // Some brokers send numbers.
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    };
    protocol.map_or_else(ServiceEndpoint::default, |protocol| ServiceEndpoint {
        host: text_of(value, "host"),
        ports: ports.map(text).collect(),
        protocol,
    })
}

fn mount_of(value: &Value) -> VolumeMount {
    VolumeMount {
        driver: text_of(value, "driver"),
        container_dir: text_of(value, "container_dir"),
        mode: text_of(value, "mode"),
        device_type: text_of(value, "device_type"),
        volume_id: value.get("device").map(|device| text_of(device, "volume_id")).unwrap_or_default(),
    }
}

fn text_of(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

impl ServiceEndpoint {
    fn is_sound(&self) -> bool {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        (1..=MAX_HOST).contains(&self.host.len())
            && self.host.bytes().all(known)
            && (1..=MAX_PORTS).contains(&self.ports.len())
            && self.ports.iter().all(|port| are_ports(port))
    }
}

/// Whether a text is a port or a range of ports.
fn are_ports(text: &str) -> bool {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0 && port.to_string() == text);
    match text.split_once('-') {
        None => port(text).is_some(),
        Some((first, last)) => port(first).zip(port(last)).is_some_and(|(first, last)| first <= last),
    }
}

impl VolumeMount {
    fn is_sound(&self) -> bool {
        let Self { driver, container_dir, mode, device_type, volume_id } = self;
        let words = [driver, container_dir, mode, device_type, volume_id];
        words.into_iter().all(|word| !word.is_empty() && clip(word, MAX_WORD) == *word)
            && matches!(&**mode, "r" | "rw")
    }
}

/// A URL without what may be a credential: services for logs have tokens in their paths. `None` if it cannot be shown.
fn shown_url(text: &str, schemes: &[&str]) -> Option<String> {
    let mut url = Url::parse(text).ok().filter(|_| text.len() <= 8 * MAX_URL)?;
    if !schemes.contains(&url.scheme()) || !url.has_host() {
        return None;
    }
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    url.set_query(None);
    url.set_fragment(None);
    url.set_path("");
    let shown = String::from(url);
    (shown.len() <= MAX_URL && clip(&shown, MAX_URL) == shown).then_some(shown)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: &Value) -> (Value, Vec<&'static str>) {
        let (extras, incomplete) = of(body.as_object().unwrap());
        let (again, nothing) = extras.clone().shown();
        assert_eq!((again, nothing), (extras.clone(), vec![]), "what is shown can be shown");
        let written: Extras = serde_json::from_value(json!(extras)).unwrap();
        assert_eq!(written, extras);
        (json!(extras), incomplete)
    }

    // OSB 125, 126
    #[test]
    fn what_the_protocol_has_is_shown_without_secrets() {
        let (shown, incomplete) = read(&json!({
            "credentials": { "password": "hunter2" },
            "endpoints": [
                { "host": "db.example.com", "ports": ["5432", "9000-9010"] },
                { "host": "::1", "ports": [53], "protocol": "udp" },
                { "host": "10.0.0.1", "ports": ["1"], "protocol": "all", "more": 1 },
            ],
            "volume_mounts": [{
                "driver": "nfs", "container_dir": "/data", "mode": "rw", "device_type": "shared",
                "device": { "volume_id": "v-1", "mount_config": { "password": "hunter2" } },
            }],
            "syslog_drain_url": "syslog-tls://user:hunter2@logs.example.com:6514/hunter2?token=hunter2#hunter2",
            "route_service_url": "https://user:hunter2@proxy.example.com/a/b?token=hunter2#hunter2",
        }));
        assert_eq!(incomplete, Vec::<&str>::new());
        let expected = json!({
            "endpoints": [
                { "host": "db.example.com", "ports": ["5432", "9000-9010"], "protocol": "tcp" },
                { "host": "::1", "ports": ["53"], "protocol": "udp" },
                { "host": "10.0.0.1", "ports": ["1"], "protocol": "all" },
            ],
            "volumeMounts": [{
                "driver": "nfs", "containerDir": "/data", "mode": "rw", "deviceType": "shared", "volumeID": "v-1",
            }],
            "syslogDrainURL": "syslog-tls://logs.example.com:6514",
            "routeServiceURL": "https://proxy.example.com/",
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn nothing_is_nothing() {
        let nothing = json!({ "endpoints": [], "volume_mounts": null, "syslog_drain_url": "", "route_service_url": null });
        assert_eq!(read(&nothing), (json!({}), vec![]));
    }

    #[test]
    fn what_is_hostile_is_left_out_and_the_rest_is_shown() {
        let good = json!({ "host": "h", "ports": ["1"] });
        for endpoint in [
            json!(1),
            json!({}),
            json!({ "host": "h" }),
            json!({ "host": "", "ports": ["1"] }),
            json!({ "host": "a b", "ports": ["1"] }),
            json!({ "host": "\u{202e}h", "ports": ["1"] }),
            json!({ "host": "h".repeat(254), "ports": ["1"] }),
            json!({ "host": "h", "ports": [] }),
            json!({ "host": "h", "ports": ["0"] }),
            json!({ "host": "h", "ports": ["+1"] }),
            json!({ "host": "h", "ports": ["65536"] }),
            json!({ "host": "h", "ports": ["2-1"] }),
            json!({ "host": "h", "ports": ["1", null] }),
            json!({ "host": "h", "ports": vec!["1"; MAX_PORTS + 1] }),
            json!({ "host": "h", "ports": ["1"], "protocol": "sctp" }),
        ] {
            let (shown, incomplete) = read(&json!({ "endpoints": [endpoint, good] }));
            assert_eq!(shown["endpoints"].as_array().map(Vec::len), Some(1), "{endpoint}");
            assert_eq!(incomplete, ["endpoints"], "{endpoint}");
        }
        let mount = |key: &str, value: Value| {
            let mut mount = json!({
                "driver": "d", "container_dir": "/", "mode": "r", "device_type": "shared", "device": { "volume_id": "v" },
            });
            mount[key] = value;
            mount
        };
        for mount in [
            mount("driver", json!("")),
            mount("container_dir", json!("/\u{1b}[31m")),
            mount("mode", json!("w")),
            mount("device_type", json!("s".repeat(MAX_WORD + 1))),
            mount("device", json!({})),
        ] {
            assert_eq!(
                read(&json!({ "volume_mounts": [mount] })),
                (json!({}), vec!["volume_mounts"]),
                "{mount}"
            );
        }
        for url in [
            "x",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "https://",
            &format!("https://{}h/", "h.".repeat(1025)),
        ] {
            assert_eq!(
                read(&json!({ "route_service_url": url })),
                (json!({}), vec!["route_service_url"]),
                "{url}"
            );
        }
    }

    #[test]
    fn many_are_shown_in_part() {
        let endpoints = vec![json!({ "host": "h", "ports": ["1"] }); MAX_ENDPOINTS + 5];
        let (shown, incomplete) = read(&json!({ "endpoints": endpoints }));
        assert_eq!(shown["endpoints"].as_array().map(Vec::len), Some(MAX_ENDPOINTS));
        assert_eq!(incomplete, ["endpoints"]);
    }
}
