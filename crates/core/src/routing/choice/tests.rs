use alloc::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const KEYS: u64 = 40_000;

/// A choice among these leaves, each under its number as binding.
fn choice(shared: Shared, leaves: &[(u64, u32)]) -> Choice {
    let mut choice = Choice::new(shared);
    for (n, &(hash, weight)) in (0..).zip(leaves) {
        choice.insert(hash, n, weight);
    }
    choice
}

fn spread(weights: &[u32]) -> Vec<(u64, u32)> {
    (0..)
        .map(|n| mix(n * 77 + 1))
        .zip(weights.iter().copied())
        .collect()
}

fn shares(choice: &Choice) -> BTreeMap<u32, u64> {
    let mut shares = BTreeMap::new();
    for key in 0..KEYS {
        *shares.entry(choice.by_weight(key).unwrap()).or_default() += 1;
    }
    shares
}

/// Six standard deviations of a count with that expectation, and a little.
fn tolerance(expected: f64) -> f64 {
    6.0 * expected.sqrt() + 1.0
}

#[test]
fn every_leaf_has_its_weights_share() {
    let many: Vec<u32> = (0..300).map(|n| n % 7 + 1).collect();
    for weights in [&[1, 1][..], &[1, 2, 3], &[1, 10_000], &[5; 40], &many] {
        let choice = choice(Shared::First, &spread(weights));
        let total: u32 = weights.iter().sum();
        assert_eq!(choice.weight(), u64::from(total));
        let shares = shares(&choice);
        for (n, &weight) in (0..).zip(weights) {
            let expected = float(KEYS) * f64::from(weight) / f64::from(total);
            let found = float(shares.get(&n).copied().unwrap_or_default());
            assert!(
                (found - expected).abs() < tolerance(expected),
                "{n} of {weights:?}: {found} for {expected}"
            );
        }
    }
}

/// Keys that lead to another binding in `b`, and those of them that neither leave nor reach `changed`.
fn moved(a: &Choice, b: &Choice, changed: u32) -> (u64, u64) {
    let (mut moved, mut needless) = (0, 0);
    for key in 0..KEYS {
        let (from, to) = (a.by_weight(key), b.by_weight(key));
        if from != to {
            moved += 1;
            needless += u64::from(from != Some(changed) && to != Some(changed));
        }
    }
    (moved, needless)
}

#[test]
fn few_keys_move_when_one_leaf_comes_or_goes() {
    for (count, factor) in [(1_u16, 1.0), (4, 1.5), (10, 2.0), (100, 2.7), (1000, 3.6)] {
        let mut total = 0;
        let must = float(KEYS) / (f64::from(count) + 1.0);
        for extra in 0..8 {
            let leaves = spread(&alloc::vec![1; usize::from(count)]);
            let before = choice(Shared::First, &leaves);
            let mut after = choice(Shared::First, &leaves);
            let hash = mix(extra + 1_000_000);
            after.insert(hash, u32::MAX, 1);
            let (moved, needless) = moved(&before, &after, u32::MAX);
            assert!(needless < moved || moved == 0);
            total += moved;
            after.remove(hash, u32::MAX);
            assert!((0..KEYS).all(|key| before.by_weight(key) == after.by_weight(key)));
        }
        let mean = float(total) / 8.0;
        assert!(
            mean < factor * must + tolerance(must),
            "{count}: {mean} moved of {must}"
        );
    }
}

#[test]
fn nothing_moves_but_to_and_from_what_changes_among_siblings() {
    // Apart in the first four bits.
    let leaves: Vec<_> = (0..16).map(|n| (n << 60, 3)).collect();
    let all = choice(Shared::First, &leaves);
    for gone in 0..16 {
        let mut without = choice(Shared::First, &leaves);
        without.remove(leaves[gone as usize].0, gone);
        let (moved, needless) = moved(&all, &without, gone);
        assert_eq!(needless, 0);
        let must = float(KEYS) / 16.0;
        assert!((float(moved) - must).abs() < tolerance(must));
    }
}

#[test]
fn of_one_leaf_the_first_binding_counts_until_it_goes() {
    let mut choice = choice(Shared::First, &[(7, 1), (7, 9), (7, 4), (8, 1)]);
    assert_eq!(choice.weight(), 2);
    assert!((0..100).all(|key| matches!(choice.by_weight(key), Some(0 | 3))));
    choice.remove(7, 1);
    assert_eq!(choice.weight(), 2);
    choice.remove(7, 0);
    assert_eq!(choice.weight(), 5);
    assert!((0..100).all(|key| matches!(choice.by_weight(key), Some(2 | 3))));
    choice.remove(7, 2);
    choice.remove(8, 3);
    assert_eq!((choice.weight(), choice.by_weight(1)), (0, None));
}

#[test]
fn numbers_reach_every_binding_of_every_leaf_once() {
    let mut choice = choice(Shared::All, &[(7, 1), (7, 1), (1 << 63, 1), (7, 1), (8, 1)]);
    let mut all: Vec<_> = (0..5).map(|n| choice.by_number(n).unwrap()).collect();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3, 4]);
    assert_eq!(choice.by_number(5), None);
    choice.remove(7, 1);
    assert_eq!((choice.weight(), choice.by_number(4)), (4, None));
}

/// Sixteen hashes, some of them the same but for their last bits.
fn hash() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..4_u64,
        (0..4_u64).prop_map(|n| n << 56),
        (0..8_u64).prop_map(mix)
    ]
}

proptest! {
    #[test]
    fn choice_depends_on_what_there_is_and_not_on_how_it_came(
        steps in prop::collection::vec((hash(), 1..5_u32, any::<bool>()), 1..80),
        key in any::<u64>(),
    ) {
        let mut choice = Choice::new(Shared::First);
        let mut there: BTreeMap<u64, Vec<(u32, u32)>> = BTreeMap::new();
        for (n, &(hash, weight, add)) in (0..).zip(&steps) {
            let members = there.entry(hash).or_default();
            if add {
                members.push((n, weight));
                choice.insert(hash, n, weight);
            } else if !members.is_empty() {
                let (gone, _) = members.remove(n as usize % members.len());
                choice.remove(hash, gone);
            }
            there.retain(|_, members| !members.is_empty());
            let mut fresh = Choice::new(Shared::First);
            for (&hash, members) in there.iter().rev() {
                for &(binding, weight) in members {
                    fresh.insert(hash, binding, weight);
                }
            }
            prop_assert_eq!(choice.weight(), fresh.weight());
            prop_assert_eq!(choice.by_weight(key), fresh.by_weight(key));
            prop_assert_eq!(choice.nodes.len(), fresh.nodes.len());
            prop_assert_eq!(choice.leaves.len(), there.len());
            let all: Vec<_> = (0..choice.weight()).map(|n| choice.by_number(n)).collect();
            prop_assert!(all.iter().all(Option::is_some));
        }
    }
}
