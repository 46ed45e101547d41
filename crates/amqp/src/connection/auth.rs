//! SASL responses (RFC 4616 for PLAIN; AMQPLAIN is AMQP's own): who says what about themselves.

use crate::error::{Fault, Reply};
use crate::table;

/// What `connection.start` offers, the preferred first.
pub(crate) const MECHANISMS: &str = "PLAIN AMQPLAIN";

/// Who a client says it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Credentials<'a> {
    pub(crate) user: &'a str,
    pub(crate) password: &'a [u8],
}

/// Reads the response of a mechanism that was offered.
pub(crate) fn credentials<'a>(
    mechanism: &str,
    response: &'a [u8],
) -> Result<Credentials<'a>, Fault> {
    match mechanism {
        "PLAIN" => {
            plain(response).ok_or_else(|| Fault::new(Reply::SyntaxError, "PLAIN response invalid"))
        }
        "AMQPLAIN" => amqplain(response).ok_or_else(|| {
            let text = "AMQPLAIN auth info is missing LOGIN or PASSWORD field";
            Fault::new(Reply::SyntaxError, text)
        }),
        other => {
            let text = format!("unknown authentication mechanism '{other}'");
            Err(Fault::new(Reply::CommandInvalid, text))
        }
    }
}

/// `[authzid] NUL authcid NUL password`; nobody may act for somebody else.
fn plain(response: &[u8]) -> Option<Credentials<'_>> {
    let mut parts = response.splitn(3, |byte| *byte == 0);
    let (authzid, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    let acts_for_itself = authzid.is_empty() || authzid == user;
    let whole = !password.contains(&0);
    (acts_for_itself && whole).then_some(Credentials {
        user: std::str::from_utf8(user).ok()?,
        password,
    })
}

/// A raw table with `LOGIN` and `PASSWORD`.
fn amqplain(response: &[u8]) -> Option<Credentials<'_>> {
    table::validate(response).ok()?;
    let user = table::find(response, b"LOGIN")?.as_text()?;
    let password = table::find(response, b"PASSWORD")?.as_text()?;
    Some(Credentials {
        user: std::str::from_utf8(user).ok()?,
        password,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mechanism: &str, response: &[u8]) -> Result<(String, Vec<u8>), u16> {
        credentials(mechanism, response)
            .map(|c| (c.user.to_owned(), c.password.to_vec()))
            .map_err(|fault| fault.reply.code())
    }

    #[test]
    fn plain_takes_a_user_for_itself_only() {
        let guest = Ok(("guest".to_owned(), b"secret".to_vec()));
        assert_eq!(read("PLAIN", b"\0guest\0secret"), guest);
        assert_eq!(read("PLAIN", b"guest\0guest\0secret"), guest);
        for bad in [
            &b"root\0guest\0secret"[..],
            b"",
            b"guest",
            b"\0guest",
            b"\0guest\0a\0b",
            b"\0\xff\0x",
        ] {
            assert_eq!(read("PLAIN", bad), Err(502));
        }
    }

    #[test]
    fn amqplain_takes_login_and_password_from_a_table() {
        let mut table = Vec::new();
        for (name, value) in [(&b"LOGIN"[..], &b"guest"[..]), (b"PASSWORD", b"secret")] {
            table.push(u8::try_from(name.len()).unwrap());
            table.extend_from_slice(name);
            table.push(b'S');
            table.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
            table.extend_from_slice(value);
        }
        assert_eq!(
            read("AMQPLAIN", &table),
            Ok(("guest".to_owned(), b"secret".to_vec()))
        );
        assert_eq!(read("AMQPLAIN", &table[..table.len() - 1]), Err(502));
        assert_eq!(read("AMQPLAIN", b""), Err(502));
    }

    #[test]
    fn other_mechanisms_are_not_known() {
        assert_eq!(read("EXTERNAL", b""), Err(503));
        assert_eq!(read("plain", b"\0guest\0guest"), Err(503));
    }
}
