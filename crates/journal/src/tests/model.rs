//! Random lives of a log on a disk that forgets, against a list of records.
//!
//! `TERNMQ_JOURNAL_SEED=n` runs one seed, `TERNMQ_JOURNAL_SEEDS=n` as many.

use std::collections::BTreeSet;

use super::{Stepped, batch, read_all, try_read};
use crate::check::check;
use crate::committer::Next;
use crate::error::OpenError;
use crate::log::{Index, Log as _, LogError};
use crate::options::{Durability, Options};
use crate::segment::{KeptSegment, SegmentRef};
use crate::simulated::{Fault, Operation, Random, SimulatedStorage};
use crate::table::SegmentInfo;

const SEEDS: u64 = 2_000;

#[test]
fn what_was_committed_survives_and_nothing_else_appears() {
    let number = |name| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let seeds = match number("TERNMQ_JOURNAL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TERNMQ_JOURNAL_SEEDS").unwrap_or(SEEDS),
    };
    let mut seen = Seen::default();
    let runs = seeds.end - seeds.start;
    for seed in seeds {
        let at = PrintSeed(seed);
        run(seed, &mut seen);
        std::mem::forget(at);
    }
    if runs >= SEEDS {
        seen.everything_happened();
    }
}

/// Says which seed it was when a run panics.
struct PrintSeed(u64);

impl Drop for PrintSeed {
    fn drop(&mut self) {
        eprintln!("run again with TERNMQ_JOURNAL_SEED={}", self.0);
    }
}

/// What the runs came across: a model test in which nothing happens proves nothing.
#[derive(Default, Debug)]
struct Seen {
    power_cuts: u64,
    kills: u64,
    closes: u64,
    cuts: u64,
    failures: u64,
    failed_opens: u64,
    lost_tails: u64,
    checkpoints: u64,
    copies: u64,
    failed_copies: u64,
    kept: u64,
    full: u64,
    segments: u64,
}

impl Seen {
    fn everything_happened(&self) {
        let Self {
            power_cuts,
            kills,
            closes,
            cuts,
            failures,
            failed_opens,
            lost_tails,
            checkpoints,
            copies,
            failed_copies,
            kept,
            full,
            segments,
        } = self;
        for count in [
            power_cuts,
            kills,
            closes,
            cuts,
            failures,
            failed_opens,
            lost_tails,
            checkpoints,
            copies,
            failed_copies,
            kept,
            full,
            segments,
        ] {
            assert!(*count >= 100, "{self:?}");
        }
    }
}

/// What the log has to remember.
#[derive(Default)]
struct Model {
    /// All records in order; what a crash lost is gone from here too.
    records: Vec<Vec<u8>>,
    /// Places in `records` where a batch ends.
    ends: BTreeSet<usize>,
    /// So many survive a power cut.
    on_disk: u64,
    /// So many survive the end of the process.
    committed: u64,
    /// What the owner wrote down last, durably.
    checkpoint: Checkpoint,
    fault_planned: bool,
}

/// What the owner of a log knows besides the log.
#[derive(Default)]
struct Checkpoint {
    /// Replay begins here.
    from: u64,
    /// Records below that are still needed.
    live: BTreeSet<u64>,
    /// Where they are.
    kept: Vec<KeptSegment>,
}

fn run(seed: u64, seen: &mut Seen) {
    let mut random = Random(seed);
    let disk = SimulatedStorage::new(random.number());
    let mut model = Model::default();
    model.checkpoint.from = 1;
    let segment_bytes = 8192 + 4096 * random.below(3) as u64;
    let durability = if random.one_in(3) {
        Durability::Os
    } else {
        Durability::Fsync
    };
    for _ in 0..2 + random.below(6) {
        if random.one_in(2) {
            plan_fault(&disk, &mut random);
            model.fault_planned = true;
        }
        let options = Options {
            segment_bytes: segment_bytes + 4096 * u64::from(random.one_in(10)),
            durability,
            spares_max: random.below(3),
            reserve_segments: random.below(3),
            replay_from: Some(Index(model.checkpoint.from)),
            kept: model.checkpoint.kept.clone(),
            unsynced_bytes_max: 6000,
            ..super::options()
        };
        match Stepped::open(&disk, options) {
            Ok(log) => live(log, &disk, &mut model, durability, &mut random, seen),
            Err(OpenError::Io(_)) if model.fault_planned => seen.failed_opens += 1,
            Err(error) => panic!("{error}"),
        }
        end(&disk, &mut model, &mut random, seen);
    }
}

