//! `spec.secret`: how credentials stand in their Secret, and what a change of it does.

use serde_json::{Value, json};
use testkit::{
    broker::{Operation, catalog},
    page::commands,
    stage::{
        case::Case,
        objects::{BINDING, SECRET, condition, uid},
    },
};

use super::{namespaced, unregistered};

/// The keys of a Secret, in their order.
async fn keys(case: &Case) -> Vec<String> {
    let content = case.content("app").await;
    let mut keys: Vec<String> = content.as_object().unwrap().keys().cloned().collect();
    keys.sort();
    keys
}

/// Changes `spec.secret`, and waits until the Secret is written again.
async fn reshape(case: &Case, secret: Value) -> Value {
    let before = case.get(SECRET, "app").await["metadata"]["resourceVersion"].clone();
    case.edit(BINDING, "app", json!({ "secret": secret })).await;
    case.until(SECRET, "app", "to be written again", |now| now["metadata"]["resourceVersion"] != before)
        .await;
    case.until(BINDING, "app", "to be done", |binding| {
        binding["status"]["reconciledGeneration"] == binding["metadata"]["generation"]
    })
    .await
}

async fn ready_and_saying(case: &Case, words: &str) {
    case.until(BINDING, "app", &format!("to be ready and say {words:?}"), |binding| {
        condition(binding, "Ready").is_some_and(|(status, _, said)| status == "True" && said.contains(words))
    })
    .await;
}

#[tokio::test]
async fn a_changed_shape_is_written_without_another_bind() {
    let case = namespaced("shape-changed").await;
    case.broker.set_credentials(json!({ "ÄB c": "x", "AB_c": "y", "port": 5432 }));
    case.provide("db", json!({})).await;
    let bound =
        case.connect("app", "db", json!({ "secret": { "legalKeys": true, "keyPrefix": "DB_" } })).await;
    assert_eq!(case.content("app").await, json!({ "DB_AB_c": "y", "DB_AB_c_2": "x", "DB_port": "5432" }));
    let (_, _, message) = condition(&bound, "Ready").unwrap();
    assert!(message.contains("\"ÄB c\" is \"DB_AB_c_2\""), "{message}");

    let templates = json!([{ "key": "address", "template": "db:{.port}" }]);
    let marks = json!({ "example.com/team": "shop" });
    let shaped = json!({ "jsonKey": "all.json", "keyPrefix": null, "templates": templates, "labels": marks, "annotations": marks });
    let ready = reshape(&case, shaped).await;
    assert_eq!(condition(&ready, "Ready").unwrap(), ("True", "InjectedBindResult", "Injected bind result"));
    let secret = case.get(SECRET, "app").await;
    let content = case.content("app").await;
    assert_eq!(keys(&case).await, ["address", "all.json"]);
    assert_eq!(content["address"], "db:5432");
    let all: Value = serde_json::from_str(content["all.json"].as_str().unwrap()).unwrap();
    assert_eq!(all, json!({ "ÄB c": "x", "AB_c": "y", "port": 5432 }));
    for (part, ours) in
        [("labels", "app.kubernetes.io/managed-by"), ("annotations", "servicecatalog.k8s.io/binding-id")]
    {
        assert_eq!(secret["metadata"][part]["example.com/team"], "shop");
        assert!(secret["metadata"][part][ours].is_string(), "{secret}");
    }

    // A manifest without the field changes nothing, and one without its fields takes them away.
    case.edit(BINDING, "app", json!({ "secret": null })).await;
    assert_eq!(keys(&case).await, ["address", "all.json"]);
    let none = json!({ "jsonKey": null, "templates": null, "labels": null, "annotations": null });
    reshape(&case, none).await;
    assert_eq!(case.content("app").await, json!({ "AB_c": "y", "AB_c_2": "x", "port": "5432" }));
    let secret = case.get(SECRET, "app").await;
    for part in ["labels", "annotations"] {
        assert!(secret["metadata"][part].get("example.com/team").is_none(), "{secret}");
    }
    assert_eq!(case.broker.requests_of(Operation::Bind).len(), 1, "{}", case.broker.summary());
    assert_eq!(case.broker.requests_of(Operation::GetBinding).len(), 2, "{}", case.broker.summary());
    assert!(case.broker.requests_of(Operation::Unbind).is_empty());
    case.finish().await;
}

