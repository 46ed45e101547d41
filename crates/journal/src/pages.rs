//! Pages: blobs of bytes that are written once, found by their place, and given back file by file.
//!
//! They hold what the owner has elsewhere as well, or can do without, until a checkpoint refers to them: writing a page
//! waits for nothing, and [`PageStore::sync`] makes all of them durable at once. The layout is in the crate's
//! documentation.
//!
//! # The owner's order
//! 1. [`PageStore::open`] with the files that the newest checkpoint refers to, then [`PageStore::restore`] for every page
//!    in it. (An owner that learns only from the checkpoint's records which files those are takes
//!    [`PageStore::open_all`], and calls [`PageStore::retire`] when it knows.)
//! 2. [`PageStore::write`], [`PageStore::read`] and [`PageStore::free`] as it likes.
//! 3. For a checkpoint: note its places, [`PageStore::sync`], finish the checkpoint, and only then
//!    [`PageStore::retire`] with the files that it refers to.
//!
//! Between the moment when the first place is noted for a checkpoint and the end of that checkpoint, `retire` has to be
//! told of the files of both, the newest and the one that is being made.

mod files;
mod format;
pub(crate) mod header;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::{Action, At as _, Failure, Flaw, OpenError, ReadFlaw};
use crate::options::StoreId;
use crate::storage::{Storage, is_out_of_room, read_full_at};
use files::{Files, Handle, Stage};
use format::{
    PAGE_BYTES_MAX, PAGE_HEADER_BYTES, aligned, check_header, check_payload, file_header, name_of,
    number_of, page_header, room_of,
};
use header::HEADER_BYTES;

/// So many files that wait for a sync are held open; a write that would make it one more syncs them.
const UNSYNCED_FILES_MAX: usize = 32;

/// Where a page lies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// The file's number.
    pub file: u32,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// Bytes of the page, as they were given to [`PageStore::write`].
    pub bytes: u32,
}

impl Place {
    /// Where the page's payload ends.
    fn end(self) -> u64 {
        self.offset
            .saturating_add(PAGE_HEADER_BYTES as u64)
            .saturating_add(u64::from(self.bytes))
    }
}

/// How to keep pages.
#[derive(Clone, Copy, Debug)]
pub struct PageOptions {
    /// A file takes pages as long as it has not more bytes than this; a larger page gets one of its own. Default 64 MiB.
    pub file_bytes: u64,
    /// Files that are kept open for reading, at least 1. Default 64.
    pub open_files_max: usize,
}

impl Default for PageOptions {
    fn default() -> Self {
        Self {
            file_bytes: 64 * 1024 * 1024,
            open_files_max: 64,
        }
    }
}

/// Whether pages are wanted after the end of the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lifetime {
    Store,
    Process,
}

/// The page files of a directory.
///
/// Pages are read on any thread, while others are written. Three locks: one for who writes a page, one for who syncs,
/// both held while files are written or synced; and one around the tables of files, taken inside either, held for memory
/// work only. Readers, [`PageStore::free`] and the like take only the last.
pub struct PageStore {
    storage: Arc<dyn Storage>,
    store: StoreId,
    file_bytes: u64,
    lifetime: Lifetime,
    writer: Mutex<Writer>,
    syncing: Mutex<()>,
    files: Mutex<Files>,
}

struct Writer {
    current: Option<Current>,
    /// None when all numbers are used up.
    next: Option<u32>,
}

/// The file that grows.
struct Current {
    number: u32,
    file: Handle,
    /// Where the next page goes. No byte below is written again. 0 as long as the header is not there.
    end: u64,
}

