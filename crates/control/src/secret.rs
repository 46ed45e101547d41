//! Passwords: from a terminal without showing them, or from a pipe.

use std::io::{self, BufRead, IsTerminal, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::failure::{Failure, Outcome};
use crate::options::Server;

const GUEST: &str = "guest";

/// The password to log in with: as given, guest's own, or asked for.
pub(crate) fn login(server: &Server) -> Outcome<String> {
    match &server.password {
        Some(password) => Ok(password.clone()),
        None if server.user == GUEST => Ok(GUEST.to_owned()),
        None if io::stdin().is_terminal() => ask(&format!("Password of {}: ", server.user)),
        None => Err(Failure::Usage(format!(
            "no password for {}: give --password or set TERNMQ_PASSWORD",
            server.user
        ))),
    }
}

/// A password for a user that is created or changed: asked for twice on a terminal, else the first line of the input.
pub(crate) fn new_password(user: &str) -> Outcome<String> {
    if !io::stdin().is_terminal() {
        let password = line()?;
        if password.is_empty() {
            return Err(Failure::Usage("no password on standard input".to_owned()));
        }
        return Ok(password);
    }
    let password = ask(&format!("New password of {user}: "))?;
    if password.is_empty() {
        return Err(Failure::Usage("an empty password".to_owned()));
    }
    if ask("Again: ")? == password {
        Ok(password)
    } else {
        Err(Failure::Usage("the passwords differ".to_owned()))
    }
}

fn ask(prompt: &str) -> Outcome<String> {
    let mut screen = io::stderr();
    let terminal = Failure::io("the terminal");
    write!(screen, "{prompt}")
        .and_then(|()| screen.flush())
        .map_err(terminal)?;
    let hidden = Hidden::begin()?;
    let password = line();
    drop(hidden);
    // The line feed that ended the password was not shown either.
    let _ = writeln!(screen);
    password
}

fn line() -> Outcome<String> {
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(Failure::io("standard input"))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// The terminal shows nothing of what is typed until this is dropped.
struct Hidden {
    before: Termios,
}

impl Hidden {
    fn begin() -> Outcome<Self> {
        let terminal = |error: rustix::io::Errno| Failure::io("the terminal")(error.into());
        let before = tcgetattr(io::stdin()).map_err(terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes &= !LocalModes::ECHO;
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden).map_err(terminal)?;
        Ok(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that is gone has nobody to show anything to.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}
