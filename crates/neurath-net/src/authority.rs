//! A cluster's authority: it says which keys are members of the cluster.
//!
//! It refuses to know where nodes are and whether they live. Invariants: a node's name and an identity are issued to one
//! key only, an operator's name to one after the other; an invitation admits one key only; what was issued is on the disk before anyone is told.
//!
//! # Files
//!
//! | file | content |
//! |---|---|
//! | `ca.key` | the authority's private key, PEM; readable by its owner only |
//! | `ca.pem` | its certificate, valid for thirty years |
//! | `records.json` | what was issued, and the invitations: [`Records`]. It holds hashes of secrets, no secrets |
//! | `lock` | held by whoever changes the records, so that a running node and a command may share the folder |

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::HEXLOWER;
use neurath_proto::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::certificate::{NAME_BYTES_MAX, NameError, NodeKey, Role, Subject, check_name, cluster_of, identity_of};
use crate::credentials::{Credentials, CredentialsError};
use crate::files::{self, FileError, Readers};
use crate::invitation::{ADDRESS_BYTES_MAX, Invitation};
use crate::join::{JoinAnswer, JoinRefusal, JoinRequest, Member};

const KEY_FILE: &str = "ca.key";
const CERTIFICATE_FILE: &str = "ca.pem";
const RECORDS_FILE: &str = "records.json";
const LOCK_FILE: &str = "lock";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Certificates are valid from so long ago, because clocks differ.
const CLOCK_SKEW: Duration = DAY;
const CA_LIFE: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
const CERTIFICATE_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Invitations that are expired for longer are forgotten.
const INVITATION_MEMORY: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Invitations that may be remembered at a time.
const INVITATIONS_MAX: usize = 10_000;

/// See the module.
pub struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    ca: CertificateDer<'static>,
    ca_pem: String,
    cluster: String,
}

/// What an authority remembers.
#[derive(Default, Serialize, Deserialize)]
struct Records {
    /// By role and name.
    issued: Vec<Issued>,
    /// By the hash of the secret.
    invitations: BTreeMap<String, Invited>,
}

#[derive(Serialize, Deserialize)]
struct Issued {
    role: Role,
    name: String,
    /// The whole public key, in hexadecimal digits.
    key: String,
    /// In seconds since the Unix epoch.
    at: u64,
}

#[derive(Serialize, Deserialize)]
struct Invited {
    /// In seconds since the Unix epoch.
    until: u64,
    /// The public key that has used it, in hexadecimal digits.
    used_by: Option<String>,
}