/// The credentials are valid, so the binding stays ready.
#[tokio::test]
async fn a_shape_that_cannot_be_written_is_told() {
    let case = unregistered("shape-told", false).await;
    case.broker.set_catalog(catalog([case.offering().with("bindings_retrievable", false)]));
    case.register(json!({})).await;
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    let before = case.get(SECRET, "app").await;
    case.edit(BINDING, "app", json!({ "secret": { "keyPrefix": "DB_" } })).await;
    let told = "does not have the shape that spec.secret asks for: the broker cannot be asked";
    ready_and_saying(&case, told).await;
    assert_eq!(case.get(SECRET, "app").await["data"], before["data"]);
    // As the message says.
    case.edit(BINDING, "app", json!({ "secret": { "keyPrefix": null } })).await;
    ready_and_saying(&case, "Injected bind result").await;
    case.edit(BINDING, "app", json!({ "secret": { "keyPrefix": "DB_" } })).await;
    ready_and_saying(&case, told).await;
    assert_eq!(case.broker.requests_of(Operation::Bind).len(), 1, "{}", case.broker.summary());
    case.delete(SECRET, "app").await;
    case.until(SECRET, "app", "to come back", |secret| uid(secret) != uid(&before)).await;
    assert!(case.content("app").await["DB_password"].is_string());
    case.ready(BINDING, "app").await;
    assert!(case.broker.requests_of(Operation::Unbind).is_empty());
    case.finish().await;
}

/// The Secret stays as it was until the spec is mended.
#[tokio::test]
async fn a_template_that_fits_no_credentials_is_named_and_can_be_mended() {
    let case = namespaced("shape-wrong").await;
    case.provide("db", json!({})).await;
    let of = |template: &str| json!({ "secret": { "templates": [{ "key": "url", "template": template }] } });
    case.bind("app", "db", of("{.password")).await;
    let words = ["spec.secret.templates[0].template", "without a }"];
    case.says(BINDING, "app", "ErrorInjectingBindResult", &words).await;
    assert!(case.broker.requests_of(Operation::Bind).is_empty(), "it is known before");
    case.edit(BINDING, "app", of("x{.password}")).await;
    case.ready(BINDING, "app").await;
    let before = case.content("app").await;
    assert_eq!(before["url"], format!("x{}", before["password"].as_str().unwrap()));

    case.edit(BINDING, "app", of("{.nothing}")).await;
    let words = ["spec.secret.templates[0].template", "{.nothing}", "the Secret is as it was"];
    let told = case.says(BINDING, "app", "ErrorInjectingBindResult", &words).await;
    assert!(!told.to_string().contains(before["password"].as_str().unwrap()), "{told}");
    assert_eq!(case.content("app").await, before);
    case.edit(BINDING, "app", of("y")).await;
    case.until(SECRET, "app", "to be mended", |secret| secret["data"]["url"] == "eQ==").await;
    case.ready(BINDING, "app").await;
    assert_eq!(case.broker.requests_of(Operation::Bind).len(), 1, "{}", case.broker.summary());
    case.finish().await;
}

#[tokio::test]
async fn what_no_secret_can_have_is_refused() {
    let case = namespaced("shape-refused").await;
    let key = |template: &str| json!({ "key": "k", "template": template });
    for (secret, words) in [
        (json!({ "jsonKey": "a b" }), "spec.secret.jsonKey: Invalid value"),
        (json!({ "jsonKey": "a", "keyPrefix": "b" }), "keyPrefix has no effect with jsonKey"),
        (json!({ "keyPrefix": ".." }), "must be the beginning of a key"),
        (json!({ "templates": [key("a"), key("b")] }), "spec.secret.templates[1]: Duplicate value"),
        (json!({ "templates": [key(&"x".repeat(4097))] }), "spec.secret.templates[0].template: Too long"),
        (
            json!({ "labels": { "servicecatalog.k8s.io/binding-uid": "u" } }),
            "spec.secret.labels: Invalid value",
        ),
        (json!({ "serviceBinding": { "type": "A b" } }), "must be the type of a service"),
        (json!({ "serviceBinding": { "provider": "a\nb" } }), "must have no control characters"),
        (json!({ "labels": { "a b": "x" } }), "keys must be such as example.com/team"),
        (json!({ "annotations": { "/x": "" } }), "keys must be such as example.com/team"),
        (json!({ "labels": { "a": "b c" } }), "must be the value of a label"),
        (json!({ "labels": { "app.kubernetes.io/managed-by": "me" } }), "use a prefix of your own"),
        (json!({ "annotations": { "kubernetes.io/service-account.name": "x" } }), "use a prefix of your own"),
    ] {
        let spec = json!({ "instanceRef": { "name": "db" }, "secret": secret });
        let refused = case.hand.create(BINDING, "app", spec).await.unwrap_err().to_string();
        assert!(refused.contains(words), "{secret}: {refused}");
    }
    case.finish().await;
}

