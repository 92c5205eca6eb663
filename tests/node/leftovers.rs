//! A node without the operator: what applications do there, and that nothing of it stays.

use std::{fs, path::Path, process::Command, time::Instant};

use serde_json::json;
use testkit::{
    node::{BUSYBOX, Node},
    stage::{objects::Hand, wait::PATIENCE},
};

#[tokio::test]
async fn node_runs_applications_and_leaves_nothing_behind() {
    let node = Node::start().await.unwrap();
    let hand = Hand { client: node.plane.admin_client().unwrap(), namespace: "default".to_owned() };
    hand.secret("login", json!({ "password": "of the test" })).await.unwrap();
    let from = json!({ "secretKeyRef": { "name": "login", "key": "password" } });
    let container = json!({
        "name": "app",
        "image": BUSYBOX,
        "command": ["sh", "-c", "echo started; exec sleep 1000"],
        "env": [{ "name": "PASSWORD", "valueFrom": from }],
        "volumeMounts": [{ "name": "login", "mountPath": "/login" }],
    });
    let volume = json!({ "name": "login", "secret": { "secretName": "login" } });
    node.run("default", "app", &json!({ "containers": [container], "volumes": [volume] })).await.unwrap();
    assert_eq!(node.exec("default", "app", &["cat", "/login/password"]).await.unwrap(), "of the test");
    assert_eq!(node.exec("default", "app", &["sh", "-c", "echo $PASSWORD"]).await.unwrap(), "of the test\n");
    assert_eq!(node.logs("default", "app").await.unwrap(), "started\n");

    let dir = node.dir().to_owned();
    let interface = format!("svcat{}", node.address().octets()[2]);
    let id = ["get", "pod", "app", "-o", "jsonpath={.status.containerStatuses[0].containerID}"];
    let id = node.kubectl(&id).await.unwrap().rsplit('/').next().unwrap().to_owned();
    let remains = || remains(&dir, &interface, &id);
    assert_eq!(remains().len(), 4, "{:?}", remains());
    drop(node);
    // The kernel takes a network back a moment after its last process.
    let deadline = Instant::now() + PATIENCE;
    while !remains().is_empty() {
        assert!(Instant::now() < deadline, "{:?} are left", remains());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// What is there of a node that has this container.
fn remains(dir: &Path, interface: &str, container: &str) -> Vec<&'static str> {
    let name = dir.file_name().unwrap().to_str().unwrap();
    let said = |program: &str, arguments: &[&str]| {
        String::from_utf8(Command::new(program).args(arguments).output().unwrap().stdout).unwrap()
    };
    let processes = said("ps", &["-eo", "args"]);
    let groups = said("find", &["/sys/fs/cgroup", "-name", container]);
    let found = [
        ("its folder", fs::exists(dir).unwrap()),
        ("an interface", Path::new("/sys/class/net").join(interface).exists()),
        ("a process", processes.contains(name)),
        ("a control group", !groups.is_empty()),
    ];
    found.into_iter().filter(|(_, is_there)| *is_there).map(|(what, _)| what).collect()
}
