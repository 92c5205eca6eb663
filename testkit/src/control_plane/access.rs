//! Ways to talk to a control plane: as the administrator, as any user, as a service account, by `kubectl`.
//!
//! Every way is a [`kube::Config`]; [`write_kubeconfig`] makes a file of any of them, for a child process.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{AuthInfo, Cluster, Context, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext},
};
use tokio::io::AsyncWriteExt as _;

use super::{
    ControlPlane,
    home::write_private,
    pki::{Credentials, Pki, pem},
};

/// The name of cluster, user and context in the kubeconfigs; it is what a prompt shows.
const NAME: &str = "test-control-plane";

/// Longer than any test or demo, since nobody renews it.
const TOKEN_SECONDS: i64 = 24 * 60 * 60;

impl ControlPlane {
    /// The administrator (group `system:masters`), who may do everything.
    pub fn admin(&self) -> Result<Config> {
        self.user("admin", &["system:masters"])
    }

    /// A client of the administrator.
    pub fn admin_client(&self) -> Result<Client> {
        Ok(Client::try_from(self.admin()?)?)
    }

    /// A user in these groups, by a client certificate. Any name will do; RBAC decides what it may.
    pub fn user(&self, name: &str, groups: &[&str]) -> Result<Config> {
        client_certificate(&self.url, &self.pki, name, groups)
    }

    /// A service account that exists, by a token the API server issues for it.
    pub async fn service_account(&self, namespace: &str, name: &str) -> Result<Config> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin_client()?, namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let issued =
            accounts.create_token_request(name, &PostParams::default(), &request).await.with_context(
                || format!("no token for the service account {namespace}/{name}; does it exist?"),
            )?;
        let token = issued.status.context("the API server answered a TokenRequest without a token")?.token;
        let auth = AuthInfo { token: Some(token.into()), ..AuthInfo::default() };
        let mut config = config(&self.url, self.pki.server_authority(), auth)?;
        namespace.clone_into(&mut config.default_namespace);
        Ok(config)
    }

    /// `kubectl` as the administrator, to which arguments are to be added.
    pub fn kubectl_command(&self) -> Command {
        let mut command = Command::new(&self.kubectl);
        command
            .env("KUBECONFIG", self.kubeconfig())
            // Neither the caches nor the preferences of whoever runs the tests.
            .env("KUBECACHEDIR", self.dir().join("kubectl-cache"))
            .env("KUBERC", "off")
            .stdin(Stdio::null());
        command
    }

    /// Runs a script in a folder as the administrator does, with this `kubectl`. It ends with the first command that
    /// fails, and a failure is an error with what the script said.
    pub async fn shell(&self, folder: &Path, script: &str) -> Result<String> {
        let kubectl = self.kubectl_command();
        let programs = self.kubectl.parent().context("kubectl is in no folder")?;
        let mut paths = vec![programs.to_owned()];
        paths.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let mut shell = tokio::process::Command::new("sh");
        shell.args(["-euc", script]).current_dir(folder).env("PATH", std::env::join_paths(paths)?);
        for (name, value) in kubectl.get_envs() {
            shell.env(name, value.unwrap_or_default());
        }
        let output = shell.stdin(Stdio::null()).kill_on_drop(true).output().await?;
        if !output.status.success() {
            let said = [&output.stdout[..], &output.stderr].concat();
            bail!("{script}\nended with {}: {}", output.status, String::from_utf8_lossy(&said).trim_end());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `kubectl` as the administrator. A failure of `kubectl` itself is in the output's status.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<Output> {
        self.run_kubectl(arguments, "").await
    }

    /// Applies manifests as the administrator, and says what `kubectl` said.
    pub async fn apply(&self, manifests: &str) -> Result<String> {
        let output = self.run_kubectl(&["apply", "--server-side", "-f", "-"], manifests).await?;
        if !output.status.success() {
            bail!("kubectl apply failed: {}", String::from_utf8_lossy(&output.stderr).trim_end());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn run_kubectl(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let mut command = self.kubectl_command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", self.kubectl.display()))?;
        let mut stdin = child.stdin.take().context("kubectl has no standard input")?;
        // At the same time, since kubectl may write much before it has read all; and it may stop reading
        // on a mistake, which its output explains better than a broken pipe does.
        let write = async move {
            let _ = stdin.write_all(input.as_bytes()).await;
        };
        let (output, ()) = tokio::join!(child.wait_with_output(), write);
        Ok(output?)
    }
}

/// The access of a user with a fresh client certificate.
pub(super) fn client_certificate(url: &str, pki: &Pki, name: &str, groups: &[&str]) -> Result<Config> {
    config(url, pki.server_authority(), certificate(pki.user(name, groups)?))
}

/// The access to etcd. It is no API server, but its health is asked for by HTTP all the same.
pub(super) fn etcd(port: u16, pki: &Pki) -> Result<Config> {
    config(&format!("https://127.0.0.1:{port}"), pki.etcd_authority(), certificate(pki.etcd_client()?))
}

fn certificate(credentials: Credentials) -> AuthInfo {
    AuthInfo {
        client_certificate_data: Some(BASE64_STANDARD.encode(credentials.certificate)),
        client_key_data: Some(BASE64_STANDARD.encode(credentials.key).into()),
        ..AuthInfo::default()
    }
}

fn config(url: &str, authority: &[u8], auth: AuthInfo) -> Result<Config> {
    let mut config = Config::new(url.parse()?);
    config.root_cert = Some(vec![authority.to_vec()]);
    config.auth_info = auth;
    Ok(config)
}

/// Writes a kubeconfig for one of the ways above, with everything inline and readable by its owner only.
pub fn write_kubeconfig(config: &Config, path: &Path) -> Result<()> {
    let authorities: Vec<String> = config.root_cert.iter().flatten().map(|der| pem(der)).collect();
    let kubeconfig = Kubeconfig {
        api_version: Some("v1".to_owned()),
        kind: Some("Config".to_owned()),
        clusters: vec![NamedCluster {
            name: NAME.to_owned(),
            cluster: Some(Cluster {
                // kubectl joins paths to it; the slash that parsing has added would be doubled.
                server: Some(config.cluster_url.to_string().trim_end_matches('/').to_owned()),
                certificate_authority_data: Some(BASE64_STANDARD.encode(authorities.concat())),
                ..Cluster::default()
            }),
            ..NamedCluster::default()
        }],
        auth_infos: vec![NamedAuthInfo {
            name: NAME.to_owned(),
            auth_info: Some(config.auth_info.clone()),
            ..NamedAuthInfo::default()
        }],
        contexts: vec![NamedContext {
            name: NAME.to_owned(),
            context: Some(Context {
                cluster: NAME.to_owned(),
                user: Some(NAME.to_owned()),
                namespace: Some(config.default_namespace.clone()),
                ..Context::default()
            }),
            ..NamedContext::default()
        }],
        current_context: Some(NAME.to_owned()),
        ..Kubeconfig::default()
    };
    write_private(path, &serde_saphyr::to_string(&kubeconfig)?)
}
