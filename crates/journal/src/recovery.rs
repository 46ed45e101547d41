//! Opening: from what a crash left to a log that can be appended to. The table of cases is in the crate's documentation.

use crate::error::{Action, At as _, Failure, Flaw, OpenError};
use crate::frame::{ALIGNMENT, FRAME_HEADER_BYTES, Link};
use crate::log::Index;
use crate::manifest::{Copies, Manifest, ManifestFiles, TEMPORARY};
use crate::options::StoreId;
use crate::reader::{FrameReader, Traces};
use crate::segment::{HEADER_BYTES, KeptSegment};
use crate::segmented::Cut;
use crate::sparse::Sparse;
use crate::storage::{Storage, read_full_at, write_all_at, write_zeros};
use crate::survey::{Segment, Survey, read_segment, read_segments};

/// A log that is whole again: all that it holds is on disk, and nothing lies behind its end.
pub(crate) struct Recovery {
    pub(crate) manifest: ManifestFiles,
    /// The chain.
    pub(crate) segments: Vec<Segment>,
    /// What the owner keeps besides, journal segments first, in the order of their ids.
    pub(crate) kept: Vec<(Segment, Index)>,
    /// No cold segment has this id or a higher one.
    pub(crate) next_cold: u64,
    /// Where the next record goes.
    pub(crate) link: Link,
    /// Where in the last segment the next frame goes.
    pub(crate) end: u64,
    /// Where the frames of the last segment lie.
    pub(crate) places: Sparse,
    /// Where the last segment was cut, if something lay behind its end.
    pub(crate) cut: Option<u64>,
    /// Files that hold nothing: spares, and segments that were released.
    pub(crate) leftovers: Vec<String>,
}

pub(crate) fn recover(
    storage: &dyn Storage,
    new_store: StoreId,
    kept: &[KeptSegment],
) -> Result<Recovery, OpenError> {
    let survey = Survey::of(storage)?;
    let manifest = survey.manifest()?.unwrap_or(Manifest::new(new_store));
    let ids = survey.needed_ids(&manifest)?;
    let segments = read_segments(storage, &manifest, &ids)?;
    let kept = survey.kept(&manifest, kept)?;
    let kept_segments = kept.iter().map(|(&reference, &end)| {
        let segment = read_segment(storage, &manifest, reference)?;
        Ok::<_, OpenError>((segment, end))
    });
    let kept_segments = kept_segments.collect::<Result<Vec<_>, _>>()?;
    let tail = match segments.last() {
        None => Tail::default(),
        Some(last) => find_end(storage, last, &manifest)?,
    };
    // Nothing was changed so far.
    if survey.temporary {
        storage.delete(TEMPORARY).at(Action::Delete, TEMPORARY)?;
    }
    if let Some(last) = segments.last() {
        repair(storage, last, &tail)?;
    }
    storage.sync_dir().at(Action::Sync, ".")?;
    let mut files = ManifestFiles::open(storage, &survey.slots, manifest)?;
    files.update(Copies::Both, |manifest| {
        if let Some(last) = ids.last() {
            manifest.last_segment = *last;
        }
        manifest.durable = tail.link.sequence - 1;
        manifest.clean = false;
    })?;
    Ok(Recovery {
        manifest: files,
        leftovers: survey.leftovers(&manifest, &kept),
        next_cold: survey
            .cold_ids
            .last()
            .map_or(1, |last| last.saturating_add(1)),
        kept: kept_segments,
        segments,
        link: tail.link,
        end: tail.end,
        cut: (tail.traces_end > tail.end).then_some(tail.end),
        places: tail.places,
    })
}

impl Recovery {
    pub(crate) fn cut(&self) -> Option<Cut> {
        let file = self.segments.last()?.name.clone();
        self.cut.map(|offset| Cut { file, offset })
    }
}

/// The end of the last segment.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    /// Where the next frame goes.
    pub(crate) end: u64,
    /// What it has to say of itself.
    pub(crate) link: Link,
    /// From here on nothing vouches for the frames being on disk.
    pub(crate) unproven_from: u64,
    /// Headers of this segment's life lie behind the end, up to here; 0 if there are none.
    pub(crate) traces_end: u64,
    /// Where its frames lie.
    pub(crate) places: Sparse,
}

impl Default for Tail {
    fn default() -> Self {
        Self {
            end: 0,
            link: Link::START,
            unproven_from: 0,
            traces_end: 0,
            places: Sparse::default(),
        }
    }
}

/// Finds the end of the last segment, or the damage that looks like one.
pub(crate) fn find_end(
    storage: &dyn Storage,
    segment: &Segment,
    manifest: &Manifest,
) -> Result<Tail, OpenError> {
    let mut reader = FrameReader::open(storage, segment)?;
    let mut link = segment.header.link;
    let mut end = HEADER_BYTES as u64;
    let mut unproven_from = end;
    let mut places = Sparse::default();
    let flaw = loop {
        match reader.frame_at(end)? {
            Ok(frame) if link.leads_to(&frame) => {
                // The first frame of a group knows that all before it is on disk; later ones know no more.
                if frame.synced == frame.sequence - 1 {
                    unproven_from = end;
                }
                link = frame.link_behind();
                places.note(frame.first_index, end, frame.bytes() as u64);
                end += frame.bytes() as u64;
            }
            Ok(_) => break Flaw::OutOfOrder,
            Err(flaw) => break flaw,
        }
    };
    let vouched_for = manifest.durable.saturating_add(1) == link.sequence;
    if vouched_for {
        unproven_from = end;
    }
    let traces = if vouched_for && manifest.clean {
        Traces::default()
    } else {
        reader.search(end)?
    };
    if !flaw.may_be_torn() || traces.synced.max(manifest.durable) >= link.sequence {
        return Err(OpenError::Damaged {
            file: segment.name.clone(),
            offset: end,
            flaw,
        });
    }
    Ok(Tail {
        end,
        link,
        unproven_from,
        traces_end: traces.end,
        places,
    })
}

/// Makes the tail durable as it was read, and wipes what looks like frames behind it.
fn repair(storage: &dyn Storage, segment: &Segment, tail: &Tail) -> Result<(), Failure> {
    let wipe_to = tail.traces_end;
    if tail.unproven_from == tail.end && wipe_to <= tail.end {
        return Ok(());
    }
    let name = &segment.name;
    let file = storage.open(name).at(Action::Open, name)?;
    write_all_at(file.as_ref(), 0, &segment.header.encode()).at(Action::Write, name)?;
    let mut chunk = vec![0; 256 * 1024];
    let mut offset = tail.unproven_from;
    while offset < tail.end {
        let left = usize::try_from(tail.end - offset).unwrap_or(usize::MAX);
        let wanted = chunk.len().min(left);
        let read =
            read_full_at(file.as_ref(), offset, &mut chunk[..wanted]).at(Action::Read, name)?;
        if read == 0 {
            let error = std::io::ErrorKind::UnexpectedEof.into();
            return Err(error).at(Action::Read, name);
        }
        write_all_at(file.as_ref(), offset, &chunk[..read]).at(Action::Write, name)?;
        offset += read as u64;
    }
    write_zeros(file.as_ref(), tail.end, wipe_to).at(Action::Write, name)?;
    file.sync_data().at(Action::Sync, name)
}

const _: () = assert!(FRAME_HEADER_BYTES.is_multiple_of(ALIGNMENT));
const _: () = assert!(HEADER_BYTES.is_multiple_of(ALIGNMENT));
