//! Bindings: credentials and their Secret, at once and asynchronously, and what keeps the Secret as it should be.

use serde_json::{Value, json};
use testkit::{
    broker::{AsyncScript, Hold, Operation, catalog},
    page::commands,
    stage::{
        case::Case,
        objects::{BINDING, INSTANCE, SECRET, condition, uid},
    },
};

use super::{cluster_wide, namespaced};

// OSB 117, 138
// v0.3 E1, E7, E8, I6
#[tokio::test]
async fn a_binding_puts_its_credentials_into_a_secret_and_takes_them_away() {
    let case = cluster_wide("bind").await;
    case.broker.set_credentials(json!({
        "uri": "postgresql://u:p@h/d?a=\"b\"", "port": 5432, "big": 9_007_199_254_740_993_u64, "tls": true,
        "nothing": null, "hosts": ["a", {"b": 1.5}], "empty": "",
    }));
    let instance = case.provide("db", json!({})).await;
    let made = case.bind("app", "db", json!({ "parameters": { "role": "reader" } })).await;
    let ready = case.ready(BINDING, "app").await;
    assert_eq!(condition(&ready, "Ready").unwrap(), ("True", "InjectedBindResult", "Injected bind result"));
    assert_eq!(ready["status"]["unbindStatus"], "Required");
    let kept = case.broker.binding(uid(&made)).unwrap();
    assert_eq!((kept.instance_id.as_str(), &kept.parameters), (uid(&instance), &json!({ "role": "reader" })));

    let expected = json!({
        "uri": "postgresql://u:p@h/d?a=\"b\"", "port": "5432", "big": "9007199254740993", "tls": "true",
        "nothing": "null", "hosts": r#"["a",{"b":1.5}]"#, "empty": "",
    });
    assert_eq!(case.content("app").await, expected);
    let secret = case.get(SECRET, "app").await;
    assert_eq!(secret["type"], "Opaque");
    let owner = &secret["metadata"]["ownerReferences"];
    assert_eq!(owner.as_array().map(Vec::len), Some(1));
    assert_eq!(
        (owner[0]["kind"].as_str(), owner[0]["uid"].as_str()),
        (Some("ServiceBinding"), Some(uid(&made)))
    );
    assert_eq!(owner[0]["controller"], true);

    case.remove(BINDING, "app").await;
    case.gone(SECRET, "app").await;
    assert!(case.broker.live_bindings().is_empty());
    let unbind = case.broker.requests_of(Operation::Unbind).remove(0);
    assert_eq!(unbind.query("plan_id"), Some(case.unique("plan-small").as_str()));
    case.finish().await;
}

// v0.3 E3
#[tokio::test]
async fn the_secret_has_the_name_and_the_keys_that_were_asked_for() {
    let case = namespaced("transforms").await;
    case.provide("db", json!({})).await;
    let transforms = json!([
        { "renameKey": { "from": "uri", "to": "DATABASE_URL" } },
        { "addKey": { "key": "driver", "stringValue": "psql" } },
        { "removeKey": { "key": "password" } },
    ]);
    case.connect("app", "db", json!({ "secretName": "db-access", "secretTransforms": transforms })).await;
    let content = case.content("db-access").await;
    let mut keys: Vec<&String> = content.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["DATABASE_URL", "driver", "username"]);
    assert!(case.hand.get(SECRET, "app").await.unwrap().is_none());
    case.finish().await;
}