impl PageStore {
    /// Opens the page files of a directory; no page counts as alive until [`PageStore::restore`] says so.
    ///
    /// `in_use` are the files that the newest checkpoint refers to. They have to be there, with sound headers. The others
    /// hold what was written after that checkpoint, which nobody refers to: they are deleted (but for the one with the
    /// highest number, which [`PageStore::retire`] deletes when there is a higher one, so that no number is used twice).
    ///
    /// With None nothing is in use, ever: all files are deleted, and [`PageStore::sync`] has nothing to do. That is a
    /// store for pages that do not outlive the process.
    pub fn open(
        storage: Arc<dyn Storage>,
        store: StoreId,
        options: PageOptions,
        in_use: Option<&BTreeSet<u32>>,
    ) -> Result<Self, OpenError> {
        let mut pages = Self::open_all(storage, store, options)?;
        let found = pages.files.lock().numbers();
        let Some(in_use) = in_use else {
            pages.lifetime = Lifetime::Process;
            found.iter().try_for_each(|number| pages.delete(*number))?;
            return Ok(pages);
        };
        for &number in in_use {
            let name = name_of(number);
            if !found.contains(&number) {
                return Err(OpenError::SegmentMissing { file: name });
            }
            let file = pages.storage.open(&name).at(Action::Open, &name)?;
            pages.check_file(number, file.as_ref())?;
        }
        pages.retire(in_use)?;
        Ok(pages)
    }

    /// The same for an owner that does not know yet which files are in use: nothing is deleted before the first
    /// [`PageStore::retire`], and files that are damaged or missing show when a page in them is read.
    pub fn open_all(
        storage: Arc<dyn Storage>,
        store: StoreId,
        options: PageOptions,
    ) -> Result<Self, OpenError> {
        let mut files = Files::new(options.open_files_max);
        for name in storage.list().at(Action::List, ".")? {
            if let Some(number) = number_of(&name) {
                let file = storage.open(&name).at(Action::Open, &name)?;
                let bytes = file.byte_len().at(Action::Read, &name)?;
                files.add(number, Stage::Sealed, bytes);
            }
        }
        let next = files
            .highest()
            .map_or(Some(1), |highest| highest.checked_add(1));
        Ok(Self {
            storage,
            store,
            file_bytes: options.file_bytes,
            lifetime: Lifetime::Store,
            writer: Mutex::new(Writer {
                current: None,
                next,
            }),
            syncing: Mutex::new(()),
            files: Mutex::new(files),
        })
    }

    /// Writes a page of at most 1 GiB, which counts as alive. It is durable after the next [`PageStore::sync`].
    ///
    /// A failure leaves everything else as it was. If there is no room ([`crate::is_out_of_room`] of the failure's
    /// error), the caller keeps the page in memory and may try again.
    pub fn write(&self, payload: &[u8]) -> Result<Place, Failure> {
        let mut writer = self.writer.lock();
        let bytes = u32::try_from(payload.len())
            .ok()
            .filter(|&bytes| bytes <= PAGE_BYTES_MAX)
            .ok_or_else(|| io::ErrorKind::InvalidInput.into())
            .at(Action::Write, "a page")?;
        self.files.lock().check()?;
        if let Some(current) = &writer.current
            && current.end > HEADER_BYTES as u64
            && current.end + room_of(bytes) > self.file_bytes
        {
            self.seal(&mut writer);
        }
        let mut current = match writer.current.take() {
            Some(current) => current,
            None => self.begin_file(&mut writer)?,
        };
        let written = self.append(&mut current, payload, bytes);
        let number = current.number;
        {
            let mut files = self.files.lock();
            files.grew(number, current.end);
            if self.lifetime == Lifetime::Store {
                files.wrote(number, &current.file);
            }
            if let Ok(place) = written {
                files.count(place);
            }
        }
        writer.current = Some(current);
        if let Err(failure) = &written
            && !is_out_of_room(&failure.error)
        {
            // What lies behind the last page is anybody's guess.
            self.seal(&mut writer);
        }
        written
    }

    /// Lets the file that grows be.
    fn seal(&self, writer: &mut Writer) {
        if let Some(current) = writer.current.take() {
            self.files.lock().seal(current.number);
        }
    }

