//! `ternmq store`: looking at a data directory without starting the broker, and giving up what is damaged in it.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, bail};
use clap::Subcommand;
use ternmq_control::Bar;
use ternmq_core::record;
use ternmq_journal::{AcceptLoss, Checkpoints, Entry, FileStorage, Report, Storage, dump, repair};

use crate::storage::AllFormats;

/// What to do with the data directory; the broker must not be running.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Read everything, all checksums included, and say what is wrong. Changes nothing; exit code 0 if all is well
    Check,
    /// Write out what the journal holds, record by record. Changes nothing
    Dump {
        /// Batches only, not the records in them
        #[arg(long)]
        batches: bool,
    },
    /// Cut the journal where damage begins, so that the broker starts again with what was before
    Repair {
        /// Confirmed messages behind the damage are gone for good: without this nothing is changed
        #[arg(long)]
        accept_loss: bool,
    },
}

/// Carries out the command. False: there is something wrong with the data.
pub(crate) fn run(command: &StoreCommand, data_dir: &Path) -> anyhow::Result<bool> {
    if !data_dir.is_dir() {
        bail!("there is no data directory {}", data_dir.display());
    }
    let storage = FileStorage::open(data_dir)
        .with_context(|| format!("data directory {}", data_dir.display()))?;
    let mut out = io::stdout().lock();
    match command {
        StoreCommand::Check => {
            let report = read_all(&storage, data_dir)?;
            let sound = tell(&report, &storage, &mut out)?;
            Ok(sound)
        }
        StoreCommand::Dump { batches } => {
            let mut failed = Ok(());
            let report = dump(&storage, &mut |entry| {
                if failed.is_ok() {
                    failed = write_entry(&entry, *batches, &mut out);
                }
            })?;
            failed?;
            Ok(report.is_sound())
        }
        StoreCommand::Repair { accept_loss } => mend(&storage, *accept_loss, &mut out),
    }
}

/// Reads the journal, with a bar for whoever waits.
fn read_all(storage: &FileStorage, data_dir: &Path) -> anyhow::Result<Report> {
    let bytes_of = |file: &str| std::fs::metadata(data_dir.join(file)).map_or(0, |data| data.len());
    let names = storage.list()?;
    let is_segment = |name: &&String| name.starts_with("seg-") || name.starts_with("cold-");
    let total = names.iter().filter(is_segment).map(|name| bytes_of(name));
    let bar = Bar::bytes(total.sum(), "reading", false);
    // Of the files that are done.
    let mut before = 0;
    let mut current = String::new();
    let report = dump(storage, &mut |entry| {
        if let Entry::Frame {
            file,
            offset,
            bytes,
            ..
        } = entry
        {
            if file != current {
                before += bytes_of(&current);
                file.clone_into(&mut current);
            }
            bar.at(before + offset + bytes as u64);
        }
    });
    bar.finish();
    Ok(report?)
}

fn tell(report: &Report, storage: &dyn Storage, out: &mut impl Write) -> anyhow::Result<bool> {
    match report.store {
        Some(store) => writeln!(out, "store {store}")?,
        None => writeln!(out, "no store")?,
    }
    let older = report.kept.iter().chain(&report.cold);
    for segment in older.chain(&report.segments) {
        writeln!(
            out,
            "{}: records from {}, {} records in {} batches, {} of {} bytes",
            segment.file,
            segment.first_index.0,
            segment.records,
            segment.frames,
            segment.end,
            segment.bytes
        )?;
    }
    let mut sound = report.is_sound();
    match check_checkpoint(storage) {
        Ok(None) => writeln!(out, "no checkpoint")?,
        Ok(Some((number, records))) => {
            writeln!(out, "checkpoint {number}: {records} records")?;
        }
        Err(problem) => {
            sound = false;
            writeln!(out, "PROBLEM: {}", crate::in_one_line(&problem))?;
        }
    }
    if let Some(cut) = &report.cut {
        writeln!(
            out,
            "{}: a write was under way at byte {} when the journal ended; nothing of it was confirmed",
            cut.file, cut.offset
        )?;
    }
    sound &= report.kept_problems.is_empty();
    for problem in report.problems.iter().chain(&report.kept_problems) {
        writeln!(out, "PROBLEM: {problem}")?;
    }
    writeln!(out, "{}", if sound { "sound" } else { "damaged" })?;
    Ok(sound)
}

/// The newest checkpoint's number and records.
fn check_checkpoint(storage: &dyn Storage) -> anyhow::Result<Option<(u64, u64)>> {
    let Some(mut file) = Checkpoints::newest(storage, None)? else {
        return Ok(None);
    };
    let number = file.number();
    let mut records = 0;
    while let Some(bytes) = file.next_record()? {
        record::state::decode_state(bytes, &AllFormats)
            .with_context(|| format!("checkpoint {number}, record {records}"))?;
        records += 1;
    }
    Ok(Some((number, records)))
}

fn write_entry(entry: &Entry<'_>, batches: bool, out: &mut impl Write) -> io::Result<()> {
    match entry {
        Entry::Frame {
            file,
            offset,
            sequence,
            first,
            records,
            bytes,
        } => writeln!(
            out,
            "{file}@{offset}: batch {sequence}, records {}..{}, {bytes} bytes",
            first.0,
            first.0 + u64::from(*records)
        ),
        Entry::Record { .. } if batches => Ok(()),
        Entry::Record { index, record } => match record::decode(record, &AllFormats) {
            Ok(decoded) => writeln!(out, "  {}: {decoded:?}", index.0),
            Err(error) => writeln!(out, "  {}: UNREADABLE: {error}", index.0),
        },
    }
}

fn mend(storage: &FileStorage, accept_loss: bool, out: &mut impl Write) -> anyhow::Result<bool> {
    let plan = repair(storage, AcceptLoss::No)?;
    if plan.problems.is_empty() {
        writeln!(out, "the journal is sound: there is nothing to repair")?;
        return Ok(true);
    }
    for problem in plan.problems.iter().chain(&plan.kept_problems) {
        writeln!(out, "PROBLEM: {problem}")?;
    }
    for lost in &plan.lost {
        writeln!(
            out,
            "to be given up: {} from byte {} on, at least {} records",
            lost.file, lost.offset, lost.records
        )?;
    }
    let needed = checkpoint_needs(storage)?;
    if needed > plan.next.0 {
        bail!(
            "nothing was changed: the checkpoint knows of record {needed}, but what is sound ends before {}; \
             the data has to be restored from a backup",
            plan.next.0
        );
    }
    if !accept_loss {
        bail!("nothing was changed: --accept-loss gives up what is listed above");
    }
    let repaired = repair(storage, AcceptLoss::Yes)?;
    for file in repaired
        .lost
        .iter()
        .filter_map(|lost| lost.set_aside.as_ref())
    {
        writeln!(out, "set aside: {file}")?;
    }
    writeln!(
        out,
        "repaired: the journal ends before record {}",
        repaired.next.0
    )?;
    Ok(true)
}

/// The journal has to reach at least to this record; 0 without a checkpoint.
fn checkpoint_needs(storage: &dyn Storage) -> anyhow::Result<u64> {
    let Some(mut file) = Checkpoints::newest(storage, None)? else {
        return Ok(0);
    };
    let Some(first) = file.next_record()? else {
        return Ok(0);
    };
    match record::state::decode_state(first, &AllFormats)? {
        record::state::StateRecord::Begun(begun) => Ok(begun.apply_from.0),
        _ => Ok(0),
    }
}
