//! Lists at the end of a packet: filters to subscribe or unsubscribe, reason codes. Checked when the packet is
//! decoded, walked later without allocation.

use crate::codec::{EncodeError, Reader, Sender, Violation};
use crate::frame::{PacketType, ProtocolVersion, SubscribeOptions};
use crate::reason_code::ReasonCode;
use crate::topic::{self, TopicFilter, TopicFilterError};

/// The payload of SUBSCRIBE (§3.8.3): at least one filter, each with its options.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubscribeFilters<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> SubscribeFilters<'a> {
    /// Checks the payload: text, option bits, no-local on shared subscriptions. Whether a wildcard stands where it
    /// may is told by [`SubscribeFilter::parse`].
    pub fn validate(bytes: &'a [u8], version: ProtocolVersion) -> Result<Self, Violation> {
        let mut reader = Reader::new(bytes);
        let mut count = 0;
        while !reader.is_empty() {
            let filter = filter_text(&mut reader)?;
            let byte = reader.byte()?;
            let options =
                SubscribeOptions::from_u8(byte).ok_or(Violation::SubscribeOptions(byte))?;
            if !version.is_v5() && byte > 2 {
                return Err(Violation::SubscribeOptions(byte));
            }
            if options.no_local && filter.starts_with(topic::SHARE_PREFIX) {
                return Err(Violation::NoLocalShared);
            }
            count += 1;
        }
        if count == 0 {
            Err(Violation::NoTopicFilter)
        } else {
            Ok(Self { bytes, count })
        }
    }

    /// Appends one filter to a payload to be sent.
    pub fn push(
        payload: &mut Vec<u8>,
        filter: &str,
        options: SubscribeOptions,
    ) -> Result<(), EncodeError> {
        push_text(payload, filter)?;
        payload.push(options.as_u8());
        Ok(())
    }

    /// The bytes of the wire.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many; at least one.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// The filters in order.
    pub fn iter(&self) -> impl Iterator<Item = SubscribeFilter<'a>> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        std::iter::from_fn(move || {
            let filter = filter_text(&mut reader).ok()?;
            let options = SubscribeOptions::from_u8(reader.byte().ok()?)?;
            Some(SubscribeFilter { filter, options })
        })
    }
}

/// One filter of a SUBSCRIBE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubscribeFilter<'a> {
    /// As the client wrote it; not empty.
    pub filter: &'a str,
    /// Its options.
    pub options: SubscribeOptions,
}

impl<'a> SubscribeFilter<'a> {
    /// Whether the filter is well formed. If not, MQTT 5 answers with "topic filter invalid" in its place of the
    /// SUBACK, MQTT 3 closes the connection.
    pub fn parse(&self) -> Result<TopicFilter<'a>, TopicFilterError> {
        TopicFilter::parse(self.filter)
    }
}

/// The payload of UNSUBSCRIBE (§3.10.3): at least one filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnsubscribeFilters<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> UnsubscribeFilters<'a> {
    /// Checks the payload.
    pub fn validate(bytes: &'a [u8]) -> Result<Self, Violation> {
        let mut reader = Reader::new(bytes);
        let mut count = 0;
        while !reader.is_empty() {
            filter_text(&mut reader)?;
            count += 1;
        }
        if count == 0 {
            Err(Violation::NoTopicFilter)
        } else {
            Ok(Self { bytes, count })
        }
    }

    /// Appends one filter to a payload to be sent.
    pub fn push(payload: &mut Vec<u8>, filter: &str) -> Result<(), EncodeError> {
        push_text(payload, filter)
    }

    /// The bytes of the wire.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many; at least one.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// The filters in order, as the client wrote them; see [`TopicFilter::parse`].
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        std::iter::from_fn(move || filter_text(&mut reader).ok())
    }
}

/// The payload of SUBACK or UNSUBACK: one code per filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReasonCodes<'a>(&'a [u8]);

impl<'a> ReasonCodes<'a> {
    /// None: the UNSUBACK of MQTT 3.
    pub const EMPTY: Self = Self(&[]);

    /// Checks that each code may be in that packet.
    pub fn validate(
        bytes: &'a [u8],
        packet: PacketType,
        version: ProtocolVersion,
    ) -> Result<Self, Violation> {
        for byte in bytes {
            let known = ReasonCode::from_u8(*byte)
                .filter(|code| code.allowed_in(packet, Sender::Server))
                .filter(|_| version.is_v5() || matches!(byte, 0..=2 | 0x80));
            if known.is_none() {
                return Err(Violation::ReasonCode(*byte));
            }
        }
        Ok(Self(bytes))
    }

    /// The bytes of the wire.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The codes in order.
    pub fn iter(&self) -> impl Iterator<Item = ReasonCode> + use<'a> {
        self.0.iter().filter_map(|byte| ReasonCode::from_u8(*byte))
    }
}

fn filter_text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Violation> {
    let text = reader.string()?;
    if text.is_empty() {
        Err(Violation::TopicFilterEmpty)
    } else if topic::has_control_character(text) {
        Err(Violation::ControlCharacter)
    } else {
        Ok(text)
    }
}

fn push_text(payload: &mut Vec<u8>, text: &str) -> Result<(), EncodeError> {
    let len = u16::try_from(text.len()).map_err(|_| EncodeError::FieldTooLong)?;
    payload.extend_from_slice(&len.to_be_bytes());
    payload.extend_from_slice(text.as_bytes());
    Ok(())
}