    fn begin_file(&self, writer: &mut Writer) -> Result<Current, Failure> {
        if self.files.lock().unsynced_files() >= UNSYNCED_FILES_MAX {
            self.sync()?;
        }
        let number = writer
            .next
            .ok_or_else(|| io::Error::other("all numbers of page files are used up"))
            .at(Action::Create, "a page file")?;
        let name = name_of(number);
        let file = self.storage.create(&name).at(Action::Create, &name)?;
        let file = Handle::from(file);
        writer.next = number.checked_add(1);
        let mut files = self.files.lock();
        files.add(number, Stage::Growing, 0);
        files.keep_open(number, file.clone());
        if self.lifetime == Lifetime::Store {
            files.made_name();
        }
        Ok(Current {
            number,
            file,
            end: 0,
        })
    }

    /// Writes a page behind the others. Whatever comes of it, no byte that was written is written again, so that a place
    /// never has two pages of which a crash could bring back the wrong one.
    fn append(&self, current: &mut Current, payload: &[u8], bytes: u32) -> Result<Place, Failure> {
        let name = name_of(current.number);
        let header = file_header(self.store, current.number);
        if current.end == 0 {
            // After a write that was cut off: the same bytes once more.
            crate::storage::write_all_at(current.file.as_ref(), 0, &header.encode())
                .at(Action::Write, &name)?;
            current.end = HEADER_BYTES as u64;
        }
        let place = Place {
            file: current.number,
            offset: current.end,
            bytes,
        };
        let page_header = page_header(place, payload, header.signature());
        let mut end = place.offset;
        let written = write_counted(current, &mut end, &page_header)
            .and_then(|()| write_counted(current, &mut end, payload));
        current.end = aligned(end);
        written.at(Action::Write, &name)?;
        Ok(place)
    }

    /// Reads a page into `out`, in place of what that holds. What is not what was written is a flaw of this page. The
    /// call as a whole fails only if the system has no file handle to give.
    ///
    /// A page that was freed may be gone; then its file is [`ReadFlaw::Unreadable`], with [`io::ErrorKind::NotFound`].
    pub fn read(&self, place: Place, out: &mut Vec<u8>) -> Result<Result<(), ReadFlaw>, Failure> {
        out.clear();
        let name = name_of(place.file);
        let result = match self.file(place, &name) {
            Ok(Ok(file)) => self.read_from(&file, &name, place, out),
            Ok(Err(flaw)) => Err(flaw),
            Err(failure) if failure.error.kind() == io::ErrorKind::NotFound => {
                Err(ReadFlaw::Unreadable { offset: 0, failure })
            }
            Err(failure) => return Err(failure),
        };
        if result.is_err() {
            out.clear();
        }
        Ok(result)
    }

    fn read_from(
        &self,
        file: &Handle,
        name: &str,
        place: Place,
        out: &mut Vec<u8>,
    ) -> Result<(), ReadFlaw> {
        let offset = place.offset;
        let unreadable = |failure| ReadFlaw::Unreadable { offset, failure };
        let damaged = |flaw| ReadFlaw::Damaged {
            file: name.to_owned(),
            offset,
            flaw,
        };
        let signature = file_header(self.store, place.file).signature();
        let mut header = [0; PAGE_HEADER_BYTES];
        let read = read_full_at(file.as_ref(), offset, &mut header)
            .at(Action::Read, name)
            .map_err(unreadable)?;
        let crc = check_header(&header[..read], place, signature).map_err(damaged)?;
        out.resize(usize::try_from(place.bytes).unwrap_or(usize::MAX), 0);
        let begin = offset.saturating_add(PAGE_HEADER_BYTES as u64);
        let read = read_full_at(file.as_ref(), begin, out)
            .at(Action::Read, name)
            .map_err(unreadable)?;
        check_payload(&out[..read], place, crc, signature).map_err(damaged)
    }

