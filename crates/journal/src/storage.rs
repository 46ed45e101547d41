//! The journal's directory, behind a trait, so that a simulated disk can stand in.

mod file;

use std::io;

pub use file::FileStorage;

/// One directory of files, owned by one journal.
pub trait Storage: Send + Sync {
    /// The names of all files, in any order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes an empty file. [`io::ErrorKind::AlreadyExists`] if there is one of that name. The name is durable after
    /// [`Storage::sync_dir`].
    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>>;

    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>>;

    /// Gives a file another name, at once or not at all; a file that has that name is deleted. Durable after
    /// [`Storage::sync_dir`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Deletes a file. Durable after [`Storage::sync_dir`].
    fn delete(&self, name: &str) -> io::Result<()>;

    /// Waits until all names are durable.
    fn sync_dir(&self) -> io::Result<()>;

    /// Bytes that are free on the file system, for who may not use what is kept for the administrator. `u64::MAX` if the
    /// system does not say.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// An open file.
pub trait StorageFile: Send + Sync {
    /// Bytes of the file.
    fn byte_len(&self) -> io::Result<u64>;

    /// Makes the file `len` bytes long, if it is shorter, with room on the disk for all of them; the new bytes are
    /// zeros. [`io::ErrorKind::StorageFull`] or [`io::ErrorKind::QuotaExceeded`] if there is no room.
    fn preallocate(&self, len: u64) -> io::Result<()>;

    /// Writes bytes at an offset and returns how many it were, which may be fewer than asked for.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Reads bytes at an offset and returns how many it were; 0 only at the end of the file.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize>;

    /// Waits until contents and length are on disk.
    fn sync_data(&self) -> io::Result<()>;
}

/// Writes all of the bytes.
pub(crate) fn write_all_at(
    file: &dyn StorageFile,
    mut offset: u64,
    mut bytes: &[u8],
) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(offset, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                bytes = &bytes[written..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills the buffer as far as the file reaches. Returns how far that is.
pub(crate) fn read_full_at(
    file: &dyn StorageFile,
    offset: u64,
    buffer: &mut [u8],
) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(offset + filled as u64, &mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes zeros from `from` up to `to`.
pub(crate) fn write_zeros(file: &dyn StorageFile, from: u64, to: u64) -> io::Result<()> {
    const CHUNK_BYTES: usize = 256 * 1024;
    let zeros =
        vec![0; CHUNK_BYTES.min(usize::try_from(to.saturating_sub(from)).unwrap_or(CHUNK_BYTES))];
    let mut offset = from;
    while offset < to {
        let left = usize::try_from(to - offset).unwrap_or(CHUNK_BYTES);
        let chunk = &zeros[..left.min(zeros.len())];
        write_all_at(file, offset, chunk)?;
        offset += chunk.len() as u64;
    }
    Ok(())
}

/// Whether an error means that the disk, or the quota, is used up.
pub fn is_out_of_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
