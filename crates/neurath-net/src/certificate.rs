//! Keys, and what a certificate says: who, as what, under which name.
//!
//! It refuses to know where certificates are kept and who issues them. Invariant: a node's identity is the hash of the
//! public key that its certificate carries, never what someone says beside it.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use neurath_proto::NodeId;
use rcgen::KeyPair;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::OID_SIG_ED25519;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::files::{self, FileError, Readers};

/// A name of a node, an operator or a cluster has at most this many bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// An Ed25519 key in PKCS #8 is this, then the seed (RFC 8410, section 7).
const PKCS8_BEFORE_SEED: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// What a node, or an operator, proves its identity with.
pub struct NodeKey {
    pub(crate) pair: KeyPair,
    node: NodeId,
}

impl NodeKey {
    /// The key that 32 random bytes make.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let mut pkcs8 = PKCS8_BEFORE_SEED.to_vec();
        pkcs8.extend_from_slice(seed);
        let pair = KeyPair::try_from(&PrivatePkcs8KeyDer::from(pkcs8)).expect("every 32 bytes are an Ed25519 seed");
        let node = identity_of(pair.public_key_raw());
        Self { pair, node }
    }

    /// The key whose seed a file of 32 bytes holds, which is made if there is none.
    ///
    /// # Errors
    /// The file cannot be read or written, or has another length.
    pub fn keep(path: &Path) -> Result<Self, FileError> {
        match files::read_bytes(path) {
            Ok(bytes) => {
                let wrong = io::Error::other(format!("it has {} bytes instead of 32", bytes.len()));
                let seed = bytes.try_into().map_err(|_| FileError { path: path.into(), source: wrong })?;
                Ok(Self::from_seed(&seed))
            }
            Err(e) if e.source.kind() == io::ErrorKind::NotFound => {
                let seed = random_seed().map_err(|source| FileError { path: path.into(), source })?;
                files::write(path, &seed, Readers::Owner)?;
                Ok(Self::from_seed(&seed))
            }
            Err(e) => Err(e),
        }
    }

    /// Whose key it is.
    pub fn node_id(&self) -> NodeId {
        self.node
    }

    pub(crate) fn private(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.pair.serialize_der()).into()
    }
}

/// What a new key is made from.
pub(crate) fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    Ok(seed)
}

/// The identity that a raw public key has: see [`NodeId`].
pub(crate) fn identity_of(public_key: &[u8]) -> NodeId {
    let hash = blake3::hash(public_key);
    NodeId(u64::from_be_bytes(std::array::from_fn(|i| hash.as_bytes()[i])))
}

/// What a certificate of a cluster allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// To be a node among nodes.
    Node,
    /// To tell nodes what to do.
    Operator,
}

impl Role {
    const ALL: [Role; 2] = [Role::Node, Role::Operator];

    fn word(self) -> &'static str {
        match self {
            Role::Node => "node",
            Role::Operator => "operator",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// Who a certificate says its owner is. It is true only if the certificate's chain was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// What it may be.
    pub role: Role,
    /// Its name in the cluster.
    pub name: String,
    /// Its key's identity.
    pub identity: NodeId,
}

impl Subject {
    /// What a certificate's name for its owner is: `neurath://node/NAME`.
    pub(crate) fn uri(role: Role, name: &str) -> String {
        format!("neurath://{role}/{name}")
    }

    /// Reads a certificate.
    ///
    /// # Errors
    /// It is no certificate, or none that an authority of ours wrote.
    pub fn of(certificate: &[u8]) -> Result<Self, SubjectError> {
        let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| SubjectError::Unreadable)?;
        let key = certificate.public_key();
        if key.algorithm.algorithm != OID_SIG_ED25519 {
            return Err(SubjectError::Key);
        }
        let names = certificate.subject_alternative_name().map_err(|_| SubjectError::Unreadable)?;
        let uris = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
            GeneralName::URI(uri) => uri.strip_prefix("neurath://"),
            _ => None,
        });
        let (role, name) = uris
            .filter_map(|uri| uri.split_once('/'))
            .find_map(|(word, name)| Some((Role::ALL.into_iter().find(|role| role.word() == word)?, name)))
            .ok_or(SubjectError::Role)?;
        check_name(name).map_err(|_| SubjectError::Role)?;
        Ok(Self { role, name: name.to_owned(), identity: identity_of(&key.subject_public_key.data) })
    }
}

/// When a certificate's time is over.
pub(crate) fn valid_until(certificate: &[u8]) -> Result<SystemTime, SubjectError> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| SubjectError::Unreadable)?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or_default();
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).ok_or(SubjectError::Unreadable)
}

/// The cluster whose authority's certificate this is.
pub(crate) fn cluster_of(ca: &[u8]) -> Result<String, SubjectError> {
    let (_, certificate) = X509Certificate::from_der(ca).map_err(|_| SubjectError::Unreadable)?;
    let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    name.map(ToOwned::to_owned).ok_or(SubjectError::Role)
}

/// Why a certificate does not say who someone is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// It is no certificate.
    #[error("it is not an X.509 certificate")]
    Unreadable,
    /// Its key is of another kind.
    #[error("its key is not an Ed25519 key; only `neurath cluster` makes certificates of nodes")]
    Key,
    /// It lacks the role and the name.
    #[error("it names neither a node nor an operator; only `neurath cluster` makes certificates of nodes")]
    Role,
}

/// A name that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` is no name: use 1 to {NAME_BYTES_MAX} letters, digits, `.`, `-` or `_`, beginning with a letter or digit"
)]
pub struct NameError {
    /// The name, cut.
    pub name: String,
}

/// Whether this may be the name of a node, an operator or a cluster.
///
/// # Errors
/// It says what a name looks like.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins && name.len() <= NAME_BYTES_MAX && name.chars().all(allowed) {
        return Ok(());
    }
    Err(NameError { name: name.chars().take(NAME_BYTES_MAX).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_the_beginning_of_the_hash_of_the_public_key() {
        let key = NodeKey::from_seed(&[7; 32]);
        let hash = blake3::hash(key.pair.public_key_raw());
        assert_eq!(key.node_id().to_string(), hash.to_hex()[..16]);
        assert_eq!(key.node_id(), NodeKey::from_seed(&[7; 32]).node_id());
        assert_ne!(key.node_id(), NodeKey::from_seed(&[8; 32]).node_id());
    }

    #[test]
    fn a_kept_key_is_its_owners_secret_and_stays_the_same() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("operator.key");
        let first = NodeKey::keep(&path).unwrap();
        assert_eq!(NodeKey::keep(&path).unwrap().node_id(), first.node_id());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, [0; 31]).unwrap();
        let error = NodeKey::keep(&path).err().unwrap().to_string();
        assert!(error.contains("operator.key") && error.contains("31 bytes instead of 32"), "{error}");
    }

    #[test]
    fn names_are_short_and_plain() {
        for name in ["a", "node-1.eu_west", &"x".repeat(NAME_BYTES_MAX)] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", "-a", "a b", "a/b", "ä", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_no_certificate_of_ours_is_refused_by_name() {
        assert_eq!(Subject::of(b"no"), Err(SubjectError::Unreadable));
        let other = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = rcgen::CertificateParams::new([]).unwrap().self_signed(&other).unwrap();
        assert_eq!(Subject::of(certificate.der()), Err(SubjectError::Key));
        let bare = rcgen::CertificateParams::new([]).unwrap().self_signed(&NodeKey::from_seed(&[1; 32]).pair).unwrap();
        assert_eq!(Subject::of(bare.der()), Err(SubjectError::Role));
    }
}
