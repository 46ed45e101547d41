//! A terminal as a whole: drawn again and again, and given back as it was.

use std::io::{self, Stdout, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::failure::{Failure, Outcome};
use crate::table::printable;

/// The other screen that terminals have, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The screen is this one's until it is dropped.
pub(crate) struct Screen {
    out: Stdout,
    /// The modes to go back to; none if the input is no terminal.
    before: Option<Termios>,
}

impl Screen {
    /// Takes the screen. Keys are read one by one from now on, also those that would end the process: who would give
    /// the screen back otherwise?
    pub(crate) fn begin() -> Outcome<Self> {
        let mut screen = Self {
            out: io::stdout(),
            before: tcgetattr(io::stdin()).ok(),
        };
        if let Some(before) = &screen.before {
            let mut modes = before.clone();
            modes.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
            tcsetattr(io::stdin(), OptionalActions::Flush, &modes)
                .map_err(|error| Failure::io("the terminal")(error.into()))?;
        }
        screen.write(ENTER)?;
        Ok(screen)
    }

    /// Columns and rows, if the terminal says.
    pub(crate) fn size(&self) -> Option<(usize, usize)> {
        let size = tcgetwinsize(&self.out).ok()?;
        let (width, height) = (usize::from(size.ws_col), usize::from(size.ws_row));
        (width > 0 && height > 0).then_some((width, height))
    }

    /// Replaces what is shown. Lines have to fit.
    pub(crate) fn draw(&mut self, lines: &[String]) -> Outcome {
        let mut frame = String::from("\x1b[H");
        for (number, line) in lines.iter().enumerate() {
            if number > 0 {
                frame.push_str("\r\n");
            }
            frame.push_str(&printable(line));
            frame.push_str("\x1b[K");
        }
        frame.push_str("\x1b[J");
        self.write(&frame)
    }

    fn write(&mut self, text: &str) -> Outcome {
        self.out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush())
            .map_err(Failure::io("the terminal"))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = self.write(LEAVE);
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, before);
        }
    }
}
