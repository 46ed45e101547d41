//! Which packet may carry which property (table 2-4).

use crate::codec::{Sender, Violation};
use crate::frame::PacketType;
use crate::properties::PropertyId;

/// Where properties stand: in a packet, or in the will of a CONNECT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Packet(PacketType),
    Will,
}

impl Place {
    /// Table 2-4, and the properties that one side only may send.
    pub(super) fn check(self, id: PropertyId, sender: Sender) -> Result<(), Violation> {
        if self.allowed() & id.bit() == 0 {
            return Err(match self {
                Self::Will => Violation::PropertyForbidden(id),
                Self::Packet(_) => Violation::PropertyMisplaced(id),
            });
        }
        let forbidden = match (self, sender) {
            // MQTT-3.3.4-6.
            (Self::Packet(PacketType::Publish), Sender::Client) => {
                PropertyId::SubscriptionIdentifier
            }
            // §3.14.2.2.5.
            (Self::Packet(PacketType::Disconnect), Sender::Client) => PropertyId::ServerReference,
            // MQTT-3.14.2-2.
            (Self::Packet(PacketType::Disconnect), Sender::Server) => {
                PropertyId::SessionExpiryInterval
            }
            _ => return Ok(()),
        };
        if id == forbidden {
            Err(Violation::PropertyForbidden(id))
        } else {
            Ok(())
        }
    }

    /// Whether the property may be repeated: user properties, and in a PUBLISH from the server one subscription
    /// identifier per matching subscription.
    pub(super) fn repeats(self, id: PropertyId) -> bool {
        id == PropertyId::UserProperty
            || (id == PropertyId::SubscriptionIdentifier
                && self == Self::Packet(PacketType::Publish))
    }

    const fn allowed(self) -> u64 {
        use PropertyId as Id;
        const USER: u64 = Id::UserProperty.bit();
        const REASON: u64 = USER | Id::ReasonString.bit();
        const AUTHENTICATION: u64 = Id::AuthenticationMethod.bit() | Id::AuthenticationData.bit();
        const MESSAGE: u64 = USER
            | Id::PayloadFormatIndicator.bit()
            | Id::MessageExpiryInterval.bit()
            | Id::ContentType.bit()
            | Id::ResponseTopic.bit()
            | Id::CorrelationData.bit();
        const SESSION: u64 = USER
            | AUTHENTICATION
            | Id::SessionExpiryInterval.bit()
            | Id::ReceiveMaximum.bit()
            | Id::MaximumPacketSize.bit()
            | Id::TopicAliasMaximum.bit();
        match self {
            Self::Will => MESSAGE | Id::WillDelayInterval.bit(),
            Self::Packet(packet) => match packet {
                PacketType::Connect => {
                    SESSION
                        | Id::RequestResponseInformation.bit()
                        | Id::RequestProblemInformation.bit()
                }
                PacketType::ConnAck => {
                    SESSION
                        | REASON
                        | Id::MaximumQos.bit()
                        | Id::RetainAvailable.bit()
                        | Id::AssignedClientIdentifier.bit()
                        | Id::WildcardSubscriptionAvailable.bit()
                        | Id::SubscriptionIdentifierAvailable.bit()
                        | Id::SharedSubscriptionAvailable.bit()
                        | Id::ServerKeepAlive.bit()
                        | Id::ResponseInformation.bit()
                        | Id::ServerReference.bit()
                }
                PacketType::Publish => {
                    MESSAGE | Id::TopicAlias.bit() | Id::SubscriptionIdentifier.bit()
                }
                PacketType::Subscribe => USER | Id::SubscriptionIdentifier.bit(),
                PacketType::Unsubscribe => USER,
                PacketType::Disconnect => {
                    REASON | Id::SessionExpiryInterval.bit() | Id::ServerReference.bit()
                }
                PacketType::Auth => REASON | AUTHENTICATION,
                PacketType::PubAck
                | PacketType::PubRec
                | PacketType::PubRel
                | PacketType::PubComp
                | PacketType::SubAck
                | PacketType::UnsubAck => REASON,
                PacketType::PingReq | PacketType::PingResp => 0,
            },
        }
    }
}
