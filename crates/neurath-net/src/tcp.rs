//! The transport over TCP, with TLS or, on this machine only, without.
//!
//! It refuses to know how connections are established. Invariant: plain connections never lead to another machine.

use crate::endpoint::Driver;
use crate::network::Network;
use crate::{Endpoint, Limits, ListenError, Security, Tls};

/// An address that is this endpoint's, before it is known how it is secured: whoever connects waits.
pub struct Bound {
    network: Network,
    address: String,
}

/// Takes an address like `0.0.0.0:7700` (port 0: any); nobody is served yet.
///
/// A name in the address is resolved here, which may take its time.
///
/// # Errors
/// The address is none or not free.
pub fn bind(address: &str) -> Result<Bound, ListenError> {
    Ok(Bound { network: Network::tcp(Some(address), false)?, address: address.into() })
}

impl Bound {
    /// The endpoint, with TLS.
    ///
    /// # Errors
    /// The system refuses to watch it.
    pub fn serve(self, tls: Tls, limits: Limits) -> Result<impl Endpoint + 'static, ListenError> {
        let Self { network, address } = self;
        Driver::new(network, Security::Tls(tls), limits).map_err(|source| ListenError::Io { address, source })
    }
}

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
