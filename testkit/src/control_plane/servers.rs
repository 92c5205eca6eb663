//! Starts the three servers in order, each when the one it needs is ready, with the flags they need.

use std::{
    fs,
    net::Ipv4Addr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use axum::http::Request;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, Client, Config};

use super::{Options, access, assets::Assets, home::Home, pki::Pki, process::Process, wait_until};

/// Every request is logged once, when it is answered: what tests ask is who did what with which result.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
";

/// The controllers the API itself needs to be whole: without them namespaces stay Terminating, owner
/// references delete nothing, and aggregated roles and the default service account stay away.
const CONTROLLERS: [&str; 7] = [
    "namespace-controller",
    "garbage-collector-controller",
    "clusterrole-aggregation-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "validatingadmissionpolicy-status-controller",
];

/// How long one question of readiness may take; a server that starts can accept and not answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// The ports of one attempt.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    pub etcd: u16,
    pub etcd_peer: u16,
    pub api_server: u16,
}

/// What an attempt that succeeds results in.
pub struct Started {
    pub controller_manager: Process,
    pub api_server: Process,
    pub etcd: Process,
    pub url: String,
}

/// Starts all three. On failure those already started are dropped, and so killed.
pub async fn start(
    assets: &Assets,
    home: &Home,
    pki: &Pki,
    ports: Ports,
    options: &Options,
    patience: Duration,
) -> Result<Started> {
    let deadline = Instant::now() + patience;
    let dir = home.path();
    let address = options.for_node.unwrap_or(Ipv4Addr::LOCALHOST);
    let url = format!("https://{address}:{}", ports.api_server);
    let admin = access::client_certificate(&url, pki, "admin", &["system:masters"])?;
    access::write_kubeconfig(&admin, home.admin_kubeconfig())?;
    let manager = access::client_certificate(&url, pki, "system:kube-controller-manager", &[])?;
    access::write_kubeconfig(&manager, &dir.join("kube-controller-manager.kubeconfig"))?;
    fs::write(dir.join("audit-policy.yaml"), AUDIT_POLICY).context("cannot write the audit policy")?;

    let mut etcd = Process::spawn("etcd", &assets.etcd, &etcd_flags(ports, dir), dir)?;
    let probe = probe(access::etcd(ports.etcd, pki)?)?;
    wait_until("etcd was healthy", &mut etcd, deadline, || ask(&probe, "/health")).await?;

    let mut flags = api_server_flags(ports, home, &url);
    flags.extend(options.for_node.map_or_else(flags_without_node, |address| flags_for_node(address, dir)));
    flags.extend(options.api_server_flags.iter().cloned());
    let mut api_server = Process::spawn("kube-apiserver", &assets.kube_apiserver, &flags, dir)?;
    let client = self::probe(admin)?;
    wait_until("the API server was ready", &mut api_server, deadline, || ask(&client, "/readyz")).await?;

    let binary = &assets.kube_controller_manager;
    let controllers = if options.for_node.is_some() { "*".to_owned() } else { CONTROLLERS.join(",") };
    let flags = controller_manager_flags(dir, &controllers);
    let mut controller_manager = Process::spawn("kube-controller-manager", binary, &flags, dir)?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client, "default");
    wait_until("the default service account existed", &mut controller_manager, deadline, || async {
        Ok(accounts.get("default").await?)
    })
    .await?;

    Ok(Started { controller_manager, api_server, etcd, url })
}

