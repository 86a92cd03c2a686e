//! TLS 1.3 between members of one cluster: who is let in on which protocol.
//!
//! It refuses to know sockets. Invariants: a peer is a member only if the cluster's authority issued its certificate
//! and the certificate has the role that the protocol demands; names of hosts play no part, because identity is the
//! key; no session is ever resumed, so that every connection proves its identity anew.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    ServerConfig, SignatureScheme,
};

use neurath_proto::NodeId;

use crate::certificate::{NodeKey, Role, Subject, SubjectError};
use crate::credentials::{Credentials, CredentialsError};

/// What two nodes speak.
pub const ALPN_SESSION: &[u8] = b"neurath/1";
/// What one who has an invitation speaks to the authority's node.
pub const ALPN_JOIN: &[u8] = b"neurath-join/1";
/// What an operator speaks to a node, and a node that passes on what it was asked.
pub const ALPN_CONTROL: &[u8] = b"neurath-control/1";

/// Who may tell a node what to do. A node may do as much to the processes of another by its signals already.
const CONTROLLERS: &[Role] = &[Role::Operator, Role::Node];

/// A member's side of TLS.
pub struct Tls {
    node: NodeId,
    sessions: Arc<ServerConfig>,
    joins: Arc<ServerConfig>,
    control: Arc<ServerConfig>,
    dials: Arc<ClientConfig>,
}

impl Tls {
    /// What a node with this key and these credentials uses.
    ///
    /// # Errors
    /// The key is another's, or the certificate is none of a node.
    pub fn new(key: &NodeKey, credentials: &Credentials) -> Result<Self, CredentialsError> {
        let provider = provider();
        let identity = identity(&provider, key, credentials, &[Role::Node])?;
        let roots = roots(&credentials.ca).map_err(|e| unusable(credentials, &e))?;
        let server = |alpn: &[u8], roles: &'static [Role]| -> Result<Arc<ServerConfig>, CredentialsError> {
            let builder = ServerConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(&[&rustls::version::TLS13])
                .map_err(|e| unusable(credentials, &e))?;
            let builder = match roles {
                [] => builder.with_no_client_auth(),
                roles => {
                    let chain = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
                        .clear_root_hint_subjects()
                        .build()
                        .map_err(|e| unusable(credentials, &e))?;
                    builder.with_client_cert_verifier(Arc::new(Clients { chain, roles }))
                }
            };
            let mut config = builder.with_cert_resolver(identity.clone());
            config.alpn_protocols = vec![alpn.to_vec()];
            config.send_tls13_tickets = 0;
            config.session_storage = Arc::new(NoServerSessionStorage {});
            Ok(Arc::new(config))
        };
        Ok(Self {
            node: key.node_id(),
            sessions: server(ALPN_SESSION, &[Role::Node])?,
            joins: server(ALPN_JOIN, &[])?,
            control: server(ALPN_CONTROL, CONTROLLERS)?,
            dials: client(&provider, credentials, roots.clone(), identity.clone(), ALPN_SESSION)?,
        })
    }

    /// Whose side it is.
    pub fn node_id(&self) -> NodeId {
        self.node
    }

    /// What a connection that offers these protocols is answered with.
    pub(crate) fn server(&self, offered: impl Iterator<Item = Vec<u8>>) -> Option<(Protocol, Arc<ServerConfig>)> {
        offered.take(8).find_map(|alpn| match alpn.as_slice() {
            ALPN_SESSION => Some((Protocol::Session, self.sessions.clone())),
            ALPN_JOIN => Some((Protocol::Join, self.joins.clone())),
            ALPN_CONTROL => Some((Protocol::Control, self.control.clone())),
            _ => None,
        })
    }

    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        self.dials.clone()
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Session,
    Join,
    Control,
}

/// What an operator's program, or a node, uses to reach a node's control API.
pub(crate) fn control(key: &NodeKey, credentials: &Credentials) -> Result<Arc<ClientConfig>, CredentialsError> {
    let provider = provider();
    let identity = identity(&provider, key, credentials, CONTROLLERS)?;
    let roots = roots(&credentials.ca).map_err(|e| unusable(credentials, &e))?;
    client(&provider, credentials, roots, identity, ALPN_CONTROL)
}

/// What one with an invitation uses: it knows the hash of the authority's certificate and the node that answers.
pub(crate) fn invited(ca_hash: [u8; 32], node: NodeId) -> Result<Arc<ClientConfig>, Error> {
    let provider = provider();
    let servers = Arc::new(Servers { trust: Trust::Hash(ca_hash, node), provider: provider.clone() });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(servers)
        .with_no_client_auth();
    seal(&mut config, ALPN_JOIN);
    Ok(Arc::new(config))
}

