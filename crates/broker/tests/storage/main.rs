//! The broker over a simulated disk: what it keeps, what it gives back, and what a crash leaves.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod admin;
mod life;
mod lives;
mod looks;
mod model;
mod node;
mod noise;
mod policies;
mod schedule;
mod space;
mod steps;
mod trouble;
