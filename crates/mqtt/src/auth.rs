//! Enhanced authentication (§4.12), by SCRAM-SHA-256.
//!
//! ```text
//! CONNECT client-first ──► AUTH 18 server-first ──► AUTH 18 client-final ──► CONNACK 00 server-final
//! AUTH 19 client-first ──► AUTH 18 server-first ──► AUTH 18 client-final ──► AUTH 00 server-final
//! ```
//!
//! A client that sends no data at first is asked for it with an empty AUTH 18. Whoever authenticates again has to be who
//! it was before; all other traffic goes on meanwhile, and a failure ends the connection (MQTT-4.12.1-2).

pub(crate) mod scram;

use std::sync::Arc;

use ternmq_broker::{Attempt, LoginRefusal, User};
use ternmq_net::machine::Peer;

use crate::account::Account;
use crate::codec::{self, EncodeError};
use crate::frame::{Auth, Packet, ProtocolVersion};
use crate::listener::Node;
use crate::properties::{Properties, Property, PropertyBuf};
use crate::reason_code::ReasonCode;
use scram::{Challenge, Opening, ScramError, Verifier};

/// The one method there is.
pub(crate) const METHOD: &str = "SCRAM-SHA-256";

/// Why an authentication fails.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum AuthFault {
    /// CONNECT with another method.
    #[error("unsupported authentication method")]
    UnknownMethod,
    /// MQTT-4.12.0-5, MQTT-4.12.1-1: it stays the same.
    #[error("authentication method changed")]
    MethodChanged,
    /// Another packet of the exchange, or none, is due.
    #[error("AUTH out of turn")]
    OutOfTurn,
    /// MQTT-3.1.2-30.
    #[error("something else than AUTH before CONNACK")]
    OtherPacket,
    /// The method's own refusal.
    #[error(transparent)]
    Scram(#[from] ScramError),
    /// The user is right, and may not log in.
    #[error(transparent)]
    Login(#[from] LoginRefusal),
    /// Authenticated again, as somebody else.
    #[error("authenticated again as another user")]
    OtherUser,
}

impl AuthFault {
    /// In a CONNACK.
    pub(crate) fn connack_reason(&self) -> ReasonCode {
        match self {
            Self::UnknownMethod => ReasonCode::BadAuthenticationMethod,
            Self::Scram(ScramError::Proof) | Self::Login(LoginRefusal::BadCredentials) => {
                ReasonCode::BadUserNameOrPassword
            }
            other => other.disconnect_reason(),
        }
    }

    /// In a DISCONNECT.
    pub(crate) fn disconnect_reason(&self) -> ReasonCode {
        match self {
            Self::MethodChanged | Self::OutOfTurn | Self::OtherPacket => ReasonCode::ProtocolError,
            Self::UnknownMethod => ReasonCode::BadAuthenticationMethod,
            Self::Scram(_) | Self::Login(_) | Self::OtherUser => ReasonCode::NotAuthorized,
        }
    }
}

/// One exchange with a client.
#[derive(Default)]
pub(crate) enum Exchange {
    /// The client has not said who it is.
    #[default]
    Opening,
    /// It was asked for its proof.
    Challenged {
        account: Account,
        challenge: Box<Challenge>,
    },
    /// It is who it says.
    Verified { account: Account, last: Box<str> },
}

/// What the client is told next.
pub(crate) enum Reply {
    /// Go on, with that.
    Continue(Box<str>),
    /// It is known who it is.
    Verified,
}

impl Exchange {
    /// The client said something. Once it is verified, nothing more is asked of it.
    pub(crate) fn hear(
        &mut self,
        data: &[u8],
        node: &Node,
        peer: &Peer,
    ) -> Result<Reply, AuthFault> {
        match self {
            Self::Opening if data.is_empty() => Ok(Reply::Continue(Box::default())),
            Self::Opening => {
                let opening = Opening::parse(data)?;
                let account = Account::of(&opening.user, peer, &node.vhost_rules());
                let verifier = verifier(node, &account.user);
                let (challenge, first) = opening.challenge(verifier, &node.broker.random_name());
                *self = Self::Challenged {
                    account,
                    challenge: Box::new(challenge),
                };
                Ok(Reply::Continue(first.into()))
            }
            Self::Challenged { account, challenge } => {
                let last = challenge.verify(data)?;
                *self = Self::Verified {
                    account: std::mem::take(account),
                    last: last.into(),
                };
                Ok(Reply::Verified)
            }
            Self::Verified { .. } => Ok(Reply::Verified),
        }
    }
}

fn verifier(node: &Node, user: &str) -> Verifier {
    match node.broker.scram(user) {
        Some(known) => Verifier {
            salt: known.salt,
            iterations: known.iterations,
            stored_key: known.stored_key,
            server_key: known.server_key,
        },
        None => scram::nobody(node.secret.as_bytes(), user),
    }
}

/// What a connection that was authenticated so has for doing it again (§4.12.1).
pub(crate) struct Authenticator {
    account: Account,
    exchange: Option<Exchange>,
}

impl Authenticator {
    pub(crate) fn new(account: Account) -> Self {
        Self {
            account,
            exchange: None,
        }
    }

    /// An AUTH on a connection that is let in. Writes the answer. Returns the user, once it is known again who it is.
    pub(crate) fn on_auth(
        &mut self,
        auth: &Auth<'_>,
        (node, peer): (&Node, &Peer),
        out: &mut Vec<u8>,
    ) -> Result<Option<Arc<User>>, AuthFault> {
        let data = data(auth)?;
        let mut exchange = match (auth.reason, self.exchange.take()) {
            (ReasonCode::ReAuthenticate, None) => Exchange::default(),
            (ReasonCode::ContinueAuthentication, Some(exchange)) => exchange,
            _ => return Err(AuthFault::OutOfTurn),
        };
        if let Reply::Continue(text) = exchange.hear(data, node, peer)? {
            say(ReasonCode::ContinueAuthentication, &text, out);
            self.exchange = Some(exchange);
            return Ok(None);
        }
        let Exchange::Verified { account, last } = exchange else {
            return Err(AuthFault::OutOfTurn);
        };
        if account != self.account {
            return Err(AuthFault::OtherUser);
        }
        let proved = Attempt::proved(&account.user, peer.addr.ip());
        let user = node.broker.log_in(&proved)?;
        say(ReasonCode::Success, &last, out);
        Ok(Some(user))
    }
}

/// The data of an AUTH, whose method has to be the one that was agreed on.
pub(crate) fn data<'a>(auth: &Auth<'a>) -> Result<&'a [u8], AuthFault> {
    let (method, data) = method_and_data(auth.properties);
    if method == Some(METHOD) {
        Ok(data)
    } else {
        Err(AuthFault::MethodChanged)
    }
}

