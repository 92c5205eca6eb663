//! A small client with the habits of a platform, good and bad.

#![allow(clippy::unwrap_used, reason = "test support: a broken expectation has to end the test")]

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use testkit::broker::{Broker, PASSWORD, POSTGRESQL, SMALL, USERNAME};

/// Long enough for a loaded machine; nothing waits this long when the broker is right.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A client that speaks OSB as badly as a test wants.
pub struct Platform {
    pub client: Client,
    url: String,
}

impl Platform {
    pub fn of(broker: &Broker) -> Self {
        Self { client: Client::new(), url: broker.url() }
    }

    pub fn request(&self, method: Method, target: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{target}", self.url))
            .basic_auth(USERNAME, Some(PASSWORD))
            .header("X-Broker-API-Version", "2.17")
    }

    pub async fn get(&self, target: &str) -> Response {
        self.request(Method::GET, target).send().await.unwrap()
    }

    pub fn put(&self, target: &str, body: &Value) -> RequestBuilder {
        self.request(Method::PUT, target).json(body)
    }

    pub async fn provision(&self, id: &str) -> Response {
        self.put(&format!("{}?accepts_incomplete=true", instance(id)), &provision()).send().await.unwrap()
    }

    pub async fn update(&self, id: &str, body: Value) -> Response {
        let target = format!("{}?accepts_incomplete=true", instance(id));
        self.request(Method::PATCH, &target).json(&body).send().await.unwrap()
    }

    pub async fn bind(&self, id: &str, binding_id: &str) -> Response {
        let target = format!("{}?accepts_incomplete=true", binding(id, binding_id));
        self.put(&target, &bind()).send().await.unwrap()
    }

    pub async fn delete(&self, target: &str) -> Response {
        let target = format!("{target}?service_id={POSTGRESQL}&plan_id={SMALL}&accepts_incomplete=true");
        self.request(Method::DELETE, &target).send().await.unwrap()
    }
}

pub fn instance(id: &str) -> String {
    format!("/v2/service_instances/{id}")
}

pub fn binding(id: &str, binding: &str) -> String {
    format!("{}/service_bindings/{binding}", instance(id))
}

pub fn context() -> Value {
    json!({ "platform": "kubernetes", "namespace": "n", "clusterid": "c", "instance_name": "i" })
}

pub fn provision() -> Value {
    json!({
        "service_id": POSTGRESQL, "plan_id": SMALL, "organization_guid": "c", "space_guid": "n",
        "context": context(), "parameters": { "size": 1 },
    })
}

pub fn bind() -> Value {
    json!({ "service_id": POSTGRESQL, "plan_id": SMALL, "context": context() })
}

pub fn ids<const N: usize>(ids: [&str; N]) -> BTreeSet<String> {
    ids.into_iter().map(str::to_owned).collect()
}

pub async fn body(response: Response) -> Value {
    response.json().await.unwrap()
}
