//! TernMQ's journal: opaque records, in one order, with a watermark that says how far they are safe.
//!
//! It does not know what a record means; messages, queues and protocols are none of its business.
//!
//! # Promises of every [`Log`]
//! 1. Records of one batch get consecutive indexes, in order. Batches are appended whole.
//! 2. Appending never waits for the disk. [`Log::committed`] is the only promise: every record up to it
//!    survives whatever the log's durability covers.
//! 3. The watermark never moves backwards, and covers no gap.
//! 4. A watcher is called after each move of the watermark, from any thread, with no lock of the log held.
//!
//! [`memory::MemoryLog`] is the log of a node that keeps its data in memory: it commits at once.
//! [`SegmentedLog`] is the log of a node that keeps its data on disk, and the rest of this page is about it.
//!
//! # Promises of [`SegmentedLog`]
//! 5. With [`Durability::Fsync`] what the watermark covers survives a power cut; with [`Durability::Os`] it survives
//!    the end of the process.
//! 6. After a restart the log holds a prefix of what was appended, in its order, that ends with a whole batch and
//!    reaches at least to the watermark. What it holds is on the disk before [`SegmentedLog::open`] returns.
//! 7. Memory is bounded. Batches that are not on disk yet wait in one buffer; from
//!    [`Options::unsynced_high_bytes`] on, [`Log::pressure`] asks the owner to hold publishers back, and above
//!    [`Options::unsynced_bytes_max`] `append` refuses with [`LogError::Full`]. A refused batch left no trace; an
//!    accepted one is never dropped.
//! 8. An accepted batch has its room on the disk already: the next segment is allocated before the current one is
//!    needed up, and [`Options::reserve_segments`] more are held back. A disk that fills shows as [`Pressure::Low`]; a
//!    full one as [`Pressure::NoRoom`] and [`LogError::Full`] while [`Log::append_essential`] still goes on from the
//!    reserve. It ends by itself when room is found. (Batches above half a segment are the exception: they may need a
//!    file of their own, and meet the full disk as a failure.)
//! 9. A failed write or sync is fatal, and never tried again, because the system drops the pages of a failed sync and
//!    reports the next one as good. The log takes nothing more ([`LogError::Closed`]), the watermark stays where it is
//!    for ever, [`Options::on_failure`] is called once and [`SegmentedLog::failure`] says what it was. The owner ends
//!    the process.
//! 10. Damage to what was durable is refused with file and offset, and never read as an end or as an empty log.
//! 11. A [`LogReader`] returns a record as it was appended, or says which file and place are damaged; never other bytes,
//!     whatever the committer does to the files at the same time.
//! 12. A segment that was released stays, and stays readable, until its owner drops it.
//!
//! # Files
//! One directory, one journal, no subdirectories. All integers are little-endian, all checksums CRC-32C.
//! ```text
//! LOCK                        empty; locked by the process that has the journal open
//! manifest.a  manifest.b      the same few facts twice, written in turn
//! manifest.tmp                a manifest that is being made for the first time
//! seg-00000000000000000042    segment 42: a header and frames
//! cold-00000000000000000007   cold segment 7: records that were copied out of other segments
//! copy-00000000000000000008   a cold segment that is being made; deleted by the next start
//! lost-seg-...                what a repair took out of the log ([`repair()`]); for people, never read
//! spare-0000000017            room in reserve: a file that was allocated, or a segment that is needed no more
//! ```
//! What else lies there is left alone. What each name means does not depend on the others: a segment says in its header
//! where it begins, and the manifest only says which segments have to be there.
//!
//! The *chain* is the segments from the manifest's first one on: what a start can replay. Segments below it, and cold
//! segments, are there as long as the owner wants them. The journal does not record which those are; the owner does,
//! and says so when it opens the log ([`Options::kept`]).
//!
//! ## Manifest, 512 bytes (a sector), version 1
//! ```text
//!   0  8  magic "TERNMANI"
//!   8  2  format version: 1            10  2  oldest version of a reader that may read it: 1
//!  12  4  flags: 1 closed in order, so that nothing lies behind the last durable frame
//!  16 16  store id, random bytes given when the store was made
//!  32  8  number of this manifest, one above the one before
//!  40  8  first segment of the chain
//!  48  8  last segment; one below the first while there is none
//!  56  8  durable: every frame up to this sequence number was on disk when this was written
//!  64  ..  zeros
//! 508  4  checksum of bytes 0..508
//! ```
//! The readable one with the higher number counts. A segment exists, under its name, synced, before a manifest names it
//! as the last; frames go into it only afterwards. A segment leaves the chain when both files have forgotten it, so that
//! either alone is enough; only afterwards it is recycled or deleted, when the owner drops it.
//!
//! ## Segment
//! A header of 4,096 bytes, then frames without gaps, each on a multiple of 8. What lies behind the last frame has no
//! meaning: zeros, or what the file held in an earlier life.
//! ```text
//!    0  8  magic "TERNSEGM"
//!    8  2  format version: 1            10  2  oldest version of a reader that may read it: 1
//!   12  1  kind: 1 journal, 2 cold; others are reserved, for indexes for instance
//!   13  3  zeros
//!   16 16  store id
//!   32  8  segment id, the number in its name; counted up, never used twice
//!   40  4  signature: where every checksum of this segment's frames begins, instead of 0
//!   44  4  zeros
//!   48  8  sequence number of the first frame
//!   56  8  index of the first record
//!   64  8  tag of the frame before (0 before the first of all)
//!   72  ..  zeros, but for kind 2: see below
//! 4092  4  checksum of bytes 0..4092
//! ```
//! The header of segment n + 1 is the proof that segment n is whole: it is written when n is on disk, and says with which
//! frame n ended. Files are allocated at their full length, [`Options::segment_bytes`], before they are used; a frame
//! that is larger gets a segment of its own size.
//!
//! ## Cold segment: kind 2
//! Records that are still needed, copied out of segments of which little else is. Header and frames are those of a
//! segment, with these differences:
//! ```text
//!   32  8  id: of cold segments, counted for themselves, one above the highest there is
//!   48  8  sequence number of the first frame: 1
//!   56  8  index of the first record
//!   64  8  0
//!   72  8  index behind the last record
//!   80  8  number of frames
//!   88  8  number of records
//!   96  8  where the frames end, bytes from the beginning of the file
//! ```
//! Its frames hold ascending indexes with gaps between frames and none within; sequence numbers and tags chain them
//! as in any segment, and `synced` is 0. Frames hold about 64 KiB of records, so that reading one record reads little. The
//! file is written under another name, header last, synced, and only then gets its own; so it is whole or it is damaged.
//! It is never written to again.
//!
//! There is no table of records: where they lie is found by reading the frames' headers, once, when the first record of a
//! segment is read; about one place per 64 KiB is remembered. The same is done for segments of the chain that were there
//! at the start. Behind a damaged header that search goes on at the next valid one of this segment.
//!
//! ## Frame: a batch on disk
//! ```text
//!  0  4  magic "TFRM"
//!  4  4  checksum of bytes 8..64, beginning with the segment's signature
//!  8  4  bytes of the payload, without padding
//! 12  4  checksum of the payload, beginning with the segment's signature
//! 16  8  index of the first record
//! 24  4  number of records, at least 1
//! 28  4  shard: 0
//! 32  8  sequence number: 1 for the first frame of the store, one more for each
//! 40  8  tag of the frame before
//! 48  8  synced: every frame up to this sequence number was on disk when this one was made
//! 56  4  flags: 0 (compression and encryption will be flags)
//! 60  4  zero
//! 64  ..  payload: for each record, where it ends (4 bytes, from the first record's first byte); then the records
//!     ..  zeros up to a multiple of 8
//! ```
//! The tag of a frame is its two checksums, `header << 32 | payload`. A frame follows another if its sequence number,
//! first index and tag of the frame before fit: a chain, in which nothing can be left out, swapped or put in.
//!
//! Bytes that are not of this log's present life cannot be taken for it. Frames of a recycled file have another
//! signature, and lower sequence numbers besides; frames of a torn tail that was cut are overwritten with zeros before
//! anything is appended, and would not fit the chain.
//!
//! # Page files and checkpoints
//! Two more kinds of files, which an owner may keep beside the log or in a directory of their own: [`pages`] and
//! [`checkpoint`]. The log does not touch them, and the manifest does not know of them.
//! ```text
//! pages-0000000042                 page file 42: a header and pages
//! checkpoint-00000000000000000042  checkpoint 42: a header and blocks
//! checkpoint.tmp                   a checkpoint that is being written
//! ```
//! Both begin with the same header of 64 bytes:
//! ```text
//!  0  8  magic: "TERNPAGE" or "TERNCKPT"
//!  8  2  format version: 1            10  2  oldest version of a reader that may read it: 1
//! 12  4  flags: 0
//! 16 16  store id
//! 32  8  number, the one in the file's name
//! 40  4  signature: where every other checksum of this file begins, instead of 0. It is the checksum of store id,
//!        magic and number
//! 44 16  zeros
//! 60  4  checksum of bytes 0..60
//! ```
//!
//! ## Page: a blob in a page file
//! Pages follow one another, each on a multiple of 8, perhaps with gaps, which have no meaning. They are found by their
//! place only: number of the file, offset of the page's header, bytes of its payload.
//! ```text
//!  0  4  magic "TPAG"
//!  4  4  checksum of bytes 8..32, beginning with the file's signature
//!  8  4  bytes of the payload, at most 1 GiB
//! 12  4  checksum of the payload, beginning with the file's signature
//! 16  8  offset of this header in the file
//! 24  4  number of the file
//! 28  4  flags: 0
//! 32  ..  payload
//! ```
//! A file is written by one process from its beginning on, and never again by a later one. No byte of it is written a
//! second time, not even after a write that failed. A place that was handed out holds that page or, after a crash
//! without a sync, something that does not fit. Numbers count up and are not used twice: a file is not deleted before
//! there is one with a higher number.
//!
//! ## Block: a part of a checkpoint
//! Blocks follow one another without gaps, each on a multiple of 8.
//! ```text
//!  0  4  magic "TCKB"
//!  4  4  checksum of bytes 8..40, beginning with the file's signature
//!  8  4  bytes of the payload, without padding, at most 1 GiB
//! 12  4  checksum of the payload, beginning with the file's signature
//! 16  8  number of the block: 1 for the first, one more for each
//! 24  8  tag of the block before, `header checksum << 32 | payload checksum`; 0 in the first
//! 32  4  number of records, at least 1; 0 in the last block
//! 36  4  kind: 1 records, 2 the end
//! 40  ..  payload. Of kind 1, for each record: its length (4 bytes), the record.
//!         Of kind 2: how many records there are (8 bytes), and how many bytes they have without their lengths (8 bytes)
//!     ..  zeros up to a multiple of 8
//! ```
//! The last block is of kind 2, and the file ends with it. A block holds up to 256 KiB, or one record that is larger.
//!
//! The file is written under its temporary name, synced with it, and gets its own only then; so one that is damaged was
//! damaged later, and is refused. It never stands back for an older one.
//!
//! # What a crash leaves, and what opening does with it
//! Frames are written in groups, one write and one sync each, so at any moment at most one group is under way.
//!
//! | found | what it is | what happens |
//! |---|---|---|
//! | no manifest, no segment, no spare | a new store, or one whose making was cut off | a store is made |
//! | no manifest, but segments or spares | loss | refused: [`OpenError::ManifestMissing`] |
//! | no readable manifest | damage: each was whole before it got its name | refused: [`OpenError::ManifestDamaged`] |
//! | one unreadable manifest | its update was cut off | the other counts; both are written anew |
//! | a segment that the manifest needs is not there | loss | refused: [`OpenError::SegmentMissing`] |
//! | a segment above the manifest's last | a step to the next segment was cut off | read like any other |
//! | a segment below the manifest's first, not among [`Options::kept`] | dropping was cut off | becomes a spare |
//! | a cold segment, not among them | its copying was not recorded, or its dropping cut off | deleted |
//! | one of [`Options::kept`] is not there | loss | refused: [`OpenError::SegmentMissing`] |
//! | an unreadable segment header | damage: it was synced before the file got its name | refused |
//! | in the last segment, a place where no valid frame follows | the end of the log, or damage: see below | |
//! | the same in an earlier segment | the next header says whether it ended here | end of the segment, or refused |
//!
//! The end of the log is where the chain ends in the last segment. Frames of the group that was under way may lie behind
//! it, because a disk writes in any order; nothing of that group was promised, so it is cut there: what looks like a
//! frame behind the end is overwritten with zeros. But if the manifest, or any frame behind the end, says that a frame at
//! or behind that place *was on disk*, this is no torn tail but damage, and is refused with file and offset. (Damage to
//! the last group before a crash, which nothing later vouches for, cannot be told from a tear. After a clean end the
//! manifest vouches for everything.)
//!
//! What was found valid but is not vouched for may be in the page cache only, and after a failed sync the system takes it
//! for written. So it is written again in its place and synced, before the log opens and calls it committed.
//!
//! Assumed of the disk: a sector of 512 bytes that is rewritten with the same bytes before the tear keeps those, and what
//! was synced stays. Everything else about a write that was not synced is left open: none, some or all of its sectors.
//!
//! # Giving space back
//! The owner's order is what makes it safe; each step is durable before the next:
//! 1. It writes a checkpoint that covers all records below C, and lists the segments and cold segments that it needs
//!    besides the records from C on. Before the checkpoint counts, every record that it names in any way is on disk
//!    ([`SegmentedLog::wait_durable`]): the index of a record that a crash took goes to another one.
//! 2. [`SegmentedLog::release`] of C. The chain begins with the segment that holds C; those before are kept.
//! 3. [`SegmentedLog::drop_segments`] of what the checkpoint does not list.
//!
//! A start opens the log with that list and with C ([`Options::kept`], [`Options::replay_from`]); what is not in the
//! list, and not in the chain, is given up at once.
//!
//! A crash before 2 finds a longer chain, which is replayed from C all the same; one before 3 finds segments that are
//! not in the list, and recycles them. Copying ([`SegmentedLog::copy_live`]) is done before 1: the checkpoint lists the
//! cold segment, and its victims no longer.
//!
//! # Threads and locks
//! One thread, `journal-commit`, writes, syncs, moves the watermark and calls the watcher; it is the only one that
//! changes files, but for a cold segment that is being made, which is its maker's. While it syncs one group the next
//! fills, so groups are as large as the disk is slow; there is no timer. Readers read on their own threads.
//! One lock guards the open group, for as long as it takes to copy a batch into it; one guards the watcher's place; one
//! the table of segments, one each segment's places, one the files that readers have open, one the readers' idle
//! buffers, one those who wait for the watermark. None is held while another is taken, nor while a file is read or written.
//!
//! # Left out
//! Liveness per record is the owner's. Direct I/O, compression and encryption are not here yet; the formats have room for
//! them.
//!
//! Where to start: [`log`] is the contract, [`batch`] is what is appended, `committer` is the life of the one thread.