    /// The file that a place is in, open for reading. The header is looked at when it is opened.
    fn file(&self, place: Place, name: &str) -> Result<Result<Handle, ReadFlaw>, Failure> {
        let damaged = |offset, flaw| ReadFlaw::Damaged {
            file: name.to_owned(),
            offset,
            flaw,
        };
        let opened = {
            let mut files = self.files.lock();
            let Some(bytes) = files.byte_len(place.file) else {
                return Err(io::ErrorKind::NotFound.into()).at(Action::Open, name);
            };
            if place.end() > bytes {
                // Nothing is read into memory that the file has not.
                return Ok(Err(damaged(place.offset, Flaw::Length)));
            }
            files.opened(place.file)
        };
        if let Some(file) = opened {
            return Ok(Ok(file));
        }
        let file = Handle::from(self.storage.open(name).at(Action::Open, name)?);
        let offset = 0;
        match self.check_file(place.file, file.as_ref()) {
            Ok(()) => {}
            Err(OpenError::Io(failure)) => {
                return Ok(Err(ReadFlaw::Unreadable { offset, failure }));
            }
            Err(OpenError::Damaged { flaw, .. }) => return Ok(Err(damaged(offset, flaw))),
            // Of a later version.
            Err(_) => return Ok(Err(damaged(offset, Flaw::Unknown))),
        }
        self.files.lock().keep_open(place.file, file.clone());
        Ok(Ok(file))
    }

    /// Whether a file's header is what it should be.
    fn check_file(
        &self,
        number: u32,
        file: &dyn crate::storage::StorageFile,
    ) -> Result<(), OpenError> {
        let name = name_of(number);
        let mut bytes = [0; HEADER_BYTES];
        let read = read_full_at(file, 0, &mut bytes).at(Action::Read, &name)?;
        file_header(self.store, number).check(&bytes[..read], &name)
    }

    /// Nothing in memory refers to the page any more. A checkpoint may.
    pub fn free(&self, place: Place) {
        self.files.lock().free(place);
    }

    /// A checkpoint that was read refers to the page: it counts as alive, as if it had been written just now. A file that
    /// is not there shows when the page is read.
    pub fn restore(&self, place: Place) {
        self.files.lock().count(place);
    }

    /// Waits until every page whose writing has ended is on disk, and so are the names of the files. Calls wait for one
    /// another.
    ///
    /// A failure is for ever: the system may have dropped what it should have written and takes it for clean, so every
    /// later sync and write fails with it too. Reading goes on.
    pub fn sync(&self) -> Result<(), Failure> {
        let _one_at_a_time = self.syncing.lock();
        let unsynced = {
            let mut files = self.files.lock();
            files.check()?;
            files.take_unsynced()
        };
        let synced = self.sync_all(&unsynced);
        if let Err(failure) = &synced {
            self.files.lock().fail(failure.clone());
        }
        synced
    }

    fn sync_all(&self, unsynced: &files::Unsynced) -> Result<(), Failure> {
        for (&number, file) in &unsynced.files {
            file.sync_data().at(Action::Sync, &name_of(number))?;
        }
        if unsynced.names {
            self.storage.sync_dir().at(Action::Sync, ".")?;
        }
        Ok(())
    }

    /// Deletes files that no page is added to any more, in which none is alive, and that are not among `in_checkpoint`:
    /// the files that the newest checkpoint refers to, which is durable.
    ///
    /// A failure leaves the rest for the next time.
    pub fn retire(&self, in_checkpoint: &BTreeSet<u32>) -> Result<(), Failure> {
        let dead = self.files.lock().dead(in_checkpoint);
        dead.into_iter().try_for_each(|number| self.delete(number))
    }

    fn delete(&self, number: u32) -> Result<(), Failure> {
        let name = name_of(number);
        match self.storage.delete(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).at(Action::Delete, &name)
            }
            _ => {
                self.files.lock().forget(number);
                Ok(())
            }
        }
    }

    /// Files that no page is added to any more and of whose bytes less than `percent` are alive, but some: whose pages
    /// are worth to be moved.
    pub fn sparse(&self, percent: u8) -> Vec<u32> {
        self.files.lock().sparse(percent)
    }

    /// Bytes of all files.
    pub fn bytes_on_disk(&self) -> u64 {
        self.files.lock().bytes()
    }

    /// Bytes that the pages that are alive take in their files.
    pub fn live_bytes(&self) -> u64 {
        self.files.lock().live_bytes()
    }
}

/// Writes all of the bytes at `end`, which moves as far as something was written.
fn write_counted(current: &Current, end: &mut u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match current.file.write_at(*end, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                *end += written as u64;
                bytes = &bytes[written..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
