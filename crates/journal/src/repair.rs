//! Giving up what is damaged, so that a log opens again. Only for who has decided that a loss is better than no log.
//!
//! Everything before the first damage stays. What lies behind it in the chain is given up, because its order depends on
//! what is lost: segments get other names (`lost-seg-…`) and can be looked at, the rest of the segment with the damage is
//! overwritten. A header that says nothing its first frame does not say too is written again, without a loss.
//!
//! Each step can be cut off: the next repair finds the same damage at the same place.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::check::{SegmentRead, check, read};
use crate::error::{Action, At as _, Failure, OpenError};
use crate::frame::{ALIGNMENT, Link};
use crate::log::Index;
use crate::manifest::{Copies, Manifest, ManifestFiles, NAMES, Slot, TEMPORARY};
use crate::reader::FrameReader;
use crate::recovery::find_end;
use crate::segment::{
    COUNT_MAX, HEADER_BYTES, SegmentHeader, SegmentKind, SegmentRef, segment_name,
};
use crate::storage::{Storage, read_full_at, write_all_at, write_zeros};
use crate::survey::{Segment, Survey, read_segment};

/// Whether a repair may change anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AcceptLoss {
    /// It says what it would do.
    No,
    /// It does it.
    Yes,
}

/// What a repair found and did, or would do.
#[derive(Clone, Debug, Default)]
pub struct Repair {
    /// What is wrong. Empty for a log that is sound, and then nothing is done.
    pub problems: Vec<OpenError>,
    /// What is wrong with segments outside the chain. They are left as they are: their other records can be read. One
    /// whose header is damaged has to be taken from [`crate::Options::kept`].
    pub kept_problems: Vec<OpenError>,
    /// What is given up, in the order of the log.
    pub lost: Vec<Lost>,
    /// Files that are written anew with nothing lost: headers and manifests.
    pub rewritten: Vec<String>,
    /// The index that the next record will get; a record that had it or a higher one is lost, and an owner that knows
    /// of such must forget them before it appends.
    pub next: Index,
}

/// A part of the log that is given up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lost {
    /// Which segment.
    pub file: String,
    /// From here to the end of the file.
    pub offset: u64,
    /// Frames that begin there and have a valid header.
    pub frames: u64,
    /// Records in those frames; there may have been others.
    pub records: u64,
    /// The name that the file has now; none if its beginning is still in use, or it was not there.
    pub set_aside: Option<String>,
}

/// Makes a journal that is damaged one that opens, at the price of what lies behind the damage. A sound one is not touched.
/// Nobody may have it open. An error means that it cannot be repaired, or not read, and that it is as it was.
pub fn repair(storage: &dyn Storage, accept: AcceptLoss) -> Result<Repair, OpenError> {
    let report = check(storage)?;
    let mut repair = Repair {
        problems: report.problems.clone(),
        kept_problems: report.kept_problems.clone(),
        ..Repair::default()
    };
    if report.problems.is_empty() {
        let last = report.segments.last();
        repair.next = Index(last.map_or(1, |last| last.first_index.0 + last.records));
        return Ok(repair);
    }
    let survey = Survey::of(storage)?;
    let manifest = match survey.manifest() {
        Ok(Some(manifest)) => manifest,
        Err(error @ (OpenError::ManifestMissing { .. } | OpenError::ManifestDamaged { .. })) => {
            repair.rewritten.extend(NAMES.map(str::to_owned));
            manifest_of_segments(storage, &survey)?.ok_or(error)?
        }
        Ok(None) => return Ok(repair),
        Err(error) => return Err(error),
    };
    let chain = Chain::of(storage, &survey, &manifest)?;
    let plan = chain.plan(storage, manifest, &mut repair)?;
    if accept == AcceptLoss::Yes {
        plan.carry_out(storage, &survey, &repair)?;
    }
    Ok(repair)
}

/// What a manifest would say if it could be read: that the log is all segments without a gap up to the newest. None if no
/// header says whose they are.
fn manifest_of_segments(
    storage: &dyn Storage,
    survey: &Survey,
) -> Result<Option<Manifest>, OpenError> {
    let ids = &survey.segment_ids;
    let Some(&last) = ids.last() else {
        return Ok(None);
    };
    let run = ids.iter().rev().zip(0..);
    let run = run.take_while(|&(&id, back)| id + back == last);
    for (&id, _) in run.clone() {
        let name = segment_name(id);
        let file = storage.open(&name).at(Action::Open, &name)?;
        let mut bytes = vec![0; HEADER_BYTES];
        read_full_at(file.as_ref(), 0, &mut bytes).at(Action::Read, &name)?;
        if let Ok(header) = SegmentHeader::decode(&bytes) {
            return Ok(Some(Manifest {
                first_segment: last + 1 - run.count() as u64,
                last_segment: last,
                clean: false,
                ..Manifest::new(header.store)
            }));
        }
    }
    Ok(None)
}