/// A client that gives up soon: whoever waits asks again, and looks at the process in between.
fn probe(mut config: Config) -> Result<Client> {
    config.connect_timeout = Some(PROBE_TIMEOUT);
    config.read_timeout = Some(PROBE_TIMEOUT);
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

async fn ask(client: &Client, path: &str) -> Result<()> {
    client.request_text(Request::get(path).body(Vec::new())?).await?;
    Ok(())
}

fn etcd_flags(ports: Ports, dir: &Path) -> Vec<String> {
    let client_url = format!("https://127.0.0.1:{}", ports.etcd);
    vec![
        format!("--data-dir={}", dir.join("etcd").display()),
        format!("--listen-client-urls={client_url}"),
        format!("--advertise-client-urls={client_url}"),
        format!("--listen-peer-urls=http://127.0.0.1:{}", ports.etcd_peer),
        format!("--cert-file={}", dir.join("pki/etcd.crt").display()),
        format!("--key-file={}", dir.join("pki/etcd.key").display()),
        format!("--trusted-ca-file={}", dir.join("pki/etcd-ca.crt").display()),
        "--client-cert-auth=true".to_owned(),
        // It would dial itself with a server's certificate, and only humans with curl need it.
        "--enable-grpc-gateway=false".to_owned(),
        // What a power failure loses is a test.
        "--unsafe-no-fsync=true".to_owned(),
    ]
}

fn api_server_flags(ports: Ports, home: &Home, url: &str) -> Vec<String> {
    let dir = home.path();
    let pki = |file: &str| dir.join("pki").join(file).display().to_string();
    vec![
        format!("--etcd-servers=https://127.0.0.1:{}", ports.etcd),
        format!("--etcd-cafile={}", pki("etcd-ca.crt")),
        format!("--etcd-certfile={}", pki("etcd-client.crt")),
        format!("--etcd-keyfile={}", pki("etcd-client.key")),
        format!("--secure-port={}", ports.api_server),
        format!("--cert-dir={}", dir.join("pki").display()),
        format!("--tls-cert-file={}", pki("kube-apiserver.crt")),
        format!("--tls-private-key-file={}", pki("kube-apiserver.key")),
        format!("--client-ca-file={}", pki("client-ca.crt")),
        format!("--service-account-issuer={url}/"),
        format!("--service-account-key-file={}", pki("service-accounts.pub")),
        format!("--service-account-signing-key-file={}", pki("service-accounts.key")),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        "--allow-privileged=true".to_owned(),
        format!("--audit-policy-file={}", dir.join("audit-policy.yaml").display()),
        format!("--audit-log-path={}", home.audit_log().display()),
        "--audit-log-format=json".to_owned(),
        // Written before the request is done, so that a test can read what it has just caused.
        "--audit-log-mode=blocking-strict".to_owned(),
        // In megabytes. Never rotated: the reader reads one file.
        "--audit-log-maxsize=1000000".to_owned(),
    ]
}

fn flags_without_node() -> Vec<String> {
    [
        "--bind-address=127.0.0.1",
        // A machine without a default route cannot guess an address, and nobody reads the endpoints.
        "--advertise-address=192.0.2.1",
        "--endpoint-reconciler-type=none",
        "--authorization-mode=RBAC",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Pods come to the API server by its Service, so the endpoint of that has to be true. A node may do what its Pods need,
/// and no more.
fn flags_for_node(address: Ipv4Addr, dir: &Path) -> Vec<String> {
    let pki = |file: &str| dir.join("pki").join(file).display().to_string();
    vec![
        format!("--bind-address={address}"),
        format!("--advertise-address={address}"),
        "--authorization-mode=Node,RBAC".to_owned(),
        format!("--kubelet-client-certificate={}", pki("kubelet-client.crt")),
        format!("--kubelet-client-key={}", pki("kubelet-client.key")),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
    ]
}

fn controller_manager_flags(dir: &Path, controllers: &str) -> Vec<String> {
    let kubeconfig = dir.join("kube-controller-manager.kubeconfig").display().to_string();
    vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--leader-elect=false".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
        "--secure-port=0".to_owned(),
        // Each controller has its own role; the manager's own has not the rights of all of them.
        "--use-service-account-credentials=true".to_owned(),
        format!("--service-account-private-key-file={}", dir.join("pki/service-accounts.key").display()),
        format!("--root-ca-file={}", dir.join("pki/server-ca.crt").display()),
        format!("--controllers={controllers}"),
    ]
}