fn plan_fault(disk: &SimulatedStorage, random: &mut Random) {
    let soon = random.one_in(3);
    let countdown = random.below(if soon { 15 } else { 120 }) as u64;
    let (operation, fault) = match random.below(10) {
        0..=4 => (None, Fault::PowerCut),
        5 => (None, Fault::Error),
        6 => (Some(Operation::Sync), Fault::Error),
        7 => (Some(Operation::Write), Fault::Short),
        8 => (Some(Operation::Read), Fault::Short),
        _ => (Some(Operation::Allocate), Fault::Full),
    };
    let scale = if operation.is_some() { 8 } else { 1 };
    disk.fail(operation, countdown / scale, fault);
}

/// From opening to the end of the process, in whatever way.
fn live(
    mut log: Stepped,
    disk: &SimulatedStorage,
    model: &mut Model,
    durability: Durability,
    random: &mut Random,
    seen: &mut Seen,
) {
    if recovered(&mut log, model, seen).is_err() {
        assert!(model.fault_planned, "reading failed without a fault");
        return;
    }
    for _ in 0..random.below(60) {
        match random.below(20) {
            0..=11 => append(&log, model, random, seen),
            12 => write_checkpoint(&log, disk, model, random, seen),
            13 => {
                let wanted: Vec<u64> = needed(model).filter(|_| random.one_in(3)).collect();
                read_needed(&log, model, &wanted);
            }
            14 => log.log.ask_for_sync(),
            _ => {
                let next = log.step();
                committed(&log, model, durability);
                if next == Next::End {
                    seen.failures += 1;
                    assert!(model.fault_planned && log.log.failure().is_some());
                    assert_eq!(log.append(&["late"]), Err(LogError::Closed));
                    return;
                }
            }
        }
    }
    if random.one_in(4) {
        log.log.close().ok();
        let next = log.step();
        assert_eq!(next, Next::End);
        committed(&log, model, durability);
        if log.log.failure().is_none() {
            assert_eq!(log.log.committed().0, model.records.len() as u64);
            assert_eq!(model.on_disk, model.committed);
            seen.closes += 1;
        }
    }
}

/// What was found must be what was promised.
fn recovered(log: &mut Stepped, model: &mut Model, seen: &mut Seen) -> Result<(), OpenError> {
    let found = read_all(&mut log.recovered)?;
    let last = log.recovered.last().0;
    assert_eq!(log.log.committed(), Index(last));
    assert!(last >= model.committed, "{last} of {}", model.committed);
    let len = usize::try_from(last).unwrap();
    assert!(
        len <= model.records.len(),
        "{len} of {}",
        model.records.len()
    );
    assert!(
        len == 0 || model.ends.contains(&len),
        "{len} is inside a batch"
    );
    let first = found.first().map_or(last + 1, |(index, _)| *index);
    assert_eq!(first, model.checkpoint.from);
    for (place, (index, record)) in found.iter().enumerate() {
        assert_eq!(*index, first + place as u64);
        assert_eq!(*record, model.records[usize::try_from(index - 1).unwrap()]);
    }
    assert_eq!(first + found.len() as u64, last + 1);
    seen.cuts += u64::from(log.cut);
    seen.lost_tails += u64::from(len < model.records.len());
    model.records.truncate(len);
    model.ends.split_off(&(len + 1));
    model.on_disk = last;
    model.committed = last;
    seen.kept += model.checkpoint.kept.len() as u64;
    read_needed(log, model, &needed(model).collect::<Vec<_>>());
    Ok(())
}

/// Records that have to be readable.
fn needed(model: &Model) -> impl Iterator<Item = u64> {
    let below = model.checkpoint.live.iter().copied();
    below.chain(model.checkpoint.from..=model.committed)
}

fn read_needed(log: &Stepped, model: &Model, wanted: &[u64]) {
    let (records, result) = try_read(&log.log.reader(), wanted);
    assert!(result.is_ok() || model.fault_planned);
    for (index, record) in records {
        match record {
            Ok(record) => assert_eq!(record, model.records[usize::try_from(index - 1).unwrap()]),
            Err(flaw) => assert!(model.fault_planned, "{index}: {flaw}"),
        }
    }
}