/// The segments that should be there.
struct Chain {
    /// None for one that is not there, or whose header says nothing.
    segments: BTreeMap<u64, Option<Segment>>,
    /// Headers that were found out from the first frame.
    rebuilt: BTreeSet<u64>,
}

impl Chain {
    fn of(storage: &dyn Storage, survey: &Survey, manifest: &Manifest) -> Result<Self, OpenError> {
        let highest = survey.segment_ids.last().copied().unwrap_or(0);
        let mut chain = Self {
            segments: BTreeMap::new(),
            rebuilt: BTreeSet::new(),
        };
        for id in manifest.first_segment..=highest.max(manifest.last_segment) {
            let kind = SegmentKind::Journal;
            let segment = if survey.segment_ids.binary_search(&id).is_err() {
                None
            } else {
                match read_segment(storage, manifest, SegmentRef { kind, id }) {
                    Ok(segment) => Some(segment),
                    Err(OpenError::Damaged { flaw, .. }) if flaw.may_be_torn() => {
                        let rebuilt = rebuilt(storage, manifest, id)?;
                        chain.rebuilt.extend(rebuilt.as_ref().map(|_| id));
                        rebuilt
                    }
                    Err(OpenError::Damaged { .. }) => None,
                    Err(error) => return Err(error),
                }
            };
            chain.segments.insert(id, segment);
        }
        Ok(chain)
    }

    /// Reads up to the first damage, and says what has to go.
    fn plan(
        &self,
        storage: &dyn Storage,
        original: Manifest,
        repair: &mut Repair,
    ) -> Result<Plan, OpenError> {
        let mut manifest = original;
        let mut kept: Option<Kept> = None;
        let mut whole = true;
        for (&id, segment) in &self.segments {
            let follows = |segment: &&Segment| {
                whole
                    && kept
                        .as_ref()
                        .is_none_or(|kept| kept.link == segment.header.link)
            };
            if let Some(segment) = segment.as_ref().filter(follows) {
                let read = read(storage, segment, &mut |_| {})?;
                whole = self.is_whole(storage, segment, &read, &original)?;
                if self.rebuilt.contains(&id) {
                    repair.rewritten.push(segment.name.clone());
                }
                if !whole {
                    let lost = self.lost_behind(storage, segment, read.report.end)?;
                    repair.lost.extend(lost);
                }
                kept = Some(Kept {
                    segment: segment.clone(),
                    link: read.link,
                    end: read.report.end,
                });
            } else {
                whole = kept.is_none();
                if whole {
                    // Nothing that is left lies before it: the log begins behind it.
                    manifest.first_segment = id + 1;
                }
                repair.lost.push(given_up(storage, &original, id)?);
            }
        }
        let Some(kept) = kept else {
            return Err(unrepairable(repair));
        };
        repair.next = Index(kept.link.index);
        manifest.last_segment = kept.segment.header.id;
        manifest.durable = kept.link.sequence - 1;
        manifest.clean = false;
        let headers = self
            .rebuilt
            .iter()
            .filter_map(|id| self.segments.get(id)?.clone());
        let headers = headers.filter(|segment| repair.rewritten.contains(&segment.name));
        Ok(Plan {
            headers: headers.collect(),
            original,
            manifest,
            kept,
        })
    }

    /// What has to go behind the place up to which a segment can be read. None if there is nothing, and the damage is that
    /// the next segment is not there.
    fn lost_behind(
        &self,
        storage: &dyn Storage,
        segment: &Segment,
        offset: u64,
    ) -> Result<Option<Lost>, Failure> {
        let (frames, records) = count(storage, segment, offset)?;
        let lost = frames > 0 || self.is_last(segment.header.id);
        Ok(lost.then(|| Lost {
            file: segment.name.clone(),
            offset,
            frames,
            records,
            set_aside: None,
        }))
    }

    fn is_last(&self, id: u64) -> bool {
        self.segments
            .last_key_value()
            .is_some_and(|(&last, _)| last == id)
    }

    /// Whether a segment was read to where it ends.
    fn is_whole(
        &self,
        storage: &dyn Storage,
        segment: &Segment,
        read: &SegmentRead,
        manifest: &Manifest,
    ) -> Result<bool, OpenError> {
        if self.is_last(segment.header.id) {
            return match find_end(storage, segment, manifest) {
                Ok(_) => Ok(true),
                Err(OpenError::Io(failure)) => Err(failure.into()),
                Err(_) => Ok(false),
            };
        }
        let next = self.segments.get(&(segment.header.id + 1));
        let next = next.and_then(Option::as_ref);
        Ok(next.is_some_and(|next| next.header.link == read.link))
    }
}

fn unrepairable(repair: &Repair) -> OpenError {
    let problem = repair.problems.first().cloned();
    problem.unwrap_or(OpenError::ManifestMissing { files: 0 })
}

