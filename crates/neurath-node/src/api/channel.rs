//! [`Channel`]: a connection of the transport as tokio reads and writes it.
//!
//! Invariants: a task that waits is woken when the connection goes on; what TLS has read ahead is found before anyone
//! waits for the socket; a peer that takes nothing for [`STALLED`] loses the connection.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use neurath_net::Connection;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// How long a peer may take nothing, or give nothing of what it has begun.
pub(super) const STALLED: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Channel {
    link: Box<dyn Connection>,
    /// The same socket once more, by which tokio knows when it is ready.
    socket: TcpStream,
    /// When a write that waits is given up.
    given_up: Option<Pin<Box<Sleep>>>,
}

impl Channel {
    /// Of a connection over TCP. It must be called within a tokio runtime.
    pub(super) fn new(link: Box<dyn Connection>) -> io::Result<Self> {
        let socket = TcpStream::from_std(link.as_fd().try_clone_to_owned()?.into())?;
        Ok(Self { link, socket, given_up: None })
    }

    fn step<T>(
        &mut self,
        context: &mut Context<'_>,
        interest: Interest,
        mut step: impl FnMut(&mut dyn Connection) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let mut step = || loop {
            match step(&mut *self.link) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return done,
            }
        };
        let mut done = step();
        while matches!(&done, Err(error) if error.kind() == ErrorKind::WouldBlock) {
            ready!(match interest.is_readable() {
                true => self.socket.poll_read_ready(context),
                false => self.socket.poll_write_ready(context),
            })?;
            done = self.socket.try_io(interest, &mut step);
        }
        Poll::Ready(done)
    }

    fn write_step<T>(
        &mut self,
        context: &mut Context<'_>,
        step: impl FnMut(&mut dyn Connection) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = self.step(context, Interest::WRITABLE, step) {
            self.given_up = None;
            return Poll::Ready(done);
        }
        let given_up = self.given_up.get_or_insert_with(|| Box::pin(tokio::time::sleep(STALLED)));
        ready!(given_up.as_mut().poll(context));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Channel {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let free = buffer.initialize_unfilled();
        let read = ready!(self.get_mut().step(context, Interest::READABLE, |link| link.read(free)))?;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Channel {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().write_step(context, |link| link.write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().write_step(context, |link| link.flush())
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().write_step(context, |link| match link.finish() {
            // The peer was faster.
            Err(error) if matches!(error.kind(), ErrorKind::NotConnected | ErrorKind::BrokenPipe) => Ok(()),
            done => done,
        })
    }
}
