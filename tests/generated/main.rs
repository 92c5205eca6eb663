//! The generated files are up to date, and the YAML that is written by hand goes with them.
//!
//! With `UPDATE_GENERATED=1`, which `make generated` sets, the tests write the files before they compare them.

#![expect(clippy::expect_used, reason = "a test that cannot read the repository's files has failed")]

mod definitions;

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use serde_json::json;
use service_catalog::{
    admission,
    crd::{ClusterServiceBroker, ServiceBinding, ServiceBroker, ServiceInstance},
    generate, leader,
};

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Whether the tests write the files.
fn is_update() -> bool {
    env::var_os("UPDATE_GENERATED").is_some_and(|value| value == "1")
}

fn compare(folder: &Path, expected: &[(String, String)]) {
    for (name, text) in expected {
        let path = folder.join(name);
        if is_update() {
            fs::create_dir_all(folder).expect("a folder for the generated files");
            fs::write(&path, text).expect("a generated file is written");
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            &committed == text,
            "{} is out of date: run `make generated` and commit the result",
            path.display()
        );
    }
}

/// Files that no type stands behind any more, and kustomizations that forget one, are found as well.
fn listed(folder: &Path, expected: &[(String, String)]) {
    let expected: BTreeSet<_> = expected.iter().map(|(name, _)| name.clone()).collect();
    let found: BTreeSet<_> = fs::read_dir(folder)
        .expect("the folder exists")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name != "kustomization.yaml")
        .collect();
    assert_eq!(found, expected, "the files in {}", folder.display());

    let text = fs::read_to_string(folder.join("kustomization.yaml")).expect("a kustomization");
    let kustomization: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
    let resources: BTreeSet<_> = kustomization["resources"]
        .as_array()
        .expect("resources")
        .iter()
        .map(|name| name.as_str().expect("a file name").to_owned())
        .collect();
    assert_eq!(resources, expected, "the kustomization in {}", folder.display());
}

#[test]
fn crds() {
    let expected = generate::crds_yaml().expect("YAML");
    compare(&folder("crds"), &expected);
    listed(&folder("crds"), &expected);
}

#[test]
fn admission_policies() {
    let expected = generate::admission_yaml(admission::OPERATOR).expect("YAML");
    compare(&folder("config/admission"), &expected);
    listed(&folder("config/admission"), &expected);
    let expected = generate::restricted_plans_yaml(admission::OPERATOR).expect("YAML");
    compare(&folder("config/restricted-plans"), &expected);
    listed(&folder("config/restricted-plans"), &expected);
}

#[test]
fn the_configuration_reference() {
    let page = ("configuration.md".to_owned(), generate::configuration_page());
    compare(&folder("docs/reference"), &[page]);
}

/// A field that a sample misspells would be lost in reading, and so would make a difference here.
fn sample<K: DeserializeOwned + serde::Serialize>(file: &str) {
    let text = fs::read_to_string(folder("config/samples").join(file)).expect("a sample");
    let written: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
    let object: K = serde_json::from_value(written.clone()).expect(file);
    let mut read = serde_json::to_value(&object).expect("JSON");
    for (field, value) in written["spec"].as_object().expect("a spec") {
        assert_eq!(&read["spec"][field].take(), value, "{file}: spec.{field}");
    }
}

#[test]
fn samples_are_read_as_they_are_written() {
    sample::<ClusterServiceBroker>("cluster-service-broker.yaml");
    sample::<ServiceBroker>("service-broker.yaml");
    sample::<ServiceInstance>("service-instance.yaml");
    sample::<ServiceBinding>("service-binding.yaml");
}

#[test]
fn the_deployment_runs_this_version() {
    let text = fs::read_to_string(folder("config/operator/deployment.yaml")).expect("the deployment");
    assert!(
        text.contains(&format!("image: service-catalog:{}\n", env!("CARGO_PKG_VERSION"))),
        "config/operator/deployment.yaml names another version than Cargo.toml"
    );
}

/// The documents of a file of this repository.
fn manifests(path: &str) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(folder(path)).expect("a file");
    let read = |document: String| serde_json::from_str(&document).expect("JSON");
    documents(&text).into_iter().map(read).collect()
}

// v0.3 Q11, Q53
#[test]
fn the_deployment_has_no_privileges_and_room_to_work_in() {
    let deployment = manifests("config/operator/deployment.yaml").remove(0);
    let spec = &deployment["spec"];
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let operator = &pod["containers"][0];
    let expected = json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
    });
    assert_eq!(operator["securityContext"], expected);
    assert_eq!(operator["resources"]["limits"], json!({"memory": "512Mi"}));
    // Probes and metrics: nothing else shows what goes on inside.
    assert_eq!(operator["ports"], json!([{"name": "http", "containerPort": 8080}]));
}

