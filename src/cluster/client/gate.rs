//! The gate of a connection: no byte of a request is passed to the kernel after the right to send the request has ended.
//!
//! A process may be paused between any two instructions (SIGSTOP, a paused virtual machine, CPU starvation) and continues where
//! it was, no matter how much later. A check before the call to an HTTP client therefore does not limit when the request is
//! sent: the client may first wait for a token, a connection, a handshake or space in a socket buffer. The check belongs below
//! HTTP and TLS, which have their own buffers, at each write to the socket. A partly sent request is aborted by a reset of its
//! connection: the API server refuses a body that is shorter than its `Content-Length`.
//!
//! The gate does not cover these cases, which the preconditions of the writes and `status.epoch` handle:
//!
//! - the instructions between the check and the system call, where a process can still be paused;
//! - bytes that the kernel accepted in time. The kernel sends and retransmits them until the connection is reset;
//! - bytes in transit, and any delay in the API server before it executes the request.

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

/// The right to send a request, as an extension of the request. It may end at any time, and never becomes valid again.
#[derive(Clone)]
pub struct Permit(Arc<dyn Fn() -> bool + Send + Sync>);

impl Permit {
    /// A permit that is valid while `holds` returns true. `holds` is called at each write to a socket and must not block.
    pub fn new(holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(holds))
    }

    /// Whether bytes may be sent now.
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

/// The right to send a request ended before the request was completely sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// Nothing of the request was sent.
    #[error("the right to write ended before the request was sent")]
    Unsent,
    /// Part of the request may have been sent. Its connection was reset.
    #[error("the right to write ended while the request was being sent, and its connection was reset")]
    CutOff,
}

/// The gate of one connection, which carries one request at a time (HTTP/1, without pipelining).
#[derive(Clone, Default)]
pub(super) struct Gate(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The permit of the current or last request on the connection; the rest of a request in a buffer must not be sent later.
    /// `None` before the first request, during the TLS handshake.
    permit: Option<Permit>,
    /// Bytes of that request have been sent.
    begun: bool,
    /// The response to that request is not complete.
    waiting: bool,
    /// Set when a write was refused.
    ended: Option<Ended>,
}

impl Gate {
    /// Sets the permit for the next request. The connection must be idle, because buffered bytes would be sent under this
    /// permit.
    pub(super) fn open(&self, permit: Permit) {
        *self.lock() = State {
            permit: Some(permit),
            begun: false,
            waiting: true,
            ended: None,
        };
    }

    /// Records that the response is complete.
    pub(super) fn answered(&self) {
        self.lock().waiting = false;
    }

    /// Whether the right ended before the request was sent or while it was being sent. `None` if the right did not end.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.lock().ended
    }

    /// Writes if the permit is valid.
    fn pass(&self, write: impl FnOnce() -> Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        if state.permit.as_ref().is_some_and(|permit| !permit.holds()) {
            let ended = if state.begun { Ended::CutOff } else { Ended::Unsent };
            state.ended = Some(ended);
            return Poll::Ready(Err(io::Error::other(ended)));
        }
        // Nothing happens between the check and the system call, to keep the window as short as possible.
        let written = write();
        state.begun |= matches!(written, Poll::Ready(Ok(1..)));
        written
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A gated TCP connection. [`Connection::connected`] returns its gate.
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
            // With zero linger, closing the socket discards unsent data. Otherwise the kernel would retransmit for minutes, and
            // a request whose caller gave up would arrive when the network recovers.
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

    // A TCP socket has no user-space buffer, so these calls send no bytes of a request.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
