//! The transport over TCP, with TLS or, on this machine only, without.
//!
//! It refuses to know how connections are established. Invariant: plain connections never lead to another machine.

use crate::endpoint::Driver;
use crate::network::Network;
use crate::{Endpoint, Limits, ListenError, Security};

/// An endpoint that listens at an address like `0.0.0.0:7700` (port 0: any), or only dials if there is none.
///
/// A name in the address is resolved here, which may take its time.
///
/// # Errors
/// The address is none or not free, or can be reached from other machines while nothing secures it.
pub fn listen(
    address: Option<&str>,
    security: Security,
    limits: Limits,
) -> Result<impl Endpoint + 'static, ListenError> {
    let network = Network::tcp(address, matches!(security, Security::PlainLoopback(_)))?;
    Driver::new(network, security, limits)
        .map_err(|source| ListenError::Io { address: address.unwrap_or("nowhere").into(), source })
}