// OSB 78, 80, 134, 137
// v0.3 C2, I4, J1, L6
#[tokio::test]
async fn an_asynchronous_binding_is_fetched_when_it_is_done() {
    let case = namespaced("bind-async").await;
    case.provide("db", json!({})).await;
    let hold = Hold::new();
    let slow = || AsyncScript::succeeding(1).held_by(&hold).describing("making a role");
    case.broker.set_async_script(Operation::Bind, slow());
    let hold_unbind = Hold::new();
    let forgetting = AsyncScript::succeeding(1).held_by(&hold_unbind).describing("dropping a role");
    case.broker.set_async_script(Operation::Unbind, forgetting);
    case.bind("app", "db", json!({})).await;
    let words = ["The binding is being created asynchronously (making a role)"];
    case.says(BINDING, "app", "Binding", &words).await;
    assert!(case.hand.get(SECRET, "app").await.unwrap().is_none());
    hold.release();
    case.ready(BINDING, "app").await;
    assert_eq!(case.broker.requests_of(Operation::GetBinding).len(), 1);
    assert_eq!(case.content("app").await["password"], "s3cret");
    case.delete(BINDING, "app").await;
    let words = ["The binding is being deleted asynchronously (dropping a role)"];
    case.says(BINDING, "app", "Unbinding", &words).await;
    hold_unbind.release();
    case.gone(BINDING, "app").await;
    assert!(case.broker.requests_of(Operation::PollBinding).len() >= 4);
    case.finish().await;
}

// v0.3 A8, I1, Q29, Q56
#[tokio::test]
async fn a_binding_made_before_its_instance_is_ready_wakes_with_it() {
    let case = namespaced("early-binding").await;
    case.bind("app", "db", json!({})).await;
    case.says(BINDING, "app", "ReferencesNonexistentInstance", &["spec.instanceRef.name", "\"db\""]).await;
    let hold = Hold::new();
    case.broker.set_async_script(Operation::Provision, AsyncScript::succeeding(0).held_by(&hold));
    case.order("db", "small", json!({})).await;
    case.says(BINDING, "app", "ErrorInstanceNotReady", &["\"db\" is not ready yet"]).await;
    assert!(case.broker.requests_of(Operation::Bind).is_empty());
    hold.release();
    case.ready(INSTANCE, "db").await;
    case.ready(BINDING, "app").await;
    let journal = case.broker.journal();
    let done =
        journal.iter().rfind(|request| request.is(Operation::PollInstance)).unwrap().answered_at.unwrap();
    let bound = journal.iter().find(|request| request.is(Operation::Bind)).unwrap().at;
    // Nothing is polled inside the cluster: far less than any interval at which it could be.
    assert!(bound.duration_since(done).as_secs() < 10, "{:?}", bound.duration_since(done));
    case.finish().await;
}

/// A binding that waits because somebody else's Secret has the name it wants.
async fn obstructed(namespace: &str) -> Case {
    let case = namespaced(namespace).await;
    case.provide("db", json!({})).await;
    case.hand.secret("app", json!({ "mine": "do not touch" })).await.unwrap();
    case.bind("app", "db", json!({})).await;
    let words = [&format!("Secret \"{namespace}/app\""), "spec.secretName", "delete that Secret"];
    case.says(BINDING, "app", "ErrorInjectingBindResult", &words).await;
    case
}

// v0.3 I5
#[tokio::test]
async fn a_foreign_secret_is_not_touched_and_the_binding_recovers_when_it_goes() {
    let case = obstructed("foreign-secret").await;
    assert_eq!(case.content("app").await, json!({ "mine": "do not touch" }));
    case.delete(SECRET, "app").await;
    case.ready(BINDING, "app").await;
    assert_eq!(case.content("app").await["password"], "s3cret");
    case.finish().await;
}

// v0.3 Q33
#[tokio::test]
async fn a_foreign_secret_outlives_the_binding_that_wanted_its_name() {
    let case = obstructed("foreign-stays").await;
    case.remove(BINDING, "app").await;
    assert_eq!(case.content("app").await, json!({ "mine": "do not touch" }));
    case.finish().await;
}