/// A segment of whose header nothing is known but what its name says.
fn unread(storage: &dyn Storage, manifest: &Manifest, id: u64) -> Result<Segment, Failure> {
    let name = segment_name(id);
    let file = storage.open(&name).at(Action::Open, &name)?;
    Ok(Segment {
        bytes: file.byte_len().at(Action::Read, &name)?,
        header: SegmentHeader::new(manifest.store, id, Link::START),
        name,
    })
}

/// A segment with the header that it must have had, by its first frame.
fn rebuilt(
    storage: &dyn Storage,
    manifest: &Manifest,
    id: u64,
) -> Result<Option<Segment>, OpenError> {
    let mut segment = unread(storage, manifest, id)?;
    let mut reader = FrameReader::open(storage, &segment)?;
    let Ok(frame) = reader.frame_at(HEADER_BYTES as u64)? else {
        return Ok(None);
    };
    segment.header.link = Link {
        sequence: frame.sequence,
        index: frame.first_index,
        tag: frame.tag_before,
    };
    let counted =
        (1..COUNT_MAX).contains(&frame.sequence) && (1..COUNT_MAX).contains(&frame.first_index);
    Ok(counted.then_some(segment))
}

/// Frames with a valid header from a place on, and their records.
fn count(storage: &dyn Storage, segment: &Segment, from: u64) -> Result<(u64, u64), Failure> {
    let mut reader = FrameReader::open(storage, segment)?;
    let (mut frames, mut records) = (0, 0);
    let mut offset = from;
    while offset < segment.bytes {
        offset += match reader.header_at(offset)? {
            Ok(frame) => {
                frames += 1;
                records += u64::from(frame.records);
                frame.bytes() as u64
            }
            Err(_) => ALIGNMENT as u64,
        };
    }
    Ok((frames, records))
}

fn given_up(storage: &dyn Storage, manifest: &Manifest, id: u64) -> Result<Lost, OpenError> {
    let file = segment_name(id);
    let segment = match unread(storage, manifest, id) {
        Err(failure) if failure.error.kind() == io::ErrorKind::NotFound => None,
        segment => Some(segment?),
    };
    let (frames, records) = match &segment {
        Some(segment) => count(storage, segment, HEADER_BYTES as u64)?,
        None => (0, 0),
    };
    Ok(Lost {
        set_aside: segment.map(|_| format!("lost-{file}")),
        offset: 0,
        frames,
        records,
        file,
    })
}

/// The last segment that is left, and how far.
struct Kept {
    segment: Segment,
    link: Link,
    end: u64,
}

/// What is to be done.
struct Plan {
    original: Manifest,
    manifest: Manifest,
    headers: Vec<Segment>,
    kept: Kept,
}

impl Plan {
    fn carry_out(
        &self,
        storage: &dyn Storage,
        survey: &Survey,
        repair: &Repair,
    ) -> Result<(), Failure> {
        for segment in &self.headers {
            let name = &segment.name;
            let file = storage.open(name).at(Action::Open, name)?;
            let header = segment.header.encode();
            write_all_at(file.as_ref(), 0, &header).at(Action::Write, name)?;
            file.sync_data().at(Action::Sync, name)?;
        }
        for lost in &repair.lost {
            if let Some(name) = &lost.set_aside {
                storage.rename(&lost.file, name).at(Action::Rename, name)?;
            }
        }
        if !repair.lost.is_empty() {
            self.wipe(storage)?;
        }
        if survey.temporary {
            storage.delete(TEMPORARY).at(Action::Delete, TEMPORARY)?;
        }
        self.write_manifests(storage, survey)
    }

    /// Overwrites what lies behind the end, so that no frame there speaks of what is lost.
    fn wipe(&self, storage: &dyn Storage) -> Result<(), Failure> {
        let Kept { segment, end, .. } = &self.kept;
        let name = &segment.name;
        let file = storage.open(name).at(Action::Open, name)?;
        write_zeros(file.as_ref(), *end, segment.bytes).at(Action::Write, name)?;
        file.sync_data().at(Action::Sync, name)
    }

    fn write_manifests(&self, storage: &dyn Storage, survey: &Survey) -> Result<(), Failure> {
        let mut slots = survey.slots;
        let readable = slots.iter().any(|slot| matches!(slot, Slot::Readable(_)));
        for (slot, name) in slots.iter_mut().zip(NAMES) {
            if !readable && *slot != Slot::Missing {
                storage.delete(name).at(Action::Delete, name)?;
                *slot = Slot::Missing;
            }
        }
        storage.sync_dir().at(Action::Sync, ".")?;
        let mut files = ManifestFiles::open(storage, &slots, self.original)?;
        let wanted = self.manifest;
        files.update(Copies::Both, |manifest| {
            *manifest = Manifest {
                number: manifest.number,
                ..wanted
            };
        })
    }
}