// v0.3 K9
#[test]
fn of_two_replicas_one_is_always_there() {
    let deployment = manifests("config/operator/deployment.yaml").remove(0);
    let budget = manifests("config/operator/pod-disruption-budget.yaml").remove(0);
    let (spec, pod) = (&deployment["spec"], &deployment["spec"]["template"]);
    assert_eq!(spec["replicas"], 2);
    // A new one is ready as soon as it stands by, and only then an old one goes.
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    assert_eq!(spec["strategy"], strategy);
    // A budget that leaves no pod to evict, or chooses none, would hold up drains or be good for nothing.
    assert_eq!(budget["spec"]["maxUnavailable"], 1);
    assert_eq!(budget["metadata"]["namespace"], deployment["metadata"]["namespace"]);
    let selector = &spec["selector"];
    assert_eq!(&budget["spec"]["selector"], selector);
    assert_eq!(selector["matchLabels"], pod["metadata"]["labels"]);
    let spread = pod["spec"]["topologySpreadConstraints"].as_array().expect("constraints");
    for (constraint, key) in spread.iter().zip(["kubernetes.io/hostname", "topology.kubernetes.io/zone"]) {
        assert_eq!((&constraint["topologyKey"], &constraint["labelSelector"]), (&json!(key), selector));
        // On a cluster of one node both are there.
        assert_eq!(constraint["whenUnsatisfiable"], "ScheduleAnyway");
    }
    assert_eq!(spread.len(), 2);
}

// v0.3 K8
#[test]
fn the_lease_of_the_leader_is_where_the_operator_may_write_it() {
    let deployment = manifests("config/operator/deployment.yaml").remove(0);
    let operator = &deployment["spec"]["template"]["spec"]["containers"][0];
    let arguments = operator["args"].as_array().expect("arguments");
    assert!(arguments.contains(&json!("--leader-election-namespace=$(POD_NAMESPACE)")), "{arguments:?}");
    let role = manifests("config/rbac/role.yaml").remove(0);
    assert_eq!(role["metadata"]["namespace"], deployment["metadata"]["namespace"]);
    let group = json!(["coordination.k8s.io"]);
    let rules = role["rules"].as_array().expect("rules");
    let leases: Vec<_> = rules.iter().filter(|rule| rule["apiGroups"] == group).collect();
    let named = json!({
        "apiGroups": group, "resources": ["leases"], "resourceNames": [leader::LEASE_NAME], "verbs": ["get", "update"],
    });
    let unnamed = json!({"apiGroups": group, "resources": ["leases"], "verbs": ["create"]});
    assert_eq!(leases, [&named, &unnamed], "this lease, and no other");
}

/// Whose writes the admission policies leave alone is the account that the Deployment runs under.
#[test]
fn the_policies_know_the_account_of_the_operator() {
    let account = manifests("config/rbac/service-account.yaml").remove(0);
    let (namespace, name) = (&account["metadata"]["namespace"], &account["metadata"]["name"]);
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let user = format!("system:serviceaccount:{}:{}", text(namespace), text(name));
    assert_eq!(user, admission::OPERATOR);
    assert_eq!(account["metadata"]["annotations"]["servicecatalog.k8s.io/account"], user);
    let deployment = manifests("config/operator/deployment.yaml").remove(0);
    assert_eq!(&deployment["metadata"]["namespace"], namespace);
    assert_eq!(&deployment["spec"]["template"]["spec"]["serviceAccountName"], name);
    for (file, binding) in [("config/rbac/cluster-role.yaml", 1), ("config/rbac/role.yaml", 1)] {
        let subject = json!({"kind": "ServiceAccount", "name": name, "namespace": namespace});
        assert_eq!(manifests(file)[binding]["subjects"], json!([subject]), "{file}");
    }
    let elsewhere = generate::admission_yaml("system:serviceaccount:a:b").expect("YAML");
    for ((file, here), (_, there)) in
        generate::admission_yaml(&user).expect("YAML").into_iter().zip(elsewhere)
    {
        assert_eq!(here.replace(&user, "system:serviceaccount:a:b"), there, "{file}");
    }
}

/// A user who edits objects cannot make the operator take over what exists at a broker.
#[test]
fn only_one_role_may_restore() {
    let roles = manifests("config/rbac/user-roles.yaml");
    let may_restore = |role: &&serde_json::Value| {
        role["rules"].to_string().contains("\"restore\"") || role["rules"].to_string().contains("\"*\"")
    };
    let roles: Vec<_> = roles.iter().filter(may_restore).collect();
    assert_eq!(roles.len(), 1);
    assert_eq!(roles[0]["metadata"], json!({"name": "service-catalog-restore"}), "no label aggregates it");
    let rule = json!({
        "apiGroups": ["servicecatalog.k8s.io"], "resources": ["serviceinstances", "servicebindings"],
        "verbs": ["restore", "adopt"],
    });
    assert_eq!(roles[0]["rules"], json!([rule]));
    let all = manifests("config/rbac/user-roles.yaml");
    let may_adopt = all.iter().filter(|role| role["rules"].to_string().contains("\"adopt\""));
    let names: Vec<_> = may_adopt.map(|role| &role["metadata"]["name"]).collect();
    assert_eq!(names, ["service-catalog-restore", "service-catalog-admin"]);
}

