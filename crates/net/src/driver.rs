//! One task per connection: reads, lets the machine work, writes.
//!
//! ```text
//! Serving ──flow() is Close, or end of stream──► Flushing ──all written──► Lingering ──► gone
//!    │ handle_disconnect ▲ here                     │ 2 s                     │ 5 s, or end of stream
//!    └──────────── connection lost, cut, panic ─────┴─────────────────────────┴──► gone
//! ```
//!
//! A turn reads what is there, hands it to the machine, drains the mailbox and writes once. A connection that waits
//! holds no buffer but a partial frame and unsent output, if there are any.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use ternmq_broker::mailbox::Mailbox;
use ternmq_core::id::Timestamp;
use tokio::task::unconstrained;
use tokio::time::{Sleep, sleep_until};
use tracing::{debug, error};

use crate::arrival::Arrival;
use crate::input::{Chunk, Input, Rest};
use crate::limits::{
    CLOSE_FLUSH_MS, CLOSE_LINGER_BYTES, CLOSE_LINGER_MS, PAUSED_PROBE_MS, READS_PER_TURN_MAX,
    STOP_LINGER_MS, TURNS_PER_POLL_MAX, UNSENT_HIGH_BYTES, UNSENT_LOW_BYTES,
};
use crate::machine::{Flow, Machine};
use crate::output::Output;
use crate::registry::{Registered, Stage};
use crate::scratch;
use crate::stream::Stream;
use crate::timers::instant_at;

/// What the listener hands over.
pub(crate) struct Accepted {
    pub(crate) stream: Stream,
    pub(crate) addr: SocketAddr,
    pub(crate) protocol: &'static str,
    pub(crate) pending_bytes_max: usize,
    pub(crate) machine: Box<dyn Machine>,
}

/// The task of one connection.
pub(crate) struct Connection {
    stream: Stream,
    /// `None` once it was told that the transport is gone.
    machine: Option<Box<dyn Machine>>,
    arrival: Arrival,
    input: Input,
    output: Output,
    phase: Phase,
    /// The machine has more to deliver when there is room.
    more: bool,
    /// Bytes the machine wrote on input since the output was last empty.
    reply_bytes: usize,
    /// More of them than the high mark are unsent, and the low mark not reached yet.
    choked: bool,
    /// The machine was told that the node stops.
    stopping: bool,
    /// The peer sends nothing more.
    ended: bool,
    timer: Timer,
    /// When a peer that is not read from is looked at; `None` while it is read from.
    probe_at: Option<Timestamp>,
    pending_bytes_max: usize,
    addr: SocketAddr,
    protocol: &'static str,
    registered: Registered,
}

const _: () = assert!(size_of::<Connection>() <= 384, "idle connections are many");

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Serving,
    Flushing { until: Timestamp },
    Lingering { until: Timestamp, bytes_left: usize },
}

/// What a pass over the connection came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Something happened: look again.
    Again,
    /// Nothing to do, and every event that changes this wakes the task.
    Wait,
    Done,
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        match catch_unwind(AssertUnwindSafe(|| this.run(cx))) {
            Ok(polled) => polled,
            Err(panic) => {
                let error = panic_text(panic.as_ref());
                error!(peer = %this.addr, protocol = this.protocol, error, "connection ended by a panic");
                this.registered.mailbox().close();
                let machine = this.machine.take();
                // What a broken machine does in `Drop` may panic as well.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(machine)));
                Poll::Ready(())
            }
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown")
}

impl Connection {
    pub(crate) fn new(accepted: Accepted, registered: Registered) -> Self {
        let Accepted {
            stream,
            addr,
            protocol,
            pending_bytes_max,
            machine,
        } = accepted;
        Self {
            stream,
            machine: Some(machine),
            arrival: Arrival::default(),
            input: Input::default(),
            output: Output::new(),
            phase: Phase::Serving,
            more: false,
            reply_bytes: 0,
            choked: false,
            stopping: false,
            ended: false,
            timer: Timer::default(),
            probe_at: None,
            pending_bytes_max,
            addr,
            protocol,
            registered,
        }
    }

