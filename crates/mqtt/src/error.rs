//! One table: what ends a connection or refuses a request, and the reason code or return code that says so.
//!
//! MQTT 3 has codes in CONNACK and SUBACK only; everything else it is told by the close of the connection.

use ternmq_broker::{ConnectRefusal, LogError, LoginRefusal};
use ternmq_core::error::Refusal;

use crate::auth::AuthFault;
use crate::codec::{DecodeError, EncodeError};
use crate::frame::ProtocolVersion;
use crate::reason_code::ReasonCode;

/// Why the server ends a connection.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// A packet that is none.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// MQTT-4.3.3: PUBREC for QoS 1, PUBACK for QoS 2, PUBCOMP before PUBREC.
    #[error("acknowledgement does not fit the exchange of packet identifier {0}")]
    WrongAcknowledgement(u16),
    /// MQTT-3.3.4-7.
    #[error("more unacknowledged messages than the receive maximum")]
    ReceiveMaximumExceeded,
    /// MQTT-3.3.2-9.
    #[error("topic alias {0} above the maximum")]
    TopicAliasAboveMaximum(u16),
    /// §3.3.2.3.4.
    #[error("topic alias {0} was not set")]
    TopicAliasUnknown(u16),
    /// An answer of more bytes than the format can say.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The configured limit of topic levels.
    #[error("topic name with more than {0} levels")]
    TopicLevels(u16),
    /// MQTT 3 has no way to refuse one filter for its form.
    #[error("malformed topic filter")]
    TopicFilter,
    /// MQTT-4.12.0-6: no method was agreed on.
    #[error("AUTH without an authentication method")]
    UnexpectedAuth,
    /// Authenticating again failed (MQTT-4.12.1-2).
    #[error(transparent)]
    Authentication(#[from] AuthFault),
    /// §3.14.2.2.2.
    #[error("DISCONNECT gives a session that ends with its connection a session expiry interval")]
    SessionExpiryRaised,
    /// The broker refused something for which there is no answer but the close.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What has to be recorded before the client may have it can't be.
    #[error(transparent)]
    Journal(#[from] LogError),
    /// Somebody deleted the session's queue.
    #[error("the session's queue was deleted")]
    QueueDeleted,
    /// MQTT-3.1.2-22.
    #[error("keep alive timeout")]
    KeepAliveTimeout,
    /// MQTT-3.1.4-3.
    #[error("session taken over")]
    SessionTakenOver,
    /// The node stops.
    #[error("server shutting down")]
    ShuttingDown,
    /// What let the client in, a token, has ended; as RabbitMQ has it.
    #[error("credential expired")]
    CredentialExpired,
    /// Closed by an administrator.
    #[error("closed: {0}")]
    Administrative(Box<str>),
}

impl Fault {
    /// The reason code of the DISCONNECT that tells an MQTT 5 client.
    pub(crate) fn reason_code(&self) -> ReasonCode {
        match self {
            Self::Decode(error) => error.reason_code(),
            Self::WrongAcknowledgement(_)
            | Self::TopicAliasUnknown(_)
            | Self::UnexpectedAuth
            | Self::SessionExpiryRaised => ReasonCode::ProtocolError,
            Self::Authentication(fault) => fault.disconnect_reason(),
            Self::Encode(_) => ReasonCode::ImplementationSpecificError,
            Self::Journal(_) => ReasonCode::QuotaExceeded,
            Self::ReceiveMaximumExceeded => ReasonCode::ReceiveMaximumExceeded,
            Self::TopicAliasAboveMaximum(_) => ReasonCode::TopicAliasInvalid,
            Self::TopicLevels(_) => ReasonCode::TopicNameInvalid,
            Self::TopicFilter => ReasonCode::TopicFilterInvalid,
            Self::Refused(refusal) => disconnect_reason(refusal),
            Self::KeepAliveTimeout => ReasonCode::KeepAliveTimeout,
            Self::SessionTakenOver => ReasonCode::SessionTakenOver,
            Self::ShuttingDown => ReasonCode::ServerShuttingDown,
            Self::CredentialExpired => ReasonCode::MaximumConnectTime,
            Self::QueueDeleted | Self::Administrative(_) => ReasonCode::AdministrativeAction,
        }
    }

    /// Whether the client broke a rule, in which case the log should say so.
    pub(crate) fn is_violation(&self) -> bool {
        !matches!(
            self,
            Self::KeepAliveTimeout
                | Self::SessionTakenOver
                | Self::ShuttingDown
                | Self::CredentialExpired
                | Self::Journal(_)
                | Self::Administrative(_)
        )
    }
}

/// A refused request, in a DISCONNECT.
fn disconnect_reason(refusal: &Refusal) -> ReasonCode {
    match refusal {
        Refusal::AccessRefused { .. } | Refusal::TopicRefused { .. } => ReasonCode::NotAuthorized,
        Refusal::LimitReached { .. } | Refusal::QueueLimit { .. } | Refusal::DiskFull => {
            ReasonCode::QuotaExceeded
        }
        Refusal::ShuttingDown => ReasonCode::ServerShuttingDown,
        Refusal::VhostDeleted => ReasonCode::AdministrativeAction,
        _ => ReasonCode::ImplementationSpecificError,
    }
}

/// A refused SUBSCRIBE, UNSUBSCRIBE or PUBLISH, in its acknowledgement. MQTT 3 sees 0x80 in a SUBACK.
pub(crate) fn acknowledge_reason(refusal: &Refusal) -> ReasonCode {
    match refusal {
        Refusal::AccessRefused { .. } | Refusal::TopicRefused { .. } => ReasonCode::NotAuthorized,
        Refusal::LimitReached { .. } | Refusal::QueueLimit { .. } | Refusal::DiskFull => {
            ReasonCode::QuotaExceeded
        }
        Refusal::ShuttingDown => ReasonCode::UnspecifiedError,
        _ => ReasonCode::ImplementationSpecificError,
    }
}

/// A refused CONNECT.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub(crate) enum ConnectFault {
    /// Without user name and password, where that is not configured.
    #[error("anonymous login is off")]
    Anonymous,
    /// Enhanced authentication failed (§4.12).
    #[error(transparent)]
    Authentication(#[from] AuthFault),
    /// The certificate lacks the part that is to name user or client.
    #[error("certificate without the name that is asked of it")]
    NamelessCertificate,
    /// The client identifier is not the one that the certificate gives.
    #[error("client identifier other than the certificate's")]
    OtherClientId,
    /// The session of that client identifier is not for this user.
    #[error("the session of the client identifier: {0}")]
    Session(Refusal),
    /// Wrong user or password, or not from there.
    #[error(transparent)]
    Login(#[from] LoginRefusal),
    /// No such vhost, no access to it, too many connections.
    #[error(transparent)]
    Connect(#[from] ConnectRefusal),
    /// The session is to outlive its connection, and can't be recorded.
    #[error(transparent)]
    Journal(#[from] LogError),
}

impl ConnectFault {
    /// Whether it is no fault, but not known yet.
    pub(crate) fn is_undecided(&self) -> bool {
        matches!(
            self,
            Self::Login(LoginRefusal::Undecided) | Self::Connect(ConnectRefusal::Undecided)
        )
    }

    /// Whether the client is not who it says it is, does not show it, or may not go where it wants to.
    pub(crate) fn is_about_credentials(&self) -> bool {
        matches!(
            self,
            Self::Anonymous
                | Self::Authentication(_)
                | Self::NamelessCertificate
                | Self::OtherClientId
                | Self::Session(_)
                | Self::Login(_)
                | Self::Connect(ConnectRefusal::NoSuchVhost | ConnectRefusal::NotAllowed)
        )
    }

    /// The reason code of the CONNACK; MQTT 3 gets the return code of the same meaning.
    pub(crate) fn reason_code(&self, version: ProtocolVersion) -> ReasonCode {
        match self {
            Self::Journal(_) if version.is_v5() => ReasonCode::QuotaExceeded,
            // In MQTT 3 that would read as a lack of rights.
            Self::Journal(_) => ReasonCode::ServerUnavailable,
            Self::Authentication(fault) => fault.connack_reason(),
            // RabbitMQ does not tell a missing vhost from a wrong password.
            Self::OtherClientId => ReasonCode::ClientIdentifierNotValid,
            Self::Anonymous
            | Self::NamelessCertificate
            | Self::Login(LoginRefusal::BadCredentials | LoginRefusal::Undecided)
            | Self::Connect(ConnectRefusal::NoSuchVhost) => ReasonCode::BadUserNameOrPassword,
            Self::Session(_)
            | Self::Login(LoginRefusal::LoopbackOnly)
            | Self::Connect(ConnectRefusal::NotAllowed | ConnectRefusal::Undecided) => {
                ReasonCode::NotAuthorized
            }
            Self::Connect(
                ConnectRefusal::LimitReached { .. }
                | ConnectRefusal::VhostLimit { .. }
                | ConnectRefusal::UserLimit { .. },
            ) => ReasonCode::QuotaExceeded,
        }
    }
}
