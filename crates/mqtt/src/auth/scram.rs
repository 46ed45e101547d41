//! The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677): bytes in, bytes out, no clock, no users.
//!
//! ```text
//! client-first ──► Opening ──challenge──► server-first, Challenge ◄── client-final ──► server-final
//! ```
//!
//! Names and passwords are taken as the bytes they are: `SASLprep`, which would fold spellings of the same text, is left
//! out, as it is by most clients. There is no channel binding: a client that insists on it is refused, as RFC 5802 §6
//! wants.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Longest message of a client, in bytes: a name, two nonces and a proof need no more.
const MESSAGE_BYTES_MAX: usize = 4096;

/// What is kept of a user's password (RFC 5802 §3).
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Verifier {
    pub(crate) salt: Box<[u8]>,
    pub(crate) iterations: u32,
    pub(crate) stored_key: [u8; 32],
    pub(crate) server_key: [u8; 32],
}

/// Why a message of the client ends the exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum ScramError {
    /// It is not what the grammar of RFC 5802 §7 wants.
    #[error("malformed SCRAM message")]
    Malformed,
    /// §6: there is no channel to bind to.
    #[error("SCRAM with channel binding")]
    ChannelBinding,
    /// `m=`: an extension that must be understood.
    #[error("unknown mandatory extension of SCRAM")]
    Extension,
    /// To act for somebody else.
    #[error("authorization identity other than the user")]
    Authorization,
    /// The client does not know the password.
    #[error("wrong SCRAM proof")]
    Proof,
}

/// The client's first message.
#[derive(Debug)]
pub(crate) struct Opening {
    /// Who it is.
    pub(crate) user: Box<str>,
    /// The header, which the last message has to repeat.
    gs2_header: Box<str>,
    /// The rest of the message.
    bare: Box<str>,
    nonce: Box<str>,
}

/// Waits for the client's last message.
pub(crate) struct Challenge {
    verifier: Verifier,
    gs2_header: Box<str>,
    /// Of the client and ours.
    nonce: Box<str>,
    /// `client-first-message-bare , server-first-message ,`
    said: String,
}

impl Opening {
    /// Reads `client-first-message`.
    pub(crate) fn parse(message: &[u8]) -> Result<Self, ScramError> {
        let message = text(message)?;
        let (binding, rest) = message.split_once(',').ok_or(ScramError::Malformed)?;
        match binding {
            // With `y` it could, and believes that we can't, which is so.
            "n" | "y" => {}
            _ if binding.starts_with("p=") => return Err(ScramError::ChannelBinding),
            _ => return Err(ScramError::Malformed),
        }
        let (authorization, bare) = rest.split_once(',').ok_or(ScramError::Malformed)?;
        let gs2_header = &message[..message.len() - bare.len()];
        if bare.starts_with("m=") {
            return Err(ScramError::Extension);
        }
        let mut attributes = bare.split(',');
        let user = name(value(attributes.next(), "n=")?)?;
        let nonce = value(attributes.next(), "r=")?;
        if user.is_empty() || !is_nonce(nonce) || !attributes.all(is_attribute) {
            return Err(ScramError::Malformed);
        }
        if !authorization.is_empty() && name(value(Some(authorization), "a=")?)? != user {
            return Err(ScramError::Authorization);
        }
        Ok(Self {
            user,
            gs2_header: gs2_header.into(),
            bare: bare.into(),
            nonce: nonce.into(),
        })
    }

    /// Answers with `server-first-message`. The nonce of ours is new, printable and without a comma.
    pub(crate) fn challenge(self, verifier: Verifier, nonce: &str) -> (Challenge, String) {
        debug_assert!(is_nonce(nonce));
        let nonce = [&*self.nonce, nonce].concat();
        let salt = BASE64.encode(&verifier.salt);
        let first = format!("r={nonce},s={salt},i={}", verifier.iterations);
        let challenge = Challenge {
            verifier,
            gs2_header: self.gs2_header,
            nonce: nonce.into(),
            said: format!("{},{first},", self.bare),
        };
        (challenge, first)
    }
}