/// Settles some records, copies what is sparse, writes down what is needed, and gives up the rest.
fn write_checkpoint(
    log: &Stepped,
    disk: &SimulatedStorage,
    model: &mut Model,
    random: &mut Random,
    seen: &mut Seen,
) {
    let old = &model.checkpoint;
    let from = (model.on_disk + 1).saturating_sub(random.below(20) as u64);
    let from = from.max(old.from);
    let live = old.live.iter().copied().chain(old.from..from);
    let one_in = 1 + random.below(6);
    let live: BTreeSet<u64> = live.filter(|_| random.one_in(one_in)).collect();
    let outside = log.log.segments().into_iter();
    let outside = outside.filter(|s| s.kept || s.end.0 <= from);
    let used = outside.filter(|s| live.range(s.first.0..s.end.0).next().is_some());
    let (victims, mut kept): (Vec<SegmentInfo>, Vec<_>) = used.partition(|_| random.one_in(2));
    let refs: Vec<SegmentRef> = victims.iter().map(SegmentInfo::reference).collect();
    match log
        .log
        .copy_live(&refs, &mut live.iter().map(|&i| Index(i)))
    {
        Ok(copied) => {
            assert!(copied.damaged == 0 || model.fault_planned);
            seen.copies += u64::from(copied.segment.is_some());
            let bad = victims
                .iter()
                .filter(|v| copied.keep.contains(&v.reference()));
            kept.extend(bad.chain(&copied.segment).copied());
        }
        Err(failure) => {
            assert!(model.fault_planned, "{failure}");
            seen.failed_copies += 1;
            kept.extend(victims);
        }
    }
    if disk.has_stopped() {
        return;
    }
    seen.checkpoints += 1;
    log.log.release(Index(from));
    let kept: Vec<KeptSegment> = kept.iter().map(SegmentInfo::to_keep).collect();
    let is_kept = |segment: &SegmentRef| kept.iter().any(|kept| kept.segment == *segment);
    let all = log.log.segments();
    let dropped = all.iter().map(SegmentInfo::reference);
    let dropped: Vec<_> = dropped.filter(|segment| !is_kept(segment)).collect();
    // Those of the chain are among them, and left alone.
    log.log.drop_segments(&dropped);
    model.checkpoint = Checkpoint { from, live, kept };
}

fn append(log: &Stepped, model: &mut Model, random: &mut Random, seen: &mut Seen) {
    let count = random.below(4);
    let records: Vec<Vec<u8>> = (0..count)
        .map(|place| {
            let bytes = match random.below(40) {
                0 => random.below(12_000),
                1..=5 => random.below(3_000),
                _ => random.below(300),
            };
            let name = format!("{}/{}", model.records.len() + place, random.number());
            // Often the same bytes again, so that frames that were cut are written anew.
            let byte = if random.one_in(2) {
                7
            } else {
                name.as_bytes()[name.len() - 1]
            };
            vec![byte; bytes]
        })
        .collect();
    match log.log.append(&batch(&records)) {
        Ok(index) => {
            assert_eq!(index.0, model.records.len() as u64 + 1);
            model.records.extend(records);
            model.ends.insert(model.records.len());
        }
        Err(LogError::Full) => seen.full += 1,
        Err(error) => panic!("{error}"),
    }
}

fn committed(log: &Stepped, model: &mut Model, durability: Durability) {
    let committed = log.log.committed().0;
    assert!(committed >= model.committed, "the watermark moved back");
    assert!(committed <= model.records.len() as u64);
    model.committed = committed;
    let durable = log.log.durable().0;
    assert!(durable >= model.on_disk && durable <= committed);
    assert!(durability == Durability::Os || durable == committed);
    model.on_disk = durable;
}

/// The process ends, and perhaps the power goes.
fn end(disk: &SimulatedStorage, model: &mut Model, random: &mut Random, seen: &mut Seen) {
    if disk.has_stopped() || random.one_in(2) {
        seen.power_cuts += 1;
        disk.crash(random.number());
        model.committed = model.on_disk;
    } else {
        seen.kills += 1;
        disk.heal();
        let report = check(disk).unwrap();
        assert!(report.is_sound(), "{:?}", report.problems);
        assert!(report.kept_problems.is_empty(), "{report:?}");
        seen.segments += report.segments.len() as u64;
    }
    model.fault_planned = false;
}
