//! Many random lives.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::life::Life;

/// Seeds of one run; another number with `TERNMQ_SEEDS`, and where they begin with `TERNMQ_SEED`.
const SEEDS: u64 = 60;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn live(seed: u64) {
    let mut life = Life::begin(seed);
    for _ in 0..2 + life.random.below(4) {
        let armed = life.random.one_in(2);
        let steps = life.random.below(60);
        for step in 0..steps {
            if armed && step == steps / 2 {
                life.arm();
            }
            if life.has_stopped() {
                break;
            }
            life.step();
        }
        life.restart();
    }
    life.end();
}

#[test]
fn nothing_that_was_confirmed_is_lost_and_nothing_that_was_settled_comes_back() {
    let seeds = number("TERNMQ_SEEDS").unwrap_or(SEEDS);
    let first = number("TERNMQ_SEED").unwrap_or(1);
    for seed in first..first + seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| live(seed))) {
            println!("TERNMQ_SEED={seed} TERNMQ_SEEDS=1");
            resume_unwind(panic);
        }
    }
}
