//! Parts: entries of a chunk, packed.
//!
//! # Layout, version 1
//! ```text
//! part   = version (1 byte, 1)  slot of the first entry (1 byte)  entries, at least one, to the end
//! entry  = flags (1 byte)
//!          slots passed over                                    if flags has 1; at least 1
//!          lsn minus the lsn before, zigzag                     unless flags has 2
//!          body_bytes
//!          enqueued_at minus the one before, zigzag
//!          ttl_ms                                               if flags has 4
//!          attempts  failures                                   if flags has 8
//!          tag                                                  if flags has 16
//!          list of tags                                         if flags has 32
//!          number of bytes, message as in records               if flags has 2
//! number = unsigned LEB128; zigzag maps 0, -1, 1, -2 to 0, 1, 2, 3; list = number of items, items
//! ```
//! Before the first entry stand lsn 0 and time 0, so that a part can be read alone. Differences wrap. An entry without
//! an lsn (flag 2) is transient: its message has no record, so it is here. The first entry passes over no slot;
//! entries are in order of their slots, which are below [`CHUNK_SLOTS`]. The same entries give the same bytes,
//! however many at a time they were packed.

use alloc::vec::Vec;

use super::lane::CHUNK_SLOTS;
use super::ready::{Entry, NEVER};
use crate::id::{Lsn, Timestamp};
use crate::message::Message;
use crate::record::{self, Formats, Reader, RecordError};
use crate::tags::Tags;

/// Version of the layout above.
pub const PART_VERSION: u8 = 1;

const SKIPS: u8 = 1;
const TRANSIENT: u8 = 2;
const TTL: u8 = 4;
const COUNTERS: u8 = 8;
const TAG: u8 = 16;
const TAGS: u8 = 32;

/// An entry that was packed, or is to be.
#[derive(Clone, Debug)]
pub struct ColdEntry {
    /// Its slot in the chunk.
    pub slot: u8,
    /// Its message's record; [`Lsn::NONE`] if it has none.
    pub lsn: Lsn,
    /// Tags of the bindings that led here.
    pub tags: Tags,
    /// When it entered.
    pub enqueued_at: Timestamp,
    /// The message's own time to live.
    pub ttl_ms: Option<u64>,
    /// Completed takings.
    pub attempts: u32,
    /// How many of those counted as failed.
    pub failures: u32,
    /// Length of the body, at most `u32::MAX`.
    pub body_bytes: u32,
    /// The message: there when a part is read if it has no record; to be filled in otherwise.
    pub message: Option<Message>,
}

impl ColdEntry {
    /// When it expires in a queue with that time to live, if ever.
    pub fn deadline(&self, queue_ttl_ms: Option<u64>) -> Option<Timestamp> {
        Some(deadline(self.enqueued_at, self.ttl_ms, queue_ttl_ms)).filter(|at| *at != NEVER)
    }

    pub(super) fn item(&self) -> Item<'_> {
        Item {
            slot: self.slot,
            lsn: self.lsn,
            tags: self.tags.as_slice(),
            enqueued_at: self.enqueued_at,
            ttl_ms: self.ttl_ms,
            attempts: self.attempts,
            failures: self.failures,
            body_bytes: self.body_bytes,
            message: self.message.as_ref(),
        }
    }
}

/// The lower of both times to live after the time of entering, or [`NEVER`].
#[inline]
pub(super) fn deadline(
    enqueued_at: Timestamp,
    ttl_ms: Option<u64>,
    queue_ttl_ms: Option<u64>,
) -> Timestamp {
    match (ttl_ms, queue_ttl_ms) {
        (None, None) => NEVER,
        (Some(ttl), None) | (None, Some(ttl)) => enqueued_at.plus_ms(ttl),
        (Some(a), Some(b)) => enqueued_at.plus_ms(a.min(b)),
    }
}

/// What is packed of an entry.
#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) slot: u8,
    pub(super) lsn: Lsn,
    pub(super) tags: &'a [u32],
    pub(super) enqueued_at: Timestamp,
    pub(super) ttl_ms: Option<u64>,
    pub(super) attempts: u32,
    pub(super) failures: u32,
    pub(super) body_bytes: u32,
    /// Packed with it if it has no lsn.
    pub(super) message: Option<&'a Message>,
}

impl<'a> Item<'a> {
    pub(super) fn of(slot: u8, entry: &'a Entry) -> Self {
        Self {
            slot,
            lsn: entry.lsn,
            tags: entry.tags.as_slice(),
            enqueued_at: entry.enqueued_at,
            ttl_ms: entry.message.ttl_ms(),
            attempts: entry.attempts,
            failures: entry.failures,
            body_bytes: entry.body_bytes,
            message: Some(&entry.message),
        }
    }
}

