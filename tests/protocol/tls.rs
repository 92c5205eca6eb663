//! Whom the client trusts, and that a handshake that fails has sent nothing.

use std::{sync::Arc, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use service_catalog::osb::{Client, Endpoint, Settings};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig, SupportedProtocolVersion,
        crypto::aws_lc_rs,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
        version::{TLS12, TLS13},
    },
};

use crate::script::{Act, Broker, answer, answered, cut, endpoint, provision_request, unknown, unsent};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
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
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

async fn broker(tls: TlsAcceptor) -> Broker {
    Broker::start_with(vec![Act::Say(answer(200, "{}"))], Some(tls)).await
}

fn client(broker: &Broker, ca_bundle: Option<Vec<u8>>, insecure_skip_tls_verify: bool) -> Client {
    let url = format!("https://127.0.0.1:{}", broker.address.port());
    let endpoint = Endpoint { ca_bundle, insecure_skip_tls_verify, ..endpoint(&url) };
    Client::new(&endpoint, &Settings::default()).unwrap()
}

const BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

#[tokio::test]
async fn the_ca_bundle_is_trusted() {
    let authority = Authority::new();
    for versions in [[&TLS12].as_slice(), &[&TLS13]] {
        let broker = broker(authority.server("127.0.0.1", versions)).await;
        let mut bundle = Authority::new().bundle();
        bundle.extend(authority.bundle());
        for bundle in [authority.bundle(), bundle] {
            answered(client(&broker, Some(bundle), false).provision("i", &provision_request(), None).await);
        }
    }
}

#[tokio::test]
async fn anyone_else_is_not() {
    let authority = Authority::new();
    let broker = broker(authority.server("127.0.0.1", &BOTH)).await;
    for bundle in [None, Some(Authority::new().bundle())] {
        let message = unsent(client(&broker, bundle, false).provision("i", &provision_request(), None).await);
        assert!(
            message.contains("certificate") && message.ends_with("(check spec.url and spec.caBundle)"),
            "{message}"
        );
    }
    assert_eq!(broker.requests().len(), 0);
    answered(client(&broker, None, true).provision("i", &provision_request(), None).await);
}

#[tokio::test]
async fn another_host_or_an_expired_certificate_is_refused() {
    let authority = Authority::new();
    let mut expired = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    expired.not_after = date_time_ymd(2001, 1, 1);
    for tls in [authority.server("broker.example", &BOTH), authority.issue(&expired, &BOTH)] {
        let broker = broker(tls).await;
        let client = client(&broker, Some(authority.bundle()), false);
        let message = unsent(client.provision("i", &provision_request(), None).await);
        assert!(message.contains("certificate"), "{message}");
        assert_eq!(broker.requests().len(), 0);
    }
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
        let settings = Settings { request_timeout, ..Settings::default() };
        let endpoint = Endpoint {
            ca_bundle: Some(Authority::new().bundle()),
            ..endpoint(&format!("https://127.0.0.1:{port}"))
        };
        Client::new(&endpoint, &settings).unwrap()
    };
    let message =
        unsent(https(port, Duration::from_secs(60)).provision("i", &provision_request(), None).await);
    assert!(message.ends_with("does not speak TLS: should spec.url begin with http://?)"), "{message}");
    let silent = https(plain.address.port(), Duration::from_secs(1));
    let message = unsent(silent.provision("i", &provision_request(), None).await);
    assert!(message.ends_with("no connection in time"), "{message}");
    assert_eq!(plain.requests().len(), 0);
}

#[tokio::test]
async fn a_tls_connection_lost_within_the_body_is_a_doubt() {
    let authority = Authority::new();
    let tls = authority.server("127.0.0.1", &BOTH);
    let broker = Broker::start_with(vec![Act::SayAndClose(cut(201, "{"))], Some(tls)).await;
    let client = client(&broker, Some(authority.bundle()), false);
    assert!(unknown(client.provision("i", &provision_request(), None).await).mitigate);
}
