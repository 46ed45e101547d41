//! What lies in a journal's directory, before anything is believed or changed.

use std::collections::BTreeMap;

use crate::error::{Action, At as _, Flaw, OpenError};
use crate::log::Index;
use crate::manifest::{self, Manifest, Slot};
use crate::segment::{
    self, BadHeader, HEADER_BYTES, KeptSegment, SegmentHeader, SegmentKind, SegmentRef,
};
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
    pub(crate) cold_ids: Vec<u64>,
    /// Cold segments whose making was cut off.
    pub(crate) copies: Vec<String>,
    pub(crate) spares: Vec<String>,
    pub(crate) temporary: bool,
}

impl Survey {
    pub(crate) fn of(storage: &dyn Storage) -> Result<Self, OpenError> {
        let names = storage.list().at(Action::List, ".")?;
        let ids = |id_of: fn(&str) -> Option<u64>| {
            let mut ids: Vec<u64> = names.iter().filter_map(|name| id_of(name)).collect();
            ids.sort_unstable();
            ids
        };
        let named = |number_of: fn(&str) -> Option<u64>| {
            let named = names.iter().filter(|name| number_of(name).is_some());
            let mut named: Vec<String> = named.cloned().collect();
            named.sort_unstable();
            named
        };
        Ok(Self {
            slots: manifest::read_slots(storage, &names)?,
            segment_ids: ids(segment::segment_id),
            cold_ids: ids(segment::cold_id),
            copies: named(segment::copy_id),
            spares: named(segment::spare_number),
            temporary: names.iter().any(|name| name == manifest::TEMPORARY),
        })
    }

    /// The manifest that counts; none for a store that is yet to be made.
    pub(crate) fn manifest(&self) -> Result<Option<Manifest>, OpenError> {
        let newest = manifest::newest(&self.slots)?;
        let files = self.segment_ids.len() + self.cold_ids.len() + self.spares.len();
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

impl Survey {
    /// Those of the owner's list that are not part of the chain. All have to be there.
    pub(crate) fn kept(
        &self,
        manifest: &Manifest,
        kept: &[KeptSegment],
    ) -> Result<BTreeMap<SegmentRef, Index>, OpenError> {
        let highest = self.segment_ids.last().copied().unwrap_or(0);
        let mut outside = BTreeMap::new();
        for &KeptSegment {
            segment: reference,
            end,
        } in kept
        {
            let there = match reference.kind {
                SegmentKind::Cold => self.cold_ids.binary_search(&reference.id).is_ok(),
                SegmentKind::Journal if reference.id >= manifest.first_segment => {
                    if reference.id <= highest {
                        continue;
                    }
                    false
                }
                SegmentKind::Journal => self.segment_ids.binary_search(&reference.id).is_ok(),
            };
            if !there {
                return Err(OpenError::SegmentMissing {
                    file: reference.file(),
                });
            }
            outside.insert(reference, end);
        }
        Ok(outside)
    }

    /// Files that hold nothing that is needed.
    pub(crate) fn leftovers(
        &self,
        manifest: &Manifest,
        kept: &BTreeMap<SegmentRef, Index>,
    ) -> Vec<String> {
        let of_kind = |kind, ids: &[u64]| {
            let all = ids.iter().map(move |&id| SegmentRef { kind, id });
            all.filter(|reference| !kept.contains_key(reference))
                .map(|reference| reference.file())
                .collect::<Vec<_>>()
        };
        let below = self
            .segment_ids
            .partition_point(|&id| id < manifest.first_segment);
        let mut files = of_kind(SegmentKind::Journal, &self.segment_ids[..below]);
        files.extend(of_kind(SegmentKind::Cold, &self.cold_ids));
        files.extend_from_slice(&self.copies);
        files.extend_from_slice(&self.spares);
        files
    }
}

/// Reads a segment's header.
pub(crate) fn read_segment(
    storage: &dyn Storage,
    manifest: &Manifest,
    reference: SegmentRef,
) -> Result<Segment, OpenError> {
    let name = reference.file();
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
    let own = header.id == reference.id && header.kind() == reference.kind;
    if !own || header.store != manifest.store {
        return Err(damaged(Flaw::Foreign));
    }
    if header.cold.is_some_and(|extent| extent.end > len) {
        return Err(damaged(Flaw::EndOfFile));
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
        let kind = SegmentKind::Journal;
        let segment = read_segment(storage, manifest, SegmentRef { kind, id })?;
        if let Some(before) = segments.last() {
            let (before, link) = (before.header.link, segment.header.link);
            // A frame has a record at least: both numbers rise, or neither does.
            let frames = link.sequence.cmp(&before.sequence);
            if frames.is_lt() || frames != link.index.cmp(&before.index) {
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