impl Challenge {
    /// Checks `client-final-message`. Returns `server-final-message`, by which the client knows that we know it.
    pub(crate) fn verify(&self, message: &[u8]) -> Result<String, ScramError> {
        let message = text(message)?;
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let mut attributes = without_proof.split(',');
        let binding = decoded(value(attributes.next(), "c=")?)?;
        let nonce = value(attributes.next(), "r=")?;
        if !attributes.all(is_attribute) || binding != self.gs2_header.as_bytes() {
            return Err(ScramError::Malformed);
        }
        let proof = decoded(proof)?;
        let proof: [u8; 32] = proof.try_into().map_err(|_| ScramError::Malformed)?;
        if nonce != &*self.nonce {
            return Err(ScramError::Proof);
        }
        let signature = self.sign(&self.verifier.stored_key, without_proof);
        let mut client_key = proof;
        for (key, signed) in client_key.iter_mut().zip(signature) {
            *key ^= signed;
        }
        if !same(&Sha256::digest(client_key), &self.verifier.stored_key) {
            return Err(ScramError::Proof);
        }
        let signature = self.sign(&self.verifier.server_key, without_proof);
        Ok(format!("v={}", BASE64.encode(signature)))
    }

    /// HMAC of everything that was said.
    fn sign(&self, key: &[u8; 32], without_proof: &str) -> [u8; 32] {
        hmac(key, &[self.said.as_bytes(), without_proof.as_bytes()])
    }
}

/// What a user who does not exist is asked: the same each time, so that nobody learns from it who exists.
pub(crate) fn nobody(secret: &[u8], user: &str) -> Verifier {
    let of = |what: &str| hmac(secret, &[what.as_bytes(), user.as_bytes()]);
    Verifier {
        salt: of("salt")[..16].into(),
        iterations: 4096,
        // Nobody knows a key to that hash.
        stored_key: of("stored key"),
        server_key: of("server key"),
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Compares in the same time, whatever is different.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (x, y)| diff | (x ^ y)) == 0
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(ScramError::Malformed);
    }
    std::str::from_utf8(message).map_err(|_| ScramError::Malformed)
}

fn value<'a>(attribute: Option<&'a str>, key: &str) -> Result<&'a str, ScramError> {
    let value = attribute.and_then(|attribute| attribute.strip_prefix(key));
    value.ok_or(ScramError::Malformed)
}

/// An extension that may be passed over: a letter, `=`, something.
fn is_attribute(attribute: &str) -> bool {
    let bytes = attribute.as_bytes();
    bytes.len() > 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b'='
}

/// `saslname`: `=2C` stands for a comma, `=3D` for `=`, which may not stand alone.
fn name(text: &str) -> Result<Box<str>, ScramError> {
    let mut parts = text.split('=');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (character, rest) = if let Some(rest) = part.strip_prefix("2C") {
            (',', rest)
        } else if let Some(rest) = part.strip_prefix("3D") {
            ('=', rest)
        } else {
            return Err(ScramError::Malformed);
        };
        name.push(character);
        name.push_str(rest);
    }
    Ok(name.into())
}

/// Printable, without a comma.
fn is_nonce(nonce: &str) -> bool {
    let printable = |byte: u8| matches!(byte, 0x21..=0x2B | 0x2D..=0x7E);
    !nonce.is_empty() && nonce.bytes().all(printable)
}

