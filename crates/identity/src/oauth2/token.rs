//! A token as it comes: a JSON Web Signature in its compact form (RFC 7515 §7.1) around claims (RFC 7519).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use ternmq_core::id::Timestamp;

use super::algorithm::Algorithm;
use super::config::OAuth2Config;
use super::keys::{Key, KeyRing};

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
    #[error("has more than {0} scopes")]
    TooManyScopes(usize),
    #[error("is for another user than the one before")]
    OtherUser,
}

/// Checks the signature of a token; returns its claims, of which nothing is checked.
pub(super) fn verify(
    token: &[u8],
    ring: &KeyRing,
    default_key: Option<&str>,
    allowed: &[Algorithm],
) -> Result<Claims, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::NotAToken);
    }
    let text = std::str::from_utf8(token).map_err(|_| TokenError::NotAToken)?;
    let (signed, signature) = text.rsplit_once('.').ok_or(TokenError::NotAToken)?;
    let (header, payload) = signed.split_once('.').ok_or(TokenError::NotAToken)?;
    let header = object(header).ok_or(TokenError::NotAToken)?;
    let Some(name) = header.get("alg").and_then(Value::as_str) else {
        return Err(TokenError::NotAToken);
    };
    if header.contains_key("crit") {
        return Err(TokenError::Critical);
    }
    let algorithm = Algorithm::named(name)
        .filter(|algorithm| allowed.is_empty() || allowed.contains(algorithm))
        .ok_or_else(|| TokenError::Algorithm(shortened(name)))?;
    let key = key_of(&header, ring, default_key)?;
    let signature = URL_SAFE_NO_PAD.decode(signature);
    let signature = signature.map_err(|_| TokenError::Signature)?;
    let fits = key.algorithm.is_none_or(|only| only == algorithm);
    let signed = signed.as_bytes();
    if !fits || !key.material.verifies(algorithm, signed, &signature) {
        return Err(TokenError::Signature);
    }
    object(payload).ok_or(TokenError::Claims)
}

fn key_of<'a>(
    header: &Claims,
    ring: &'a KeyRing,
    default_key: Option<&str>,
) -> Result<&'a Key, TokenError> {
    let named = header.get("kid").and_then(Value::as_str).or(default_key);
    let id = named.ok_or(TokenError::NoKeyNamed)?;
    ring.get(id)
        .ok_or_else(|| TokenError::UnknownKey(shortened(id)))
}

fn object(part: &str) -> Option<Claims> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// For the log.
fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 64;
    text.chars().take(CHARS_MAX).collect()
}

/// Checks when and for whom a token is. Returns when it ends.
pub(super) fn check_claims(
    claims: &Claims,
    config: &OAuth2Config,
    now: Timestamp,
) -> Result<Timestamp, TokenError> {
    let number = |claim: &str| claims.get(claim).map(Value::as_f64);
    let expires_s = number("exp").flatten().ok_or(TokenError::NoExpiry)?;
    let expires_at = timestamp(expires_s);
    if expires_at <= now {
        return Err(TokenError::Expired);
    }
    let is_early = match number("nbf") {
        None => false,
        Some(from_s) => from_s.is_none_or(|from_s| timestamp(from_s - SKEW_S) > now),
    };
    if is_early {
        return Err(TokenError::NotYet);
    }
    if config.verify_aud {
        check_audience(claims.get("aud"), &config.resource_server_id)?;
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

/// RFC 7519 §4.1.3: a text or a list of them; several in one text, as some servers have it, are separated by spaces.
fn check_audience(aud: Option<&Value>, id: &str) -> Result<(), TokenError> {
    let is_named = match aud {
        Some(Value::String(text)) => text.split(' ').any(|one| one == id),
        Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(id)),
        _ => false,
    };
    if is_named {
        return Ok(());
    }
    let shown = aud.map_or_else(|| "nobody".to_owned(), ToString::to_string);
    Err(TokenError::Audience(shortened(&shown)))
}

/// Whom a token is about: the first of the preferred claims that is a text, then `sub`, then `client_id`.
pub(super) fn user_name<'a>(claims: &'a Claims, preferred: &[String]) -> &'a str {
    let preferred = preferred.iter().map(String::as_str);
    let mut names = preferred.chain(["sub", "client_id"]);
    let found = names.find_map(|claim| claims.get(claim)?.as_str());
    found.unwrap_or("unknown")
}