/// What a CONNECT or AUTH says about authentication.
pub(crate) fn method_and_data(properties: Properties<'_>) -> (Option<&str>, &[u8]) {
    let (mut method, mut data) = (None, &[][..]);
    for property in properties {
        match property {
            Property::AuthenticationMethod(name) => method = Some(name),
            Property::AuthenticationData(bytes) => data = bytes,
            _ => {}
        }
    }
    (method, data)
}

/// Adds method and data to a packet's properties; data only if there is any.
pub(crate) fn put(data: &str, out: &mut PropertyBuf) -> Result<(), EncodeError> {
    out.push(Property::AuthenticationMethod(METHOD))?;
    if !data.is_empty() {
        out.push(Property::AuthenticationData(data.as_bytes()))?;
    }
    Ok(())
}

/// Writes an AUTH.
pub(crate) fn say(reason: ReasonCode, data: &str, out: &mut Vec<u8>) {
    let mut properties = PropertyBuf::new();
    let put = put(data, &mut properties);
    let auth = Auth {
        reason,
        properties: properties.as_properties(),
    };
    let encoded = codec::encode(&Packet::Auth(auth), ProtocolVersion::V5, out);
    debug_assert!(
        put.is_ok() && encoded.is_ok(),
        "two messages of SCRAM fit a packet"
    );
}
