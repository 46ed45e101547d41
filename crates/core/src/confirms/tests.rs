use alloc::collections::BTreeMap;
use alloc::vec;

use proptest::prelude::*;

use super::Confirm::{Ack, Nack};
use super::*;

fn poll(confirms: &mut Confirms, committed: u64) -> Vec<Confirm> {
    let mut out = Vec::new();
    confirms.poll(Lsn(committed), &mut out);
    out
}

#[test]
fn one_ack_speaks_for_all_that_is_committed() {
    let mut confirms = Confirms::new();
    for sequence in 1..=5 {
        confirms.owe(sequence, Lsn(sequence * 10));
    }
    assert_eq!(poll(&mut confirms, 9), vec![]);
    assert_eq!(
        poll(&mut confirms, 39),
        vec![Ack {
            up_to: 3,
            multiple: true
        }]
    );
    assert_eq!(confirms.owed(), 2);
    assert_eq!(
        poll(&mut confirms, 40),
        vec![Ack {
            up_to: 4,
            multiple: false
        }]
    );
    assert_eq!(
        poll(&mut confirms, 50),
        vec![Ack {
            up_to: 5,
            multiple: false
        }]
    );
    assert!(confirms.is_empty());
}

#[test]
fn nack_parts_cumulative_acks() {
    let mut confirms = Confirms::new();
    for sequence in 1..=6 {
        match sequence {
            3 => confirms.reject(sequence),
            _ => confirms.owe(sequence, Lsn::NONE),
        }
    }
    let expected = vec![
        Ack {
            up_to: 2,
            multiple: true,
        },
        Nack { sequence: 3 },
        Ack {
            up_to: 6,
            multiple: true,
        },
    ];
    assert_eq!(poll(&mut confirms, 0), expected);
}

#[test]
fn consecutive_nacks_are_told_one_by_one() {
    let mut confirms = Confirms::new();
    confirms.reject(1);
    confirms.reject(2);
    assert_eq!(
        poll(&mut confirms, 0),
        vec![Nack { sequence: 1 }, Nack { sequence: 2 }]
    );
}

#[test]
fn nack_waits_behind_what_is_owed() {
    let mut confirms = Confirms::new();
    confirms.owe(1, Lsn(7));
    confirms.reject(2);
    assert_eq!(poll(&mut confirms, 6), vec![]);
    assert_eq!(
        poll(&mut confirms, 7),
        vec![
            Ack {
                up_to: 1,
                multiple: false
            },
            Nack { sequence: 2 }
        ]
    );
}

#[test]
fn what_needs_no_commit_keeps_its_turn() {
    let mut confirms = Confirms::new();
    confirms.owe(1, Lsn(7));
    confirms.owe(2, Lsn::NONE);
    assert_eq!(poll(&mut confirms, 0), vec![]);
    assert_eq!(
        poll(&mut confirms, 7),
        vec![Ack {
            up_to: 2,
            multiple: true
        }]
    );
}

#[test]
fn a_batch_with_one_record_takes_one_ticket() {
    let mut confirms = Confirms::new();
    for sequence in 1..=1000 {
        confirms.owe(sequence, Lsn(3));
    }
    assert_eq!(confirms.runs.len(), 1);
    assert_eq!(
        poll(&mut confirms, 3),
        vec![Ack {
            up_to: 1000,
            multiple: true
        }]
    );
}

proptest! {
    #[test]
    fn every_publish_gets_its_own_answer_once_and_not_before_its_commit(
        steps in prop::collection::vec((0u8..8, 0u64..4), 1..200),
    ) {
        let (mut confirms, mut sequence, mut lsn, mut committed) = (Confirms::new(), 0, 0, 0);
        // Unanswered: none for a refusal, else what must be committed.
        let mut owed: BTreeMap<u64, Option<u64>> = BTreeMap::new();
        for (what, step) in steps {
            match what {
                0..4 => {
                    sequence += 1;
                    lsn += step;
                    confirms.owe(sequence, Lsn(lsn));
                    owed.insert(sequence, Some(lsn));
                }
                4 => {
                    sequence += 1;
                    confirms.owe(sequence, Lsn::NONE);
                    owed.insert(sequence, Some(0));
                }
                5 => {
                    sequence += 1;
                    confirms.reject(sequence);
                    owed.insert(sequence, None);
                }
                _ => committed = (committed + step).min(lsn),
            }
            for answer in poll(&mut confirms, committed) {
                match answer {
                    Nack { sequence } => prop_assert_eq!(owed.remove(&sequence), Some(None)),
                    Ack { up_to, multiple } => {
                        let rest = owed.split_off(&(up_to + 1));
                        let acked = core::mem::replace(&mut owed, rest);
                        prop_assert!(acked.contains_key(&up_to));
                        prop_assert_eq!(multiple, acked.len() > 1);
                        prop_assert!(acked.values().all(|lsn| lsn.is_some_and(|lsn| lsn <= committed)));
                    }
                }
            }
            prop_assert_eq!(confirms.owed(), owed.len() as u64);
            // Whatever stands first and is due has been answered.
            if let Some(first) = owed.values().next() {
                prop_assert!(first.is_some_and(|lsn| lsn > committed));
            }
        }
    }
}
