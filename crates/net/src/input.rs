//! The reading side of a connection: what was read and not yet consumed.

use std::io;
use std::task::{Context, Poll, ready};

use crate::scratch::{self, CARRY_BYTES_MAX, READ_BYTES};
use crate::stream::Stream;

/// Unconsumed input of one connection. Holds memory only while there is some.
#[derive(Debug, Default)]
pub(crate) struct Input {
    carry: Vec<u8>,
    /// The carry is more than a partial frame: it is to be handed in again before anything more is read.
    held: bool,
}

/// What is handed to the machine: the carry and what was read after it.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) bytes: Vec<u8>,
    /// How much of `bytes` came from the socket just now; 0 at the end of the stream.
    pub(crate) read: usize,
    borrowed: bool,
}

impl Chunk {
    /// Whether the read filled the buffer, so that there may be more.
    pub(crate) fn is_filled(&self) -> bool {
        self.read == READ_BYTES
    }
}

impl Input {
    /// Whether unconsumed input is to be handed in again without reading.
    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    /// The carry alone, to hand in again.
    pub(crate) fn release(&mut self) -> Chunk {
        self.held = false;
        Chunk {
            bytes: std::mem::take(&mut self.carry),
            read: 0,
            borrowed: false,
        }
    }

    /// Reads once, behind the carry. At the end of the stream the chunk has `read` 0.
    pub(crate) fn poll_read(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Chunk>> {
        debug_assert!(!self.held, "what is held is handed in first");
        ready!(stream.poll_read_ready(cx))?;
        let borrowed = self.carry.len() <= CARRY_BYTES_MAX;
        let mut bytes = if borrowed {
            let mut bytes = scratch::take_input();
            bytes.extend_from_slice(&self.carry);
            bytes
        } else {
            let mut bytes = std::mem::take(&mut self.carry);
            bytes.reserve(READ_BYTES);
            bytes
        };
        let before = bytes.len();
        let polled = stream.poll_read(&mut bytes, cx);
        debug_assert!(bytes.len() - before <= READ_BYTES);
        match polled {
            Poll::Ready(Ok(read)) => Poll::Ready(Ok(Chunk {
                bytes,
                read,
                borrowed,
            })),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                if borrowed {
                    scratch::put_input(bytes);
                } else {
                    self.carry = bytes;
                }
                Poll::Pending
            }
        }
    }

    /// Keeps what the machine left of a chunk after `consumed` bytes, gives the buffer back, and returns how many bytes
    /// are left.
    pub(crate) fn keep_rest(&mut self, chunk: Chunk, consumed: usize, rest: Rest) -> usize {
        let left = &chunk.bytes[consumed.min(chunk.bytes.len())..];
        let left_bytes = left.len();
        self.held = rest == Rest::Held && left_bytes > 0;
        if left_bytes == 0 {
            self.carry = Vec::new();
        } else if consumed == 0 && !chunk.borrowed {
            self.carry = chunk.bytes;
            return left_bytes;
        } else if self.carry.capacity() > left_bytes * 4 {
            self.carry = left.to_vec();
        } else {
            self.carry.clear();
            self.carry.extend_from_slice(left);
        }
        if chunk.borrowed {
            scratch::put_input(chunk.bytes);
        }
        left_bytes
    }
}

/// What the bytes are that a machine did not consume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rest {
    /// The beginning of a frame: wait for more.
    Partial,
    /// Possibly whole frames that the machine did not want now.
    Held,
}