// v0.3 Q34
#[tokio::test]
async fn a_foreign_secret_outlives_an_asynchronous_binding_that_wanted_its_name() {
    let case = namespaced("foreign-async").await;
    case.provide("db", json!({})).await;
    case.hand.secret("app", json!({ "mine": "do not touch" })).await.unwrap();
    case.broker.set_async(Operation::Bind, 1);
    case.bind("app", "db", json!({})).await;
    case.says(BINDING, "app", "ErrorInjectingBindResult", &["spec.secretName", "delete that Secret"]).await;
    assert_eq!(case.content("app").await, json!({ "mine": "do not touch" }));
    assert!(
        case.broker.requests_of(Operation::Bind).len() <= 1,
        "it is not asked again while the name is taken"
    );
    case.remove(BINDING, "app").await;
    case.broker_shows("that nothing is left", |broker| broker.live_bindings().is_empty().then_some(())).await;
    assert_eq!(case.content("app").await, json!({ "mine": "do not touch" }));
    case.finish().await;
}

// v0.3 Q38
#[tokio::test]
async fn a_secret_deleted_by_hand_comes_back() {
    let case = namespaced("secret-deleted").await;
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    let before = case.get(SECRET, "app").await;
    let content = case.content("app").await;
    case.delete(SECRET, "app").await;
    case.until(SECRET, "app", "to come back", |secret| uid(secret) != uid(&before)).await;
    assert_eq!(case.content("app").await, content);
    assert_eq!(case.broker.requests_of(Operation::Bind).len(), 1, "it is fetched, not bound again");
    case.finish().await;
}

/// A Secret is ours by its label if somebody has removed its owner.
#[tokio::test]
async fn a_secret_without_its_owner_gets_it_back_and_goes_with_its_binding() {
    let case = namespaced("secret-stripped").await;
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    let before = case.get(SECRET, "app").await;
    let stripped = json!({ "metadata": { "ownerReferences": null } });
    case.hand.edit(SECRET, "app", stripped.clone()).await.unwrap();
    let owner = &before["metadata"]["ownerReferences"];
    let is_owned = |secret: &Value| secret["metadata"]["ownerReferences"] == *owner;
    let after = case.until(SECRET, "app", "to be owned again", is_owned).await;
    assert_eq!((uid(&after), &after["data"]), (uid(&before), &before["data"]));
    // Without everything but the label.
    let mut bare = stripped;
    let annotations = before["metadata"]["annotations"].as_object().unwrap().keys();
    bare["metadata"]["annotations"] = annotations.map(|key| (key.clone(), Value::Null)).collect();
    case.hand.edit(SECRET, "app", bare).await.unwrap();
    case.until(SECRET, "app", "to be owned again", is_owned).await;
    case.remove(BINDING, "app").await;
    case.gone(SECRET, "app").await;
    assert_eq!(case.broker.requests_of(Operation::Bind).len(), 1, "{}", case.broker.summary());
    case.finish().await;
}

fn edit(key: &str, value: &Value) -> Value {
    json!({ "data": { key: value } })
}

/// Somebody changes, removes and adds keys of the Secret. The broker has the credentials.
#[tokio::test]
async fn credentials_that_somebody_has_changed_are_put_right() {
    let case = namespaced("secret-edited").await;
    case.provide("db", json!({})).await;
    case.connect("app", "db", json!({})).await;
    let before = case.get(SECRET, "app").await;
    let is_right = |secret: &Value| secret["data"] == before["data"];
    case.hand.edit(SECRET, "app", edit("password", &json!("b3RoZXI="))).await.unwrap();
    case.until(SECRET, "app", "to be put right", is_right).await;
    case.until(BINDING, "app", "to say what has happened", |binding| {
        condition(binding, "Ready").is_some_and(|(status, _, message)| {
            status == "True" && message.contains("somebody had changed the credentials")
        })
    })
    .await;
    assert_eq!(case.broker.requests_of(Operation::Bind).len(), 1, "{}", case.broker.summary());
    assert_eq!(case.broker.requests_of(Operation::GetBinding).len(), 1, "{}", case.broker.summary());
    assert!(case.broker.requests_of(Operation::Unbind).is_empty(), "{}", case.broker.summary());
    // Labels and annotations are the user's.
    case.hand.edit(SECRET, "app", json!({ "metadata": { "labels": { "a": "b" } } })).await.unwrap();
    case.provide("after", json!({})).await;
    assert_eq!(case.broker.requests_of(Operation::GetBinding).len(), 1, "{}", case.broker.summary());
    case.finish().await;
}

