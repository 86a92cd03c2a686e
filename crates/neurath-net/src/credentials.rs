//! What makes a node, or an operator, a member of a cluster: the authority's certificate and its own.
//!
//! It refuses to know the private key, which never leaves the node. Invariant: both certificates can be read, and the
//! own one has a role and a name; whether the one issued the other is checked by whoever connects.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use neurath_proto::NodeId;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::certificate::{NodeKey, Role, Subject, SubjectError, cluster_of, valid_until};
use crate::files::{self, FileError, Readers};

const CA_FILE: &str = "ca.pem";
const OWN_FILE: &str = "node.pem";

/// See the module.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub(crate) ca: CertificateDer<'static>,
    pub(crate) own: CertificateDer<'static>,
    ca_pem: String,
    own_pem: String,
    cluster: String,
    subject: Subject,
    valid_until: SystemTime,
}

impl Credentials {
    /// Reads them from texts in PEM.
    ///
    /// # Errors
    /// One of them is no certificate of a cluster.
    pub fn from_pem(ca_pem: &str, own_pem: &str) -> Result<Self, CredentialsError> {
        Self::parse(ca_pem, own_pem, Path::new("the authority's certificate"), Path::new("the certificate"))
    }

    /// Reads `ca.pem` and `node.pem` in a folder.
    ///
    /// # Errors
    /// The files are missing, cannot be read or are damaged.
    pub fn load(dir: &Path) -> Result<Self, CredentialsError> {
        let (ca, own) = (dir.join(CA_FILE), dir.join(OWN_FILE));
        let read = |path: &PathBuf| {
            files::read(path).map_err(|e| match e.source.kind() {
                io::ErrorKind::NotFound => CredentialsError::Missing { path: path.clone() },
                _ => CredentialsError::File(e),
            })
        };
        Self::parse(&read(&ca)?, &read(&own)?, &ca, &own)
    }

    /// Whether a folder has any.
    pub fn exist(dir: &Path) -> bool {
        dir.join(OWN_FILE).exists()
    }

    fn parse(ca_pem: &str, own_pem: &str, ca_path: &Path, own_path: &Path) -> Result<Self, CredentialsError> {
        let ca = certificate(ca_pem, ca_path)?;
        let own = certificate(own_pem, own_path)?;
        let damaged = |path: &Path, why: SubjectError| CredentialsError::Damaged { path: path.into(), why };
        let cluster = cluster_of(&ca).map_err(|why| damaged(ca_path, why))?;
        let subject = Subject::of(&own).map_err(|why| damaged(own_path, why))?;
        let valid_until = valid_until(&own).map_err(|why| damaged(own_path, why))?;
        Ok(Self { ca, own, ca_pem: ca_pem.into(), own_pem: own_pem.into(), cluster, subject, valid_until })
    }

    /// Writes them into a folder, which is made if there is none.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), CredentialsError> {
        std::fs::create_dir_all(dir).map_err(|source| FileError { path: dir.into(), source })?;
        files::write(&dir.join(CA_FILE), self.ca_pem.as_bytes(), Readers::Everyone)?;
        files::write(&dir.join(OWN_FILE), self.own_pem.as_bytes(), Readers::Everyone)?;
        Ok(())
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The member's name.
    pub fn name(&self) -> &str {
        &self.subject.name
    }

    /// What the member may be.
    pub fn role(&self) -> Role {
        self.subject.role
    }

    /// The identity that the certificate is for.
    pub fn node_id(&self) -> NodeId {
        self.subject.identity
    }

    /// When the member's certificate expires.
    pub fn valid_until(&self) -> SystemTime {
        self.valid_until
    }

    pub(crate) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    pub(crate) fn own_pem(&self) -> &str {
        &self.own_pem
    }

    /// That the certificate is for this key.
    pub(crate) fn check_key(&self, key: &NodeKey) -> Result<(), CredentialsError> {
        if self.subject.identity == key.node_id() {
            return Ok(());
        }
        Err(CredentialsError::Key { name: self.name().into(), certified: self.node_id(), found: key.node_id() })
    }
}

fn certificate(pem: &str, path: &Path) -> Result<CertificateDer<'static>, CredentialsError> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| CredentialsError::Damaged { path: path.into(), why: SubjectError::Unreadable })
}

/// Why a member's credentials are of no use.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// There are none.
    #[error("{} is missing: this node is in no cluster; join one with an invitation (`neurath cluster invite`)", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{0}; the node's data directory must be readable and writable by its owner")]
    File(#[from] FileError),
    /// A file is not what was written.
    #[error("{}: {why}; restore it from a backup, or join again with a new invitation", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: SubjectError,
    },
    /// They are another node's.
    #[error(
        "the certificate of `{name}` is for node {certified}, but this node's key makes it {found}; \
         put back the `identity.key` that it joined with, or join again with a new invitation"
    )]
    Key {
        /// The name in the certificate.
        name: String,
        /// Whose certificate it is.
        certified: NodeId,
        /// Whose key it is.
        found: NodeId,
    },
    /// The certificate is of another role.
    #[error("the certificate of `{name}` is that of a {found}; a {wanted}'s is needed here")]
    Role {
        /// The name in the certificate.
        name: String,
        /// What it is.
        found: Role,
        /// What it must be.
        wanted: String,
    },
    /// The cryptography refuses them.
    #[error("the certificate of `{name}` cannot be used: {why}; join again with a new invitation")]
    Unusable {
        /// The name in the certificate.
        name: String,
        /// What it says.
        why: String,
    },
}