/// The type of a Secret cannot be changed, so the operator makes another one.
#[tokio::test]
async fn a_secret_can_be_one_of_servicebinding_and_have_another_type() {
    let case = namespaced("shape-typed").await;
    let credentials =
        json!({ "hostname": "db.example.com", "port": 5432, "user": "u", "password": "s3cret" });
    case.broker.set_credentials(credentials);
    case.provide("db", json!({})).await;
    let bound = case.connect("app", "db", json!({ "secret": { "serviceBinding": {} } })).await;
    assert_eq!(bound["status"]["binding"], json!({ "name": "app" }));
    let first = case.get(SECRET, "app").await;
    assert_eq!(first["type"], "servicebinding.io/postgresql", "it is the name of the offering");
    let content = case.content("app").await;
    for (key, value) in [
        ("type", "postgresql"),
        ("host", "db.example.com"),
        ("username", "u"),
        ("user", "u"),
        ("provider", case.broker_name()),
    ] {
        assert_eq!(content[key], value, "{content}");
    }
    reshape(&case, json!({ "serviceBinding": { "type": "mysql", "provider": "acme" } })).await;
    let second = case.get(SECRET, "app").await;
    assert_eq!(second["type"], "servicebinding.io/mysql");
    assert_ne!(uid(&second), uid(&first));
    let content = case.content("app").await;
    assert_eq!((&content["type"], &content["provider"]), (&json!("mysql"), &json!("acme")));
    let ready = reshape(&case, json!({ "serviceBinding": null })).await;
    assert_eq!(case.get(SECRET, "app").await["type"], "Opaque");
    assert_eq!(keys(&case).await, ["hostname", "password", "port", "user"]);
    assert_eq!(condition(&ready, "Ready").unwrap().0, "True");
    assert_eq!(case.broker.requests_of(Operation::Bind).len(), 1, "{}", case.broker.summary());
    assert!(case.broker.requests_of(Operation::Unbind).is_empty());
    case.finish().await;
}

/// The commands of `docs/secrets.md`.
#[tokio::test]
async fn the_secrets_of_the_page_are_as_it_says() {
    let case = namespaced("store").await;
    case.broker.set_credentials(json!({
        "host": "h", "port": 5432, "username": "u", "password": "p", "ÄB c": true,
    }));
    case.provide("db", json!({})).await;
    let blocks = commands("docs/secrets.md", "## The shape");
    let shell = async |script: &str| {
        case.stage.plane.shell(case.stage.plane.dir(), script).await.unwrap().trim_end().to_owned()
    };
    shell(&blocks[0]).await;
    let expected = json!({
        "DB_host": "h", "DB_port": "5432", "DB_username": "u", "DB_password": "p", "DB_AB_c": "true",
        "DATABASE_URL": "postgresql://u:p@h:5432/shop",
    });
    assert_eq!(case.content("app").await, expected);
    let secret = case.get(SECRET, "app").await;
    assert_eq!(secret["metadata"]["labels"]["example.com/team"], "shop");
    assert_eq!(secret["metadata"]["annotations"]["example.com/owner"], "ann");
    shell(&blocks[1]).await;
    assert_eq!(keys(&case).await, ["DATABASE_URL", "credentials.json"]);
    let [typed] = &commands("docs/secrets.md", "## Secrets for servicebinding.io")[..] else { panic!() };
    // The mistakes in the keys are another chapter.
    case.broker.set_credentials(json!({ "host": "h", "port": 5432, "user": "u", "password": "p" }));
    assert!(shell(typed).await.ends_with("typedservicebinding.io/postgresql"));
    let expected = json!({
        "type": "postgresql", "provider": "acme", "host": "h", "port": "5432", "user": "u", "username": "u",
        "password": "p",
    });
    assert_eq!(case.content("typed").await, expected);
    case.finish().await;
}
