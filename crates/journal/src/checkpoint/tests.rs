//! Checkpoints, one behaviour at a time, and cut off at every step.

mod crashes;
mod golden;

use std::io;
use std::sync::Arc;

use super::format::{
    BLOCK_HEADER_BYTES, Kind, Link, PAYLOAD_BYTES_MAX, TEMPORARY, Totals, encode_end, file_header,
    name_of, number_of, seal,
};
use super::writer::BLOCK_BYTES;
use super::{CheckpointReader, CheckpointWriter, Checkpoints};
use crate::error::{Failure, Flaw, OpenError};
use crate::options::StoreId;
use crate::pages::header::HEADER_BYTES;
use crate::simulated::SimulatedStorage;
use crate::storage::{FileStorage, Storage};

const STORE: StoreId = StoreId(*b"a store of tests");

fn write(disk: &SimulatedStorage, number: u64, records: &[Vec<u8>]) -> Result<u64, Failure> {
    let mut writer = CheckpointWriter::create(Arc::new(disk.clone()), STORE, number)?;
    for record in records {
        writer.push(record)?;
    }
    writer.finish()
}

fn read_all(reader: &mut CheckpointReader) -> Result<Vec<Vec<u8>>, OpenError> {
    let mut records = Vec::new();
    while let Some(record) = reader.next_record()? {
        records.push(record.to_vec());
    }
    Ok(records)
}

/// A checkpoint's number and records.
type Found = (u64, Vec<Vec<u8>>);

fn newest(disk: &SimulatedStorage) -> Result<Option<Found>, OpenError> {
    let Some(mut reader) = Checkpoints::newest(disk, Some(STORE))? else {
        return Ok(None);
    };
    Ok(Some((reader.number(), read_all(&mut reader)?)))
}

/// Records of many lengths; about so many blocks.
fn records(blocks: usize) -> Vec<Vec<u8>> {
    let mut records = vec![b"first".to_vec(), Vec::new()];
    for number in 0..blocks * 4 {
        let byte = u8::try_from(number % 251).unwrap();
        records.push(vec![byte; BLOCK_BYTES / 4 - 20 + number]);
    }
    records.push(b"last".to_vec());
    records
}

fn small() -> Vec<Vec<u8>> {
    [&b"one"[..], b"", b"three"].map(<[u8]>::to_vec).to_vec()
}

fn refusal(disk: &SimulatedStorage) -> (String, u64, Flaw) {
    match newest(disk).unwrap_err() {
        OpenError::Damaged { file, offset, flaw } => (file, offset, flaw),
        error => panic!("{error}"),
    }
}

#[test]
fn records_come_back_in_their_order() {
    for records in [Vec::new(), vec![Vec::new()], small(), records(3)] {
        let disk = SimulatedStorage::new(1);
        let bytes = write(&disk, 7, &records).unwrap();
        assert_eq!(
            disk.contents(&name_of(7)).unwrap().len() as u64,
            bytes,
            "the file has no more"
        );
        disk.crash(1);
        let found = newest(&disk).unwrap();
        assert!(found == Some((7, records)));
        assert_eq!(disk.list().unwrap(), [name_of(7)]);
    }
}

#[test]
fn records_come_back_from_a_real_disk() {
    let directory = tempfile::tempdir().unwrap();
    let storage = Arc::new(FileStorage::open(directory.path()).unwrap());
    let records = records(2);
    let mut writer = CheckpointWriter::create(storage.clone(), STORE, 1).unwrap();
    for record in &records {
        writer.push(record).unwrap();
    }
    let expected = writer.byte_len();
    let bytes = writer.finish().unwrap();
    assert!(bytes > expected && bytes < expected + 200);
    let mut reader = Checkpoints::newest(storage.as_ref(), None)
        .unwrap()
        .unwrap();
    assert_eq!((reader.store(), reader.byte_len()), (STORE, bytes));
    assert!(read_all(&mut reader).unwrap() == records);
    assert!(reader.next_record().unwrap().is_none(), "still the end");
}

#[test]
fn memory_is_bounded_by_a_block_or_the_largest_record() {
    let disk = SimulatedStorage::new(1);
    let largest = vec![9; 3 * BLOCK_BYTES];
    let mut records = records(2);
    records.insert(4, largest.clone());
    let mut writer = CheckpointWriter::create(Arc::new(disk.clone()), STORE, 1).unwrap();
    for record in &records {
        writer.push(record).unwrap();
        let written = disk.contents(TEMPORARY).unwrap().len() as u64;
        let held = writer.byte_len() - written;
        assert!(held <= BLOCK_BYTES.max(record.len() + 4) as u64, "{held}");
    }
    writer.finish().unwrap();
    assert!(newest(&disk).unwrap() == Some((1, records)));
}

#[test]
fn a_record_above_the_largest_size_is_refused_and_ends_it() {
    let disk = SimulatedStorage::new(1);
    let mut writer = CheckpointWriter::create(Arc::new(disk.clone()), STORE, 1).unwrap();
    // Zeros that nobody touches take no memory.
    let failure = writer.push(&vec![0; PAYLOAD_BYTES_MAX - 3]).unwrap_err();
    assert_eq!(failure.error.kind(), io::ErrorKind::InvalidInput);
    assert!(writer.push(b"more").is_err() && writer.finish().is_err());
    assert!(newest(&disk).unwrap().is_none());
    assert!(disk.list().unwrap().is_empty());
}

