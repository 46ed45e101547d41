//! Buffers for the time of one turn.
//!
//! A turn runs on one thread from start to end, so each worker thread keeps one buffer to read into and one to write
//! from, without a lock. Connections that wait hold neither.

use std::cell::RefCell;

use crate::output::{OUTPUT_BUDGET_BYTES, Output};

/// Most bytes read from a socket at once.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// A partial frame of at most this many bytes is copied in front of what is read next.
pub(crate) const CARRY_BYTES_MAX: usize = 16 * 1024;

/// An output buffer that grew beyond this many bytes is not kept.
const OUTPUT_KEEP_BYTES: usize = OUTPUT_BUDGET_BYTES * 2;

#[derive(Default)]
struct Scratch {
    input: Vec<u8>,
    output: Output,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// An empty buffer with room for a carried partial frame and [`READ_BYTES`] more.
pub(crate) fn take_input() -> Vec<u8> {
    let mut buf = SCRATCH.with_borrow_mut(|scratch| std::mem::take(&mut scratch.input));
    debug_assert!(buf.is_empty(), "buffers come back empty");
    buf.reserve(READ_BYTES + CARRY_BYTES_MAX);
    buf
}

/// Gives back what [`take_input`] returned.
pub(crate) fn put_input(mut buf: Vec<u8>) {
    buf.clear();
    SCRATCH.with_borrow_mut(|scratch| scratch.input = buf);
}

/// An empty output, most often with memory to write into.
pub(crate) fn take_output() -> Output {
    SCRATCH.with_borrow_mut(|scratch| std::mem::take(&mut scratch.output))
}

/// Gives back an output that has been sent.
pub(crate) fn put_output(output: Output) {
    debug_assert!(
        output.is_empty(),
        "what is unsent stays with its connection"
    );
    if output.capacity() <= OUTPUT_KEEP_BYTES {
        SCRATCH.with_borrow_mut(|scratch| scratch.output = output);
    }
}
