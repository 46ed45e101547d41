//! The life of the one thread: take the open group, write it, sync it, move the watermark, tell the watcher.

use std::io;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};

use crate::batch::Batch;
use crate::error::{Action, Failure};
use crate::frame;
use crate::log::{Index, LogError, Pressure, Watcher};
use crate::options::FailureHook;
use crate::pool::{Look, Room};
use crate::segment::SegmentRef;
use crate::writer::Writer;

/// A buffer that a burst made larger than this is given back.
const KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What those who append and the committer have in common.
pub(crate) struct Shared {
    open: Mutex<OpenGroup>,
    /// The committer waits here for something to do.
    work: Condvar,
    committed: AtomicU64,
    next_index: AtomicU64,
    /// Bytes of the frames that were appended.
    written_bytes: AtomicU64,
    /// What is on disk, whatever the durability.
    durable: AtomicU64,
    /// Nothing moves any more; guards the moves too, for those who wait.
    ended: Mutex<bool>,
    moved: Condvar,
    watcher: Mutex<Option<Arc<dyn Watcher>>>,
    failure: OnceLock<Failure>,
    limits: Limits,
}

/// Bytes that may wait for the disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) high: usize,
    pub(crate) max: usize,
    /// A larger frame may need a segment of its own.
    pub(crate) half_segment: usize,
}

/// What must not be refused may wait behind so many times as much.
const ESSENTIAL_FACTOR: usize = 4;

/// Why an append is refused now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refusal {
    NoRoom,
    Behind,
}

/// The group that fills while the one before is written.
struct OpenGroup {
    frames: Vec<u8>,
    next_index: u64,
    /// Bytes that the committer is writing.
    under_way: usize,
    /// On disk, for the bytes under way too.
    room: Room,
    /// Room should be looked for again.
    look_for_room: bool,
    /// What is written should be on disk.
    sync: bool,
    release: Option<u64>,
    dropped: Vec<SegmentRef>,
    /// The pressure that the watcher knows of.
    told: Pressure,
    state: State,
}

/// What is appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    /// Messages, which may be refused.
    Publish,
    /// What must not be.
    Essential,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Takes nothing more; what it has is still to be written.
    Closing,
    /// Takes nothing more and does nothing more.
    Ended,
}

impl Shared {
    pub(crate) fn append(&self, batch: &Batch, need: Need) -> Result<Index, LogError> {
        let frame_bytes = frame::bytes_of(batch).ok_or(LogError::TooLarge)?;
        let mut open = self.open.lock();
        if open.state != State::Open {
            return Err(LogError::Closed);
        }
        let first = open.next_index;
        if batch.is_empty() {
            return Ok(Index(first));
        }
        if let Err(refusal) = self.admit(&open, frame_bytes, need) {
            if refusal == Refusal::NoRoom {
                // Nobody else would have the committer look whether there is room again.
                open.look_for_room = true;
                drop(open);
                self.work.notify_one();
            }
            return Err(LogError::Full);
        }
        open.next_index = first
            .checked_add(batch.len() as u64)
            .ok_or(LogError::Full)?;
        self.next_index.store(open.next_index, Ordering::Release);
        frame::push(batch, first, &mut open.frames);
        drop(open);
        self.work.notify_one();
        self.written_bytes
            .fetch_add(frame_bytes as u64, Ordering::Relaxed);
        Ok(Index(first))
    }

