//! A disk in memory that forgets what was not synced, tears it, and fails when told to.
//!
//! It keeps two versions of everything: what programs see, and what is on the platter. A crash ([`SimulatedStorage::crash`])
//! decides for every sector and every name that was changed since its last sync whether it made it; the end of a process
//! is nothing to the disk. After a failed sync it behaves like the page cache of Linux: what was to be synced counts as
//! clean, is still seen, and may or may not be on the platter.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::storage::{Storage, StorageFile};

const SECTOR_BYTES: usize = 512;

/// Handles to one disk; clones share it.
#[derive(Clone, Default)]
pub struct SimulatedStorage {
    disk: Arc<Mutex<Disk>>,
}

/// What an operation is, for [`Fault`]s.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Listing, opening and reading.
    Read,
    /// Writing bytes.
    Write,
    /// Syncing a file.
    Sync,
    /// Making a file or allocating its room.
    Allocate,
    /// Renaming or deleting, and syncing the directory.
    Directory,
}

/// What an operation does instead of what it should.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It fails, with the disk as it was; a failed sync drops what it should have written.
    Error,
    /// There is no room. For all operations of this kind from then on.
    Full,
    /// A write takes only some of the bytes, a read returns only some, without an error.
    Short,
    /// The machine stops: this operation and all later ones fail, until the next crash.
    PowerCut,
}

struct PlannedFault {
    operation: Option<Operation>,
    /// Operations of that kind still to come before it strikes.
    countdown: u64,
    fault: Fault,
}

#[derive(Default)]
struct Disk {
    files: Vec<FileState>,
    /// As programs see them.
    names: BTreeMap<String, usize>,
    /// As they are on the platter.
    durable_names: BTreeMap<String, usize>,
    pending: Vec<NameChange>,
    faults: Vec<PlannedFault>,
    full: BTreeSet<u8>,
    stopped: bool,
    /// What pieces a failed sync loses, and where short writes end.
    random: Random,
    operations: u64,
    bytes_read: u64,
    /// None: more than can be counted.
    free_bytes: Option<u64>,
}

#[derive(Clone)]
enum NameChange {
    Create(String, usize),
    Rename(String, String),
    Delete(String),
}

#[derive(Default)]
struct FileState {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors that the next sync writes.
    dirty: BTreeSet<usize>,
}

/// A small generator of reproducible numbers (splitmix64).
#[derive(Clone, Debug, Default)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % (end.max(1) as u64)).unwrap_or(0)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

impl SimulatedStorage {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        let storage = Self::default();
        storage.disk.lock().random = Random(seed);
        storage
    }

    /// Lets a fault strike after `countdown` more operations of a kind, or of any kind.
    pub fn fail(&self, operation: Option<Operation>, countdown: u64, fault: Fault) {
        self.disk.lock().faults.push(PlannedFault {
            operation,
            countdown,
            fault,
        });
    }

    /// Takes all faults back.
    pub fn heal(&self) {
        let mut disk = self.disk.lock();
        disk.faults.clear();
        disk.full.clear();
    }

    /// Cuts the power: what was synced is there, of the rest any part. All faults are gone.
    pub fn crash(&self, seed: u64) {
        let mut disk = self.disk.lock();
        let mut random = Random(seed);
        for file in &mut disk.files {
            file.crash(&mut random);
        }
        let pending = std::mem::take(&mut disk.pending);
        let keep_all = random.one_in(2);
        for change in pending {
            if keep_all || random.one_in(2) {
                disk.make_durable(&change);
            }
        }
        disk.names = disk.durable_names.clone();
        disk.faults.clear();
        disk.full.clear();
        disk.stopped = false;
    }

    /// Flips bits of a file, on the platter and in what programs see.
    pub fn flip(&self, name: &str, offset: usize, bits: u8) {
        let mut disk = self.disk.lock();
        if let Some(&at) = disk.names.get(name) {
            let file = &mut disk.files[at];
            for bytes in [&mut file.seen, &mut file.durable] {
                if let Some(byte) = bytes.get_mut(offset) {
                    *byte ^= bits;
                }
            }
        }
    }

    /// The contents of a file as programs see them.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let disk = self.disk.lock();
        Some(disk.files[*disk.names.get(name)?].seen.clone())
    }

    /// Puts a file there, durable, in place of one of that name.
    pub fn put(&self, name: &str, contents: &[u8]) {
        let mut disk = self.disk.lock();
        let at = disk.files.len();
        disk.files.push(FileState {
            seen: contents.to_vec(),
            durable: contents.to_vec(),
            dirty: BTreeSet::new(),
        });
        disk.names.insert(name.to_owned(), at);
        disk.durable_names.insert(name.to_owned(), at);
    }

    /// Takes a file away, durably.
    pub fn remove(&self, name: &str) {
        let mut disk = self.disk.lock();
        disk.names.remove(name);
        disk.durable_names.remove(name);
    }

    /// Sets what the file system says is free.
    pub fn set_free_bytes(&self, free: u64) {
        self.disk.lock().free_bytes = Some(free);
    }

    /// Whether the power was cut and is not back yet.
    pub fn has_stopped(&self) -> bool {
        self.disk.lock().stopped
    }

    /// How many bytes were read from files.
    pub fn bytes_read(&self) -> u64 {
        self.disk.lock().bytes_read
    }

    /// How many operations there were.
    pub fn operations(&self) -> u64 {
        self.disk.lock().operations
    }
}

