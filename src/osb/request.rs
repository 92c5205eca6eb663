//! One request before it is sent: its URL, its headers, its body. Pure.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use reqwest::Url;
use serde::Serialize;

use super::{
    caching::Document,
    endpoint::Identity,
    ids::{BindingId, InstanceId},
    operation::Operation,
    wire::Target,
};

/// The last segment of the polling endpoints.
pub(super) const LAST_OPERATION: &str = "last_operation";

const INSTANCES: [&str; 2] = ["v2", "service_instances"];
const BINDINGS: &str = "service_bindings";
const ACCEPTS_INCOMPLETE: (&str, &str) = ("accepts_incomplete", "true");

/// A request to an endpoint of the API, still without the broker's address.
pub(super) struct Request<'a> {
    pub(super) operation: Operation,
    segments: Vec<&'a str>,
    query: Vec<(&'static str, &'a str)>,
    pub(super) body: Option<serde_json::Result<Vec<u8>>>,
    pub(super) identity: Option<&'a Identity>,
    pub(super) kept: Option<&'a Document>,
}

impl<'a> Request<'a> {
    pub(super) fn new(operation: Operation, segments: &[&'a str]) -> Self {
        Self {
            operation,
            segments: segments.to_vec(),
            query: Vec::new(),
            body: None,
            identity: None,
            kept: None,
        }
    }

    pub(super) fn instance(operation: Operation, instance_id: &'a InstanceId) -> Self {
        Self::new(operation, &INSTANCES).then(instance_id.as_str())
    }

    pub(super) fn binding(
        operation: Operation,
        instance_id: &'a InstanceId,
        binding_id: &'a BindingId,
    ) -> Self {
        Self::instance(operation, instance_id).then(BINDINGS).then(binding_id.as_str())
    }

    pub(super) fn then(mut self, segment: &'a str) -> Self {
        self.segments.push(segment);
        self
    }

    pub(super) fn of(mut self, target: &'a Target) -> Self {
        self.query.extend([("service_id", target.service_id.as_str()), ("plan_id", target.plan_id.as_str())]);
        self
    }

    pub(super) fn accepting(mut self, incomplete: bool) -> Self {
        self.query.extend(incomplete.then_some(ACCEPTS_INCOMPLETE));
        self
    }

    /// Adds `operation`, unless it is empty: "If present, it MUST be a non-empty string" ("Polling Last
    /// Operation").
    pub(super) fn polling(mut self, operation: Option<&'a str>) -> Self {
        self.query.extend(operation.filter(|text| !text.is_empty()).map(|text| ("operation", text)));
        self
    }

    pub(super) fn on_behalf_of(mut self, identity: Option<&'a Identity>) -> Self {
        self.identity = identity;
        self
    }

    /// Asks for a body only if the kept version is no longer current.
    pub(super) fn conditional_on(mut self, kept: Option<&'a Document>) -> Self {
        self.kept = kept;
        self
    }

    pub(super) fn with(mut self, body: &impl Serialize) -> Self {
        self.body = Some(serde_json::to_vec(body));
        self
    }

    /// The URL. Path segments and query values are percent-encoded except for unreserved characters ("URL
    /// Properties").
    ///
    /// None if a segment cannot be part of a URL: an empty one would name another resource, and parsers
    /// remove `.` and `..` from a path, encoded or not (RFC 3986, 6.2.2).
    pub(super) fn url(&self, base: &Url) -> Option<Url> {
        if self.segments.iter().any(|segment| matches!(*segment, "" | "." | "..")) {
            return None;
        }
        let mut url = base.clone();
        let mut path = base.path().trim_end_matches('/').to_owned();
        for segment in &self.segments {
            path.push('/');
            path.extend(encoded(segment));
        }
        url.set_path(&path);
        if !self.query.is_empty() {
            let mut text = String::new();
            for (key, value) in &self.query {
                text.push_str(if text.is_empty() { "" } else { "&" });
                text.push_str(key);
                text.push('=');
                text.extend(encoded(value));
            }
            url.set_query(Some(&text));
        }
        Some(url)
    }
}

/// Text as one segment or value of a URL: every byte that RFC 3986 does not call unreserved is
/// percent-encoded.
fn encoded(text: &str) -> PercentEncode<'_> {
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, RESERVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(base: &str, request: &Request<'_>) -> Option<String> {
        request.url(&Url::parse(base).unwrap()).map(String::from)
    }

    // OSB 19
    #[test]
    fn ids_are_encoded_as_one_segment() {
        let rows = [
            ("0b9b7a1e-8a30-4b5a-9a3f-6a8f7f3c0f10", "0b9b7a1e-8a30-4b5a-9a3f-6a8f7f3c0f10"),
            ("a?x=1", "a%3Fx%3D1"),
            ("../../v2/catalog", "..%2F..%2Fv2%2Fcatalog"),
            ("a/b#c%2e%2e", "a%2Fb%23c%252e%252e"),
            ("%2e%2e", "%252e%252e"),
            ("\\..\\", "%5C..%5C"),
            ("...", "..."),
            ("ä b\n\t;,:@&=+$!*'()|", "%C3%A4%20b%0A%09%3B%2C%3A%40%26%3D%2B%24%21%2A%27%28%29%7C"),
            ("-._~", "-._~"),
        ];
        for (id, segment) in rows {
            let (instance, binding) = (id.into(), id.into());
            let request = Request::binding(Operation::GetBinding, &instance, &binding);
            let expected = format!("http://h/v2/service_instances/{segment}/service_bindings/{segment}");
            assert_eq!(url("http://h", &request), Some(expected), "{id}");
        }
    }

    #[test]
    fn ids_that_no_url_can_carry_are_not_sent() {
        for id in ["", ".", ".."] {
            assert_eq!(url("http://h", &Request::instance(Operation::Provision, &id.into())), None, "{id:?}");
        }
    }

    #[test]
    fn the_path_of_the_base_stays_in_front() {
        let request = Request::new(Operation::Catalog, &["v2", "catalog"]);
        for (base, expected) in [
            ("http://h:80", "http://h/v2/catalog"),
            ("http://h:8080/", "http://h:8080/v2/catalog"),
            ("https://h/a%2Fb/c//", "https://h/a%2Fb/c/v2/catalog"),
        ] {
            assert_eq!(url(base, &request).as_deref(), Some(expected));
        }
    }

    // OSB 66
    #[test]
    fn query_values_are_encoded_and_an_empty_operation_is_left_out() {
        let target = Target { service_id: "s&1".into(), plan_id: "p=+ #1".into() };
        let instance = "i".into();
        let request = |operation| {
            let request =
                Request::instance(Operation::PollInstance, &instance).then(LAST_OPERATION).of(&target);
            url("http://h", &request.polling(operation)).unwrap()
        };
        let base = "http://h/v2/service_instances/i/last_operation?service_id=s%261&plan_id=p%3D%2B%20%231";
        assert_eq!(request(None), base);
        assert_eq!(request(Some("")), base);
        assert_eq!(request(Some("&=+%/ #?ü")), format!("{base}&operation=%26%3D%2B%25%2F%20%23%3F%C3%BC"));
    }
}
