//! Bars on long work. Nothing is shown where nobody watches: the bar goes to standard error if that is a terminal.

use std::io::{self, Read};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a bar moves while nothing is reported.
const TICK: Duration = Duration::from_millis(120);

/// How far something is.
#[derive(Clone, Debug)]
pub struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// For so many bytes. Silent: for nobody at all.
    pub fn bytes(total: u64, what: &'static str, silent: bool) -> Self {
        let template = "{msg} {wide_bar} {bytes}/{total_bytes} {eta}";
        Self::new(total, what, template, silent)
    }

    /// For so many things.
    pub fn things(total: u64, what: &'static str, silent: bool) -> Self {
        let template = "{msg} {wide_bar} {human_pos}/{human_len} {eta}";
        Self::new(total, what, template, silent)
    }

    fn new(total: u64, what: &'static str, template: &str, silent: bool) -> Self {
        let target = if silent {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(Some(total), target).with_message(what);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Self { bar }
    }

    /// So much is done by now.
    pub fn at(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// So much more is done.
    pub fn advance(&self, by: u64) {
        self.bar.inc(by);
    }

    /// Something else goes on.
    pub fn say(&self, what: &'static str) {
        self.bar.set_message(what);
    }

    /// It is done, and the bar goes away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Bytes that move a bar as they are read.
#[derive(Debug)]
pub(crate) struct Counted<'a> {
    rest: &'a [u8],
    bar: Bar,
}

impl<'a> Counted<'a> {
    pub(crate) fn new(bytes: &'a [u8], bar: &Bar) -> Self {
        Self {
            rest: bytes,
            bar: bar.clone(),
        }
    }
}

impl Read for Counted<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.rest.read(into)?;
        self.bar.advance(count as u64);
        if self.rest.is_empty() {
            self.bar.say("importing");
        }
        Ok(count)
    }
}

/// Waits before something far away is asked again. There is nothing to wait on: the answer is in another process.
pub(crate) fn pause(time: Duration) {
    #[allow(
        clippy::disallowed_methods,
        reason = "HTTP has no way to be woken by the other side"
    )]
    std::thread::sleep(time);
}
