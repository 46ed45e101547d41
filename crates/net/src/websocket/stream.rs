//! A WebSocket on a socket: payload in and out for the driver.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use super::decode::{Decoder, End};
use super::encode::{BINARY, CLOSE, FRAME_BYTES_MAX, Head, PONG, control};
use crate::limits::WRITE_PIECES_MAX;
use crate::output::Output;
use crate::stream::Carrier;

/// Reads that bring no payload, in one call.
const EMPTY_READS_MAX: usize = 8;

/// The code of a close frame when the protocol has come to its end (RFC 6455 §7.4.1).
const NORMAL_CLOSURE: u16 = 1000;
/// The code of a close frame that answers one without a code; it says as little.
const NO_CODE: &[u8] = &[];

/// A stream of payload above a stream of frames. Holds no payload: what is unsent stays in the connection's output.
pub(crate) struct WebSocketStream {
    carrier: Carrier,
    decoder: Decoder,
    /// Frames that came together with the request, before they are decoded.
    early: Vec<u8>,
    end: Option<End>,
    /// The head of the frame that is being written.
    head: Head,
    /// How much payload is to follow it; never more than the output holds.
    frame_left: usize,
    /// A control frame that is being written, and how much of it is.
    control: Vec<u8>,
    control_sent: usize,
    /// The payload of the last ping, as long as the pong has not begun.
    ping: Option<Vec<u8>>,
    is_closed: bool,
}

impl WebSocketStream {
    /// A stream on which `early` has been read already.
    pub(crate) fn new(carrier: Carrier, frame_bytes_max: u64, early: Vec<u8>) -> Self {
        Self {
            carrier,
            decoder: Decoder::new(frame_bytes_max),
            early,
            end: None,
            head: Head::default(),
            frame_left: 0,
            control: Vec::new(),
            control_sent: 0,
            ping: None,
            is_closed: false,
        }
    }

    pub(crate) fn carrier(&self) -> &Carrier {
        &self.carrier
    }

    pub(crate) fn carrier_mut(&mut self) -> &mut Carrier {
        &mut self.carrier
    }

    /// Whether the client is owed a close frame: it closed, or broke a rule.
    pub(crate) fn has_last_words(&self) -> bool {
        self.end.is_some() && !self.is_closed
    }

    pub(crate) fn poll_read(
        &mut self,
        bytes: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        for _ in 0..EMPTY_READS_MAX {
            match self.end {
                Some(End::Closed(_)) => return Poll::Ready(Ok(0)),
                Some(End::Violated(violation)) => {
                    let error = io::Error::new(io::ErrorKind::InvalidData, violation);
                    return Poll::Ready(Err(error));
                }
                None => {}
            }
            let before = bytes.len();
            if self.early.is_empty() {
                if ready!(self.carrier.poll_read(bytes, cx))? == 0 {
                    return Poll::Ready(Ok(0));
                }
            } else {
                bytes.append(&mut std::mem::take(&mut self.early));
            }
            let decoded = self.decoder.decode(&mut bytes[before..]);
            bytes.truncate(before + decoded.payload_bytes);
            self.ping = decoded.ping.or_else(|| self.ping.take());
            self.end = decoded.end;
            if decoded.payload_bytes > 0 {
                return Poll::Ready(Ok(decoded.payload_bytes));
            }
        }
        // Others get their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    pub(crate) fn poll_write(
        &mut self,
        output: &Output,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.frame_left == 0 {
                ready!(self.poll_control(cx))?;
                self.frame_left = output.len().min(FRAME_BYTES_MAX);
                self.head = Head::new(BINARY, self.frame_left);
            }
            debug_assert!(
                self.frame_left <= output.len(),
                "what is announced is there"
            );
            let mut pieces = [IoSlice::new(&[]); WRITE_PIECES_MAX];
            let (first, others) = pieces.split_at_mut(1);
            first[0] = IoSlice::new(self.head.unsent());
            let count = output.slices(self.frame_left, others);
            let written = ready!(self.carrier.poll_write(&pieces[..=count], cx))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let payload = self.head.advance(written);
            self.frame_left -= payload;
            if payload > 0 {
                return Poll::Ready(Ok(payload));
            }
        }
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.frame_left == 0 {
            ready!(self.poll_control(cx))?;
        }
        self.carrier.poll_flush(cx)
    }

    /// Closes with the code that fits what happened. To be called when the output is empty.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.frame_left == 0 {
            ready!(self.poll_control(cx))?;
            if !std::mem::replace(&mut self.is_closed, true) {
                self.control = match self.end {
                    None => control(CLOSE, &NORMAL_CLOSURE.to_be_bytes()),
                    Some(End::Closed(Some(code))) => control(CLOSE, &code.to_be_bytes()),
                    Some(End::Closed(None)) => control(CLOSE, NO_CODE),
                    Some(End::Violated(violation)) => {
                        control(CLOSE, &violation.close_code().to_be_bytes())
                    }
                };
                ready!(self.poll_control(cx))?;
            }
        }
        self.carrier.poll_shutdown(cx)
    }

    /// Writes control frames, between two frames of payload.
    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.control_sent == self.control.len() {
                self.control_sent = 0;
                self.control = match self.ping.take() {
                    // Nothing but the close frame comes after it (RFC 6455 §5.5.1).
                    Some(ping) if !self.is_closed => control(PONG, &ping),
                    _ => Vec::new(),
                };
                if self.control.is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
            let unsent = [IoSlice::new(&self.control[self.control_sent..])];
            match ready!(self.carrier.poll_write(&unsent, cx))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.control_sent += count,
            }
        }
    }
}
