//! The manifests in `config/samples` are what users begin with: the API server takes each, and they do what they say.

use std::{fs, path::Path, time::Instant};

use serde_json::{Value, json};
use testkit::{
    broker::{Offering, Plan, catalog},
    stage::{
        objects::{BINDING, BROKER, INSTANCE, uid},
        wait::PATIENCE,
    },
};

use super::{unregistered, users_view::kubectl};

/// The path of a sample.
fn sample(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/samples").join(file);
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_sample_is_taken_as_it_stands() {
    let case = unregistered("samples-dry", false).await;
    let files: Vec<_> = fs::read_dir(sample("")).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let file = file.to_str().unwrap();
        let said = kubectl(&case, &["apply", "--dry-run=server", "--validate=strict", "-f", file]).await;
        assert!(said.trim_end().ends_with("created (server dry run)"), "{file}: {said}");
    }
    case.finish().await;
}

#[tokio::test]
async fn the_sample_quota_ends_at_its_numbers() {
    let case = unregistered("samples-quota", false).await;
    kubectl(&case, &["apply", "-f", &sample("resource-quota.yaml")]).await;
    let quota = kubectl(&case, &["get", "resourcequota", "service-catalog", "-o", "json"]).await;
    let hard = serde_json::from_str::<Value>(&quota).unwrap()["spec"]["hard"].clone();
    // The controller that counts does not run here. As if everything was used up:
    let status = json!({ "status": { "hard": hard, "used": hard } }).to_string();
    kubectl(
        &case,
        &["patch", "resourcequota", "service-catalog", "--subresource=status", "--type=merge", "-p", &status],
    )
    .await;
    let specs = [
        (INSTANCE, case.instance_spec("small", json!({}))),
        (BINDING, json!({ "instanceRef": { "name": "db" } })),
        (BROKER, case.broker_spec(json!({}))),
    ];
    for (kind, spec) in specs {
        let deadline = Instant::now() + PATIENCE;
        // The API server sees the quota a moment later.
        let refused = loop {
            match case.hand.create(kind, "one-too-many", spec.clone()).await {
                Err(refused) => break refused.to_string(),
                Ok(_) => case.remove(kind, "one-too-many").await,
            }
            assert!(Instant::now() < deadline, "{} has no limit", kind.name);
        };
        let limit =
            format!("exceeded quota: service-catalog, requested: count/{}.servicecatalog", kind.plural);
        assert!(refused.contains(&limit), "{refused}");
    }
    case.finish().await;
}

#[tokio::test]
async fn the_sample_binding_has_the_keys_it_asks_for_of_the_sample_instance() {
    let case = unregistered("samples", true).await;
    // The name that the sample orders, which no other test offers to the whole cluster.
    let offering =
        Offering::new("offering-of-samples", "postgresql").plan(Plan::new("plan-of-samples", "small"));
    case.broker.set_catalog(catalog([offering]));
    case.broker.set_credentials(json!({
        "uri": "postgresql://u:p@db.example.com:5432/d", "host": "db.example.com", "port": 5432, "password": "p",
    }));
    case.register(json!({})).await;
    let secret = json!({ "parameters": "{\"adminPassword\": \"a\"}" });
    case.hand.secret("example-database", secret).await.unwrap();
    kubectl(&case, &["apply", "-f", &sample("service-instance.yaml")]).await;
    let instance = case.ready(INSTANCE, "example-database").await;
    let sent = case.broker.instance(uid(&instance)).unwrap().parameters;
    assert_eq!(sent, json!({ "encoding": "UTF8", "adminPassword": "a" }));
    kubectl(&case, &["apply", "-f", &sample("service-binding.yaml")]).await;
    case.ready(BINDING, "example-app").await;
    let expected = json!({
        "DATABASE_URL": "postgresql://u:p@db.example.com:5432/d", "ADDRESS": "db.example.com:5432",
        "host": "db.example.com", "port": "5432", "password": "p",
    });
    assert_eq!(case.content("example-app-database").await, expected);
    case.finish().await;
}
