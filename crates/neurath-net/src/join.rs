//! How a node without credentials gets them.
//!
//! It refuses to know who may join: the authority decides. Invariants: the secret is sent only to the node that the
//! invitation names, after it has proved to be that; the private key never leaves its node.
//!
//! # Format
//!
//! On a connection with the protocol `neurath-join/1`, the one who joins sends a [`WireRequest`] and gets a
//! [`JoinAnswer`], each as JSON after its length in four little-endian bytes. The one who has asked closes first.

use std::fmt;
use std::io::{self, Read, Write};
use std::time::{Duration, SystemTime};

use neurath_proto::NodeId;
use rcgen::{CertificateParams, DistinguishedName, DnType};
use serde::{Deserialize, Serialize};

use crate::certificate::{NameError, NodeKey, check_name};
use crate::control::{ConnectError, connect};
use crate::credentials::{Credentials, CredentialsError};
use crate::invitation::Invitation;
use crate::tls;

/// The length before a body.
pub(crate) const LENGTH_BYTES: usize = 4;
/// A request to join has at most this many bytes.
pub(crate) const REQUEST_BYTES_MAX: usize = 8 << 10;
/// An answer has at most this many bytes, which is room for ten thousand members.
pub(crate) const ANSWER_BYTES_MAX: usize = 4 << 20;

/// What a node that joins sends.
#[derive(Serialize, Deserialize)]
pub(crate) struct WireRequest {
    /// The invitation's secret, in hexadecimal digits.
    pub(crate) secret: String,
    /// A certificate signing request in PEM: the public key, signed with the private one.
    pub(crate) request: String,
    /// The wanted name.
    pub(crate) name: String,
    /// Where the node will be reached.
    pub(crate) address: Option<String>,
}

/// Names a request to join at its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JoinId(pub(crate) u64);

/// Somebody wants to become a node. Nothing in it is proved before [`crate::Authority::admit`] has said so.
pub struct JoinRequest {
    /// What the answer is given to.
    pub id: JoinId,
    /// Where the connection comes from.
    pub from: String,
    /// The wanted name.
    pub name: String,
    /// Where the node says that it will be reached.
    pub address: Option<String>,
    pub(crate) secret: String,
    pub(crate) request: String,
}

impl JoinRequest {
    pub(crate) fn new(id: JoinId, from: String, wire: WireRequest) -> Self {
        let WireRequest { secret, request, name, address } = wire;
        Self { id, from, name, address, secret, request }
    }
}

/// A node of the cluster, as others are told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The node.
    #[serde(with = "node_digits")]
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Where it is reached.
    pub address: String,
}

mod node_digits {
    use super::NodeId;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(node: &NodeId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(node)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<NodeId, D::Error> {
        let text = String::deserialize(from)?;
        u64::from_str_radix(&text, 16).map(NodeId).map_err(D::Error::custom)
    }
}

/// What a request to join is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinAnswer {
    /// It is a member now.
    Admitted {
        /// The authority's certificate, in PEM.
        ca: String,
        /// The node's certificate, in PEM.
        certificate: String,
        /// Nodes that it may connect to.
        members: Vec<Member>,
    },
    /// It is not.
    Refused(JoinRefusal),
}

/// Why a request to join was refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum JoinRefusal {
    /// The secret is that of no invitation.
    #[error(
        "the invitation is unknown: it was revoked, or expired long ago; get a new one with `neurath cluster invite`"
    )]
    Unknown,
    /// Its time is over.
    #[error("the invitation has expired; get a new one with `neurath cluster invite`")]
    Expired,
    /// Another node has used it.
    #[error("the invitation was used by another node; each node needs its own: `neurath cluster invite`")]
    Used,
    /// Another node has the name.
    #[error("the name `{name}` belongs to another node; choose another name")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Another key has the same identity.
    #[error("the identity of this node's key is taken; remove the node's data directory, and it will be a new node")]
    IdentityTaken,
    /// The name is none.
    #[error("`{name}` is no name of a node")]
    Name {
        /// The name, cut.
        name: String,
    },
    /// The key is not what it should be, or not the node's own.
    #[error("the request's key is not proved; the joining node's release may be another one than the cluster's")]
    Key,
    /// Too many want to join.
    #[error("too many nodes join at once; try again in a moment")]
    Busy,
    /// The node that was asked does not hold the authority.
    #[error("the node that was asked does not admit nodes; use an invitation that the authority's node has made")]
    NoAuthority,
    /// The authority cannot do its work.
    #[error("the authority could not admit the node; its node's log says why")]
    Failed,
}

