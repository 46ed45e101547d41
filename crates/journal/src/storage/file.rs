//! The real disk.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::{Storage, StorageFile};
use crate::error::{Action, At as _, OpenError};

const LOCK: &str = "LOCK";
/// Files that are held open for nothing but to be closed when the process may open no more: connections must not take
/// the journal's.
const RESERVE_FILES: usize = 8;

/// A directory of the file system, locked for as long as this value lives.
#[derive(Debug)]
pub struct FileStorage {
    directory: PathBuf,
    lock: File,
    reserve: Mutex<Vec<File>>,
}

impl FileStorage {
    /// Locks a directory, which is made first if it is not there. [`OpenError::Locked`] if another process has it, or
    /// another value in this one.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let directory = directory.into();
        let shown = directory.display().to_string();
        make_durably(&directory).at(Action::Create, &shown)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(directory.join(LOCK))
            .at(Action::Open, LOCK)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { directory: shown }),
            Err(TryLockError::Error(error)) => Err(error).at(Action::Open, LOCK)?,
        }
        let storage = Self {
            directory,
            lock,
            reserve: Mutex::default(),
        };
        storage.refill();
        Ok(storage)
    }

    /// Opens something, with a file of the reserve if there is no other.
    fn with_a_file<T>(&self, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
        loop {
            match open() {
                Err(error) if is_out_of_files(&error) => {
                    let given_up = self.reserve.lock().pop();
                    if given_up.is_none() {
                        return Err(error);
                    }
                }
                result => {
                    self.refill();
                    return result;
                }
            }
        }
    }

    /// Fills the reserve as far as the system lets it.
    fn refill(&self) {
        let mut reserve = self.reserve.lock();
        while reserve.len() < RESERVE_FILES {
            let Ok(file) = self.lock.try_clone() else {
                break;
            };
            reserve.push(file);
        }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Makes a directory and those above it, and syncs each into the one that holds it.
fn make_durably(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = match directory.parent() {
        None => return Ok(()),
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
    };
    make_durably(parent)?;
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_directory(parent),
    }
}

/// Whether the process, or the system, has as many files open as it may.
fn is_out_of_files(error: &io::Error) -> bool {
    use rustix::io::Errno;

    let code = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE]
        .map(|e| Some(e.raw_os_error()))
        .contains(&code)
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

impl Storage for FileStorage {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in self.with_a_file(|| fs::read_dir(&self.directory))? {
            // A name that is not Unicode is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        let file = self.with_a_file(|| options.open(self.directory.join(name)))?;
        Ok(Box::new(DiskFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let file = self.with_a_file(|| options.open(self.directory.join(name)))?;
        Ok(Box::new(DiskFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.directory.join(from), self.directory.join(to))
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.directory.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.with_a_file(|| sync_directory(&self.directory))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        free_bytes(&self.directory)
    }
}

#[cfg(target_os = "linux")]
fn free_bytes(directory: &Path) -> io::Result<u64> {
    let system = rustix::fs::statvfs(directory)?;
    Ok(system.f_bavail.saturating_mul(system.f_frsize))
}

#[cfg(not(target_os = "linux"))]
#[allow(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
fn free_bytes(_: &Path) -> io::Result<u64> {
    Ok(u64::MAX)
}

struct DiskFile(File);

impl StorageFile for DiskFile {
    fn byte_len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        let present = self.byte_len()?;
        if present >= len || allocate(&self.0, len)? {
            return Ok(());
        }
        // Files that were written have their room on every file system.
        super::write_zeros(self, present, len)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Allocates blocks without writing them. False if the file system cannot.
#[cfg(target_os = "linux")]
fn allocate(file: &File, len: u64) -> io::Result<bool> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;

    loop {
        match fallocate(file, FallocateFlags::empty(), 0, len) {
            Ok(()) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
#[allow(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
fn allocate(_: &File, _: u64) -> io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_locked_once() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("a/b");
        let first = FileStorage::open(&directory).unwrap();
        assert!(matches!(
            FileStorage::open(&directory),
            Err(OpenError::Locked { .. })
        ));
        drop(first);
        assert_eq!(
            FileStorage::open(&directory).unwrap().list().unwrap(),
            [LOCK]
        );
    }

    #[test]
    fn preallocated_room_is_zeros_and_never_shortens() {
        let directory = tempfile::tempdir().unwrap();
        let storage = FileStorage::open(directory.path()).unwrap();
        let file = storage.create("f").unwrap();
        assert_eq!(file.write_at(0, b"abc").unwrap(), 3);
        file.preallocate(10_000).unwrap();
        file.preallocate(5_000).unwrap();
        assert_eq!(file.byte_len().unwrap(), 10_000);
        file.sync_data().unwrap();
        let mut bytes = [9; 5];
        assert_eq!(file.read_at(1, &mut bytes).unwrap(), 5);
        assert_eq!(bytes, *b"bc\0\0\0");
        assert_eq!(file.read_at(10_000, &mut bytes).unwrap(), 0);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_file_system_says_how_much_is_free() {
        let directory = tempfile::tempdir().unwrap();
        let storage = FileStorage::open(directory.path()).unwrap();
        let free = storage.free_bytes().unwrap();
        assert!(free > 0 && free < u64::MAX);
    }

    #[test]
    fn creating_refuses_a_name_that_is_taken_and_renaming_replaces() {
        let directory = tempfile::tempdir().unwrap();
        let storage = FileStorage::open(directory.path()).unwrap();
        storage.create("a").unwrap().write_at(0, b"a").unwrap();
        storage.create("b").unwrap();
        assert_eq!(
            storage.create("a").map(drop).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        storage.rename("a", "b").unwrap();
        storage.sync_dir().unwrap();
        assert_eq!(storage.open("b").unwrap().byte_len().unwrap(), 1);
        storage.delete("b").unwrap();
        assert_eq!(storage.list().unwrap(), [LOCK]);
    }
}