/// The name that clients call every node by; it is never sent and never compared.
pub(crate) fn any_name() -> ServerName<'static> {
    ServerName::try_from("node.neurath.invalid").expect("it is the name of a host")
}

/// Who the other side has proved to be.
pub(crate) fn peer(certificates: Option<&[CertificateDer<'_>]>) -> Option<Subject> {
    Subject::of(certificates?.first()?).ok()
}

fn provider() -> Arc<CryptoProvider> {
    let mut provider = default_provider();
    // AES with 128 bits is as safe here and faster than with 256.
    provider.cipher_suites = vec![
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(provider)
}

fn identity(
    provider: &CryptoProvider,
    key: &NodeKey,
    credentials: &Credentials,
    wanted: &[Role],
) -> Result<Arc<SingleCertAndKey>, CredentialsError> {
    credentials.check_key(key)?;
    let found = credentials.role();
    if !wanted.contains(&found) {
        return Err(CredentialsError::Role { name: credentials.name().into(), found, wanted: words(wanted) });
    }
    let chain = vec![credentials.own.clone(), credentials.ca.clone()];
    let key = CertifiedKey::from_der(chain, key.private(), provider).map_err(|e| unusable(credentials, &e))?;
    Ok(Arc::new(SingleCertAndKey::from(key)))
}

fn client(
    provider: &Arc<CryptoProvider>,
    credentials: &Credentials,
    roots: Arc<RootCertStore>,
    identity: Arc<SingleCertAndKey>,
    alpn: &[u8],
) -> Result<Arc<ClientConfig>, CredentialsError> {
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| unusable(credentials, &e))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Servers { trust: Trust::Roots(roots), provider: provider.clone() }))
        .with_client_cert_resolver(identity);
    seal(&mut config, alpn);
    Ok(Arc::new(config))
}

fn seal(config: &mut ClientConfig, alpn: &[u8]) {
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
}

fn roots(ca: &CertificateDer<'_>) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone().into_owned())?;
    Ok(Arc::new(roots))
}

fn unusable(credentials: &Credentials, why: &dyn std::fmt::Display) -> CredentialsError {
    CredentialsError::Unusable { name: credentials.name().into(), why: why.to_string() }
}

fn words(roles: &[Role]) -> String {
    roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

fn check_role(certificate: &CertificateDer<'_>, wanted: &[Role]) -> Result<Subject, Error> {
    let subject = Subject::of(certificate).map_err(|e| refusal(NotAllowed::Subject(e)))?;
    if !wanted.contains(&subject.role) {
        let wanted = words(wanted);
        return Err(refusal(NotAllowed::Role { name: subject.name, found: subject.role, wanted }));
    }
    Ok(subject)
}

fn refusal(why: NotAllowed) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why))))
}

/// Why a certificate of the right authority is not enough.
#[derive(Debug, thiserror::Error)]
enum NotAllowed {
    #[error("the certificate says nobody's name: {0}")]
    Subject(SubjectError),
    #[error("the certificate of `{name}` is that of a {found}, and a {wanted}'s is needed")]
    Role { name: String, found: Role, wanted: String },
    #[error("the certificate is not of the cluster that the invitation is for")]
    OtherCluster,
    #[error("the node that answers is {found}, and the invitation is from {wanted}")]
    OtherNode { found: NodeId, wanted: NodeId },
}

/// Lets in clients of some roles.
#[derive(Debug)]
struct Clients {
    chain: Arc<dyn ClientCertVerifier>,
    roles: &'static [Role],
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        check_role(end_entity, self.roles)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// What a client believes in.
#[derive(Debug)]
enum Trust {
    Roots(Arc<RootCertStore>),
    Hash([u8; 32], NodeId),
}

/// Accepts nodes of one cluster as servers.
#[derive(Debug)]
struct Servers {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let roots = match &self.trust {
            Trust::Roots(roots) => roots.clone(),
            Trust::Hash(hash, _) => {
                let ca = intermediates.iter().find(|ca| blake3::hash(ca) == *hash);
                roots(ca.ok_or_else(|| refusal(NotAllowed::OtherCluster))?)?
            }
        };
        let algorithms = self.provider.signature_verification_algorithms.all;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, intermediates, now, algorithms)?;
        let found = check_role(end_entity, &[Role::Node])?.identity;
        match self.trust {
            Trust::Hash(_, wanted) if wanted != found => Err(refusal(NotAllowed::OtherNode { found, wanted })),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
