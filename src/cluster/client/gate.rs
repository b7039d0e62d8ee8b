//! The gate of a connection: no byte of a request is handed to the kernel after the right to send the request has ended.
//!
//! A process may be stopped between any two instructions (SIGSTOP, a paused virtual machine, a CPU that is taken away) and
//! goes on where it was, however late that is. So a check before an HTTP client is called says nothing about when the request
//! leaves: the client may wait for a token, a connection, a handshake or room in a socket's buffer first. The check belongs
//! where bytes leave: below HTTP and below TLS, both of which keep bytes in buffers of their own, at each write to the socket.
//! A request that has left in part is cut off by a reset of its connection: the API server never gets a whole body, and a
//! body that is shorter than its `Content-Length` is refused there.
//!
//! What remains, and is for the preconditions of the writes and for `status.epoch`:
//!
//! - the instructions between the check and the system call, where a process can still be stopped;
//! - bytes that the kernel took in time. It sends them, and sends them again, by itself, until the connection is reset;
//! - bytes that are on their way, and whatever the API server waits for before it does what it was asked to.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use tokio::net::TcpStream;

/// The right to send a request, as an extension of the request. It may end at any time, and never comes back.
#[derive(Clone)]
pub struct Permit(Arc<dyn Fn() -> bool + Send + Sync>);

impl Permit {
    /// A permit that lasts as long as `holds` says. It is asked at each write to a socket: it must not block.
    pub fn new(holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(holds))
    }

    /// Whether bytes may leave now.
    #[must_use]
    pub fn holds(&self) -> bool {
        (self.0)()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.holds()).finish()
    }
}

/// The right to send a request ended before the whole of it had been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// Nothing of the request was sent.
    #[error("the right to write ended before the request was sent")]
    Unsent,
    /// A part of the request was sent, or nobody knows. Its connection was reset.
    #[error("the right to write ended while the request was being sent, and its connection was reset")]
    CutOff,
}

/// The gate of one connection, which carries one request at a time (HTTP/1, without pipelining).
#[derive(Clone, Default)]
pub(super) struct Gate(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Of the request that the connection carries, or carried last: what is left of a request in a buffer must not leave
    /// later either. None before the first request, while TLS shakes hands.
    permit: Option<Permit>,
    /// Bytes have left since that request was given to the connection.
    begun: bool,
    /// That request has no complete answer yet.
    waiting: bool,
    /// A write was refused.
    ended: Option<Ended>,
}

impl Gate {
    /// The connection is about to carry a request. It must be idle: what is in its buffers would leave by this permit.
    pub(super) fn open(&self, permit: Permit) {
        *self.lock() = State {
            permit: Some(permit),
            begun: false,
            waiting: true,
            ended: None,
        };
    }

    /// The answer to the request is complete.
    pub(super) fn answered(&self) {
        self.lock().waiting = false;
    }

    /// How the right to send the request ended, if that is why it was not sent.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.lock().ended
    }

    /// Writes, if the request still may be sent.
    fn pass(&self, write: impl FnOnce() -> Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        if state.permit.as_ref().is_some_and(|permit| !permit.holds()) {
            let ended = if state.begun { Ended::CutOff } else { Ended::Unsent };
            state.ended = Some(ended);
            return Poll::Ready(Err(io::Error::other(ended)));
        }
        // Nothing comes between the check and the system call, so that the window is as small as it can be.
        let written = write();
        state.begun |= matches!(written, Poll::Ready(Ok(1..)));
        written
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A TCP connection behind its gate. It says in [`Connection::connected`] which gate that is.
pub(super) struct Gated {
    io: TokioIo<TcpStream>,
    gate: Gate,
}

impl Gated {
    pub(super) fn new(io: TokioIo<TcpStream>) -> Self {
        Self {
            io,
            gate: Gate::default(),
        }
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        if self.gate.lock().waiting {
            // A reset makes the kernel forget what it has not sent yet. Otherwise it would go on for minutes to send what the
            // other side did not acknowledge: a request whose caller gave up would arrive when the network is back.
            let _without_it_the_kernel_goes_on = self.io.inner().set_zero_linger();
        }
    }
}

impl Connection for Gated {
    fn connected(&self) -> Connected {
        self.io.connected().extra(self.gate.clone())
    }
}

impl Read for Gated {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Gated {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.gate.pass(|| Pin::new(&mut this.io).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.gate.pass(|| Pin::new(&mut this.io).poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    // A TCP socket has no buffer on this side of the kernel, so these send no byte of a request.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