pub mod batch;
pub mod check;
pub mod checkpoint;
pub mod error;
pub mod log;
pub mod memory;
pub mod options;
pub mod pages;
pub mod reader;
pub mod repair;
pub mod segmented;
#[cfg(any(test, feature = "simulation"))]
pub mod simulated;
pub mod storage;

mod cold;
mod committer;
mod frame;
mod le;
mod lookup;
mod manifest;
mod pool;
mod recovery;
mod segment;
mod sparse;
mod survey;
mod syncs;
mod table;
mod writer;

pub use batch::Batch;
pub use check::{Entry, Report, SegmentReport, check, dump};
pub use checkpoint::{CheckpointReader, CheckpointWriter, Checkpoints};
pub use cold::Copied;
pub use error::{Action, Failure, Flaw, OpenError, ReadFlaw};
pub use log::{Index, Log, LogError, Pressure, Watcher};
pub use lookup::{LogReader, ReadVisit};
pub use memory::MemoryLog;
pub use options::{Durability, Options, StoreId};
pub use pages::{PageOptions, PageStore, Place};
pub use reader::Recovered;
pub use repair::{AcceptLoss, Lost, Repair, repair};
pub use segment::{KeptSegment, SegmentKind, SegmentRef};
pub use segmented::{Cut, Opened, SegmentedLog};
pub use storage::{FileStorage, Storage, StorageFile, is_out_of_room};
pub use syncs::Syncs;
pub use table::SegmentInfo;

#[cfg(test)]
mod tests;