/// The broker gives its credentials once, so the status says what has happened, and nothing is bound or revoked.
#[tokio::test]
async fn credentials_that_somebody_has_changed_are_named_if_the_broker_cannot_be_asked() {
    for (name, change) in
        [("changed", edit("password", &json!("b3RoZXI="))), ("removed", edit("password", &Value::Null))]
    {
        let case = Case::new(super::stage().await, &format!("secret-{name}"), false).await;
        case.broker.set_catalog(catalog([case.offering().with("bindings_retrievable", false)]));
        case.register(json!({})).await;
        case.provide("db", json!({})).await;
        case.connect("app", "db", json!({})).await;
        let before = case.get(SECRET, "app").await;
        case.hand.edit(SECRET, "app", change).await.unwrap();
        let words = [
            "Somebody has changed the credentials in Secret \"app\"",
            "Undo the change",
            "delete the Secret",
        ];
        case.says(BINDING, "app", "CredentialsEdited", &words).await;
        let edited = case.get(SECRET, "app").await;
        assert_ne!(edited["data"], before["data"], "it is as the user wants it");
        case.hand.edit(SECRET, "app", edit("password", &before["data"]["password"])).await.unwrap();
        case.ready(BINDING, "app").await;
        assert_eq!(case.broker.requests_of(Operation::Bind).len(), 1, "{}", case.broker.summary());
        assert!(case.broker.requests_of(Operation::Unbind).is_empty(), "{}", case.broker.summary());
        case.finish().await;
    }
}

#[tokio::test]
async fn two_bindings_of_one_instance_have_credentials_of_their_own() {
    let case = namespaced("two-bindings").await;
    case.broker.set_serialised_bindings(true);
    case.broker.set_async(Operation::Bind, 2);
    case.provide("db", json!({})).await;
    for name in ["one", "two"] {
        case.bind(name, "db", json!({})).await;
    }
    for name in ["one", "two"] {
        case.ready(BINDING, name).await;
    }
    assert_ne!(case.content("one").await["username"], case.content("two").await["username"]);
    case.finish().await;
}

// OSB 62
#[tokio::test]
async fn what_changes_one_instance_is_asked_for_one_after_the_other() {
    let case = namespaced("one-at-a-time").await;
    case.provide("db", json!({ "parameters": { "size": 1 } })).await;
    let hold = Hold::new();
    case.broker.on(Operation::Bind).once().held_by(&hold).truth();
    let names = ["one", "two", "three", "four"];
    for name in names {
        case.bind(name, "db", json!({})).await;
    }
    case.broker_shows("the first bind", |broker| broker.requests_of(Operation::Bind).pop()).await;
    case.edit(INSTANCE, "db", json!({ "parameters": { "size": 2 } })).await;
    // Another instance is served meanwhile, and so would all of this have been.
    case.provide("other", json!({})).await;
    case.connect("of-the-other", "other", json!({})).await;
    hold.release();
    for name in names {
        case.ready(BINDING, name).await;
    }
    assert_eq!(case.ready(INSTANCE, "db").await["status"]["externalProperties"]["parameters"]["size"], 2);
    assert_eq!(case.broker.requests_of(Operation::Bind).len(), names.len() + 1);
    // No two of them have overlapped.
    case.finish().await;
}

