//! Reading a checkpoint.

use super::format::{
    BLOCK_HEADER_BYTES, Block, Kind, Link, Totals, decode_end, decode_file_header, file_header,
    name_of, split_record,
};
use crate::error::{Action, At as _, Flaw, OpenError};
use crate::options::StoreId;
use crate::pages::header::HEADER_BYTES;
use crate::storage::{Storage, StorageFile, read_full_at};

/// A checkpoint that is being read, block by block. Each block is checked as a whole before a record of it is returned.
pub struct CheckpointReader {
    file: Box<dyn StorageFile>,
    name: String,
    store: StoreId,
    number: u64,
    signature: u32,
    byte_len: u64,
    /// Where the next block begins.
    offset: u64,
    link: Link,
    totals: Totals,
    payload: Vec<u8>,
    /// Where the next record begins in the payload.
    at: usize,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Records,
    Ended,
}

impl CheckpointReader {
    pub(super) fn open(
        storage: &dyn Storage,
        store: Option<StoreId>,
        number: u64,
    ) -> Result<Self, OpenError> {
        let name = name_of(number);
        let file = storage.open(&name).at(Action::Open, &name)?;
        let byte_len = file.byte_len().at(Action::Read, &name)?;
        let mut bytes = [0; HEADER_BYTES];
        let read = read_full_at(file.as_ref(), 0, &mut bytes).at(Action::Read, &name)?;
        let found = decode_file_header(&bytes[..read], &name)?;
        let wanted = file_header(store.unwrap_or(found.store), number);
        if found != wanted {
            return Err(OpenError::Damaged {
                file: name,
                offset: 0,
                flaw: Flaw::Foreign,
            });
        }
        Ok(Self {
            file,
            name,
            store: found.store,
            number,
            signature: found.signature(),
            byte_len,
            offset: HEADER_BYTES as u64,
            link: Link::START,
            totals: Totals::default(),
            payload: Vec::new(),
            at: 0,
            stage: Stage::Records,
        })
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whose it is.
    pub fn store(&self) -> StoreId {
        self.store
    }

    /// Bytes of the file.
    pub fn byte_len(&self) -> u64 {
        self.byte_len
    }

    /// The next record. None behind the last one, when it is certain that it was the last: an owner that has not seen
    /// None believes nothing of what it has read.
    pub fn next_record(&mut self) -> Result<Option<&[u8]>, OpenError> {
        while self.at == self.payload.len() {
            if self.stage == Stage::Ended {
                return Ok(None);
            }
            self.payload.clear();
            self.at = 0;
            if let Err(error) = self.next_block() {
                self.payload.clear();
                return Err(error);
            }
        }
        // Blocks are checked before they get here, so there is a record.
        let before = self.payload.len();
        let Some((record, rest)) = split_record(&self.payload[self.at..]) else {
            return Err(self.damaged(Flaw::Records));
        };
        self.at = before - rest.len();
        self.totals.add(record);
        Ok(Some(record))
    }

    fn damaged(&self, flaw: Flaw) -> OpenError {
        OpenError::Damaged {
            file: self.name.clone(),
            offset: self.offset,
            flaw,
        }
    }

    /// Reads the next block's records, or finds that there are no more.
    fn next_block(&mut self) -> Result<(), OpenError> {
        let mut header = [0; BLOCK_HEADER_BYTES];
        let read = read_full_at(self.file.as_ref(), self.offset, &mut header)
            .at(Action::Read, &self.name)?;
        let block = Block::decode(&header[..read], self.link, self.signature)
            .map_err(|flaw| self.damaged(flaw))?;
        let end = self.offset + block.bytes();
        if end > self.byte_len {
            // Nothing is read into memory that the file has not.
            return Err(self.damaged(Flaw::Length));
        }
        self.payload.resize(block.payload_bytes, 0);
        let begin = self.offset + BLOCK_HEADER_BYTES as u64;
        let read = read_full_at(self.file.as_ref(), begin, &mut self.payload)
            .at(Action::Read, &self.name)?;
        block
            .check_payload(&self.payload[..read], self.signature)
            .map_err(|flaw| self.damaged(flaw))?;
        if block.kind == Kind::End {
            let is_complete =
                decode_end(&self.payload) == Some(self.totals) && end == self.byte_len;
            if !is_complete {
                return Err(self.damaged(Flaw::Records));
            }
            self.payload.clear();
            self.stage = Stage::Ended;
        }
        self.offset = end;
        self.link = block.link_behind();
        Ok(())
    }
}
