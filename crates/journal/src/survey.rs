//! What lies in a journal's directory, before anything is believed or changed.

use crate::error::{Action, At as _, Flaw, OpenError};
use crate::manifest::{self, Manifest, Slot};
use crate::segment::{self, BadHeader, HEADER_BYTES, SegmentHeader};
use crate::storage::{Storage, read_full_at};

/// A segment file with a valid header.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) header: SegmentHeader,
    /// Of the file.
    pub(crate) bytes: u64,
}

/// All files of a directory by their kind.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) slots: [Slot; 2],
    pub(crate) segment_ids: Vec<u64>,
    pub(crate) spares: Vec<String>,
    pub(crate) temporary: bool,
}

impl Survey {
    pub(crate) fn of(storage: &dyn Storage) -> Result<Self, OpenError> {
        let names = storage.list().at(Action::List, ".")?;
        let mut segment_ids: Vec<u64> = names
            .iter()
            .filter_map(|n| segment::segment_id(n))
            .collect();
        segment_ids.sort_unstable();
        let mut spares: Vec<String> = names
            .iter()
            .filter(|name| segment::spare_number(name).is_some())
            .cloned()
            .collect();
        spares.sort_unstable();
        Ok(Self {
            slots: manifest::read_slots(storage, &names)?,
            segment_ids,
            spares,
            temporary: names.iter().any(|name| name == manifest::TEMPORARY),
        })
    }

    /// The manifest that counts; none for a store that is yet to be made.
    pub(crate) fn manifest(&self) -> Result<Option<Manifest>, OpenError> {
        let newest = manifest::newest(&self.slots)?;
        let files = self.segment_ids.len() + self.spares.len();
        if newest.is_none() && files > 0 {
            return Err(OpenError::ManifestMissing { files });
        }
        Ok(newest)
    }

    /// The ids of the segments that make up the log, without a gap and all that the manifest needs.
    pub(crate) fn needed_ids(&self, manifest: &Manifest) -> Result<Vec<u64>, OpenError> {
        let needed: Vec<u64> = self
            .segment_ids
            .iter()
            .copied()
            .filter(|&id| id >= manifest.first_segment)
            .collect();
        let mut expected = manifest.first_segment;
        for &id in &needed {
            if id != expected {
                break;
            }
            expected += 1;
        }
        let highest = needed
            .last()
            .copied()
            .unwrap_or(0)
            .max(manifest.last_segment);
        if expected <= highest {
            return Err(OpenError::SegmentMissing {
                file: segment::segment_name(expected),
            });
        }
        Ok(needed)
    }
}

/// Reads a segment's header.
pub(crate) fn read_segment(
    storage: &dyn Storage,
    manifest: &Manifest,
    id: u64,
) -> Result<Segment, OpenError> {
    let name = segment::segment_name(id);
    let file = storage.open(&name).at(Action::Open, &name)?;
    let mut bytes = vec![0; HEADER_BYTES];
    let read = read_full_at(file.as_ref(), 0, &mut bytes).at(Action::Read, &name)?;
    let len = file.byte_len().at(Action::Read, &name)?;
    let damaged = |flaw| OpenError::Damaged {
        file: name.clone(),
        offset: 0,
        flaw,
    };
    let header = SegmentHeader::decode(&bytes[..read]).map_err(|bad| match bad {
        BadHeader::Flawed(flaw) => damaged(flaw),
        BadHeader::NeedsReader(needs) => OpenError::NewerFormat {
            file: name.clone(),
            needs,
        },
    })?;
    if header.id != id || header.store != manifest.store {
        return Err(damaged(Flaw::Foreign));
    }
    Ok(Segment {
        name,
        header,
        bytes: len,
    })
}

/// Reads all headers; each segment begins where the one before can have ended.
pub(crate) fn read_segments(
    storage: &dyn Storage,
    manifest: &Manifest,
    ids: &[u64],
) -> Result<Vec<Segment>, OpenError> {
    let mut segments: Vec<Segment> = Vec::with_capacity(ids.len());
    for &id in ids {
        let segment = read_segment(storage, manifest, id)?;
        if let Some(before) = segments.last() {
            let (before, link) = (before.header.link, segment.header.link);
            if link.sequence < before.sequence || link.index < before.index {
                return Err(OpenError::Damaged {
                    file: segment.name,
                    offset: 0,
                    flaw: Flaw::OutOfOrder,
                });
            }
        }
        segments.push(segment);
    }
    Ok(segments)
}
