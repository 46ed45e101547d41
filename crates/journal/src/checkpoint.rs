//! Checkpoints: records in their order, in a file that appears whole or not at all. The layout is in the crate's
//! documentation.
//!
//! # The owner's order
//! 1. At the start, [`Checkpoints::newest`], and all of its records. Damage is an error, and an older checkpoint is no way
//!    out: what that one refers to may be gone.
//! 2. [`CheckpointWriter::create`] with a number above that one, [`CheckpointWriter::push`] for each record. What the
//!    records refer to is made durable.
//! 3. [`CheckpointWriter::finish`]. From then on this is the newest one, whatever happens.
//! 4. [`Checkpoints::delete_older`], and giving back what only older ones refer to.

mod format;
mod reader;
mod writer;

use std::io;

use crate::error::{Action, At as _, Failure, OpenError};
use crate::options::StoreId;
use crate::storage::Storage;
use format::number_of;

pub use reader::CheckpointReader;
pub use writer::CheckpointWriter;

/// The checkpoints of a directory.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoints;

impl Checkpoints {
    /// The one with the highest number, to be read from its beginning. It has to be of that store; with None it may be of
    /// any, and [`CheckpointReader::store`] says of which.
    ///
    /// What is damaged is refused, here or while it is read, with file and offset.
    pub fn newest(
        storage: &dyn Storage,
        store: Option<StoreId>,
    ) -> Result<Option<CheckpointReader>, OpenError> {
        let names = storage.list().at(Action::List, ".")?;
        let newest = names.iter().filter_map(|name| number_of(name)).max();
        newest
            .map(|number| CheckpointReader::open(storage, store, number))
            .transpose()
    }

    /// Deletes those with lower numbers than a checkpoint that is finished.
    pub fn delete_older(storage: &dyn Storage, number: u64) -> Result<(), Failure> {
        for name in storage.list().at(Action::List, ".")? {
            if number_of(&name).is_some_and(|other| other < number) {
                match storage.delete(&name) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        Err(error).at(Action::Delete, &name)?;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
