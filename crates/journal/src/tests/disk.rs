//! The simulated disk itself: what a test of crashes is worth depends on it.

use crate::simulated::{Fault, Operation, SimulatedStorage};
use crate::storage::Storage as _;

fn durable_file(disk: &SimulatedStorage, bytes: &[u8]) {
    let file = disk.create("f").unwrap();
    file.write_at(0, bytes).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir().unwrap();
}

#[test]
fn what_was_synced_survives_and_the_rest_in_any_part() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let disk = SimulatedStorage::new(seed);
        durable_file(&disk, &[1; 2048]);
        disk.open("f").unwrap().write_at(512, &[2; 1024]).unwrap();
        disk.crash(seed);
        let bytes = disk.contents("f").unwrap();
        assert!(bytes[..512].iter().chain(&bytes[1536..]).all(|&b| b == 1));
        outcomes.insert((bytes[512], bytes[1024]));
    }
    assert_eq!(outcomes.len(), 4, "each sector for itself: {outcomes:?}");
}

#[test]
fn names_that_were_not_synced_may_be_lost() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let disk = SimulatedStorage::new(seed);
        durable_file(&disk, b"x");
        disk.rename("f", "g").unwrap();
        disk.create("h").unwrap();
        disk.crash(seed);
        outcomes.insert(disk.list().unwrap().join(","));
    }
    assert_eq!(
        outcomes.into_iter().collect::<Vec<_>>(),
        ["f", "f,h", "g", "g,h"]
    );
}

#[test]
fn a_failed_sync_forgets_what_it_should_have_written() {
    let mut lost = false;
    for seed in 0..50 {
        let disk = SimulatedStorage::new(seed);
        durable_file(&disk, &[1; 512]);
        let file = disk.open("f").unwrap();
        file.write_at(0, &[2; 512]).unwrap();
        disk.fail(Some(Operation::Sync), 0, Fault::Error);
        assert!(file.sync_data().is_err());
        assert!(
            file.sync_data().is_ok(),
            "the next one claims that all is well"
        );
        assert_eq!(disk.contents("f").unwrap()[0], 2, "and it is still seen");
        disk.crash(seed);
        lost |= disk.contents("f").unwrap()[0] == 1;
    }
    assert!(lost);
}

#[test]
fn after_a_power_cut_nothing_works_until_the_crash() {
    let disk = SimulatedStorage::new(1);
    durable_file(&disk, b"x");
    let file = disk.open("f").unwrap();
    disk.fail(None, 1, Fault::PowerCut);
    assert!(file.sync_data().is_ok());
    assert!(file.write_at(0, b"y").is_err() && file.sync_data().is_err());
    assert!(disk.list().is_err() && disk.has_stopped());
    disk.crash(1);
    assert!(disk.list().is_ok());
}
