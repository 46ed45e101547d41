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
use crate::writer::Writer;

/// A buffer that a burst made larger than this is given back.
const KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What those who append and the committer have in common.
pub(crate) struct Shared {
    open: Mutex<OpenGroup>,
    /// The committer waits here for something to do.
    work: Condvar,
    committed: AtomicU64,
    watcher: Mutex<Option<Arc<dyn Watcher>>>,
    failure: OnceLock<Failure>,
    limits: Limits,
}

/// Bytes that may wait for the disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) high: usize,
    pub(crate) max: usize,
}

/// The group that fills while the one before is written.
struct OpenGroup {
    frames: Vec<u8>,
    next_index: u64,
    /// Bytes that the committer is writing.
    under_way: usize,
    /// Bytes of frames for which there is room on disk, those under way included.
    room: u64,
    disk_full: bool,
    /// The next segment should be tried for again.
    look_for_room: bool,
    release: Option<u64>,
    state: State,
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
    pub(crate) fn append(&self, batch: &Batch) -> Result<Index, LogError> {
        let frame_bytes = frame::bytes_of(batch).ok_or(LogError::TooLarge)?;
        let mut open = self.open.lock();
        if open.state != State::Open {
            return Err(LogError::Closed);
        }
        let first = open.next_index;
        if batch.is_empty() {
            return Ok(Index(first));
        }
        let waiting = open.waiting();
        if open.disk_full && (waiting + frame_bytes) as u64 > open.room {
            // Nobody else would have the committer look whether there is room again.
            open.look_for_room = true;
            drop(open);
            self.work.notify_one();
            return Err(LogError::Full);
        }
        if waiting > self.limits.max {
            return Err(LogError::Full);
        }
        open.next_index = first
            .checked_add(batch.len() as u64)
            .ok_or(LogError::Full)?;
        frame::push(batch, first, &mut open.frames);
        drop(open);
        self.work.notify_one();
        Ok(Index(first))
    }

    pub(crate) fn committed(&self) -> Index {
        Index(self.committed.load(Ordering::Acquire))
    }

    pub(crate) fn watch(&self, watcher: Arc<dyn Watcher>) {
        *self.watcher.lock() = Some(watcher);
    }

    pub(crate) fn pressure(&self) -> Pressure {
        let open = self.open.lock();
        if open.disk_full {
            Pressure::NoRoom
        } else if open.waiting() >= self.limits.high {
            Pressure::Behind
        } else {
            Pressure::None
        }
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
        let watcher = self.watcher.lock().clone();
        if let Some(watcher) = watcher {
            watcher.on_commit(Index(index));
        }
    }
}

impl OpenGroup {
    fn waiting(&self) -> usize {
        self.frames.len() + self.under_way
    }

    fn has_work(&self) -> bool {
        !self.frames.is_empty()
            || self.look_for_room
            || self.release.is_some()
            || self.state != State::Open
    }
}

/// What there is to do.
struct Work {
    release: Option<u64>,
    look_for_room: bool,
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
            disk_full: !writer.is_ready(),
            look_for_room: false,
            release: None,
            state: State::Open,
        };
        let shared = Shared {
            open: Mutex::new(open),
            work: Condvar::new(),
            committed: AtomicU64::new(next_index - 1),
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
            look_for_room: std::mem::take(&mut open.look_for_room),
            closing: open.state == State::Closing,
        }
    }

    fn work(&mut self, work: &Work) -> Result<(), Failure> {
        if let Some(index) = work.release {
            self.writer.release(index)?;
        }
        let mut written = 0;
        while written < self.group.len() {
            written += self.writer.write(&mut self.group[written..])?;
            // The room that is left is known before the watermark moves, so that a watcher sees it.
            if written == self.group.len() {
                self.account()?;
            }
            self.shared.commit(self.writer.link().index - 1);
        }
        if written == 0 && (work.look_for_room || work.release.is_some()) {
            self.account()?;
        }
        self.group.clear();
        self.group.shrink_to(KEPT_BYTES_MAX);
        if work.closing {
            self.writer.close()?;
        }
        Ok(())
    }

    /// Prepares the next segment, and says how much room there is.
    fn account(&mut self) -> Result<(), Failure> {
        let ready = self.writer.prepare()?;
        let mut open = self.shared.open.lock();
        open.disk_full = !ready;
        open.room = self.writer.room();
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
