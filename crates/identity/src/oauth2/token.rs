//! A token as it comes: a JSON Web Signature in its compact form (RFC 7515 §7.1) around claims (RFC 7519).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use ternmq_core::id::Timestamp;

use super::algorithm::Algorithm;
use super::keys::Key;
use super::server::Server;

/// Bytes of a token, at most.
pub const TOKEN_BYTES_MAX: usize = 256 * 1024;

/// How far ahead the clock of whoever made a token may be, in seconds.
const SKEW_S: f64 = 60.0;

/// What a token says.
pub(super) type Claims = Map<String, Value>;

/// Why a token lets nobody in.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// Most likely it is a password.
    #[error("not a token")]
    NotAToken,
    #[error("signed with {0:?}, which is not known or not allowed")]
    Algorithm(String),
    #[error("its header has critical parts that are not known")]
    Critical,
    #[error("names no key, and there is no default key")]
    NoKeyNamed,
    #[error("names key {0:?}, which is not known")]
    UnknownKey(String),
    #[error("signature is wrong")]
    Signature,
    #[error("its claims are no JSON object")]
    Claims,
    #[error("has no number in `exp`")]
    NoExpiry,
    #[error("expired")]
    Expired,
    #[error("is not valid yet")]
    NotYet,
    #[error("is for {0}, not for this broker")]
    Audience(String),
    #[error("is for {0}, more than one of this broker's names")]
    Ambiguous(String),
    #[error("has more than {0} scopes")]
    TooManyScopes(usize),
    #[error("is for another user than the one before")]
    OtherUser,
    /// Not known yet.
    #[error("keys are being fetched")]
    Fetching,
}

/// A token of which nothing is checked.
pub(super) struct Unchecked<'a> {
    header: Claims,
    algorithm: String,
    /// What is signed.
    signed: &'a str,
    signature: &'a str,
    /// None if they are no JSON object.
    claims: Option<Claims>,
}

impl<'a> Unchecked<'a> {
    /// Takes a token apart.
    pub(super) fn read(token: &'a [u8]) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::NotAToken);
        }
        let text = std::str::from_utf8(token).map_err(|_| TokenError::NotAToken)?;
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenError::NotAToken)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::NotAToken)?;
        let header = object(header).ok_or(TokenError::NotAToken)?;
        let Some(algorithm) = header.get("alg").and_then(Value::as_str) else {
            return Err(TokenError::NotAToken);
        };
        Ok(Self {
            algorithm: algorithm.to_owned(),
            signed,
            signature,
            claims: object(payload),
            header,
        })
    }

    /// Whom it is for, if that is right at all.
    pub(super) fn audience(&self) -> Option<&Value> {
        self.claims.as_ref()?.get("aud")
    }

    /// The identifier of the key that it is signed with.
    pub(super) fn key_id<'b>(
        &'b self,
        default_key: Option<&'b str>,
    ) -> Result<&'b str, TokenError> {
        let named = self.header.get("kid").and_then(Value::as_str);
        named.or(default_key).ok_or(TokenError::NoKeyNamed)
    }

    /// How it is signed, if that is one of those that are allowed.
    pub(super) fn algorithm(&self, allowed: &[Algorithm]) -> Result<Algorithm, TokenError> {
        if self.header.contains_key("crit") {
            return Err(TokenError::Critical);
        }
        Algorithm::named(&self.algorithm)
            .filter(|algorithm| allowed.is_empty() || allowed.contains(algorithm))
            .ok_or_else(|| TokenError::Algorithm(shortened(&self.algorithm)))
    }

    /// Checks the signature; returns the claims, of which nothing is checked.
    pub(super) fn verify(self, algorithm: Algorithm, key: &Key) -> Result<Claims, TokenError> {
        let signature = URL_SAFE_NO_PAD.decode(self.signature);
        let signature = signature.map_err(|_| TokenError::Signature)?;
        let fits = key.algorithm.is_none_or(|only| only == algorithm);
        let signed = self.signed.as_bytes();
        if !fits || !key.material.verifies(algorithm, signed, &signature) {
            return Err(TokenError::Signature);
        }
        self.claims.ok_or(TokenError::Claims)
    }
}

fn object(part: &str) -> Option<Claims> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// For the log.
pub(super) fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 64;
    text.chars().take(CHARS_MAX).collect()
}

/// Checks when a token is valid, by the clock that all the world has. Returns when it ends, by the same.
pub(super) fn check_times(
    claims: &Claims,
    server: &Server,
    now: Timestamp,
) -> Result<Option<Timestamp>, TokenError> {
    let number = |claim: &str| claims.get(claim).map(Value::as_f64);
    let expires_at = match number("exp") {
        Some(Some(expires_s)) => Some(timestamp(expires_s)),
        None if !server.require_exp => None,
        _ => return Err(TokenError::NoExpiry),
    };
    if expires_at.is_some_and(|expires_at| expires_at <= now) {
        return Err(TokenError::Expired);
    }
    let is_early = match number("nbf") {
        None => false,
        Some(from_s) => from_s.is_none_or(|from_s| timestamp(from_s - SKEW_S) > now),
    };
    if is_early {
        return Err(TokenError::NotYet);
    }
    Ok(expires_at)
}

/// Whole seconds since the Unix epoch (RFC 7519 §2), as RabbitMQ counts them.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float saturates, and no number is 0"
)]
fn timestamp(seconds: f64) -> Timestamp {
    Timestamp((seconds.trunc() as u64).saturating_mul(1_000))
}

/// Whom a token is about: the first of the preferred claims that is a text, then `sub`, then `client_id`.
pub(super) fn user_name<'a>(claims: &'a Claims, preferred: &[String]) -> &'a str {
    let preferred = preferred.iter().map(String::as_str);
    let mut names = preferred.chain(["sub", "client_id"]);
    let found = names.find_map(|claim| claims.get(claim)?.as_str());
    found.unwrap_or("unknown")
}
