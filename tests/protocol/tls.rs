//! Whom the client trusts, and that a handshake that fails has sent nothing.

use std::{sync::Arc, time::Duration};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use service_catalog::osb::{Client, ClientSettings, Endpoint};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig, SupportedProtocolVersion,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _},
        sign::{CertifiedKey, SingleCertAndKey},
        version::{TLS12, TLS13},
    },
};

use crate::script::{Act, Broker, answer, answered, cut, endpoint, provision_request, unknown, unsent};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        Self::named("an authority")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn bundle(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    fn server(&self, name: &str, versions: &[&'static SupportedProtocolVersion]) -> TlsAcceptor {
        self.issue(&CertificateParams::new(vec![name.to_owned()]).unwrap(), versions)
    }

    fn issue(
        &self,
        params: &CertificateParams,
        versions: &[&'static SupportedProtocolVersion],
    ) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        acceptor(certificate.der().clone(), key, versions)
    }
}

fn acceptor(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> TlsAcceptor {
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// A server's own certificate: a server that presents it, and the certificate as PEM.
struct Own {
    acceptor: TlsAcceptor,
    pem: Vec<u8>,
}

impl Own {
    fn of(certificate: &Certificate, key: &KeyPair) -> Self {
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Self {
            acceptor: acceptor(certificate.der().clone(), private, &BOTH),
            pem: certificate.pem().into_bytes(),
        }
    }

    fn self_signed(params: &CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        Self::of(&params.self_signed(&key).unwrap(), &key)
    }

    fn issued_by(authority: &Authority, params: &CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        Self::of(&params.signed_by(&key, &authority.0).unwrap(), &key)
    }

    /// In all the ways in which a server has a certificate of its own: self-signed, with and without `CA:TRUE`, and
    /// issued by an authority that is in no bundle, or has only its name in common with one.
    fn all(params: &CertificateParams) -> [Self; 4] {
        let mut authority = params.clone();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        [
            Self::self_signed(params),
            Self::self_signed(&authority),
            Self::issued_by(&Authority::named("a stranger"), params),
            Self::issued_by(&Authority::new(), params),
        ]
    }
}

fn loopback() -> CertificateParams {
    CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap()
}

async fn broker(tls: TlsAcceptor) -> Broker {
    Broker::start_with(vec![Act::Say(answer(200, "{}"))], Some(tls)).await
}

fn client(broker: &Broker, ca_bundle: Option<Vec<u8>>, insecure_skip_tls_verify: bool) -> Client {
    let url = format!("https://127.0.0.1:{}", broker.address.port());
    let endpoint = Endpoint { ca_bundle, insecure_skip_tls_verify, ..endpoint(&url) };
    Client::new(&endpoint, &ClientSettings::default()).unwrap()
}

const BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

// OSB 16
// v0.3 B2
#[tokio::test]
async fn the_ca_bundle_is_trusted() {
    let authority = Authority::new();
    for versions in [[&TLS12].as_slice(), &[&TLS13]] {
        let broker = broker(authority.server("127.0.0.1", versions)).await;
        let mut bundle = Authority::new().bundle();
        bundle.extend(authority.bundle());
        for bundle in [authority.bundle(), bundle] {
            answered(
                client(&broker, Some(bundle), false).provision(&"i".into(), &provision_request(), None).await,
            );
        }
    }
}

/// What a client with this bundle says about a server.
async fn refusal(tls: TlsAcceptor, bundle: Vec<u8>) -> String {
    let broker = broker(tls).await;
    let message =
        unsent(client(&broker, Some(bundle), false).provision(&"i".into(), &provision_request(), None).await);
    assert_eq!(broker.requests().len(), 0);
    message.split_once(&format!("127.0.0.1:{}: ", broker.address.port())).unwrap().1.to_owned()
}

// OSB 17
// v0.3 B2
#[tokio::test]
async fn anyone_else_is_not() {
    let authority = Authority::new();
    let broker = broker(authority.server("127.0.0.1", &BOTH)).await;
    for (bundle, words) in [
        (None, "issued by an authority that this operator does not know"),
        (
            Some(Authority::named("a stranger").bundle()),
            "is not in spec.caBundle, and no certificate there has issued it",
        ),
        (
            Some(Authority::new().bundle()),
            "a signature of the broker's certificate or of its handshake does not fit",
        ),
    ] {
        let message =
            unsent(client(&broker, bundle, false).provision(&"i".into(), &provision_request(), None).await);
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(broker.requests().len(), 0);
    answered(client(&broker, None, true).provision(&"i".into(), &provision_request(), None).await);
}

// OSB 17
#[tokio::test]
async fn another_host_or_an_expired_certificate_is_refused() {
    let authority = Authority::new();
    let mut expired = loopback();
    expired.not_after = date_time_ymd(2001, 1, 1);
    for (tls, words) in [
        (authority.server("broker.example", &BOTH), "and not for 127.0.0.1: check the host in spec.url"),
        (authority.issue(&expired, &BOTH), "expired at 2001-01-01T00:00:00Z: the broker needs a new one"),
    ] {
        let message = refusal(tls, authority.bundle()).await;
        assert!(message.contains(words), "{message}");
    }
}

// OSB 17
// v0.3 B2
#[tokio::test]
async fn a_certificate_that_is_itself_in_the_bundle_is_trusted() {
    for own in Own::all(&loopback()) {
        let broker = broker(own.acceptor).await;
        let mut with_others = Authority::new().bundle();
        with_others.extend(&own.pem);
        for bundle in [own.pem, with_others] {
            let client = client(&broker, Some(bundle), false);
            answered(client.provision(&"i".into(), &provision_request(), None).await);
        }
    }
}

/// Made by `openssl req -x509 -newkey rsa:2048 -nodes -days 36500 -subj /CN=broker
/// -addext subjectAltName=DNS:localhost,IP:127.0.0.1`, which sets `CA:TRUE`.
// OSB 17
#[tokio::test]
async fn a_certificate_as_openssl_makes_it_is_trusted_if_it_is_in_the_bundle() {
    let pem = include_bytes!("openssl/certificate.pem");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("openssl/key.pem")).unwrap();
    let certificate = CertificateDer::from_pem_slice(pem).unwrap();
    let broker = broker(acceptor(certificate, key, &BOTH)).await;
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("https://{host}:{}", broker.address.port());
        let endpoint = Endpoint { ca_bundle: Some(pem.to_vec()), ..endpoint(&url) };
        let client = Client::new(&endpoint, &ClientSettings::default()).unwrap();
        answered(client.provision(&"i".into(), &provision_request(), None).await);
    }
}

// OSB 17
#[tokio::test]
async fn names_and_dates_of_a_certificate_in_the_bundle_are_checked() {
    let elsewhere = CertificateParams::new(vec!["broker.example".to_owned()]).unwrap();
    let (mut expired, mut future) = (loopback(), loopback());
    expired.not_after = date_time_ymd(2001, 1, 1);
    future.not_before = date_time_ymd(3001, 1, 1);
    for (params, words) in [
        (elsewhere, "and not for 127.0.0.1"),
        (expired, "expired at 2001-01-01T00:00:00Z"),
        (future, "is not valid before 3001-01-01T00:00:00Z"),
    ] {
        for own in Own::all(&params) {
            let message = refusal(own.acceptor, own.pem).await;
            assert!(message.contains(words), "{message}");
        }
    }
}

// OSB 17
#[tokio::test]
async fn another_certificate_of_the_same_key_or_authority_is_refused() {
    let key = KeyPair::generate().unwrap();
    let mut params = loopback();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let [first, second] = [1_u64, 2].map(|serial| {
        params.serial_number = Some(serial.into());
        Own::of(&params.self_signed(&key).unwrap(), &key)
    });
    let message = refusal(second.acceptor, first.pem).await;
    assert!(message.contains("put exactly this certificate into spec.caBundle"), "{message}");

    let stranger = Authority::new();
    let [first, second] = [(); 2].map(|()| Own::issued_by(&stranger, &loopback()));
    let message = refusal(second.acceptor, first.pem).await;
    assert!(message.contains("add the certificate of the authority that issued it"), "{message}");
}

#[tokio::test]
async fn a_server_that_presents_a_certificate_of_the_bundle_without_its_key_is_refused() {
    let own = Own::self_signed(&loopback());
    let stolen = CertificateDer::from_pem_slice(&own.pem).unwrap();
    let key = KeyPair::generate().unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let signing_key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
    let certified = CertifiedKey::new(vec![stolen], signing_key);
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&BOTH)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    let message = refusal(TlsAcceptor::from(Arc::new(config)), own.pem).await;
    assert!(message.contains("a signature of the broker's certificate or of its handshake"), "{message}");
}

#[tokio::test]
async fn a_port_that_does_not_speak_tls_was_sent_nothing() {
    let plain = Broker::start(vec![Act::SayAndClose(answer(400, "Bad Request"))]).await;
    // A TLS greeting holds no end of a header, so this server would wait; one that answers at once is a listener.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(answer(400, "Bad Request").as_bytes()).await.unwrap();
        let mut greeting = Vec::new();
        let _ = stream.read_to_end(&mut greeting).await;
    });
    let https = |port: u16, request_timeout| {
        let settings = ClientSettings { request_timeout, ..ClientSettings::default() };
        let endpoint = Endpoint {
            ca_bundle: Some(Authority::new().bundle()),
            ..endpoint(&format!("https://127.0.0.1:{port}"))
        };
        Client::new(&endpoint, &settings).unwrap()
    };
    let message =
        unsent(https(port, Duration::from_secs(60)).provision(&"i".into(), &provision_request(), None).await);
    assert!(message.ends_with("does not speak TLS: should spec.url begin with http://?"), "{message}");
    let silent = https(plain.address.port(), Duration::from_secs(1));
    let message = unsent(silent.provision(&"i".into(), &provision_request(), None).await);
    assert!(message.ends_with("no connection in time"), "{message}");
    assert_eq!(plain.requests().len(), 0);
}

#[tokio::test]
async fn a_tls_connection_lost_within_the_body_is_a_doubt() {
    let authority = Authority::new();
    let tls = authority.server("127.0.0.1", &BOTH);
    let broker = Broker::start_with(vec![Act::SayAndClose(cut(201, "{"))], Some(tls)).await;
    let client = client(&broker, Some(authority.bundle()), false);
    assert!(unknown(client.provision(&"i".into(), &provision_request(), None).await).mitigate);
}
