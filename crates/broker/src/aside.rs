//! Work in a thread that others need.

/// Runs work that takes long, or waits, in the calling thread, after seeing to it that the thread's other tasks go on
/// elsewhere. The runtime is the binary's, so it is the binary that knows how.
pub type Aside = fn(&mut dyn FnMut());

/// Runs work where it is called: for tests, and whoever has no other tasks.
pub fn in_place(work: &mut dyn FnMut()) {
    work();
}