    fn admit(&self, open: &OpenGroup, frame_bytes: usize, need: Need) -> Result<(), Refusal> {
        let waiting = open.waiting();
        let room = open.room;
        let in_reserve = frame_bytes <= self.limits.half_segment || room.short;
        if in_reserve && (waiting + frame_bytes) as u64 > room.bytes {
            return Err(Refusal::NoRoom);
        }
        match need {
            Need::Publish if room.pressure == Pressure::NoRoom => Err(Refusal::NoRoom),
            Need::Publish if waiting > self.limits.max => Err(Refusal::Behind),
            Need::Essential if waiting > self.limits.max.saturating_mul(ESSENTIAL_FACTOR) => {
                Err(Refusal::Behind)
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn next_index(&self) -> Index {
        Index(self.next_index.load(Ordering::Acquire))
    }

    pub(crate) fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn durable(&self) -> Index {
        Index(self.durable.load(Ordering::Acquire))
    }

    pub(crate) fn ask_for_sync(&self) {
        self.open.lock().sync = true;
        self.work.notify_one();
    }

    /// Waits until a record is on disk.
    pub(crate) fn wait_durable(&self, index: Index) -> Result<(), LogError> {
        loop {
            if self.durable() < index {
                self.ask_for_sync();
            }
            let mut ended = self.ended.lock();
            if self.durable() >= index {
                return Ok(());
            }
            if *ended {
                return Err(LogError::Closed);
            }
            self.moved.wait(&mut ended);
        }
    }

    /// Waits until a record is committed.
    pub(crate) fn wait_committed(&self, index: Index) -> Result<(), LogError> {
        let mut ended = self.ended.lock();
        loop {
            if self.committed() >= index {
                return Ok(());
            }
            if *ended {
                return Err(LogError::Closed);
            }
            self.moved.wait(&mut ended);
        }
    }

    pub(crate) fn committed(&self) -> Index {
        Index(self.committed.load(Ordering::Acquire))
    }

    pub(crate) fn watch(&self, watcher: Arc<dyn Watcher>) {
        *self.watcher.lock() = Some(watcher);
    }

    pub(crate) fn pressure(&self) -> Pressure {
        self.open.lock().pressure(self.limits)
    }

    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.get()
    }

    pub(crate) fn release(&self, index: Index) {
        let mut open = self.open.lock();
        open.release = open.release.max(Some(index.0));
        drop(open);
        self.work.notify_one();
    }

    pub(crate) fn drop_segments(&self, dropped: &[SegmentRef]) {
        self.open.lock().dropped.extend_from_slice(dropped);
        self.work.notify_one();
    }

    pub(crate) fn check_room(&self) {
        self.open.lock().look_for_room = true;
        self.work.notify_one();
    }

    /// Lets nothing more in.
    pub(crate) fn close(&self) {
        let mut open = self.open.lock();
        if open.state == State::Open {
            open.state = State::Closing;
        }
        drop(open);
        self.work.notify_one();
    }

    fn commit(&self, index: u64) {
        self.committed.store(index, Ordering::Release);
        self.wake();
        let watcher = self.watcher.lock().clone();
        if let Some(watcher) = watcher {
            watcher.on_commit(Index(index));
        }
    }

    fn note_durable(&self, index: u64) {
        self.durable.store(index, Ordering::Release);
    }

    /// Wakes those who wait for something to move.
    fn wake(&self) {
        // Who is about to wait has seen the old state only if it holds this lock.
        drop(self.ended.lock());
        self.moved.notify_all();
    }

    /// Tells the watcher if the pressure is another than it knows.
    fn tell_pressure(&self) {
        {
            let mut open = self.open.lock();
            let now = open.pressure(self.limits);
            if std::mem::replace(&mut open.told, now) == now {
                return;
            }
        }
        let watcher = self.watcher.lock().clone();
        if let Some(watcher) = watcher {
            watcher.on_pressure();
        }
    }

    /// Nobody waits for the watermark any more.
    fn end(&self) {
        *self.ended.lock() = true;
        self.moved.notify_all();
    }
}

impl OpenGroup {
    fn waiting(&self) -> usize {
        self.frames.len() + self.under_way
    }

    fn pressure(&self, limits: Limits) -> Pressure {
        let behind = if self.waiting() >= limits.high {
            Pressure::Behind
        } else {
            Pressure::None
        };
        self.room.pressure.max(behind)
    }

    fn has_work(&self) -> bool {
        !self.frames.is_empty()
            || self.look_for_room
            || self.sync
            || self.release.is_some()
            || !self.dropped.is_empty()
            || self.state != State::Open
    }
}

/// What there is to do.
struct Work {
    release: Option<u64>,
    dropped: Vec<SegmentRef>,
    look_for_room: bool,
    sync: bool,
    closing: bool,
}

/// Whether the committer goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    Again,
    End,
}

pub(crate) struct Committer {
    shared: Arc<Shared>,
    writer: Writer,
    /// The group that is written; changes places with the open one.
    group: Vec<u8>,
    on_failure: Option<FailureHook>,
}

impl Committer {
    pub(crate) fn new(writer: Writer, limits: Limits, on_failure: Option<FailureHook>) -> Self {
        let next_index = writer.link().index;
        let open = OpenGroup {
            frames: Vec::new(),
            next_index,
            under_way: 0,
            room: writer.room(),
            look_for_room: false,
            sync: false,
            release: None,
            dropped: Vec::new(),
            told: Pressure::None,
            state: State::Open,
        };
        let shared = Shared {
            open: Mutex::new(open),
            work: Condvar::new(),
            committed: AtomicU64::new(next_index - 1),
            next_index: AtomicU64::new(next_index),
            written_bytes: AtomicU64::new(0),
            durable: AtomicU64::new(writer.durable()),
            ended: Mutex::new(false),
            moved: Condvar::new(),
            watcher: Mutex::new(None),
            failure: OnceLock::new(),
            limits,
        };
        Self {
            shared: Arc::new(shared),
            writer,
            group: Vec::new(),
            on_failure,
        }
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Works until the log is closed or has failed. A panic, of a watcher for instance, is a failure too.
    pub(crate) fn run(self) {
        let mut guarded = Guarded(self);
        while guarded.0.turn(Self::wait) == Next::Again {}
    }

    /// Does what there is to do, without waiting for more.
    #[cfg(test)]
    pub(crate) fn step(&mut self) -> Next {
        self.turn(|_| ())
    }

    fn wait(&self) {
        let mut open = self.shared.open.lock();
        while !open.has_work() {
            self.shared.work.wait(&mut open);
        }
    }

    fn turn(&mut self, wait: impl FnOnce(&Self)) -> Next {
        wait(self);
        let work = self.take();
        match self.work(&work) {
            Ok(()) if work.closing => {
                self.shared.open.lock().state = State::Ended;
                self.shared.end();
                Next::End
            }
            Ok(()) => Next::Again,
            Err(failure) => {
                self.fail(failure);
                Next::End
            }
        }
    }

    fn take(&mut self) -> Work {
        let mut open = self.shared.open.lock();
        std::mem::swap(&mut open.frames, &mut self.group);
        open.under_way = self.group.len();
        Work {
            release: open.release.take(),
            dropped: std::mem::take(&mut open.dropped),
            look_for_room: std::mem::take(&mut open.look_for_room),
            sync: std::mem::take(&mut open.sync),
            closing: open.state == State::Closing,
        }
    }

    fn work(&mut self, work: &Work) -> Result<(), Failure> {
        self.shared.tell_pressure();
        if let Some(index) = work.release {
            self.writer.release(index)?;
        }
        self.writer.drop_segments(&work.dropped)?;
        let look = if work.look_for_room || !work.dropped.is_empty() {
            Look::Now
        } else {
            Look::WhenDue
        };
        let mut written = 0;
        while written < self.group.len() {
            written += self.writer.write(&mut self.group[written..])?;
            // The room that is left is known before the watermark moves, so that a watcher sees it.
            if written == self.group.len() {
                self.account(look)?;
            }
            self.shared.note_durable(self.writer.durable());
            self.shared.commit(self.writer.link().index - 1);
        }
        if work.sync {
            self.writer.sync()?;
            self.shared.note_durable(self.writer.durable());
            self.shared.wake();
        }
        if written == 0 && look == Look::Now {
            self.account(look)?;
        }
        self.shared.tell_pressure();
        self.group.clear();
        self.group.shrink_to(KEPT_BYTES_MAX);
        if work.closing {
            self.writer.close()?;
            self.shared.note_durable(self.writer.durable());
        }
        Ok(())
    }

    /// Prepares the next segment, and says how much room there is.
    fn account(&mut self, look: Look) -> Result<(), Failure> {
        self.writer.prepare(look)?;
        let room = self.writer.room();
        let mut open = self.shared.open.lock();
        open.room = room;
        open.under_way = 0;
        Ok(())
    }

    fn fail(&mut self, failure: Failure) {
        let frames = {
            let mut open = self.shared.open.lock();
            open.state = State::Ended;
            std::mem::take(&mut open.frames)
        };
        drop(frames);
        let failure = self.shared.failure.get_or_init(|| failure);
        self.shared.end();
        if let Some(hook) = self.on_failure.take() {
            hook(failure);
        }
    }
}

/// Ends the log if the thread unwinds.
struct Guarded(Committer);

impl Drop for Guarded {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(Failure {
                action: Action::Run,
                file: "journal-commit".to_owned(),
                error: Arc::new(io::Error::other("the thread panicked")),
            });
        }
    }
}