#[test]
fn the_highest_number_counts_and_older_ones_go_when_told() {
    let disk = SimulatedStorage::new(1);
    for number in [9, 10, 100] {
        write(&disk, number, &[number.to_le_bytes().to_vec()]).unwrap();
    }
    disk.put("checkpoint-5", b"not a name of ours");
    let (number, _) = newest(&disk).unwrap().unwrap();
    assert_eq!(number, 100);
    Checkpoints::delete_older(&disk, 100).unwrap();
    assert_eq!(disk.list().unwrap(), [&name_of(100), "checkpoint-5"]);
    assert!(newest(&SimulatedStorage::new(1)).unwrap().is_none());
}

#[test]
fn one_that_was_given_up_leaves_nothing_or_what_the_next_one_replaces() {
    let disk = SimulatedStorage::new(1);
    write(&disk, 1, &small()).unwrap();
    let mut writer = CheckpointWriter::create(Arc::new(disk.clone()), STORE, 2).unwrap();
    writer.push(b"given up").unwrap();
    assert_eq!(disk.list().unwrap(), [&name_of(1), TEMPORARY]);
    drop(writer);
    assert_eq!(disk.list().unwrap(), [name_of(1)]);
    disk.put(TEMPORARY, b"of a process that was killed");
    assert_eq!(newest(&disk).unwrap().unwrap().0, 1);
    write(&disk, 2, &records(1)).unwrap();
    assert!(newest(&disk).unwrap() == Some((2, records(1))));
    assert_eq!(disk.list().unwrap(), [name_of(1), name_of(2)]);
}

#[test]
fn every_flipped_bit_is_noticed_and_no_older_one_is_taken_instead() {
    let disk = SimulatedStorage::new(1);
    write(&disk, 1, &small()).unwrap();
    write(&disk, 2, &small()).unwrap();
    let name = name_of(2);
    let bytes = disk.contents(&name).unwrap();
    let first = HEADER_BYTES + BLOCK_HEADER_BYTES + 3 * 4 + 8;
    let first_end = first.next_multiple_of(8);
    for bit in 0..bytes.len() * 8 {
        let at = bit / 8;
        if (first..first_end).contains(&at) {
            continue;
        }
        disk.flip(&name, at, 1 << (bit % 8));
        let offset = match at {
            0..HEADER_BYTES => 0,
            at if at < first_end => HEADER_BYTES,
            _ => first_end,
        };
        let (file, found, _) = refusal(&disk);
        assert_eq!((file, found), (name.clone(), offset as u64), "bit {bit}");
        disk.flip(&name, at, 1 << (bit % 8));
    }
    assert_eq!(newest(&disk).unwrap(), Some((2, small())));
}

#[test]
fn a_file_that_ends_early_or_late_is_refused() {
    let disk = SimulatedStorage::new(1);
    write(&disk, 1, &small()).unwrap();
    let name = name_of(1);
    let bytes = disk.contents(&name).unwrap();
    for end in 0..bytes.len() {
        disk.put(&name, &bytes[..end]);
        assert!(newest(&disk).is_err(), "{end}");
    }
    let mut longer = bytes.clone();
    longer.extend([0; 8]);
    disk.put(&name, &longer);
    assert_eq!(refusal(&disk).2, Flaw::Records);
}

/// The blocks of a checkpoint of four, each with its padding, behind the header.
fn blocks(disk: &SimulatedStorage) -> (Vec<u8>, Vec<Vec<u8>>) {
    let bytes = disk.contents(&name_of(1)).unwrap();
    let (header, mut rest) = bytes.split_at(HEADER_BYTES);
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        let payload = u32::from_le_bytes(*rest[8..].first_chunk().unwrap()) as usize;
        let (block, behind) = rest.split_at((BLOCK_HEADER_BYTES + payload).next_multiple_of(8));
        blocks.push(block.to_vec());
        rest = behind;
    }
    (header.to_vec(), blocks)
}

#[test]
fn blocks_that_are_left_out_swapped_or_repeated_are_refused() {
    let disk = SimulatedStorage::new(1);
    write(&disk, 1, &records(3)).unwrap();
    let (header, blocks) = blocks(&disk);
    let last = blocks.len() - 1;
    assert!(last >= 3);
    for order in [
        (1..=last).collect::<Vec<_>>(),
        (0..last - 1).chain([last]).collect(),
        [0, 2, 1].into_iter().chain(3..=last).collect(),
        [0, 0].into_iter().chain(1..=last).collect(),
        vec![last],
    ] {
        let chosen = order.iter().flat_map(|at: &usize| blocks[*at].clone());
        let bytes: Vec<u8> = header.iter().copied().chain(chosen).collect();
        disk.put(&name_of(1), &bytes);
        assert_eq!(refusal(&disk).2, Flaw::OutOfOrder, "{order:?}");
    }
}