/// An entry as it is read, with its message still packed.
pub(super) struct Raw<'a> {
    pub(super) slot: u8,
    pub(super) lsn: Lsn,
    pub(super) tags: Tags,
    pub(super) enqueued_at: Timestamp,
    pub(super) ttl_ms: Option<u64>,
    pub(super) attempts: u32,
    pub(super) failures: u32,
    pub(super) body_bytes: u32,
    inline: &'a [u8],
}

impl Raw<'_> {
    pub(super) fn item(&self) -> Item<'_> {
        Item {
            slot: self.slot,
            lsn: self.lsn,
            tags: self.tags.as_slice(),
            enqueued_at: self.enqueued_at,
            ttl_ms: self.ttl_ms,
            attempts: self.attempts,
            failures: self.failures,
            body_bytes: self.body_bytes,
            message: None,
        }
    }

    fn decode(self, formats: &dyn Formats) -> Result<ColdEntry, RecordError> {
        let message = if self.lsn.is_some() {
            None
        } else {
            let mut r = Reader(self.inline);
            let message = record::read_message(&mut r, formats)?;
            let fits = u32::try_from(message.body().len()).unwrap_or(u32::MAX) == self.body_bytes;
            if !(r.0.is_empty() && fits && message.ttl_ms() == self.ttl_ms) {
                return Err(RecordError::Malformed);
            }
            Some(message)
        };
        Ok(ColdEntry {
            slot: self.slot,
            lsn: self.lsn,
            tags: self.tags,
            enqueued_at: self.enqueued_at,
            ttl_ms: self.ttl_ms,
            attempts: self.attempts,
            failures: self.failures,
            body_bytes: self.body_bytes,
            message,
        })
    }
}

/// Reads a part back. Damaged bytes give an error, never a panic, and take no more memory than they have bytes,
/// times a constant.
pub fn decode_part(bytes: &[u8], formats: &dyn Formats) -> Result<Vec<ColdEntry>, RecordError> {
    Scan::new(bytes)?
        .map(|raw| raw.and_then(|raw| raw.decode(formats)))
        .collect()
}

/// Where a part has got to.
#[derive(Clone, Copy)]
struct Place {
    /// The slot that comes next.
    slot: u16,
    lsn: u64,
    enqueued_at: u64,
}

/// Reads the entries of a part, without their messages.
pub(super) struct Scan<'a> {
    reader: Reader<'a>,
    place: Place,
    begun: bool,
}

impl<'a> Scan<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let mut reader = Reader(bytes);
        let version = reader.byte()?;
        if version != PART_VERSION {
            return Err(RecordError::UnknownVersion(version));
        }
        let slot = reader.byte()?.into();
        if reader.0.is_empty() {
            return Err(RecordError::Malformed);
        }
        let place = Place {
            slot,
            lsn: 0,
            enqueued_at: 0,
        };
        Ok(Self {
            reader,
            place,
            begun: false,
        })
    }

    fn entry(&mut self) -> Result<Raw<'a>, RecordError> {
        let r = &mut self.reader;
        let flags = r.byte()?;
        let has = |bit: u8| flags & bit != 0;
        if flags >= 64 || has(TAG) && has(TAGS) || has(SKIPS) && !self.begun {
            return Err(RecordError::Malformed);
        }
        self.begun = true;
        let skipped = if has(SKIPS) { r.number()? } else { 0 };
        let slot = u64::from(self.place.slot).saturating_add(skipped);
        let slot = u8::try_from(slot).map_err(|_| RecordError::Malformed)?;
        if usize::from(slot) >= CHUNK_SLOTS || has(SKIPS) && skipped == 0 {
            return Err(RecordError::Malformed);
        }
        let lsn = if has(TRANSIENT) {
            Lsn::NONE
        } else {
            self.place.lsn = self.place.lsn.wrapping_add(unzigzag(r.number()?));
            if self.place.lsn == 0 {
                return Err(RecordError::Malformed);
            }
            Lsn(self.place.lsn)
        };
        let body_bytes = r.number_u32()?;
        self.place.enqueued_at = self.place.enqueued_at.wrapping_add(unzigzag(r.number()?));
        self.place.slot = u16::from(slot) + 1;
        let ttl_ms = if has(TTL) { Some(r.number()?) } else { None };
        let (attempts, failures) = if has(COUNTERS) {
            (r.number_u32()?, r.number_u32()?)
        } else {
            (0, 0)
        };
        Ok(Raw {
            slot,
            lsn,
            enqueued_at: Timestamp(self.place.enqueued_at),
            ttl_ms,
            attempts,
            failures,
            body_bytes,
            tags: read_tags(r, flags)?,
            inline: if has(TRANSIENT) { r.bytes()? } else { &[] },
        })
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Result<Raw<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.0.is_empty() {
            return None;
        }
        let entry = self.entry();
        if entry.is_err() {
            self.reader.0 = &[];
        }
        Some(entry)
    }
}

