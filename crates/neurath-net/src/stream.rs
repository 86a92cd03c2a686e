//! An established connection: a socket, with or without TLS on it.
//!
//! It refuses to know how it came about. Invariant: bytes that `write` has accepted are in the socket when `flush`
//! says so, and bytes that were read are never lost to a short buffer.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use neurath_proto::NodeId;
use socket2::{SockRef, TcpKeepalive};

use crate::Connection;

/// A TLS stream takes at most about this many bytes before they must go into the socket.
const UNSENT_BYTES_MAX: usize = 256 << 10;
/// A control connection that was silent for so long is probed by the system.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(60);

/// What the operating system gives.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Whether a connection that was asked for exists now.
    pub(crate) fn connected(&self) -> io::Result<()> {
        let Socket::Tcp(socket) = self else { return Ok(()) };
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        match socket.peer_addr() {
            Ok(_) => socket.set_nodelay(true),
            Err(e) if e.kind() == ErrorKind::NotConnected => Err(ErrorKind::WouldBlock.into()),
            Err(e) => Err(e),
        }
    }

    /// Has the system find out when the peer is gone without a word.
    pub(crate) fn keep_alive(&self) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => {
                SockRef::from(socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE_AFTER))
            }
            Socket::Unix(_) => Ok(()),
        }
    }

    fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => socket.shutdown(Shutdown::Write),
            Socket::Unix(socket) => socket.shutdown(Shutdown::Write),
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Socket::Tcp(socket) => socket,
            Socket::Unix(socket) => socket,
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.read(buffer),
            Socket::Unix(socket) => socket.read(buffer),
        }
    }
}

/// Reads from a socket and notes whether there was less than was asked for: then it is empty.
struct Noting<'a> {
    socket: &'a mut Socket,
    emptied: bool,
}

impl Read for Noting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.socket.read(buffer)?;
        self.emptied = read < buffer.len();
        Ok(read)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.write(bytes),
            Socket::Unix(socket) => socket.write(bytes),
        }
    }

    fn write_vectored(&mut self, bytes: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.write_vectored(bytes),
            Socket::Unix(socket) => socket.write_vectored(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.source().register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.source().reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source().deregister(registry)
    }
}

/// See the module.
pub(crate) struct Stream {
    pub(crate) socket: Socket,
    pub(crate) tls: Option<Box<rustls::Connection>>,
    /// Whoever is at the other end; nobody until the handshake is over.
    pub(crate) peer: NodeId,
    /// After `finish` nothing more is accepted.
    finished: bool,
    /// The last read took all that there was.
    emptied: bool,
}

impl Stream {
    pub(crate) fn plain(socket: Socket) -> Self {
        Self { socket, tls: None, peer: NodeId::default(), finished: false, emptied: false }
    }

    pub(crate) fn secured(socket: Socket, mut tls: rustls::Connection) -> Self {
        tls.set_buffer_limit(Some(UNSENT_BYTES_MAX));
        Self { socket, tls: Some(Box::new(tls)), peer: NodeId::default(), finished: false, emptied: false }
    }

    /// Goes on with the handshake of TLS until it is over.
    pub(crate) fn shake_hands(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.is_handshaking() {
            tls.complete_io(&mut self.socket)?;
        }
        send(tls, &mut self.socket)
    }
}

/// Puts what TLS has ready into the socket, all of it.
fn send(tls: &mut rustls::Connection, socket: &mut Socket) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(socket) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn is_would_block<T>(result: &io::Result<T>) -> bool {
    matches!(result, Err(e) if e.kind() == ErrorKind::WouldBlock)
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.emptied = false;
        let Some(tls) = &mut self.tls else {
            let read = self.socket.read(buffer)?;
            self.emptied = read < buffer.len();
            return Ok(read);
        };
        let mut filled = 0;
        let mut emptied = false;
        loop {
            match tls.reader().read(&mut buffer[filled..]) {
                Ok(0) => return Ok(filled),
                Ok(n) => filled += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    if filled > 0 && emptied {
                        self.emptied = true;
                        return Ok(filled);
                    }
                    // How much TLS asks for is its own affair.
                    let mut socket = Noting { socket: &mut self.socket, emptied: false };
                    let read = tls.read_tls(&mut socket);
                    match read {
                        Ok(_) => emptied = socket.emptied,
                        Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                        // A broken socket and a broken rule are met again by the next read.
                        Err(_) if filled > 0 => return Ok(filled),
                        Err(e) => return Err(e),
                    }
                    if let Err(e) = tls.process_new_packets() {
                        // The peer is told why, if that can be done at once.
                        let _ = send(tls, &mut self.socket);
                        return if filled > 0 { Ok(filled) } else { Err(io::Error::new(ErrorKind::InvalidData, e)) };
                    }
                }
                Err(_) if filled > 0 => return Ok(filled),
                Err(e) => return Err(e),
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.finished {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let Some(tls) = &mut self.tls else { return self.socket.write(bytes) };
        // What waits from before goes first, so that there is room.
        if tls.wants_write() {
            let sent = send(tls, &mut self.socket);
            if !is_would_block(&sent) {
                sent?;
            }
        }
        let accepted = tls.writer().write(bytes)?;
        if accepted == 0 && !bytes.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let sent = send(tls, &mut self.socket);
        if is_would_block(&sent) { Ok(accepted) } else { sent.map(|()| accepted) }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => send(tls, &mut self.socket),
            None => Ok(()),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
        }
    }
}

impl Source for Stream {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.socket.register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.socket.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.deregister(registry)
    }
}

impl Connection for Stream {
    fn peer(&self) -> NodeId {
        self.peer
    }

    fn wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    fn is_emptied(&self) -> bool {
        self.emptied
    }

    fn finish(&mut self) -> io::Result<()> {
        self.finished = true;
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            send(tls, &mut self.socket)?;
        }
        self.socket.shutdown_write()
    }
}