    fn run(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.arrival.yields(cx) {
            return Poll::Pending;
        }
        self.mailbox().attend();
        let now = self.registered.now();
        for _ in 0..TURNS_PER_POLL_MAX {
            let step = match self.phase {
                Phase::Serving => self.serve(now, cx),
                Phase::Flushing { until } => self.flush(until, now, cx),
                Phase::Lingering { until, bytes_left } => self.linger(until, bytes_left, now, cx),
            };
            self.settle_output();
            match step {
                Step::Again => {}
                Step::Wait => return Poll::Pending,
                Step::Done => {
                    self.disconnect(now);
                    return Poll::Ready(());
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn mailbox(&self) -> &Arc<Mailbox> {
        self.registered.mailbox()
    }

    /// One turn.
    fn serve(&mut self, now: Timestamp, cx: &mut Context<'_>) -> Step {
        let mut busy = match self.registered.stage() {
            Stage::Serving => false,
            Stage::Draining => self.begin_shutdown(now),
            Stage::Cutting => return Step::Done,
        };
        match self
            .read(now, cx)
            .and_then(|read| Ok(read | self.check_deadlines(now, cx)?))
        {
            Ok(read) => busy |= read,
            Err(ended) => {
                debug!(peer = %self.addr, protocol = self.protocol, error = %ended, "connection ended");
                return self.end(now);
            }
        }
        let ready = busy
            || (self.more && !self.output.is_full())
            || self.mailbox().poll_notified(cx).is_ready();
        if ready {
            self.with_machine(|machine, output| machine.handle_notices(now, output))
                .inspect(|more| self.more = *more);
            busy = true;
        }
        if self.flow() == Flow::Close {
            return self.begin_close(now);
        }
        match self.write(cx) {
            Ok(wrote) => busy |= wrote,
            Err(lost) => {
                debug!(peer = %self.addr, protocol = self.protocol, error = %lost, "connection lost");
                return Step::Done;
            }
        }
        // The stage may have changed after it was looked at, and before the task could be woken for it.
        if busy || self.registered.stage() != self.seen_stage() {
            Step::Again
        } else {
            Step::Wait
        }
    }

    fn seen_stage(&self) -> Stage {
        if self.stopping {
            Stage::Draining
        } else {
            Stage::Serving
        }
    }

    fn begin_shutdown(&mut self, now: Timestamp) -> bool {
        let told = std::mem::replace(&mut self.stopping, true);
        if !told {
            self.with_machine(|machine, output| machine.handle_shutdown(now, output));
        }
        !told
    }

    /// Calls the machine with an output that has memory to write into.
    fn with_machine<T>(
        &mut self,
        call: impl FnOnce(&mut dyn Machine, &mut Output) -> T,
    ) -> Option<T> {
        if self.output.capacity() == 0 {
            self.output = scratch::take_output();
        }
        let machine = self.machine.as_mut()?;
        Some(call(machine.as_mut(), &mut self.output))
    }

    fn flow(&self) -> Flow {
        self.machine
            .as_ref()
            .map_or(Flow::Close, |machine| machine.flow())
    }

    /// Reads and hands in what is there. Returns whether there was anything.
    fn read(&mut self, now: Timestamp, cx: &mut Context<'_>) -> Result<bool, Ended> {
        let mut any = false;
        for _ in 0..READS_PER_TURN_MAX {
            if self.flow() != (Flow::Open { read: true }) || self.is_choked() {
                break;
            }
            if self.input.is_held() {
                let chunk = self.input.release();
                self.hand_in(chunk, now)?;
                any = true;
                continue;
            }
            let mut readable = Context::from_waker(self.arrival.waker(cx));
            let Poll::Ready(read) = self.input.poll_read(&mut self.stream, &mut readable) else {
                break;
            };
            let chunk = read?;
            if chunk.read == 0 {
                self.ended = true;
                return Err(Ended::EndOfStream);
            }
            any = true;
            self.mailbox().octets().received(chunk.read);
            let filled = chunk.is_filled();
            self.hand_in(chunk, now)?;
            if !filled {
                break;
            }
        }
        Ok(any)
    }

    fn hand_in(&mut self, chunk: Chunk, now: Timestamp) -> Result<(), Ended> {
        let before = self.output.len();
        let consumed = self
            .with_machine(|machine, output| machine.handle_input(&chunk.bytes, now, output))
            .unwrap_or(0);
        debug_assert!(
            consumed <= chunk.bytes.len(),
            "a machine consumes what it was given"
        );
        self.reply_bytes += self.output.len() - before;
        let rest = match self.flow() {
            Flow::Open { read: true } => Rest::Partial,
            Flow::Open { read: false } | Flow::Close => Rest::Held,
        };
        let left = self.input.keep_rest(chunk, consumed, rest);
        if rest == Rest::Partial && left > self.pending_bytes_max {
            return Err(Ended::FrameTooLong { bytes: left });
        }
        Ok(())
    }

    /// Whether so much is unsent that nothing more is read: above the high mark, until below the low one.
    fn is_choked(&mut self) -> bool {
        let mark = if self.choked {
            UNSENT_LOW_BYTES
        } else {
            UNSENT_HIGH_BYTES
        };
        self.choked = self.output.len() > mark;
        self.choked
    }

    /// Lets the machine act when its time has come, and returns whether it has. Else the task is woken then.
    fn check_deadlines(&mut self, now: Timestamp, cx: &mut Context<'_>) -> Result<bool, Ended> {
        self.probe(now)?;
        let of_machine = self.machine.as_ref().and_then(|machine| machine.deadline());
        let Some(deadline) = of_machine.into_iter().chain(self.probe_at).min() else {
            return Ok(false);
        };
        let due = self.timer.poll(deadline, now, cx).is_ready();
        if due {
            self.with_machine(|machine, output| machine.handle_deadline(now, output));
        }
        Ok(due)
    }

    /// Looks now and then for a peer that is gone while nothing is read that would tell. One that only sends no more
    /// is none: what it sent is still to be read.
    fn probe(&mut self, now: Timestamp) -> Result<(), Ended> {
        let reads = self.flow() == (Flow::Open { read: true }) && !self.choked;
        let is_due = self.probe_at.is_none_or(|at| at <= now);
        if reads {
            self.probe_at = None;
        } else if is_due {
            self.probe_at = Some(now.plus_ms(PAUSED_PROBE_MS));
            if let Some(lost) = self.stream.socket().take_error()? {
                return Err(Ended::Lost(lost));
            }
        }
        Ok(())
    }

    /// Writes until everything is written or the socket takes no more. Returns whether anything was written.
    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut any = false;
        while !self.output.is_empty() {
            match self.stream.poll_write(&self.output, cx) {
                Poll::Ready(Ok(count)) => {
                    self.registered.mailbox().octets().sent(count);
                    self.output.advance(count);
                    any = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        if let Poll::Ready(Err(error)) = self.stream.poll_flush(cx) {
            return Err(error);
        }
        Ok(any)
    }

    /// Gives the output's memory back if everything is sent.
    fn settle_output(&mut self) {
        if self.output.capacity() == 0 {
            return;
        }
        if self.output.is_empty() {
            self.reply_bytes = 0;
            scratch::put_output(std::mem::take(&mut self.output));
        } else {
            self.output.compact();
        }
    }

    /// The peer sends no more, or must not: what it is owed still goes out.
    fn end(&mut self, now: Timestamp) -> Step {
        if (self.ended && !self.output.is_empty()) || self.stream.has_last_words() {
            self.begin_close(now)
        } else {
            Step::Done
        }
    }

    fn begin_close(&mut self, now: Timestamp) -> Step {
        self.disconnect(now);
        self.phase = Phase::Flushing {
            until: now.plus_ms(CLOSE_FLUSH_MS),
        };
        Step::Again
    }

    /// Lets the machine release what it holds, once.
    fn disconnect(&mut self, now: Timestamp) {
        if let Some(mut machine) = self.machine.take() {
            self.mailbox().close();
            machine.handle_disconnect(now);
        }
    }

    fn flush(&mut self, until: Timestamp, now: Timestamp, cx: &mut Context<'_>) -> Step {
        if self.write(cx).is_err() || self.registered.stage() == Stage::Cutting {
            return Step::Done;
        }
        if !self.output.is_empty() {
            return self.wait(until, now, cx);
        }
        match self.stream.poll_shutdown(cx) {
            Poll::Pending => return self.wait(until, now, cx),
            Poll::Ready(Ok(())) if !self.ended => {}
            Poll::Ready(_) => return Step::Done,
        }
        let linger_ms = if self.stopping {
            STOP_LINGER_MS
        } else {
            CLOSE_LINGER_MS
        };
        let until = now.plus_ms(linger_ms);
        self.phase = Phase::Lingering {
            until,
            bytes_left: CLOSE_LINGER_BYTES,
        };
        Step::Again
    }

    fn linger(
        &mut self,
        until: Timestamp,
        bytes_left: usize,
        now: Timestamp,
        cx: &mut Context<'_>,
    ) -> Step {
        if self.registered.stage() == Stage::Cutting {
            return Step::Done;
        }
        self.input = Input::default();
        let mut bytes = scratch::take_input();
        let polled = self.stream.poll_discard(&mut bytes, cx);
        scratch::put_input(bytes);
        match polled {
            Poll::Ready(Ok(read)) if read > 0 && read <= bytes_left => {
                self.phase = Phase::Lingering {
                    until,
                    bytes_left: bytes_left - read,
                };
                Step::Again
            }
            Poll::Ready(_) => Step::Done,
            Poll::Pending => self.wait(until, now, cx),
        }
    }

    /// Waits for the socket, `until` at most.
    fn wait(&mut self, until: Timestamp, now: Timestamp, cx: &mut Context<'_>) -> Step {
        // Closed and empty, it still wakes the task when the node's patience ends.
        let _ = self.mailbox().poll_notified(cx);
        if self.timer.poll(until, now, cx).is_ready() {
            Step::Done
        } else {
            Step::Wait
        }
    }
}

/// Why there is nothing more to read.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("end of stream")]
    EndOfStream,
    #[error("a frame of more than {bytes} bytes")]
    FrameTooLong { bytes: usize },
    #[error(transparent)]
    Lost(#[from] io::Error),
}

/// The connection's one timer: set anew only for an earlier moment or after it fired.
#[derive(Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// The moment the timer is set to; `None` if it does not run.
    armed: Option<Timestamp>,
}

impl Timer {
    /// Ready if `deadline` has come; else the task is woken then, or earlier.
    fn poll(&mut self, deadline: Timestamp, now: Timestamp, cx: &mut Context<'_>) -> Poll<()> {
        if deadline <= now {
            self.armed = None;
            return Poll::Ready(());
        }
        let fired = self.sleep.as_ref().is_some_and(|sleep| sleep.is_elapsed());
        if self.armed.is_some_and(|armed| armed <= deadline) && !fired {
            return Poll::Pending;
        }
        let at = instant_at(deadline, now);
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                sleep.as_mut().reset(at);
                sleep
            }
            unset => unset.insert(Box::pin(sleep_until(at))),
        };
        self.armed = Some(deadline);
        // Unconstrained: a poll refused for fairness would leave the task unregistered.
        if pin!(unconstrained(sleep.as_mut())).poll(cx).is_ready() {
            // It fires between two readings of the clock: look again at once.
            self.armed = None;
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}