// OSB 127
#[tokio::test]
async fn credentials_that_have_expired_are_not_ready() {
    let case = namespaced("expiring").await;
    case.provide("db", json!({})).await;
    let past = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1);
    let metadata = json!({ "expires_at": past.to_string(), "renew_before": past.to_string() });
    case.broker.on(Operation::Bind).amend(move |reply| reply.set("metadata", metadata.clone()));
    case.bind("app", "db", json!({})).await;
    case.says(BINDING, "app", "CredentialsExpired", &["clocks", "spec.rotation.requests"]).await;
    let secret = case.get(SECRET, "app").await;
    let annotations = &secret["metadata"]["annotations"];
    assert_eq!(annotations["servicecatalog.k8s.io/expires-at"], past.to_string());
    // New ones would be no better.
    assert_eq!(case.broker.requests_of(Operation::Bind).len(), 1);
    case.finish().await;
}

// v0.3 Q39
#[tokio::test]
async fn the_keys_of_another_secret_are_added_once_it_is_there() {
    let case = namespaced("add-keys-from").await;
    case.provide("db", json!({})).await;
    let from = json!([{ "addKeysFrom": { "secretRef": { "name": "authority" } } }]);
    case.bind("app", "db", json!({ "secretTransforms": from })).await;
    let words = ["spec.secretTransforms[0]", "addKeysFrom", "\"authority\" does not exist"];
    case.says(BINDING, "app", "ErrorInjectingBindResult", &words).await;
    assert!(case.broker.requests_of(Operation::Bind).is_empty());
    case.hand.secret("authority", json!({ "ca.crt": "PEM" })).await.unwrap();
    case.ready(BINDING, "app").await;
    assert_eq!(case.content("app").await["ca.crt"], "PEM");
    case.finish().await;
}

/// The commands of `docs/secrets.md` show what a broker gives beside credentials. None of it is secret.
// OSB 124, 125, 126
#[tokio::test]
async fn what_a_broker_gives_beside_credentials_is_shown_without_secrets() {
    let case = namespaced("beside").await;
    case.broker.on(Operation::Bind).amend(|reply| {
        reply.set("endpoints", json!([{ "host": "db.example.com", "ports": ["5432", "7000-7010"] }, { "host": "" }]));
        reply.set("syslog_drain_url", json!("syslog-tls://u:hunter2@logs.example.com:6514/hunter2?t=hunter2"));
        reply.set("route_service_url", json!("https://u:hunter2@proxy.example.com/a?t=hunter2"));
        let device = json!({ "volume_id": "v-1", "mount_config": { "password": "hunter2" } });
        let mount = json!({ "driver": "nfs", "container_dir": "/data", "mode": "rw", "device_type": "shared", "device": device });
        reply.set("volume_mounts", json!([mount]));
    });
    case.provide("db", json!({})).await;
    let ready = case.connect("app", "db", json!({})).await;
    let status = &ready["status"];
    let endpoint = json!({ "host": "db.example.com", "ports": ["5432", "7000-7010"], "protocol": "tcp" });
    assert_eq!(status["endpoints"], json!([endpoint]));
    assert_eq!(status["syslogDrainURL"], "syslog-tls://logs.example.com:6514");
    assert_eq!(status["routeServiceURL"], "https://proxy.example.com/");
    assert_eq!(status["volumeMounts"][0]["volumeID"], "v-1");
    let (.., message) = condition(&ready, "Ready").unwrap();
    for words in
        ["volume_mounts, which means nothing to a Kubernetes cluster", "does not show all of endpoints"]
    {
        assert!(message.contains(words), "{message}");
    }
    let secret = case.get(SECRET, "app").await;
    for object in [&ready, &secret] {
        assert!(!object.to_string().contains("hunter2"), "{object}");
    }
    let [endpoints, statement] = &commands("docs/secrets.md", "## More than credentials")[..] else {
        panic!()
    };
    let shell = async |script: &str| {
        let script = script.replace("store", case.namespace());
        case.stage.plane.shell(case.stage.plane.dir(), &script).await.unwrap()
    };
    assert_eq!(shell(endpoints).await.trim(), "db.example.com 5432 7000-7010 tcp");
    assert!(shell(statement).await.contains("which means nothing to a Kubernetes cluster"));
    case.finish().await;
}
