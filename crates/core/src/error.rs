//! Protocol-neutral refusals.
