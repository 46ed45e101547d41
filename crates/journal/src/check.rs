//! Looking at a journal without changing it: whether it is whole, and what it holds.

use std::collections::BTreeSet;

use crate::error::{Flaw, OpenError};
use crate::frame::{self, Link};
use crate::log::Index;
use crate::manifest::{Manifest, Slot};
use crate::options::StoreId;
use crate::reader::FrameReader;
use crate::recovery::find_end;
use crate::segment::HEADER_BYTES;
use crate::segmented::Cut;
use crate::storage::Storage;
use crate::survey::{Segment, Survey, read_segment};

/// What a journal holds, and what is wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Whose it is; none if there is no readable manifest.
    pub store: Option<StoreId>,
    /// Manifests that cannot be read although the file is there.
    pub unreadable_manifests: usize,
    /// The segments in order.
    pub segments: Vec<SegmentReport>,
    /// Files in reserve.
    pub spares: usize,
    /// Where the log would be cut when it is opened, if a write was under way when it ended. This is no problem: nothing
    /// behind it was committed.
    pub cut: Option<Cut>,
    /// Why the log could not be opened or read to its end.
    pub problems: Vec<OpenError>,
}

impl Report {
    /// Whether the log can be opened and read to its end.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    /// The first record; none if there are no records.
    pub fn first(&self) -> Option<Index> {
        let mut segments = self.segments.iter();
        segments.find(|s| s.records > 0).map(|s| s.first_index)
    }

    /// Records in all segments.
    pub fn records(&self) -> u64 {
        self.segments.iter().map(|s| s.records).sum()
    }
}

/// What a segment holds, as far as it can be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentReport {
    /// Its name.
    pub file: String,
    /// Its place among the segments; counted up for ever.
    pub id: u64,
    /// The index of its first record, or the one that it would have.
    pub first_index: Index,
    /// Batches.
    pub frames: u64,
    /// Records.
    pub records: u64,
    /// Where its frames end, bytes from the beginning of the file.
    pub end: u64,
    /// Length of the file in bytes.
    pub bytes: u64,
}

/// What [`dump`] comes across.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry<'a> {
    /// A batch.
    Frame {
        /// The segment's name.
        file: &'a str,
        /// Where it begins, bytes from the beginning of the file.
        offset: u64,
        /// Counted from 1.
        sequence: u64,
        /// The index of its first record.
        first: Index,
        /// Number of records.
        records: u32,
        /// Bytes of the frame.
        bytes: usize,
    },
    /// A record of the frame before.
    Record {
        /// Its index.
        index: Index,
        /// What was appended.
        record: &'a [u8],
    },
}

/// Reads the whole journal, all checksums included. It changes nothing, and an error is one of the system's.
pub fn check(storage: &dyn Storage) -> Result<Report, OpenError> {
    dump(storage, &mut |_| {})
}

/// Reads the whole journal and shows what it holds; goes on with the next segment behind damage.
pub fn dump(storage: &dyn Storage, visit: &mut dyn FnMut(Entry<'_>)) -> Result<Report, OpenError> {
    let mut report = Report::default();
    let Some((survey, manifest)) = note(manifest_of(storage, &mut report), &mut report)?.flatten()
    else {
        return Ok(report);
    };
    note(survey.needed_ids(&manifest), &mut report)?;
    let ids: BTreeSet<u64> = survey.segment_ids.into_iter().collect();
    let mut segments = Vec::new();
    for &id in ids.range(manifest.first_segment..) {
        let segment = read_segment(storage, &manifest, id);
        segments.extend(note(segment, &mut report)?);
    }
    for (at, segment) in segments.iter().enumerate() {
        let next = segments.get(at + 1).map(|next| next.header.link);
        read(storage, segment, next, &mut report, visit)?;
    }
    if let Some(last) = segments.last()
        && let Some(tail) = note(find_end(storage, last, &manifest), &mut report)?
        && tail.traces_end > tail.end
    {
        report.cut = Some(Cut {
            file: last.name.clone(),
            offset: tail.end,
        });
    }
    Ok(report)
}

fn manifest_of(
    storage: &dyn Storage,
    report: &mut Report,
) -> Result<Option<(Survey, Manifest)>, OpenError> {
    let survey = Survey::of(storage)?;
    let flawed = |slot: &&Slot| matches!(slot, Slot::Flawed(_));
    report.unreadable_manifests = survey.slots.iter().filter(flawed).count();
    report.spares = survey.spares.len();
    let manifest = survey.manifest()?;
    report.store = manifest.map(|manifest| manifest.store);
    Ok(manifest.map(|manifest| (survey, manifest)))
}

/// Problems of the journal go into the report, those of the system to the caller.
fn note<T>(result: Result<T, OpenError>, report: &mut Report) -> Result<Option<T>, OpenError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(OpenError::Io(failure)) => Err(failure.into()),
        Err(problem) => {
            report.problems.push(problem);
            Ok(None)
        }
    }
}

/// Reads one segment. Where it ends is judged by the next one's header; the last one is judged by [`find_end`].
fn read(
    storage: &dyn Storage,
    segment: &Segment,
    next: Option<Link>,
    report: &mut Report,
    visit: &mut dyn FnMut(Entry<'_>),
) -> Result<(), OpenError> {
    let mut reader = FrameReader::open(storage, segment)?;
    let mut link = segment.header.link;
    let mut here = SegmentReport {
        file: segment.name.clone(),
        id: segment.header.id,
        first_index: Index(link.index),
        frames: 0,
        records: 0,
        end: HEADER_BYTES as u64,
        bytes: segment.bytes,
    };
    let flaw = loop {
        let frame = match reader.frame_at(here.end)? {
            Ok(frame) if link.leads_to(&frame) => frame,
            Ok(_) => break Flaw::OutOfOrder,
            Err(flaw) => break flaw,
        };
        visit(Entry::Frame {
            file: &segment.name,
            offset: here.end,
            sequence: frame.sequence,
            first: Index(frame.first_index),
            records: frame.records,
            bytes: frame.bytes(),
        });
        for place in 0..frame.records {
            visit(Entry::Record {
                index: Index(frame.first_index + u64::from(place)),
                record: frame::record(reader.payload(), frame.records, place).unwrap_or_default(),
            });
        }
        here.frames += 1;
        here.records += u64::from(frame.records);
        here.end += frame.bytes() as u64;
        link = frame.link_behind();
    };
    if next.is_some_and(|next| next != link) {
        report.problems.push(OpenError::Damaged {
            file: segment.name.clone(),
            offset: here.end,
            flaw,
        });
    }
    report.segments.push(here);
    Ok(())
}