impl Disk {
    /// Counts an operation. Some if it should not do what it is asked to.
    fn strike(&mut self, operation: Operation) -> Option<Fault> {
        self.operations += 1;
        if self.stopped {
            return Some(Fault::PowerCut);
        }
        let mut struck = None;
        for planned in &mut self.faults {
            if planned.operation.is_none_or(|of| of == operation) && struck.is_none() {
                if planned.countdown == 0 {
                    struck = Some(planned.fault);
                    planned.countdown = u64::MAX;
                } else {
                    planned.countdown -= 1;
                }
            }
        }
        match struck {
            Some(Fault::PowerCut) => self.stopped = true,
            Some(Fault::Full) => {
                self.full.insert(operation as u8);
            }
            _ if self.full.contains(&(operation as u8)) => return Some(Fault::Full),
            _ => {}
        }
        struck
    }

    /// Counts an operation that works or fails, nothing between.
    fn check(&mut self, operation: Operation) -> io::Result<()> {
        match self.strike(operation) {
            None | Some(Fault::Short) => Ok(()),
            Some(fault) => Err(error_of(fault)),
        }
    }

    fn file(&self, name: &str) -> io::Result<usize> {
        let at = self.names.get(name).copied();
        at.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// A change to a name that an earlier, lost change should have made is lost with it.
    fn make_durable(&mut self, change: &NameChange) {
        match change {
            NameChange::Create(name, at) => {
                self.durable_names.insert(name.clone(), *at);
            }
            NameChange::Rename(from, to) => {
                if let Some(at) = self.durable_names.remove(from) {
                    self.durable_names.insert(to.clone(), at);
                }
            }
            NameChange::Delete(name) => {
                self.durable_names.remove(name);
            }
        }
    }
}

fn error_of(fault: Fault) -> io::Error {
    match fault {
        Fault::Full => io::ErrorKind::StorageFull.into(),
        Fault::PowerCut => io::Error::other("the simulated machine has stopped"),
        Fault::Error | Fault::Short => io::Error::other("injected error"),
    }
}

impl FileState {
    /// Writes one sector, or its first bytes, to the platter.
    fn sync_sector(&mut self, sector: usize, bytes: usize) {
        let start = sector * SECTOR_BYTES;
        let end = (start + bytes.min(SECTOR_BYTES)).min(self.seen.len());
        if start < end {
            if self.durable.len() < end {
                self.durable.resize(end, 0);
            }
            self.durable[start..end].copy_from_slice(&self.seen[start..end]);
        }
    }