#[test]
fn another_store_another_number_and_a_later_version_are_refused() {
    let disk = SimulatedStorage::new(1);
    write(&disk, 1, &small()).unwrap();
    let bytes = disk.contents(&name_of(1)).unwrap();
    let other = StoreId([9; 16]);
    assert!(matches!(
        Checkpoints::newest(&disk, Some(other)).map(|_| ()),
        Err(OpenError::Damaged {
            flaw: Flaw::Foreign,
            offset: 0,
            ..
        })
    ));
    assert_eq!(
        Checkpoints::newest(&disk, None).unwrap().unwrap().store(),
        STORE
    );
    disk.put(&name_of(2), &bytes);
    assert_eq!(refusal(&disk), (name_of(2), 0, Flaw::Foreign));

    let mut newer = file_header(STORE, 3).encode();
    newer[10] = 2;
    let crc = crc32c::crc32c(&newer[..60]);
    newer[60..].copy_from_slice(&crc.to_le_bytes());
    disk.put(&name_of(3), &newer);
    assert!(matches!(
        newest(&disk),
        Err(OpenError::NewerFormat { needs: 2, file }) if file == name_of(3)
    ));
}

#[test]
fn contents_that_contradict_themselves_are_refused_under_valid_checksums() {
    let header = file_header(STORE, 1);
    let block = |payload: &[u8], kind, link| {
        let mut block = vec![0; BLOCK_HEADER_BYTES];
        block.extend_from_slice(payload);
        let link = seal(&mut block, kind, link, header.signature());
        (block, link)
    };
    let end = |records, bytes| encode_end(Totals { records, bytes }).to_vec();
    let found = |payload: &[u8], kind: Kind, end: &[u8]| {
        let disk = SimulatedStorage::new(1);
        let (first, link) = block(payload, kind, Link::START);
        let (last, _) = block(end, Kind::End, link);
        let bytes = [header.encode().to_vec(), first, last].concat();
        disk.put(&name_of(1), &bytes);
        newest(&disk).map_err(|error| match error {
            OpenError::Damaged { flaw, .. } => flaw,
            error => panic!("{error}"),
        })
    };
    let one = b"\x03\0\0\0abc";
    let records = |n| Kind::Records(n);
    assert!(found(one, records(1), &end(1, 3)).is_ok());
    for (payload, kind, end) in [
        (&one[..], records(1), end(2, 3)),
        (one, records(1), end(1, 4)),
        (one, records(1), end(1, 3)[..15].to_vec()),
        (one, records(0), end(0, 0)),
        (one, records(2), end(2, 3)),
        (&one[..6], records(1), end(1, 3)),
        (b"\x03\0\0\0abcd", records(1), end(1, 3)),
        (b"\xFF\xFF\xFF\xFFabcd", records(1), end(1, 3)),
        (b"\0\0\0\0", records(u32::MAX), end(1, 0)),
        (one, Kind::End, end(0, 0)),
        (&end(0, 0), Kind::End, end(0, 0)),
    ] {
        assert_eq!(found(payload, kind, &end), Err(Flaw::Records), "{kind:?}");
    }
}

#[test]
fn a_length_is_believed_only_as_far_as_the_file_reaches() {
    let disk = SimulatedStorage::new(1);
    write(&disk, 1, &small()).unwrap();
    let mut bytes = disk.contents(&name_of(1)).unwrap();
    for (length, flaw) in [
        (PAYLOAD_BYTES_MAX, Flaw::Length),
        (PAYLOAD_BYTES_MAX + 1, Flaw::Length),
        (200, Flaw::Length),
        (8, Flaw::PayloadChecksum),
    ] {
        let header = &mut bytes[HEADER_BYTES..][..BLOCK_HEADER_BYTES];
        header[8..12].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
        let crc = crc32c::crc32c_append(file_header(STORE, 1).signature(), &header[8..]);
        header[4..8].copy_from_slice(&crc.to_le_bytes());
        disk.put(&name_of(1), &bytes);
        assert_eq!(refusal(&disk), (name_of(1), HEADER_BYTES as u64, flaw));
    }
}

#[test]
fn damage_far_behind_shows_when_it_is_reached_and_again_when_asked_again() {
    let disk = SimulatedStorage::new(1);
    let bytes = write(&disk, 1, &records(3)).unwrap();
    disk.flip(&name_of(1), usize::try_from(bytes).unwrap() / 2, 1);
    let mut reader = Checkpoints::newest(&disk, Some(STORE)).unwrap().unwrap();
    assert_eq!(reader.next_record().unwrap(), Some(&b"first"[..]));
    let first = read_all(&mut reader).unwrap_err().to_string();
    assert_eq!(reader.next_record().unwrap_err().to_string(), first);
}

#[test]
fn only_names_as_we_write_them_are_ours() {
    assert_eq!(number_of(&name_of(u64::MAX)), Some(u64::MAX));
    for name in [TEMPORARY, "checkpoint-1", "checkpoint-+0000000000000000001"] {
        assert_eq!(number_of(name), None, "{name}");
    }
}