/// Why an authority could not do what it was asked for. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// There is one already.
    #[error("{} exists: this folder holds a cluster's authority already; a second one needs another folder", path.display())]
    Exists {
        /// The key's file.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{0}; the authority's folder must be whole, and readable and writable by its owner")]
    File(#[from] FileError),
    /// A file is not what was written.
    #[error("{} is damaged: {why}; restore it from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The name or the key is taken.
    #[error(transparent)]
    Taken(#[from] JoinRefusal),
    /// The address does not fit into an invitation.
    #[error(
        "the address `{address}` has more than {ADDRESS_BYTES_MAX} bytes, or none; give one where this node is reached"
    )]
    Address {
        /// The address, cut.
        address: String,
    },
    /// Too many invitations are remembered.
    #[error("{INVITATIONS_MAX} invitations are remembered; they are forgotten a week after they expire")]
    TooMany,
    /// The cryptography refuses.
    #[error("a certificate cannot be made: {0}; this is a fault of Neurath")]
    Crypto(String),
    /// What was issued cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

impl From<rcgen::Error> for AuthorityError {
    fn from(error: rcgen::Error) -> Self {
        AuthorityError::Crypto(error.to_string())
    }
}

impl Authority {
    /// Makes the authority of a new cluster in a folder, which is made if there is none.
    ///
    /// # Errors
    /// The folder holds one already or cannot be written, or the name is none.
    pub fn create(dir: &Path, cluster: &str) -> Result<Self, AuthorityError> {
        check_name(cluster)?;
        std::fs::create_dir_all(dir).map_err(|source| FileError { path: dir.into(), source })?;
        let _lock = lock(dir)?;
        let path = dir.join(KEY_FILE);
        if path.exists() {
            return Err(AuthorityError::Exists { path });
        }
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let mut params = CertificateParams::new([])?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, cluster);
        // Two clusters may bear the same name. With this their certificates are told apart before they are checked.
        let mark = identity_of(key.public_key_raw()).to_string();
        params.distinguished_name.push(DnType::OrganizationalUnitName, mark);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        (params.not_before, params.not_after) = validity(CA_LIFE);
        let certificate = params.self_signed(&key)?;
        write_records(dir, &Records::default())?;
        files::write(&dir.join(CERTIFICATE_FILE), certificate.pem().as_bytes(), Readers::Everyone)?;
        // The key comes last: with it the authority exists.
        files::write(&path, key.serialize_pem().as_bytes(), Readers::Owner)?;
        drop(_lock);
        Self::open(dir)
    }

    /// Whether a folder holds one.
    pub fn exists(dir: &Path) -> bool {
        dir.join(KEY_FILE).exists()
    }

    /// Opens the authority in a folder.
    ///
    /// # Errors
    /// Its files are missing or damaged.
    pub fn open(dir: &Path) -> Result<Self, AuthorityError> {
        let (key_path, ca_path) = (dir.join(KEY_FILE), dir.join(CERTIFICATE_FILE));
        let damaged = |path: &Path, why: &dyn std::fmt::Display| AuthorityError::Damaged {
            path: path.into(),
            why: why.to_string(),
        };
        let key = KeyPair::from_pem(&files::read(&key_path)?).map_err(|e| damaged(&key_path, &e))?;
        let ca_pem = files::read(&ca_path)?;
        let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(|e| damaged(&ca_path, &e))?;
        let cluster = cluster_of(&ca).map_err(|e| damaged(&ca_path, &e))?;
        let issuer = Issuer::from_ca_cert_der(&ca, key).map_err(|e| damaged(&ca_path, &e))?;
        read_records(dir)?;
        Ok(Self { dir: dir.into(), issuer, ca, ca_pem, cluster })
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Makes a node a member without an invitation: the one that holds the authority.
    ///
    /// # Errors
    /// The name is none or another node's, or the records cannot be written.
    pub fn issue_node(&self, key: &NodeKey, name: &str) -> Result<Credentials, AuthorityError> {
        self.issue(Role::Node, key, name, CERTIFICATE_LIFE)
    }

    /// Makes an operator, for some time. Whoever lost the key gets another under the same name; what was issued before
    /// cannot be taken back, and ends by itself.
    ///
    /// # Errors
    /// The name is none, the key is another's, or the records cannot be written.
    pub fn issue_operator(
        &self,
        key: &NodeKey,
        name: &str,
        valid_for: Duration,
    ) -> Result<Credentials, AuthorityError> {
        self.issue(Role::Operator, key, name, valid_for.min(CERTIFICATE_LIFE))
    }

    fn issue(&self, role: Role, key: &NodeKey, name: &str, life: Duration) -> Result<Credentials, AuthorityError> {
        check_name(name)?;
        let certificate = self.sign(role, name, &key.pair, life)?;
        self.change(|records| Ok(records.enter(role, name, key.pair.public_key_raw())?))?;
        Ok(Credentials::from_pem(&self.ca_pem, &certificate)?)
    }

    /// Invites one node. The node that answers at `address` holds this authority.
    ///
    /// # Errors
    /// The records cannot be written, or too many invitations are open.
    pub fn invite(&self, node: NodeId, address: &str, valid_for: Duration) -> Result<Invitation, AuthorityError> {
        if address.is_empty() || address.len() > ADDRESS_BYTES_MAX {
            return Err(AuthorityError::Address { address: address.chars().take(ADDRESS_BYTES_MAX).collect() });
        }
        let mut secret = [0; 16];
        getrandom::fill(&mut secret).map_err(|e| AuthorityError::Crypto(e.to_string()))?;
        let now = seconds(SystemTime::now());
        let until = now.saturating_add(valid_for.as_secs()).min(now + CERTIFICATE_LIFE.as_secs());
        self.change(|records| {
            records.forget(now);
            if records.invitations.len() >= INVITATIONS_MAX {
                return Err(AuthorityError::TooMany);
            }
            records.invitations.insert(hash_of(&secret), Invited { until, used_by: None });
            Ok(())
        })?;
        let ca_hash = *blake3::hash(&self.ca).as_bytes();
        Ok(Invitation {
            secret,
            ca_hash,
            node,
            until: UNIX_EPOCH + Duration::from_secs(until),
            address: address.into(),
        })
    }

    /// Decides about a request to join; `members` is what the new node is told.
    ///
    /// A node that asks again with the invitation that it has used gets its certificate again.
    ///
    /// # Errors
    /// The records cannot be read or written. The one who asked is answered [`JoinRefusal::Failed`] then.
    pub fn admit(&self, request: &JoinRequest, members: Vec<Member>) -> Result<JoinAnswer, AuthorityError> {
        match self.try_admit(request) {
            Ok(certificate) => Ok(JoinAnswer::Admitted { ca: self.ca_pem.clone(), certificate, members }),
            Err(AuthorityError::Taken(refusal)) => Ok(JoinAnswer::Refused(refusal)),
            Err(error) => Err(error),
        }
    }

    fn try_admit(&self, request: &JoinRequest) -> Result<String, AuthorityError> {
        let secret = HEXLOWER.decode(request.secret.as_bytes()).map_err(|_| JoinRefusal::Unknown)?;
        let hash = hash_of(&secret);
        self.change(|records| {
            // Who has no invitation learns nothing else.
            let now = seconds(SystemTime::now());
            let invited = records.invitations.get_mut(&hash).ok_or(JoinRefusal::Unknown)?;
            let name = request.name.as_str();
            let cut = || name.chars().take(NAME_BYTES_MAX).collect();
            check_name(name).map_err(|_| JoinRefusal::Name { name: cut() })?;
            let signed = CertificateSigningRequestParams::from_pem(&request.request).map_err(|_| JoinRefusal::Key)?;
            let key = signed.public_key;
            if *key.algorithm() != PKCS_ED25519 {
                return Err(JoinRefusal::Key.into());
            }
            let raw = key.der_bytes();
            match &invited.used_by {
                Some(by) if *by != HEXLOWER.encode(raw) => return Err(JoinRefusal::Used.into()),
                Some(_) => {}
                None if invited.until <= now => return Err(JoinRefusal::Expired.into()),
                None => invited.used_by = Some(HEXLOWER.encode(raw)),
            }
            records.enter(Role::Node, name, raw)?;
            self.sign(Role::Node, name, &key, CERTIFICATE_LIFE)
        })
    }

    fn sign(&self, role: Role, name: &str, key: &impl PublicKeyData, life: Duration) -> Result<String, AuthorityError> {
        let mut params = CertificateParams::new([])?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationalUnitName, role.to_string());
        let uri = Subject::uri(role, name).try_into()?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match role {
            Role::Node => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            Role::Operator => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = validity(life);
        Ok(params.signed_by(key, &self.issuer)?.pem())
    }

    /// Changes the records, or leaves them as they are if that fails.
    fn change<T>(&self, change: impl FnOnce(&mut Records) -> Result<T, AuthorityError>) -> Result<T, AuthorityError> {
        let _lock = lock(&self.dir)?;
        let mut records = read_records(&self.dir)?;
        let done = change(&mut records)?;
        write_records(&self.dir, &records)?;
        Ok(done)
    }
}

impl Records {
    /// Notes that a key has a name, which may be so already.
    fn enter(&mut self, role: Role, name: &str, key: &[u8]) -> Result<(), JoinRefusal> {
        let digits = HEXLOWER.encode(key);
        if role == Role::Operator {
            self.issued.retain(|issued| issued.role != role || issued.name != name || issued.key == digits);
        }
        for issued in &self.issued {
            let same_key = issued.key == digits;
            let same_name = issued.role == role && issued.name == name;
            if same_key && same_name {
                return Ok(());
            }
            if same_name {
                return Err(JoinRefusal::NameTaken { name: name.into() });
            }
            let known = HEXLOWER.decode(issued.key.as_bytes()).unwrap_or_default();
            if same_key || identity_of(&known) == identity_of(key) {
                return Err(JoinRefusal::IdentityTaken);
            }
        }
        self.issued.push(Issued { role, name: name.into(), key: digits, at: seconds(SystemTime::now()) });
        Ok(())
    }

    fn forget(&mut self, now: u64) {
        self.invitations.retain(|_, invited| invited.until.saturating_add(INVITATION_MEMORY.as_secs()) > now);
    }
}

fn hash_of(secret: &[u8]) -> String {
    blake3::hash(secret).to_hex().to_string()
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn validity(life: Duration) -> (OffsetDateTime, OffsetDateTime) {
    let now = SystemTime::now();
    ((now - CLOCK_SKEW).into(), (now + life).into())
}

fn lock(dir: &Path) -> Result<File, FileError> {
    let path = dir.join(LOCK_FILE);
    let lock = || {
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        file.lock()?;
        Ok(file)
    };
    lock().map_err(|source| FileError { path: path.clone(), source })
}

fn read_records(dir: &Path) -> Result<Records, AuthorityError> {
    let path = dir.join(RECORDS_FILE);
    let text = files::read(&path)?;
    serde_json::from_str(&text).map_err(|e| AuthorityError::Damaged { path, why: e.to_string() })
}

fn write_records(dir: &Path, records: &Records) -> Result<(), AuthorityError> {
    let bytes = serde_json::to_vec_pretty(records).map_err(|e| AuthorityError::Crypto(e.to_string()))?;
    Ok(files::write(&dir.join(RECORDS_FILE), &bytes, Readers::Owner)?)
}
