//! A checkpoint that is cut off, or meets a fault, at every step there is.

use std::sync::Arc;

use super::{STORE, newest, records, write};
use crate::checkpoint::{CheckpointWriter, Checkpoints};
use crate::simulated::{Fault, Operation, SimulatedStorage};
use crate::storage::is_out_of_room;

const SEEDS: u64 = 12;

/// A disk with checkpoint 1, and what an earlier attempt at the second has left.
fn disk(seed: u64) -> SimulatedStorage {
    let disk = SimulatedStorage::new(seed);
    write(&disk, 1, &[b"old".to_vec()]).unwrap();
    if seed.is_multiple_of(2) {
        // Its name is on disk, some of its contents are.
        let mut writer = CheckpointWriter::create(Arc::new(disk.clone()), STORE, 2).unwrap();
        for record in records(1) {
            writer.push(&record).unwrap();
        }
        crate::storage::Storage::sync_dir(&disk).unwrap();
        std::mem::forget(writer);
    }
    disk
}

fn find(disk: &SimulatedStorage) -> u64 {
    match newest(disk).unwrap() {
        Some((1, found)) if found == [b"old"] => 1,
        Some((2, found)) if found == records(2) => 2,
        Some((3, found)) if found == [b"third"] => 3,
        found => panic!("neither the old nor the new one: {:?}", found.map(|f| f.0)),
    }
}

/// Makes checkpoint 2 with a fault at every step, until there are no more steps. Returns how many there were.
fn at_every_step(
    seed: u64,
    fault: Fault,
    operation: Option<Operation>,
    check: &dyn Fn(&SimulatedStorage, bool),
) -> u64 {
    for step in 0.. {
        let disk = disk(seed);
        let before = disk.operations();
        disk.fail(operation, step, fault);
        let result = write(&disk, 2, &records(2));
        let steps = disk.operations() - before;
        if let Err(failure) = &result
            && fault == Fault::Full
        {
            assert!(is_out_of_room(&failure.error), "{failure}");
        }
        check(&disk, result.is_ok());
        if step >= steps {
            assert!(result.is_ok());
            return step;
        }
    }
    unreachable!("every number of steps comes")
}

#[test]
fn a_power_cut_at_any_step_leaves_the_old_or_the_new_one_whole() {
    for seed in 0..SEEDS {
        let steps = at_every_step(seed, Fault::PowerCut, None, &|disk, finished| {
            for crash in 0..4 {
                // Several crashes, each behind what the one before has left.
                disk.crash(seed * 100 + crash);
                let found = find(disk);
                assert!(found == 2 || !finished, "what was finished is there");
            }
            // Whatever was left does not stand in the way of the next.
            write(disk, 3, &[b"third".to_vec()]).unwrap();
            disk.crash(seed);
            assert_eq!(find(disk), 3);
            Checkpoints::delete_older(disk, 3).unwrap();
            disk.crash(seed);
            assert_eq!(find(disk), 3);
        });
        assert!(steps > 8, "{steps}");
    }
}

#[test]
fn a_fault_at_any_step_leaves_the_old_or_the_new_one_whole() {
    let kinds = [
        Operation::Write,
        Operation::Sync,
        Operation::Allocate,
        Operation::Directory,
    ];
    for fault in [Fault::Error, Fault::Full] {
        for seed in 0..SEEDS {
            for operation in kinds {
                at_every_step(seed, fault, Some(operation), &|disk, finished| {
                    disk.heal();
                    let found = find(disk);
                    assert!(found == 2 || !finished);
                    disk.crash(seed);
                    let found = find(disk);
                    assert!(found == 2 || !finished);
                    write(disk, 3, &[b"third".to_vec()]).unwrap();
                    disk.crash(seed);
                    assert_eq!(find(disk), 3);
                });
            }
        }
    }
}

#[test]
fn a_full_disk_gets_its_room_back() {
    let disk = disk(1);
    disk.fail(Some(Operation::Write), 2, Fault::Full);
    write(&disk, 2, &records(2)).unwrap_err();
    assert!(disk.contents("checkpoint.tmp").is_none());
}

#[test]
fn what_was_given_up_earlier_is_never_renamed_into_a_checkpoint() {
    for seed in 0..100 {
        for step in 0..5 {
            let disk = disk(2);
            disk.fail(Some(Operation::Directory), step, Fault::PowerCut);
            let result = write(&disk, 2, &[b"new".to_vec()]);
            disk.crash(seed);
            match newest(&disk).unwrap() {
                Some((1, found)) => assert!(result.is_err() && found == [b"old"]),
                found => assert_eq!(found, Some((2, vec![b"new".to_vec()]))),
            }
        }
    }
}
