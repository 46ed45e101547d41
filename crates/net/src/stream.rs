//! What the driver reads from and writes to: a socket, with what lies between it and the machine.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;

use crate::limits::WRITE_PIECES_MAX;
use crate::output::Output;
use crate::scratch::READ_BYTES;
use crate::tls::TlsStream;
use crate::websocket::stream::WebSocketStream;

/// The transport of one connection, past every handshake. Boxed but for the plain socket, which most idle connections
/// are.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
    WebSocket(Box<WebSocketStream>),
}

impl Stream {
    /// Ready if a read may bring something. Cheap where there is nothing, as for most reads of the plain socket.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => socket.poll_read_ready(cx),
            // There may be something decrypted already.
            Self::Tls(_) | Self::WebSocket(_) => Poll::Ready(Ok(())),
        }
    }

    /// Appends at most [`READ_BYTES`] of what the peer said to `bytes`; 0 at the end.
    pub(crate) fn poll_read(
        &mut self,
        bytes: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => poll_append(socket, bytes, READ_BYTES, cx),
            Self::Tls(stream) => poll_append_records(stream, bytes, cx),
            Self::WebSocket(stream) => stream.poll_read(bytes, cx),
        }
    }

    /// Writes some of the output and returns how much of it.
    pub(crate) fn poll_write(
        &mut self,
        output: &Output,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => poll_write_output(socket, output, cx),
            Self::Tls(stream) => poll_write_output(&mut **stream, output, cx),
            Self::WebSocket(stream) => stream.poll_write(output, cx),
        }
    }

    /// Ready when nothing that was taken by [`Stream::poll_write`], or that the transport has to say itself, waits for
    /// the socket.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::WebSocket(stream) => stream.poll_flush(cx),
        }
    }

    /// Says in the transport's words that nothing more comes, and ends the sending side.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::WebSocket(stream) => stream.poll_shutdown(cx),
        }
    }

    /// Reads from the socket what nobody will look at. 0 at the end.
    pub(crate) fn poll_discard(
        &mut self,
        bytes: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => poll_append(socket, bytes, READ_BYTES, cx),
            Self::Tls(stream) => poll_append(stream.get_mut().0, bytes, READ_BYTES, cx),
            Self::WebSocket(stream) => {
                poll_append(stream.carrier_mut().socket_mut(), bytes, READ_BYTES, cx)
            }
        }
    }

    /// The socket below everything.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0,
            Self::WebSocket(stream) => stream.carrier().socket(),
        }
    }

    /// Whether the transport has last words of its own for a peer that sends nothing more, or nothing valid.
    pub(crate) fn has_last_words(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(_) => true,
            Self::WebSocket(stream) => stream.has_last_words(),
        }
    }
}

/// What carries WebSocket frames.
pub(crate) enum Carrier {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

impl Carrier {
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    pub(crate) fn socket_mut(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_mut().0,
        }
    }

    pub(crate) fn poll_read(
        &mut self,
        bytes: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => poll_append(socket, bytes, READ_BYTES, cx),
            Self::Tls(stream) => poll_append_records(stream, bytes, cx),
        }
    }

    pub(crate) fn poll_write(
        &mut self,
        pieces: &[IoSlice<'_>],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    /// Returns the stream for everything but the driver: the handshakes above it.
    pub(crate) fn into_stream(self) -> Stream {
        match self {
            Self::Plain(socket) => Stream::Plain(socket),
            Self::Tls(stream) => Stream::Tls(stream),
        }
    }
}

/// One read, of at most `limit` bytes.
fn poll_append(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
    limit: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut room = bytes.limit(limit);
    pin!(stream.read_buf(&mut room)).poll(cx)
}

/// As many records as are there: each read brings one, and whoever gets many at once has less to do for each. The end
/// and errors come again at the next read.
fn poll_append_records(
    stream: &mut TlsStream,
    bytes: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut count = 0;
    while count < READ_BYTES {
        match poll_append(stream, bytes, READ_BYTES - count, cx) {
            Poll::Ready(Ok(0)) => break,
            Poll::Ready(Ok(read)) => count += read,
            Poll::Ready(Err(_)) | Poll::Pending if count > 0 => break,
            // Many peers close the socket without a word of TLS; protocols tell whole messages from cut ones.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
    }
    Poll::Ready(Ok(count))
}

fn poll_write_output(
    stream: &mut (impl AsyncWrite + Unpin),
    output: &Output,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let stream = Pin::new(stream);
    let count = if output.is_contiguous() {
        ready!(stream.poll_write(cx, output.front()))?
    } else {
        let mut pieces = [IoSlice::new(&[]); WRITE_PIECES_MAX];
        let count = output.slices(usize::MAX, &mut pieces);
        ready!(stream.poll_write_vectored(cx, &pieces[..count]))?
    };
    Poll::Ready(if count == 0 {
        Err(io::ErrorKind::WriteZero.into())
    } else {
        Ok(count)
    })
}