// v0.3 Q11, Q55
#[test]
fn the_operator_may_do_what_it_does_and_no_more() {
    let roles = manifests("config/rbac/cluster-role.yaml");
    let rules = roles[0]["rules"].as_array().expect("rules");
    let texts = |rule: &serde_json::Value, field: &str| {
        let all = rule[field].as_array().cloned().unwrap_or_default();
        all.iter().map(|text| text.as_str().expect("text").to_owned()).collect::<BTreeSet<_>>()
    };
    let mut users = BTreeSet::new();
    for rule in rules {
        let (resources, verbs) = (texts(rule, "resources"), texts(rule, "verbs"));
        for wildcard in [&resources, &verbs, &texts(rule, "apiGroups")] {
            assert!(!wildcard.contains("*"), "{rule}");
        }
        let others = ["pods", "roles", "deployments", "configmaps", "leases"];
        assert!(others.iter().all(|other| !resources.contains(*other)), "{rule}");
        if resources.contains("serviceinstances") || resources.contains("servicebindings") {
            users.extend(verbs);
        }
    }
    // It never makes or deletes what users write; a patch is for its finalizer and for what it fills in.
    assert_eq!(users, ["get", "list", "patch", "watch"].map(str::to_owned).into());
}

/// The "Provisioned Service" of servicebinding.io: a label of the definition, and a role that includes nothing but reading.
#[test]
fn controllers_of_servicebinding_may_read_bindings() {
    let label = "servicebinding.io/provisioned-service";
    for definition in service_catalog::crd::all() {
        let labels = definition.metadata.labels.expect("labels");
        let is_binding = definition.spec.names.kind == "ServiceBinding";
        assert_eq!(labels.get(label).map(String::as_str), is_binding.then_some("true"));
    }
    let roles = manifests("config/rbac/user-roles.yaml");
    let for_controllers =
        |role: &&serde_json::Value| role["metadata"]["labels"]["servicebinding.io/controller"] == "true";
    let roles: Vec<_> = roles.iter().filter(for_controllers).collect();
    let rule = json!({
        "apiGroups": ["servicecatalog.k8s.io"], "resources": ["servicebindings"], "verbs": ["get", "list", "watch"],
    });
    assert_eq!(roles.len(), 1);
    assert_eq!(roles[0]["rules"], json!([rule]));
}

// v0.3 F10, K14
#[test]
fn no_role_of_a_user_writes_a_status() {
    let roles = manifests("config/rbac/user-roles.yaml");
    let mut aggregated = BTreeSet::new();
    for role in &roles {
        for rule in role["rules"].as_array().expect("rules") {
            let about_status = rule["resources"].to_string().contains("/status");
            assert!(!about_status || rule["verbs"] == json!(["get", "list", "watch"]), "{rule}");
        }
        let labels = role["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        aggregated.extend(labels.into_iter().map(|(label, _)| label));
    }
    let to = ["admin", "edit", "view"].map(|role| format!("rbac.authorization.k8s.io/aggregate-to-{role}"));
    let of_others = ["servicebinding.io/controller".to_owned()];
    assert_eq!(aggregated, to.into_iter().chain(of_others).collect());
}

/// What the binary prints.
fn printed(subcommand: &str) -> String {
    let binary = env!("CARGO_BIN_EXE_service-catalog");
    let output = std::process::Command::new(binary).arg(subcommand).output().expect("the binary runs");
    assert!(output.status.success(), "{subcommand}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The documents of a stream of YAML.
fn documents(text: &str) -> Vec<String> {
    let read = |document: &str| {
        let read: serde_json::Value = serde_saphyr::from_str(document).expect("YAML");
        (!read.is_null()).then(|| read.to_string())
    };
    text.split("---\n").filter_map(read).collect()
}

/// What a subcommand prints is, document by document, what the files in a folder hold.
fn printed_as_committed(subcommand: &str, files: &str, count: usize) {
    if is_update() {
        // Another test writes the files at the same time.
        return;
    }
    let paths =
        fs::read_dir(folder(files)).expect("the folder exists").map(|entry| entry.expect("an entry").path());
    let paths = paths.filter(|path| !path.ends_with("kustomization.yaml"));
    let mut committed: Vec<_> =
        paths.flat_map(|path| documents(&fs::read_to_string(path).expect("a file"))).collect();
    let mut printed = documents(&printed(subcommand));
    committed.sort();
    printed.sort();
    assert!(printed.len() >= count, "{subcommand} printed {} documents", printed.len());
    let different: Vec<_> = printed.iter().filter(|document| !committed.contains(document)).collect();
    assert!(different.is_empty(), "{subcommand} prints documents that {files} does not have: {different:#?}");
    assert_eq!(printed.len(), committed.len(), "{subcommand} prints as many documents as {files} has");
}

#[test]
fn the_binary_prints_the_definitions_that_are_committed() {
    printed_as_committed("crds", "crds", 8);
}

#[test]
fn the_binary_prints_the_policies_that_are_committed() {
    printed_as_committed("policies", "config/admission", 13);
}
