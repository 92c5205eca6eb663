//! The errors that end the program: one line that says what to do, on standard error.

#![allow(clippy::unwrap_used, reason = "helpers of tests are test code too")]

use std::{
    net::TcpListener,
    path::Path,
    process::{Command, Output},
};

/// A kubeconfig of a cluster without an API server. The discard port refuses connections.
const NO_API_SERVER: &str = "\
apiVersion: v1
kind: Config
current-context: nowhere
clusters: [{name: nowhere, cluster: {server: 'https://127.0.0.1:9'}}]
contexts: [{name: nowhere, context: {cluster: nowhere, user: nobody}}]
users: [{name: nobody, user: {token: hunter2}}]
";

/// Runs the operator with a kubeconfig, flags, and variables of the environment.
fn run(kubeconfig: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_service-catalog"));
    command.env_clear().env("RUST_BACKTRACE", "1").env("KUBECONFIG", kubeconfig).env("LISTEN", "127.0.0.1:0");
    command.envs(environment.iter().copied());
    command.arg("run").args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_fatal_error_is_one_line_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (missing, kubeconfig) = (folder.path().join("missing"), folder.path().join("kubeconfig"));
    std::fs::write(&kubeconfig, NO_API_SERVER).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let listen = format!("--listen={address}");
    let cannot_listen = format!("cannot listen on {address}; set another address with --listen");
    for (what, kubeconfig, arguments, environment, expected) in [
        ("no cluster", &missing, vec![], vec![], "cannot find a cluster; set KUBECONFIG"),
        (
            "a wrong filter",
            &kubeconfig,
            vec![],
            vec![("RUST_LOG", "a=b=c")],
            "RUST_LOG is not a valid filter",
        ),
        ("a port in use", &kubeconfig, vec![&*listen], vec![], &*cannot_listen),
        (
            "contradicting durations",
            &kubeconfig,
            vec!["--leader-elect-lease-duration=1s"],
            vec![],
            "--leader-elect-lease-duration (1s) must be longer than --leader-elect-renew-deadline (10s)",
        ),
        (
            "a proxy for the API server",
            &kubeconfig,
            vec![],
            vec![("HTTPS_PROXY", "http://user:hunter2@proxy.example")],
            "the operator cannot use a proxy for the API server",
        ),
    ] {
        let output = run(kubeconfig, &arguments, &environment);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{what}: {text}");
        assert_eq!(text.trim_end().lines().count(), 1, "{what}: {text}");
        assert!(text.contains(expected) && !text.contains("hunter2"), "{what}: {text}");
    }
}

#[test]
fn a_fatal_error_is_json_where_the_log_is() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&folder.path().join("missing"), &["--log-format=json"], &[]);
    let line: serde_json::Value = serde_json::from_str(&stderr(&output)).unwrap();
    let message = line["fields"]["message"].as_str().unwrap();
    assert!(line["level"] == "ERROR" && message.starts_with("cannot find a cluster"), "{line}");
}