pub(crate) fn encode<T: Serialize>(body: &T) -> Vec<u8> {
    // Writing to memory fails only if a map's keys are no strings, and there are no maps.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
    bytes.extend(body);
    bytes
}

/// The length that `input` begins with, if it is allowed.
pub(crate) fn length(input: &[u8], max: usize) -> Option<usize> {
    let length = u32::from_le_bytes(input.get(..LENGTH_BYTES)?.try_into().ok()?) as usize;
    (length <= max).then_some(length)
}

pub(crate) fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(body)
}

/// A new member.
#[derive(Debug)]
pub struct Joined {
    /// What it proves its membership with; to be saved.
    pub credentials: Credentials,
    /// Nodes that it may connect to.
    pub members: Vec<Member>,
}

/// Why a node did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The invitation's time is over by this node's clock.
    #[error("the invitation has expired; get a new one with `neurath cluster invite` (or set this machine's clock)")]
    Expired,
    /// The name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is no connection to whoever invites.
    #[error(transparent)]
    Connect(ConnectError),
    /// The authority has refused.
    #[error("not admitted: {0}")]
    NotAdmitted(#[from] JoinRefusal),
    /// The connection broke. Asking again with the same invitation and key is safe.
    #[error("the connection to `{address}` broke: {source}; try again with the same invitation")]
    Broken {
        /// The address.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The answer is not understood.
    #[error("the answer of `{address}` is not understood; its release may be another one than this node's")]
    Answer {
        /// The address.
        address: String,
    },
    /// The credentials that this program has, or was given, are of no use.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The cryptography fails here.
    #[error("a request cannot be made: {0}; this is a fault of Neurath")]
    Local(String),
}

impl From<ConnectError> for JoinError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Broken { address, source } => JoinError::Broken { address, source },
            other => JoinError::Connect(other),
        }
    }
}

/// Joins a cluster. It blocks, at most for the time that is given.
///
/// A node whose join was cut off may ask again with the same invitation: the same key gets the same name.
///
/// # Errors
/// The node is no member then. See [`JoinError`].
pub fn join(
    invitation: &Invitation,
    key: &NodeKey,
    name: &str,
    address: Option<&str>,
    at_most: Duration,
) -> Result<Joined, JoinError> {
    check_name(name)?;
    if invitation.until <= SystemTime::now() {
        return Err(JoinError::Expired);
    }
    let local = |e: &dyn fmt::Display| JoinError::Local(e.to_string());
    let request = WireRequest {
        secret: data_encoding::HEXLOWER.encode(&invitation.secret),
        request: signing_request(key, name).map_err(|e| local(&e))?,
        name: name.into(),
        address: address.map(Into::into),
    };
    let to = invitation.address.as_str();
    let config = tls::invited(invitation.ca_hash, invitation.node).map_err(|e| local(&e))?;
    let mut stream = connect(config, to, at_most)?;
    let broken = |source| JoinError::Broken { address: to.into(), source };
    stream.write_all(&encode(&request)).map_err(broken)?;
    stream.flush().map_err(broken)?;
    let body = read_answer(&mut stream).map_err(broken)?;
    let answer = body.as_deref().and_then(|body| decode(body).ok());
    match answer.ok_or_else(|| JoinError::Answer { address: to.into() })? {
        JoinAnswer::Refused(refusal) => Err(refusal.into()),
        JoinAnswer::Admitted { ca, certificate, members } => {
            let credentials = Credentials::from_pem(&ca, &certificate)?;
            credentials.check_key(key)?;
            match blake3::hash(&credentials.ca) == invitation.ca_hash {
                true => Ok(Joined { credentials, members }),
                false => Err(JoinError::Answer { address: to.into() }),
            }
        }
    }
}

fn signing_request(key: &NodeKey, name: &str) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::new([])?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serialize_request(&key.pair)?.pem()
}

fn read_answer(stream: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut prefix = [0; LENGTH_BYTES];
    stream.read_exact(&mut prefix)?;
    let Some(length) = length(&prefix, ANSWER_BYTES_MAX) else { return Ok(None) };
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some(body))
}