fn decoded(text: &str) -> Result<Vec<u8>, ScramError> {
    BASE64.decode(text).map_err(|_| ScramError::Malformed)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const SERVER_FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    /// `Hi` of RFC 5802 §2.2.
    fn salted(password: &[u8], salt: &[u8], iterations: u32) -> [u8; 32] {
        let mut u = hmac(password, &[salt, &1_u32.to_be_bytes()]);
        let mut sum = u;
        for _ in 1..iterations {
            u = hmac(password, &[&u]);
            sum.iter_mut().zip(u).for_each(|(all, one)| *all ^= one);
        }
        sum
    }

    fn verifier(password: &[u8], salt: &[u8], iterations: u32) -> Verifier {
        let salted = salted(password, salt, iterations);
        Verifier {
            salt: salt.into(),
            iterations,
            stored_key: Sha256::digest(hmac(&salted, &[b"Client Key"])).into(),
            server_key: hmac(&salted, &[b"Server Key"]),
        }
    }

    fn pencil() -> Verifier {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        verifier(b"pencil", &salt, 4096)
    }

    fn challenge() -> Challenge {
        let opening = Opening::parse(CLIENT_FIRST.as_bytes()).unwrap();
        let (challenge, first) = opening.challenge(pencil(), SERVER_NONCE);
        assert_eq!(first, SERVER_FIRST);
        challenge
    }

    #[test]
    fn exchange_of_rfc_7677_is_reproduced() {
        let last = challenge().verify(CLIENT_FINAL.as_bytes());
        assert_eq!(last.as_deref(), Ok(SERVER_FINAL));
    }

    #[test]
    fn wrong_password_nonce_and_header_are_refused() {
        let opening = Opening::parse(CLIENT_FIRST.as_bytes()).unwrap();
        let other = verifier(b"pencils", &pencil().salt, 4096);
        let (other, _) = opening.challenge(other, SERVER_NONCE);
        let refused = |message: &str| challenge().verify(message.as_bytes()).unwrap_err();
        assert_eq!(
            other.verify(CLIENT_FINAL.as_bytes()),
            Err(ScramError::Proof)
        );
        assert_eq!(
            refused(&CLIENT_FINAL.replace("k0,", "k1,")),
            ScramError::Proof
        );
        assert_eq!(
            refused(&CLIENT_FINAL.replace("p=dH", "p=eH")),
            ScramError::Proof
        );
        // `y,,` in place of `n,,`.
        assert_eq!(
            refused(&CLIENT_FINAL.replace("biws", "eSws")),
            ScramError::Malformed
        );
    }

    #[test]
    fn messages_that_are_none_are_refused() {
        let first = |message: &str| Opening::parse(message.as_bytes()).map(|opening| opening.user);
        for message in [
            "",
            "n",
            "n,",
            "n,,",
            "n,,n=user",
            "n,,r=abc,n=user",
            "n,,n=,r=abc",
            "n,,n=u,r=",
            "n,,n=u=2c,r=abc",
            "n,,n=u=,r=abc",
            "n,,n=u,r=a\u{e9}",
            "x,,n=u,r=abc",
            "n,b=u,n=u,r=abc",
            "n,,n=u,r=abc,",
            "n,,n=u,r=abc,1=x",
        ] {
            assert_eq!(first(message), Err(ScramError::Malformed), "{message}");
        }
        assert_eq!(
            Opening::parse(b"n,,n=\xFF,r=abc").map(|o| o.user),
            Err(ScramError::Malformed)
        );
        let long = format!("n,,n={},r=abc", "u".repeat(MESSAGE_BYTES_MAX));
        assert_eq!(first(&long), Err(ScramError::Malformed));
        assert_eq!(
            first("p=tls-unique,,n=u,r=abc"),
            Err(ScramError::ChannelBinding)
        );
        assert_eq!(first("n,,m=x,n=u,r=abc"), Err(ScramError::Extension));
        assert_eq!(first("n,a=v,n=u,r=abc"), Err(ScramError::Authorization));
        for message in [
            "",
            "c=biws",
            "c=biws,r=abc",
            "c=biws,r=abc,p=!",
            "c=biws,r=abc,p=AAAA",
        ] {
            let refused = challenge().verify(message.as_bytes());
            assert_eq!(refused, Err(ScramError::Malformed), "{message}");
        }
    }

    #[test]
    fn names_are_unescaped_and_extensions_passed_over() {
        let first = |message: &str| Opening::parse(message.as_bytes()).unwrap().user;
        assert_eq!(&*first("n,,n=a=2Cb=3Dc=3D2C,r=abc"), "a,b=c=2C");
        assert_eq!(&*first("y,a=u,n=u,r=abc,x=1"), "u");
        assert_eq!(&*first("n,,n=vhost:us\u{e9}r,r=abc"), "vhost:us\u{e9}r");
    }

    #[test]
    fn who_does_not_exist_is_asked_the_same_each_time_and_never_let_in() {
        let asked = nobody(b"secret", "who");
        assert!(asked == nobody(b"secret", "who"));
        assert!(asked.salt != nobody(b"secret", "other").salt);
        assert!(asked.salt != nobody(b"other secret", "who").salt);
        let opening = Opening::parse(CLIENT_FIRST.as_bytes()).unwrap();
        let (challenge, _) = opening.challenge(asked, SERVER_NONCE);
        assert_eq!(
            challenge.verify(CLIENT_FINAL.as_bytes()),
            Err(ScramError::Proof)
        );
    }
}
