//! Looking at a journal without changing it: whether it is whole, and what it holds.

use crate::error::{Flaw, OpenError};
use crate::frame::{self, FrameHeader, Link};
use crate::log::Index;
use crate::manifest::{Manifest, Slot};
use crate::options::StoreId;
use crate::reader::FrameReader;
use crate::recovery::find_end;
use crate::segment::{Extent, HEADER_BYTES, SegmentKind, SegmentRef};
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
    /// The segments of the chain, in order: what a start can replay.
    pub segments: Vec<SegmentReport>,
    /// The segments before them. Which of them are needed, only the owner knows.
    pub kept: Vec<SegmentReport>,
    /// The cold segments.
    pub cold: Vec<SegmentReport>,
    /// Files in reserve.
    pub spares: usize,
    /// Where the log would be cut when it is opened, if a write was under way when it ended. This is no problem: nothing
    /// behind it was committed.
    pub cut: Option<Cut>,
    /// Why the log could not be opened or read to its end.
    pub problems: Vec<OpenError>,
    /// What is wrong with kept and cold segments. If the header is damaged and the owner needs the segment, the log cannot
    /// be opened; if it is a frame, its records cannot be read.
    pub kept_problems: Vec<OpenError>,
}

impl Report {
    /// Whether the log can be opened and read to its end; what is kept besides may be damaged all the same.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    /// The first record of the chain; none if it holds no records.
    pub fn first(&self) -> Option<Index> {
        let mut segments = self.segments.iter();
        segments.find(|s| s.records > 0).map(|s| s.first_index)
    }

    /// Records in all segments of the chain.
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
    read_kept(storage, &survey, &manifest, &mut report, visit)?;
    note(survey.needed_ids(&manifest), &mut report)?;
    let mut segments = Vec::new();
    for &id in survey
        .segment_ids
        .iter()
        .filter(|&&id| id >= manifest.first_segment)
    {
        let kind = SegmentKind::Journal;
        let segment = read_segment(storage, &manifest, SegmentRef { kind, id });
        segments.extend(note(segment, &mut report)?);
    }
    for (at, segment) in segments.iter().enumerate() {
        let next = segments.get(at + 1).map(|next| next.header.link);
        let here = read(storage, segment, visit)?;
        report.problems.extend(here.problem(next));
        report.segments.push(here.report);
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

/// Reads what is not part of the chain.
fn read_kept(
    storage: &dyn Storage,
    survey: &Survey,
    manifest: &Manifest,
    report: &mut Report,
    visit: &mut dyn FnMut(Entry<'_>),
) -> Result<(), OpenError> {
    let of_kind = |kind, id| SegmentRef { kind, id };
    let below = survey
        .segment_ids
        .iter()
        .filter(|&&id| id < manifest.first_segment);
    let below = below.map(|&id| of_kind(SegmentKind::Journal, id));
    let cold = survey
        .cold_ids
        .iter()
        .map(|&id| of_kind(SegmentKind::Cold, id));
    for reference in below.chain(cold) {
        let segment = match read_segment(storage, manifest, reference) {
            Ok(segment) => segment,
            Err(OpenError::Io(failure)) => return Err(failure.into()),
            Err(problem) => {
                report.kept_problems.push(problem);
                continue;
            }
        };
        let next = of_kind(SegmentKind::Journal, reference.id.saturating_add(1));
        let next = match reference.kind {
            SegmentKind::Journal if survey.segment_ids.binary_search(&next.id).is_ok() => {
                read_segment(storage, manifest, next).ok()
            }
            _ => None,
        };
        let here = read(storage, &segment, visit)?;
        let problem = here.problem(next.map(|next| next.header.link));
        report.kept_problems.extend(problem);
        let here = here.report;
        match reference.kind {
            SegmentKind::Journal => report.kept.push(here),
            SegmentKind::Cold => report.cold.push(here),
        }
    }
    Ok(())
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

/// A segment that was read, up to its end or the first damage.
pub(crate) struct SegmentRead {
    pub(crate) report: SegmentReport,
    /// Where the log stands there.
    pub(crate) link: Link,
    /// Why it goes no further.
    flaw: Flaw,
    cold: Option<Extent>,
}

impl SegmentRead {
    /// Whether it ends where it should: by the next one's header, or its own if it is cold. The last of the chain is judged
    /// by [`find_end`].
    fn problem(&self, next: Option<Link>) -> Option<OpenError> {
        let here = &self.report;
        let is_whole = match self.cold {
            None => next.is_none_or(|next| next == self.link),
            Some(extent) => {
                extent
                    == Extent {
                        index_behind: self.link.index,
                        frames: here.frames,
                        records: here.records,
                        end: here.end,
                    }
            }
        };
        (!is_whole).then(|| OpenError::Damaged {
            file: here.file.clone(),
            offset: here.end,
            flaw: self.flaw,
        })
    }
}

/// Reads one segment.
pub(crate) fn read(
    storage: &dyn Storage,
    segment: &Segment,
    visit: &mut dyn FnMut(Entry<'_>),
) -> Result<SegmentRead, OpenError> {
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
    let is_cold = segment.header.cold.is_some();
    let flaw = loop {
        let frame = match reader.frame_at(here.end)? {
            Ok(frame) if link.leads_to(&frame) || is_cold && link.jumps_to(&frame) => frame,
            Ok(_) => break Flaw::OutOfOrder,
            Err(flaw) => break flaw,
        };
        show(segment, here.end, (&frame, reader.payload()), visit);
        here.frames += 1;
        here.records += u64::from(frame.records);
        here.end += frame.bytes() as u64;
        link = frame.link_behind();
    };
    Ok(SegmentRead {
        report: here,
        link,
        flaw,
        cold: segment.header.cold,
    })
}

/// Shows a frame and its records.
fn show(
    segment: &Segment,
    offset: u64,
    (frame, payload): (&FrameHeader, &[u8]),
    visit: &mut dyn FnMut(Entry<'_>),
) {
    visit(Entry::Frame {
        file: &segment.name,
        offset,
        sequence: frame.sequence,
        first: Index(frame.first_index),
        records: frame.records,
        bytes: frame.bytes(),
    });
    for place in 0..frame.records {
        visit(Entry::Record {
            index: Index(frame.first_index + u64::from(place)),
            record: frame::record(payload, frame.records, place).unwrap_or_default(),
        });
    }
}
