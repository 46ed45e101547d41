//! SASL responses (RFC 4616 for PLAIN, RFC 4505 for ANONYMOUS; AMQPLAIN is AMQP's own): who says what about themselves.

use crate::error::{Fault, Reply};
use crate::table;

/// Which mechanisms a connection may log in by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Offer {
    /// By name and password.
    pub(crate) plain: bool,
    /// The same in a table.
    pub(crate) amqplain: bool,
    /// By the certificate that the client has shown.
    pub(crate) external: bool,
    /// Without any credentials.
    pub(crate) anonymous: bool,
}

impl Offer {
    /// What `connection.start` lists, the preferred first.
    pub(crate) fn mechanisms(self) -> String {
        let all = [
            (self.plain, "PLAIN"),
            (self.amqplain, "AMQPLAIN"),
            (self.external, "EXTERNAL"),
            (self.anonymous, "ANONYMOUS"),
        ];
        let offered = all.into_iter().filter(|(is_offered, _)| *is_offered);
        let names: Vec<&str> = offered.map(|(_, name)| name).collect();
        names.join(" ")
    }
}

/// Who a client says it is, and what speaks for that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claim<'a> {
    /// It knows the user's password.
    Password { user: &'a str, password: &'a [u8] },
    /// It is whom its certificate names.
    Certificate,
    /// It does not say.
    Anonymous,
}

/// Reads the response of a mechanism.
pub(crate) fn claim<'a>(
    mechanism: &str,
    response: &'a [u8],
    offer: Offer,
) -> Result<Claim<'a>, Fault> {
    match mechanism {
        "PLAIN" if offer.plain => {
            plain(response).ok_or_else(|| Fault::new(Reply::SyntaxError, "PLAIN response invalid"))
        }
        "AMQPLAIN" if offer.amqplain => amqplain(response).ok_or_else(|| {
            let text = "AMQPLAIN auth info is missing LOGIN or PASSWORD field";
            Fault::new(Reply::SyntaxError, text)
        }),
        // Whom it wants to act for does not matter: it acts for itself.
        "EXTERNAL" if offer.external => Ok(Claim::Certificate),
        // What it calls itself is for logs, and nobody has to believe it.
        "ANONYMOUS" if offer.anonymous => Ok(Claim::Anonymous),
        "PLAIN" | "AMQPLAIN" | "EXTERNAL" | "ANONYMOUS" => {
            Err(not_a_mechanism("invalid", mechanism))
        }
        other => Err(not_a_mechanism("unknown", other)),
    }
}

fn not_a_mechanism(why: &str, mechanism: &str) -> Fault {
    let text = format!("{why} authentication mechanism '{mechanism}'");
    Fault::new(Reply::CommandInvalid, text)
}

/// `[authzid] NUL authcid NUL password`; nobody may act for somebody else.
fn plain(response: &[u8]) -> Option<Claim<'_>> {
    let mut parts = response.splitn(3, |byte| *byte == 0);
    let (authzid, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    let acts_for_itself = authzid.is_empty() || authzid == user;
    let whole = !password.contains(&0);
    (acts_for_itself && whole).then_some(Claim::Password {
        user: std::str::from_utf8(user).ok()?,
        password,
    })
}

/// A raw table with `LOGIN` and `PASSWORD`.
fn amqplain(response: &[u8]) -> Option<Claim<'_>> {
    table::validate(response).ok()?;
    let user = table::find(response, b"LOGIN")?.as_text()?;
    let password = table::find(response, b"PASSWORD")?.as_text()?;
    Some(Claim::Password {
        user: std::str::from_utf8(user).ok()?,
        password,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORDS_ONLY: Offer = Offer {
        plain: true,
        amqplain: true,
        external: false,
        anonymous: false,
    };

    fn read(mechanism: &str, response: &[u8]) -> Result<(String, Vec<u8>), u16> {
        match claim(mechanism, response, PASSWORDS_ONLY) {
            Ok(Claim::Password { user, password }) => Ok((user.to_owned(), password.to_vec())),
            Ok(other) => panic!("{other:?}"),
            Err(fault) => Err(fault.reply.code()),
        }
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
        assert_eq!(read("ANONYMOUS", b""), Err(503));
        assert_eq!(read("plain", b"\0guest\0guest"), Err(503));
    }

    #[test]
    fn anonymous_takes_any_trace_where_it_is_offered() {
        let offer = Offer {
            anonymous: true,
            ..PASSWORDS_ONLY
        };
        for trace in [&b""[..], b"somebody", b"\xff\0"] {
            assert_eq!(claim("ANONYMOUS", trace, offer), Ok(Claim::Anonymous));
        }
    }
}
