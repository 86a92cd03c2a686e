//! Where sockets come from: TCP, or socket pairs within the process. Everything above is the same for both.
//!
//! It refuses to know who is at the other end. Invariant: with `loopback_only`, no socket leads to another machine.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use mio::Interest;
use mio::net::{TcpListener, TcpStream};
use mio::{Registry, Token};
use socket2::SockRef;

use crate::memory::{Hub, Listening};
use crate::stream::Socket;
use crate::{DialError, ListenError};

/// Connections that the system keeps until they are accepted, if it allows as many. With fewer, a crowd of strangers
/// would make members wait a second until they knock again.
const BACKLOG_MAX: i32 = 4096;

/// See the module.
pub(crate) enum Network {
    Tcp { listener: Option<TcpListener>, loopback_only: bool },
    Memory { hub: Hub, listening: Option<Listening> },
}

/// One address that a dial tries.
pub(crate) enum Target {
    Tcp(SocketAddr),
    Memory(String),
}

/// What an address leads to.
pub(crate) enum Targets {
    Known(VecDeque<Target>),
    /// Its name must be resolved, which may take long.
    Name(String),
}

impl Network {
    pub(crate) fn tcp(address: Option<&str>, loopback_only: bool) -> Result<Self, ListenError> {
        let listener = address.map(|address| bind(address, loopback_only)).transpose()?;
        Ok(Network::Tcp { listener, loopback_only })
    }

    pub(crate) fn address(&self) -> Option<String> {
        match self {
            Network::Tcp { listener, .. } => Some(listener.as_ref()?.local_addr().ok()?.to_string()),
            Network::Memory { listening, .. } => Some(listening.as_ref()?.name().to_owned()),
        }
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Network::Tcp { listener: Some(listener), .. } => registry.register(listener, token, Interest::READABLE),
            Network::Tcp { listener: None, .. } | Network::Memory { .. } => Ok(()),
        }
    }

    /// The next connection that waits, and where it comes from.
    pub(crate) fn accept(&mut self) -> io::Result<(Socket, String)> {
        match self {
            Network::Tcp { listener: Some(listener), .. } => {
                let (socket, from) = listener.accept()?;
                // Without it a connection works too, only slower.
                let _ = socket.set_nodelay(true);
                Ok((Socket::Tcp(socket), from.to_string()))
            }
            Network::Memory { listening: Some(listening), .. } => {
                listening.accept().map(|socket| (Socket::Unix(socket), "memory".into()))
            }
            _ => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub(crate) fn targets(&self, address: &str) -> Result<Targets, DialError> {
        match self {
            Network::Memory { .. } => Ok(Targets::Known([Target::Memory(address.into())].into())),
            Network::Tcp { .. } => match address.parse() {
                Ok(known) => self.allowed(address, vec![known]).map(Targets::Known),
                Err(_) => match split(address) {
                    Ok(()) => Ok(Targets::Name(address.into())),
                    Err(why) => Err(DialError::Address { address: address.into(), why }),
                },
            },
        }
    }

    /// The addresses of a name that may be tried.
    pub(crate) fn allowed(&self, address: &str, found: Vec<SocketAddr>) -> Result<VecDeque<Target>, DialError> {
        let loopback_only = matches!(self, Network::Tcp { loopback_only: true, .. });
        if loopback_only && !found.iter().all(|found| found.ip().is_loopback()) {
            return Err(DialError::NotLoopback { address: address.into() });
        }
        Ok(found.into_iter().map(Target::Tcp).collect())
    }

    pub(crate) fn connect(&self, target: &Target) -> io::Result<Socket> {
        match (target, self) {
            (Target::Tcp(address), _) => TcpStream::connect(*address).map(Socket::Tcp),
            (Target::Memory(name), Network::Memory { hub, .. }) => hub.connect(name).map(Socket::Unix),
            (Target::Memory(_), Network::Tcp { .. }) => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }

    /// Ends listening.
    pub(crate) fn close(&mut self) {
        match self {
            Network::Tcp { listener, .. } => *listener = None,
            Network::Memory { listening, .. } => *listening = None,
        }
    }
}

/// Whether others can dial this address, `HOST:PORT`, as far as it shows; if not, why.
///
/// # Errors
/// It is no address of one node.
pub fn check_address(address: &str) -> Result<(), String> {
    if let Ok(known) = address.parse::<SocketAddr>() {
        return match (known.ip().is_unspecified(), known.port()) {
            (true, _) => Err("it stands for all addresses of a machine".into()),
            (false, 0) => Err("port 0 stands for any".into()),
            (false, _) => Ok(()),
        };
    }
    match split(address) {
        Ok(()) if address.ends_with(":0") => Err("port 0 stands for any".into()),
        split => split,
    }
}

/// Whether it looks like `HOST:PORT`.
fn split(address: &str) -> Result<(), String> {
    let (host, port) = address.rsplit_once(':').ok_or("it has no port")?;
    port.parse::<u16>().map_err(|_| format!("its port `{port}` is no number below 65536"))?;
    if host.is_empty() || host.len() > 253 || host.contains(|c: char| c.is_whitespace() || c == '/' || c == ':') {
        return Err(format!("`{}` is no host", host.chars().take(253).collect::<String>()));
    }
    Ok(())
}

fn bind(address: &str, loopback_only: bool) -> Result<TcpListener, ListenError> {
    let found: Vec<SocketAddr> = match address.parse() {
        Ok(known) => vec![known],
        Err(_) => {
            split(address).map_err(|why| ListenError::Address { address: address.into(), why })?;
            let found = address
                .to_socket_addrs()
                .map_err(|e| ListenError::Address { address: address.into(), why: e.to_string() })?;
            found.collect()
        }
    };
    if loopback_only && !found.iter().all(|found| found.ip().is_loopback()) {
        return Err(ListenError::NotLoopback { address: address.into() });
    }
    let mut error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in found {
        let bound = TcpListener::bind(address).and_then(|listener| {
            SockRef::from(&listener).listen(BACKLOG_MAX)?;
            Ok(listener)
        });
        match bound {
            Ok(listener) => return Ok(listener),
            Err(e) => error = e,
        }
    }
    Err(ListenError::Io { address: address.into(), source: error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_refused_before_a_name_server_is_asked() {
        for good in ["localhost:1", "a.b-c.example:65535"] {
            assert_eq!(split(good), Ok(()), "{good}");
        }
        for bad in ["", "localhost", "localhost:", "localhost:65536", ":80", "a b:80", "http://a:80", "::1:80"] {
            assert!(split(bad).is_err(), "{bad}");
            assert!(check_address(bad).is_err(), "{bad}");
        }
        for one in ["localhost:1", "10.0.0.1:7700", "[::1]:7700"] {
            assert_eq!(check_address(one), Ok(()), "{one}");
        }
        for all in ["0.0.0.0:7700", "[::]:7700", "10.0.0.1:0", "localhost:0"] {
            assert!(check_address(all).unwrap_err().contains("stands for"), "{all}");
        }
    }
}
