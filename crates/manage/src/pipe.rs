//! Two bounded buffers that stand between the socket loop and the HTTP server: to the server they are a connection.
//!
//! Whoever owns the server polls it again after every change of a buffer, so nobody is woken from here.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::rt::ReadBufCursor;
use parking_lot::Mutex;
use ternmq_net::machine::Output;

/// Bytes that came and the server has not read.
const INBOUND_BYTES_MAX: usize = 64 * 1024;
/// Bytes that the server wrote and the socket loop has not taken.
const OUTBOUND_BYTES_MAX: usize = 64 * 1024;

/// The server's end, and with the methods below the socket loop's end too.
#[derive(Clone, Default)]
pub(crate) struct Pipe(Arc<Mutex<Buffers>>);

#[derive(Default)]
struct Buffers {
    inbound: Vec<u8>,
    /// How much of `inbound` the server has read.
    read: usize,
    outbound: Vec<u8>,
}

impl Pipe {
    /// Takes as much of `input` as there is room for, and returns how much that was.
    pub(crate) fn put(&self, input: &[u8]) -> usize {
        let mut buffers = self.0.lock();
        let read = std::mem::take(&mut buffers.read);
        buffers.inbound.drain(..read);
        let room = INBOUND_BYTES_MAX - buffers.inbound.len();
        let taken = input.len().min(room);
        buffers.inbound.extend_from_slice(&input[..taken]);
        taken
    }

    /// Whether there is room for input.
    pub(crate) fn has_room(&self) -> bool {
        let buffers = self.0.lock();
        buffers.inbound.len() - buffers.read < INBOUND_BYTES_MAX
    }

    /// Moves everything the server wrote to `out`, unless that is full. Returns whether anything was moved.
    pub(crate) fn take_into(&self, out: &mut Output) -> bool {
        let mut buffers = self.0.lock();
        if buffers.outbound.is_empty() || out.is_full() {
            return false;
        }
        out.buf().append(&mut buffers.outbound);
        true
    }

    /// Whether everything the server wrote was taken.
    pub(crate) fn is_drained(&self) -> bool {
        self.0.lock().outbound.is_empty()
    }
}

impl hyper::rt::Read for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut buffers = self.0.lock();
        let unread = &buffers.inbound[buffers.read..];
        let count = unread.len().min(buf.remaining());
        if count == 0 {
            return Poll::Pending;
        }
        buf.put_slice(&unread[..count]);
        buffers.read += count;
        if buffers.read == buffers.inbound.len() {
            // An idle connection holds no buffer.
            (buffers.inbound, buffers.read) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffers = self.0.lock();
        let room = OUTBOUND_BYTES_MAX.saturating_sub(buffers.outbound.len());
        let taken = bytes.len().min(room);
        if taken == 0 && !bytes.is_empty() {
            return Poll::Pending;
        }
        buffers.outbound.extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
