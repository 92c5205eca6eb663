//! Keys and certificates of a control plane.
//!
//! Three authorities, as kubeadm has them: one vouches for the API server, one for its clients, one for
//! etcd and its only client, so that no client certificate of the cluster opens etcd. The authorities' keys
//! and the service accounts' key are kept in the folder and taken from there again, so that tokens and
//! kubeconfigs made before a restart stay good. Everything else is made anew each time.

use std::{fs, net::Ipv4Addr, path::Path};

use anyhow::{Context as _, Result};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

use super::{der, home::write_private};

/// Names the API server answers to, besides the address it is reached by. The second is that of its Service.
const SERVER_NAMES: [&str; 7] = [
    "127.0.0.1",
    "10.0.0.1",
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

/// A certificate with its key, both PEM.
#[derive(Debug)]
pub struct Credentials {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// The authorities. The files for the servers are in the folder.
#[derive(Debug)]
pub struct Pki {
    clients: Authority,
    server: Authority,
    etcd: Authority,
}

#[derive(Debug)]
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: Vec<u8>,
}

impl Pki {
    /// Takes the keys found in `folder`, makes the missing ones, and writes the servers' files.
    pub fn load_or_create(folder: &Path, address: Ipv4Addr) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let pki = Self {
            clients: Authority::load_or_create(folder, "client-ca")?,
            server: Authority::load_or_create(folder, "server-ca")?,
            etcd: Authority::load_or_create(folder, "etcd-ca")?,
        };
        let address = address.to_string();
        let names: Vec<&str> = SERVER_NAMES.into_iter().chain([address.as_str()]).collect();
        pki.server.issue_server(&names)?.write(folder, "kube-apiserver")?;
        pki.user("kubelet-client", &["system:masters"])?.write(folder, "kubelet-client")?;
        pki.etcd.issue_server(&["127.0.0.1"])?.write(folder, "etcd")?;
        pki.etcd_client()?.write(folder, "etcd-client")?;
        let accounts = load_or_create_key(&folder.join("service-accounts.key"))?;
        write_private(&folder.join("service-accounts.pub"), &accounts.public_key_pem())?;
        Ok(pki)
    }

    /// A certificate for a user of the cluster in these groups.
    pub fn user(&self, name: &str, groups: &[&str]) -> Result<Credentials> {
        self.clients.issue_client(name, groups)
    }

    /// A certificate that opens etcd.
    pub fn etcd_client(&self) -> Result<Credentials> {
        self.etcd.issue_client("kube-apiserver", &[])
    }

    /// The authority of the API server, DER.
    pub fn server_authority(&self) -> &[u8] {
        &self.server.der
    }

    /// The authority of etcd, DER.
    pub fn etcd_authority(&self) -> &[u8] {
        &self.etcd.der
    }
}

impl Authority {
    fn load_or_create(folder: &Path, name: &str) -> Result<Self> {
        let key = load_or_create_key(&folder.join(format!("{name}.key")))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(&format!("service-catalog {name}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        write_private(&folder.join(format!("{name}.crt")), &certificate.pem())?;
        Ok(Self { der: certificate.der().to_vec(), issuer: Issuer::new(params, key) })
    }

    fn issue_server(&self, names: &[&str]) -> Result<Credentials> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = common_name("service-catalog control plane");
        let (key, certificate) = self.issue(params, ExtendedKeyUsagePurpose::ServerAuth)?;
        Ok(Credentials { certificate: pem(&certificate), key: key.serialize_pem() })
    }

    fn issue_client(&self, name: &str, groups: &[&str]) -> Result<Credentials> {
        let (key, certificate) =
            self.issue(CertificateParams::default(), ExtendedKeyUsagePurpose::ClientAuth)?;
        let certificate = der::with_subject(&certificate, name, groups, self.issuer.key())?;
        Ok(Credentials { certificate: pem(&certificate), key: key.serialize_pem() })
    }

    /// A new key, and a certificate for it, DER.
    fn issue(
        &self,
        mut params: CertificateParams,
        purpose: ExtendedKeyUsagePurpose,
    ) -> Result<(KeyPair, Vec<u8>)> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((key, certificate.der().to_vec()))
    }
}

impl Credentials {
    fn write(&self, folder: &Path, name: &str) -> Result<()> {
        write_private(&folder.join(format!("{name}.crt")), &self.certificate)?;
        write_private(&folder.join(format!("{name}.key")), &self.key)
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

fn load_or_create_key(path: &Path) -> Result<KeyPair> {
    if path.exists() {
        let pem = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        return KeyPair::from_pem(&pem).with_context(|| {
            format!("{} is no private key; remove it to have a new one made", path.display())
        });
    }
    let key = KeyPair::generate()?;
    write_private(path, &key.serialize_pem())?;
    Ok(key)
}

/// A certificate as PEM.
pub fn pem(der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}
