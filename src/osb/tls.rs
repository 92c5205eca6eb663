//! Which servers are trusted, and messages for people about those that are not.

use std::sync::Arc;

use jiff::Timestamp;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use crate::printable::clip;

/// How much of a certificate's names is shown, in bytes: they are the server's own text.
const QUOTED: usize = 200;

/// The TLS settings for a broker with `spec.caBundle`: the certificates of the bundle, and no others, are
/// trusted.
///
/// # Errors
/// One of them cannot be read.
pub(super) fn trusting(bundle: Vec<CertificateDer<'static>>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in &bundle {
        roots.add(certificate.clone())?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let authorities = verifier.build().map_err(|error| Error::General(error.to_string()))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { authorities, pinned: bundle }))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Accepts certificates that an authority of the bundle has issued, and the certificates of the bundle
/// themselves.
///
/// The second case is for users who put the certificate of the server into the bundle: a self-signed one,
/// which `openssl req -x509` makes with `CA:TRUE`, or one of an authority that is not in the bundle. `webpki`
/// accepts neither, because it only knows authorities and the certificates that they have issued.
#[derive(Debug)]
struct Verifier {
    authorities: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl Verifier {
    /// Whether this certificate is in the bundle and is valid now. Without intermediates, `webpki` first
    /// checks the certificate itself, beginning with its dates. After that it reports that the certificate is
    /// not for a server, or that its issuer is unknown. Neither matters for a certificate that is itself
    /// trusted.
    fn is_pinned(&self, certificate: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> bool {
        self.pinned.iter().any(|pinned| pinned.as_ref() == certificate.as_ref())
            && match self.authorities.verify_server_cert(certificate, &[], name, &[], now) {
                // The bundle may have another authority with the name of the issuer. Then the signature does
                // not fit its key.
                Ok(_)
                | Err(Error::InvalidCertificate(
                    CertificateError::UnknownIssuer | CertificateError::BadSignature,
                )) => true,
                Err(error) => is_authority(&error),
            }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict =
            self.authorities.verify_server_cert(certificate, intermediates, name, ocsp_response, now);
        if verdict.is_err() && self.is_pinned(certificate, name, now) {
            // `webpki` has not checked the name.
            verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
            return Ok(ServerCertVerified::assertion());
        }
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// Whether `webpki` refuses the certificate of a server because it is that of an authority. Here the error
/// can only be recognised by its text.
fn is_authority(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::Other(other)) if other.to_string() == "CaUsedAsEndEntity")
}

/// Why a TLS connection failed, and what to do. `has_bundle`: the broker has a `spec.caBundle`.
pub(super) fn explain(error: &Error, has_bundle: bool) -> String {
    let explained = match error {
        Error::InvalidCertificate(_) if is_authority(error) => {
            "the broker serves the certificate of an authority (CA:TRUE): put exactly this certificate into \
             spec.caBundle, or have the broker serve one that is not an authority's"
        }
        Error::InvalidCertificate(refused) => return explain_certificate(refused, has_bundle),
        Error::InvalidMessage(_) => {
            "the server there does not speak TLS: should spec.url begin with http://?"
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the broker asks for a client certificate, which the operator cannot present"
        }
        Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_) => {
            "the broker and the operator have no TLS version or cipher in common: the operator needs TLS 1.2 or 1.3"
        }
        Error::AlertReceived(alert) => return format!("the broker ended the TLS handshake ({alert:?})"),
        other => return format!("the TLS handshake failed ({})", clip(&other.to_string(), QUOTED)),
    };
    explained.to_owned()
}

fn explain_certificate(refused: &CertificateError, has_bundle: bool) -> String {
    let explained = match refused {
        CertificateError::UnknownIssuer if has_bundle => {
            "the broker's certificate is not in spec.caBundle, and no certificate there has issued it: add the \
             certificate of the authority that issued it, or exactly the one that the broker serves"
        }
        CertificateError::UnknownIssuer => {
            "the broker's certificate was issued by an authority that this operator does not know: put the \
             certificate of that authority, or exactly the one that the broker serves, into spec.caBundle"
        }
        CertificateError::BadSignature => {
            "a signature of the broker's certificate or of its handshake does not fit: if its authority has a new \
             certificate, add that to spec.caBundle, or add exactly the certificate that the broker serves"
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            return format!(
                "the broker's certificate expired at {}: the broker needs a new one",
                time(*not_after)
            );
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            return format!(
                "the broker's certificate is not valid before {}: check the clocks on both sides",
                time(*not_before)
            );
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let presented = clip(&presented.join(", "), QUOTED);
            let names =
                if presented.is_empty() { "has no names".to_owned() } else { format!("is for {presented}") };
            let host = expected.to_str();
            return format!(
                "the broker's certificate {names}, and not for {host}: check the host in spec.url, or have the \
                 broker serve a certificate with that name"
            );
        }
        other => {
            let other = clip(&other.to_string(), QUOTED);
            return format!("the broker's certificate is not accepted ({other}): check spec.caBundle");
        }
    };
    explained.to_owned()
}

fn time(time: UnixTime) -> String {
    let time = i64::try_from(time.as_secs()).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "a time out of range".to_owned(), |time| time.to_string())
}
