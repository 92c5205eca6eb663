//! What the commands are made of: requests, byte for byte as a Go client sends them, and how `svcat` waits and reads a
//! status.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha224};
use testkit::stage::{
    case::Case,
    objects::{BROKER, CLUSTER_BROKER, CLUSTER_CLASS, CLUSTER_PLAN, Kind, name},
    wait,
};

use super::go;

/// How often `touch` and `sync` try when they are told of a conflict.
const TRIES: usize = 3;

/// `--scope`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Cluster,
    Namespace,
    All,
}

/// `svcat`, with the namespace of a test as its own.
pub struct Svcat<'a>(pub &'a Case);

/// The status that `svcat` shows: that of the last condition, its type if it holds and its reason if not.
pub fn status(object: &Value) -> (String, String) {
    let last =
        object["status"]["conditions"].as_array().and_then(|all| all.last()).cloned().unwrap_or_default();
    let short = if last["status"] == "True" { &last["type"] } else { &last["reason"] };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(short), text(&last["message"]))
}

/// A text of an object, empty where there is none.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The value of a lookup label.
pub fn label(field: &str, value: &str) -> String {
    let digest = Sha224::digest(value.as_bytes());
    let mut hex = String::new();
    for byte in digest {
        write!(hex, "{byte:02x}").unwrap();
    }
    format!("servicecatalog.k8s.io/{field}={hex}")
}

pub fn is(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// The requests that all commands are made of.
impl Svcat<'_> {
    fn path(&self, kind: Kind, all_namespaces: bool, rest: &str) -> String {
        let base = "/apis/servicecatalog.k8s.io/v1beta1";
        let cluster_wide = [CLUSTER_BROKER, CLUSTER_CLASS, CLUSTER_PLAN].contains(&kind);
        let namespace = if cluster_wide || all_namespaces {
            String::new()
        } else {
            format!("/namespaces/{}", self.0.namespace())
        };
        format!("{base}{namespace}/{}{rest}", kind.plural)
    }

    pub async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> kube::Result<Value> {
        let body = body.map_or_else(Vec::new, |body| serde_json::to_vec(body).unwrap());
        let request = http::Request::builder().method(method).uri(path);
        let request = request.header("Content-Type", "application/json").body(body).unwrap();
        self.0.hand.client.request(request).await
    }

    /// GET of one object.
    pub async fn get(&self, kind: Kind, name: &str) -> kube::Result<Value> {
        let object = self.send("GET", &self.path(kind, false, &format!("/{name}")), None).await?;
        Ok(go::through(&object))
    }

    /// LIST, by labels or of all.
    pub async fn list(
        &self,
        kind: Kind,
        all_namespaces: bool,
        labels: &[String],
    ) -> kube::Result<Vec<Value>> {
        let query = if labels.is_empty() {
            String::new()
        } else {
            format!(
                "?labelSelector={}",
                labels.join(",").replace('/', "%2F").replace('=', "%3D").replace(',', "%2C")
            )
        };
        let answer = self.send("GET", &self.path(kind, all_namespaces, &query), None).await?;
        Ok(answer["items"].as_array().unwrap().iter().map(go::through).collect())
    }

    /// LIST of a kind that there is in both scopes.
    pub async fn both(
        &self,
        kinds: [Kind; 2],
        scope: Scope,
        labels: [&[String]; 2],
    ) -> kube::Result<Vec<Value>> {
        let mut found = Vec::new();
        if scope != Scope::Namespace {
            found.extend(self.list(kinds[0], false, labels[0]).await?);
        }
        if scope != Scope::Cluster {
            found.extend(self.list(kinds[1], false, labels[1]).await?);
        }
        Ok(found)
    }

    pub async fn create(&self, kind: Kind, name: &str, spec: Value) -> kube::Result<Value> {
        let metadata = json!({ "name": name, "namespace": self.0.namespace() });
        let mut object = go::through(&json!({ "kind": kind.name, "metadata": metadata, "spec": spec }));
        if [CLUSTER_BROKER, CLUSTER_CLASS, BROKER].contains(&kind) {
            object["metadata"].as_object_mut().unwrap().shift_remove("namespace");
        }
        self.send("POST", &self.path(kind, false, ""), Some(&object)).await
    }

    /// PUT of a whole object.
    pub async fn replace(&self, kind: Kind, object: &Value) -> kube::Result<Value> {
        self.send("PUT", &self.path(kind, false, &format!("/{}", name(object))), Some(&go::through(object)))
            .await
    }

    pub async fn delete(&self, kind: Kind, name: &str) -> kube::Result<()> {
        let options = json!({ "kind": "DeleteOptions", "apiVersion": "servicecatalog.k8s.io/v1beta1" });
        self.send("DELETE", &self.path(kind, false, &format!("/{name}")), Some(&options)).await.map(|_| ())
    }

    /// GET, a change, PUT; again when somebody else was faster.
    pub async fn change(&self, kind: Kind, name: &str, change: impl Fn(&mut Value)) -> kube::Result<Value> {
        let mut tries = 1;
        loop {
            let mut object = self.get(kind, name).await?;
            change(&mut object);
            match self.replace(kind, &object).await {
                Err(error) if is(&error, 409) && tries < TRIES => tries += 1,
                answer => return answer,
            }
        }
    }

    /// GETs until the object is Ready or Failed, and no operation is under way.
    pub async fn wait(&self, kind: Kind, name: &str) -> Value {
        let deadline = Instant::now() + wait::PATIENCE;
        loop {
            let object = self.get(kind, name).await.unwrap();
            if is_done(&object) {
                return object;
            }
            assert!(Instant::now() < deadline, "svcat waits in vain for {} {name}: {object:#}", kind.name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// GETs until there is nothing.
    pub async fn wait_for_absence(&self, kind: Kind, name: &str) {
        let deadline = Instant::now() + wait::PATIENCE;
        while let Ok(object) = self.get(kind, name).await {
            assert!(Instant::now() < deadline, "svcat waits in vain for the end of {name}: {object:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Whether `--wait` ends with this.
pub fn is_done(object: &Value) -> bool {
    let holds = |condition: &Value| {
        (condition["type"] == "Ready" || condition["type"] == "Failed") && condition["status"] == "True"
    };
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(holds)) && object["status"]["asyncOpInProgress"] != true
}