    /// Some sectors make it, some do not, some in part; so does the length.
    fn crash(&mut self, random: &mut Random) {
        let mode = random.below(4);
        if self.seen.len() > self.durable.len() && random.one_in(2) {
            self.durable.resize(self.seen.len(), 0);
        }
        for sector in std::mem::take(&mut self.dirty) {
            let bytes = match (mode, random.below(8)) {
                (0, _) | (3, 0..=3) => 0,
                (2, 0) | (3, 4) => random.below(SECTOR_BYTES),
                _ => SECTOR_BYTES,
            };
            self.sync_sector(sector, bytes);
        }
        self.seen.clone_from(&self.durable);
    }
}

impl Storage for SimulatedStorage {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut disk = self.disk.lock();
        disk.check(Operation::Read)?;
        Ok(disk.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let mut disk = self.disk.lock();
        disk.check(Operation::Allocate)?;
        if disk.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let at = disk.files.len();
        disk.files.push(FileState::default());
        disk.names.insert(name.to_owned(), at);
        disk.pending.push(NameChange::Create(name.to_owned(), at));
        Ok(self.handle(at))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let mut disk = self.disk.lock();
        disk.check(Operation::Read)?;
        Ok(self.handle(disk.file(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.check(Operation::Directory)?;
        let at = disk.file(from)?;
        disk.names.remove(from);
        disk.names.insert(to.to_owned(), at);
        let change = NameChange::Rename(from.to_owned(), to.to_owned());
        disk.pending.push(change);
        Ok(())
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.check(Operation::Directory)?;
        disk.file(name)?;
        disk.names.remove(name);
        disk.pending.push(NameChange::Delete(name.to_owned()));
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.check(Operation::Directory)?;
        for change in std::mem::take(&mut disk.pending) {
            disk.make_durable(&change);
        }
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let mut disk = self.disk.lock();
        disk.check(Operation::Read)?;
        Ok(disk.free_bytes.unwrap_or(u64::MAX))
    }
}

impl SimulatedStorage {
    fn handle(&self, at: usize) -> Box<dyn StorageFile> {
        Box::new(SimulatedFile {
            disk: self.disk.clone(),
            at,
        })
    }
}

struct SimulatedFile {
    disk: Arc<Mutex<Disk>>,
    at: usize,
}

impl StorageFile for SimulatedFile {
    fn byte_len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files[self.at].seen.len() as u64)
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.check(Operation::Allocate)?;
        let file = &mut disk.files[self.at];
        let len = usize::try_from(len).map_err(io::Error::other)?;
        if file.seen.len() < len {
            file.seen.resize(len, 0);
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.disk.lock();
        let taken = match disk.strike(Operation::Write) {
            None => bytes.len(),
            Some(Fault::Short) => 1 + disk.random.below(bytes.len()).min(bytes.len() - 1),
            Some(Fault::PowerCut) => {
                // The cache took some of it before everything stopped.
                let taken = disk.random.below(bytes.len());
                disk.files[self.at].write(offset, &bytes[..taken])?;
                return Err(error_of(Fault::PowerCut));
            }
            Some(fault) => return Err(error_of(fault)),
        };
        disk.files[self.at].write(offset, &bytes[..taken])?;
        Ok(taken)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut disk = self.disk.lock();
        let fault = disk.strike(Operation::Read);
        let short = fault == Some(Fault::Short);
        if let Some(fault) = fault.filter(|_| !short) {
            return Err(error_of(fault));
        }
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let there = disk.files[self.at].seen.get(offset..).unwrap_or_default();
        let mut count = there.len().min(bytes.len());
        if short && count > 1 {
            count /= 2;
        }
        bytes[..count].copy_from_slice(&there[..count]);
        disk.bytes_read += count as u64;
        Ok(count)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let fault = disk.strike(Operation::Sync);
        if fault == Some(Fault::PowerCut) {
            return Err(error_of(Fault::PowerCut));
        }
        let mut random = disk.random.clone();
        let file = &mut disk.files[self.at];
        let dirty = std::mem::take(&mut file.dirty);
        if file.durable.len() < file.seen.len() {
            file.durable.resize(file.seen.len(), 0);
        }
        for sector in dirty {
            if fault.is_none() || random.one_in(2) {
                file.sync_sector(sector, SECTOR_BYTES);
            }
        }
        disk.random = random;
        fault.map_or(Ok(()), |fault| Err(error_of(fault)))
    }
}

impl FileState {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let end = offset + bytes.len();
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        self.seen[offset..end].copy_from_slice(bytes);
        self.dirty
            .extend(offset / SECTOR_BYTES..=(end - 1) / SECTOR_BYTES);
        Ok(())
    }
}