fn read_tags(r: &mut Reader<'_>, flags: u8) -> Result<Tags, RecordError> {
    if flags & TAG != 0 {
        return Ok(Tags::One(r.number_u32()?));
    }
    if flags & TAGS == 0 {
        return Ok(Tags::None);
    }
    match Tags::from_vec(r.list(Reader::number_u32)?) {
        tags @ Tags::Many(_) => Ok(tags),
        _ => Err(RecordError::Malformed),
    }
}

const fn unzigzag(n: u64) -> u64 {
    (n >> 1) ^ (n & 1).wrapping_neg()
}

/// The difference from one number to another, as what [`unzigzag`] takes.
const fn zigzag(from: u64, to: u64) -> u64 {
    let difference = to.wrapping_sub(from);
    let sign = (difference >> 63).wrapping_neg();
    (difference << 1) ^ sign
}

/// Packs entries into a part.
pub(super) struct Writer {
    out: Vec<u8>,
    place: Place,
    scratch: Vec<u8>,
}

impl Writer {
    pub(super) fn new() -> Self {
        let place = Place {
            slot: 0,
            lsn: 0,
            enqueued_at: 0,
        };
        Self {
            out: Vec::new(),
            place,
            scratch: Vec::new(),
        }
    }

    /// Goes on with a part written before; bytes that are none come back.
    pub(super) fn resume(bytes: Vec<u8>) -> Result<Self, Vec<u8>> {
        let end = Scan::new(&bytes).and_then(|mut scan| {
            scan.by_ref().try_for_each(|raw| raw.map(|_| ()))?;
            Ok(scan.place)
        });
        match end {
            Ok(place) => Ok(Self {
                out: bytes,
                place,
                scratch: Vec::new(),
            }),
            Err(_) => Err(bytes),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    pub(super) fn finish(&mut self) -> Vec<u8> {
        core::mem::replace(self, Self::new()).out
    }

    /// Adds an entry, whose slot comes after all before. One that has neither lsn nor message cannot be packed:
    /// returns false.
    pub(super) fn push(&mut self, item: &Item<'_>) -> bool {
        let inline = match (item.lsn.is_some(), item.message) {
            (true, _) => None,
            (false, Some(message)) => Some(message),
            (false, None) => return false,
        };
        if self.out.is_empty() {
            self.out.extend_from_slice(&[PART_VERSION, item.slot]);
            self.place.slot = item.slot.into();
        }
        let skipped = u64::from(u16::from(item.slot).saturating_sub(self.place.slot));
        let counters = (item.attempts, item.failures) != (0, 0);
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        self.out.push(
            bit(skipped > 0, SKIPS)
                | bit(inline.is_some(), TRANSIENT)
                | bit(item.ttl_ms.is_some(), TTL)
                | bit(counters, COUNTERS)
                | bit(item.tags.len() == 1, TAG)
                | bit(item.tags.len() > 1, TAGS),
        );
        let mut number = |n| record::number(n, &mut self.out);
        if skipped > 0 {
            number(skipped);
        }
        if inline.is_none() {
            number(zigzag(self.place.lsn, item.lsn.0));
            self.place.lsn = item.lsn.0;
        }
        number(item.body_bytes.into());
        number(zigzag(self.place.enqueued_at, item.enqueued_at.0));
        if let Some(ttl) = item.ttl_ms {
            number(ttl);
        }
        if counters {
            number(item.attempts.into());
            number(item.failures.into());
        }
        if item.tags.len() > 1 {
            number(item.tags.len() as u64);
        }
        for tag in item.tags {
            number((*tag).into());
        }
        if let Some(message) = inline {
            self.scratch.clear();
            record::write_message(message, &mut self.scratch);
            record::bytes(&self.scratch, &mut self.out);
        }
        self.place.slot = u16::from(item.slot) + 1;
        self.place.enqueued_at = item.enqueued_at.0;
        true
    }
}
