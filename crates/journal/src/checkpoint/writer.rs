//! Writing a checkpoint.

use std::io;
use std::sync::Arc;

use super::format::{
    BLOCK_HEADER_BYTES, Kind, LENGTH_BYTES, Link, PAYLOAD_BYTES_MAX, TEMPORARY, Totals, encode_end,
    file_header, name_of, seal,
};
use crate::error::{Action, At as _, Failure};
use crate::options::StoreId;
use crate::pages::header::HEADER_BYTES;
use crate::storage::{Storage, StorageFile, write_all_at};

/// A block is written when one record more would make it larger than this; a larger record has a block of its own.
pub(super) const BLOCK_BYTES: usize = 256 * 1024;

/// A checkpoint that is being written. There is one at a time in a directory.
///
/// It holds one block in memory. Dropped before it is finished, it deletes what it has written, if it can; if not, the
/// next one does.
pub struct CheckpointWriter {
    storage: Arc<dyn Storage>,
    file: Box<dyn StorageFile>,
    number: u64,
    signature: u32,
    /// Where the next block goes.
    offset: u64,
    link: Link,
    totals: Totals,
    /// Room for a header, and records with their lengths.
    block: Vec<u8>,
    block_records: u32,
    /// What went wrong: then nothing can be made of it any more.
    failed: Option<Failure>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Unnamed,
    Named,
}

impl CheckpointWriter {
    /// Begins a checkpoint. Its number is higher than that of every other in the directory.
    pub fn create(storage: Arc<dyn Storage>, store: StoreId, number: u64) -> Result<Self, Failure> {
        match storage.delete(TEMPORARY) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).at(Action::Delete, TEMPORARY)?;
            }
            _ => {}
        }
        let file = storage.create(TEMPORARY).at(Action::Create, TEMPORARY)?;
        let header = file_header(store, number);
        let writer = Self {
            storage,
            file,
            number,
            signature: header.signature(),
            offset: HEADER_BYTES as u64,
            link: Link::START,
            totals: Totals::default(),
            block: vec![0; BLOCK_HEADER_BYTES],
            block_records: 0,
            failed: None,
            stage: Stage::Unnamed,
        };
        write_all_at(writer.file.as_ref(), 0, &header.encode()).at(Action::Write, TEMPORARY)?;
        Ok(writer)
    }

    /// Adds a record, which has less than 1 GiB.
    ///
    /// After a failure every call returns it: nothing can be made of this checkpoint any more.
    pub fn push(&mut self, record: &[u8]) -> Result<(), Failure> {
        self.attempt(|writer| writer.add(record))
    }

    /// Puts the last bytes on disk and gives the checkpoint its name. Returns its length in bytes.
    ///
    /// After a failure it may be there or not, whole in either case; a start decides.
    pub fn finish(mut self) -> Result<u64, Failure> {
        self.attempt(Self::complete)?;
        Ok(self.offset)
    }

    /// Bytes written so far, those in memory included.
    pub fn byte_len(&self) -> u64 {
        self.offset + self.block.len() as u64 - BLOCK_HEADER_BYTES as u64
    }

    fn attempt(
        &mut self,
        action: impl FnOnce(&mut Self) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if let Some(failure) = &self.failed {
            return Err(failure.clone());
        }
        let result = action(self);
        if let Err(failure) = &result {
            self.failed = Some(failure.clone());
        }
        result
    }

    fn add(&mut self, record: &[u8]) -> Result<(), Failure> {
        let needed = LENGTH_BYTES.saturating_add(record.len());
        let length = u32::try_from(record.len())
            .ok()
            .filter(|_| needed <= PAYLOAD_BYTES_MAX)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
            .at(Action::Write, TEMPORARY)?;
        if self.block.len() + needed > BLOCK_BYTES {
            self.flush()?;
        }
        self.block.extend_from_slice(&length.to_le_bytes());
        self.block.extend_from_slice(record);
        self.block_records += 1;
        self.totals.add(record);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.block_records == 0 {
            return Ok(());
        }
        let kind = Kind::Records(self.block_records);
        self.block_records = 0;
        self.write(kind)
    }

    /// Writes the block.
    fn write(&mut self, kind: Kind) -> Result<(), Failure> {
        self.link = seal(&mut self.block, kind, self.link, self.signature);
        write_all_at(self.file.as_ref(), self.offset, &self.block).at(Action::Write, TEMPORARY)?;
        self.offset += self.block.len() as u64;
        self.block.truncate(BLOCK_HEADER_BYTES);
        self.block.shrink_to(BLOCK_BYTES);
        Ok(())
    }

    fn complete(&mut self) -> Result<(), Failure> {
        self.flush()?;
        self.block.extend_from_slice(&encode_end(self.totals));
        self.write(Kind::End)?;
        self.file.sync_data().at(Action::Sync, TEMPORARY)?;
        // The temporary name has to mean this file on the disk too, not one that was given up earlier: a crash may leave
        // the renaming and nothing else.
        self.storage.sync_dir().at(Action::Sync, ".")?;
        let name = name_of(self.number);
        self.storage
            .rename(TEMPORARY, &name)
            .at(Action::Rename, &name)?;
        self.stage = Stage::Named;
        self.storage.sync_dir().at(Action::Sync, ".")
    }
}

impl Drop for CheckpointWriter {
    fn drop(&mut self) {
        if self.stage == Stage::Unnamed {
            // A full disk needs the room; what cannot be deleted now is by the next one.
            let _ = self.storage.delete(TEMPORARY);
        }
    }
}
