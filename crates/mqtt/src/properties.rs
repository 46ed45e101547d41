//! Properties of MQTT 5 (§2.2.2): read and written one by one over the bytes of the wire, without allocation.
//!
//! ```text
//! property = identifier (1 byte; larger ones do not exist) │ value
//! value    = byte │ two bytes │ four bytes │ variable byte integer │ length (2 bytes) bytes │ string string
//! ```

mod place;

use std::num::NonZeroU16;

use crate::codec::{EncodeError, Reader, Sender, Violation, variable_byte_integer_len};
use crate::frame::QoS;
use crate::topic;

pub(crate) use place::Place;

/// Identifier of a property (table 2-4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum PropertyId {
    PayloadFormatIndicator = 0x01,
    MessageExpiryInterval = 0x02,
    ContentType = 0x03,
    ResponseTopic = 0x08,
    CorrelationData = 0x09,
    SubscriptionIdentifier = 0x0B,
    SessionExpiryInterval = 0x11,
    AssignedClientIdentifier = 0x12,
    ServerKeepAlive = 0x13,
    AuthenticationMethod = 0x15,
    AuthenticationData = 0x16,
    RequestProblemInformation = 0x17,
    WillDelayInterval = 0x18,
    RequestResponseInformation = 0x19,
    ResponseInformation = 0x1A,
    ServerReference = 0x1C,
    ReasonString = 0x1F,
    ReceiveMaximum = 0x21,
    TopicAliasMaximum = 0x22,
    TopicAlias = 0x23,
    MaximumQos = 0x24,
    RetainAvailable = 0x25,
    UserProperty = 0x26,
    MaximumPacketSize = 0x27,
    WildcardSubscriptionAvailable = 0x28,
    SubscriptionIdentifierAvailable = 0x29,
    SharedSubscriptionAvailable = 0x2A,
}

impl PropertyId {
    /// The identifier of that wire value, if there is one.
    pub const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            0x01 => Self::PayloadFormatIndicator,
            0x02 => Self::MessageExpiryInterval,
            0x03 => Self::ContentType,
            0x08 => Self::ResponseTopic,
            0x09 => Self::CorrelationData,
            0x0B => Self::SubscriptionIdentifier,
            0x11 => Self::SessionExpiryInterval,
            0x12 => Self::AssignedClientIdentifier,
            0x13 => Self::ServerKeepAlive,
            0x15 => Self::AuthenticationMethod,
            0x16 => Self::AuthenticationData,
            0x17 => Self::RequestProblemInformation,
            0x18 => Self::WillDelayInterval,
            0x19 => Self::RequestResponseInformation,
            0x1A => Self::ResponseInformation,
            0x1C => Self::ServerReference,
            0x1F => Self::ReasonString,
            0x21 => Self::ReceiveMaximum,
            0x22 => Self::TopicAliasMaximum,
            0x23 => Self::TopicAlias,
            0x24 => Self::MaximumQos,
            0x25 => Self::RetainAvailable,
            0x26 => Self::UserProperty,
            0x27 => Self::MaximumPacketSize,
            0x28 => Self::WildcardSubscriptionAvailable,
            0x29 => Self::SubscriptionIdentifierAvailable,
            0x2A => Self::SharedSubscriptionAvailable,
            _ => return None,
        })
    }

    const fn bit(self) -> u64 {
        1 << self as u8
    }
}

/// One property with its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Property<'a> {
    /// Whether the payload is declared to be UTF-8 text.
    PayloadFormatIndicator(bool),
    /// Seconds.
    MessageExpiryInterval(u32),
    /// MIME type or whatever the applications agreed on.
    ContentType(&'a str),
    /// Topic name for a response: not empty, without wildcards.
    ResponseTopic(&'a str),
    /// Ties a response to its request.
    CorrelationData(&'a [u8]),
    /// 1 to 268,435,455.
    SubscriptionIdentifier(u32),
    /// Seconds; `u32::MAX` is never.
    SessionExpiryInterval(u32),
    /// The client identifier that the server made up.
    AssignedClientIdentifier(&'a str),
    /// Seconds.
    ServerKeepAlive(u16),
    /// Name of the authentication method.
    AuthenticationMethod(&'a str),
    /// What the authentication method defines.
    AuthenticationData(&'a [u8]),
    /// Whether reason strings and user properties are welcome in every packet.
    RequestProblemInformation(bool),
    /// Seconds.
    WillDelayInterval(u32),
    /// Whether response information is asked for.
    RequestResponseInformation(bool),
    /// Basis for response topics.
    ResponseInformation(&'a str),
    /// Another server to use.
    ServerReference(&'a str),
    /// Human-readable.
    ReasonString(&'a str),
    /// Unacknowledged QoS 1 and 2 messages the sender takes at a time.
    ReceiveMaximum(NonZeroU16),
    /// Highest topic alias the sender takes.
    TopicAliasMaximum(u16),
    /// Stands for a topic name.
    TopicAlias(NonZeroU16),
    /// QoS 0 or 1; the absence of the property says 2.
    MaximumQos(QoS),
    /// Whether the server keeps retained messages.
    RetainAvailable(bool),
    /// Name and value; may be repeated.
    UserProperty(&'a str, &'a str),
    /// Bytes; not 0.
    MaximumPacketSize(u32),
    /// Whether the server takes wildcards.
    WildcardSubscriptionAvailable(bool),
    /// Whether the server takes subscription identifiers.
    SubscriptionIdentifierAvailable(bool),
    /// Whether the server takes shared subscriptions.
    SharedSubscriptionAvailable(bool),
}

impl<'a> Property<'a> {
    /// Which property it is.
    pub const fn id(&self) -> PropertyId {
        match self {
            Self::PayloadFormatIndicator(_) => PropertyId::PayloadFormatIndicator,
            Self::MessageExpiryInterval(_) => PropertyId::MessageExpiryInterval,
            Self::ContentType(_) => PropertyId::ContentType,
            Self::ResponseTopic(_) => PropertyId::ResponseTopic,
            Self::CorrelationData(_) => PropertyId::CorrelationData,
            Self::SubscriptionIdentifier(_) => PropertyId::SubscriptionIdentifier,
            Self::SessionExpiryInterval(_) => PropertyId::SessionExpiryInterval,
            Self::AssignedClientIdentifier(_) => PropertyId::AssignedClientIdentifier,
            Self::ServerKeepAlive(_) => PropertyId::ServerKeepAlive,
            Self::AuthenticationMethod(_) => PropertyId::AuthenticationMethod,
            Self::AuthenticationData(_) => PropertyId::AuthenticationData,
            Self::RequestProblemInformation(_) => PropertyId::RequestProblemInformation,
            Self::WillDelayInterval(_) => PropertyId::WillDelayInterval,
            Self::RequestResponseInformation(_) => PropertyId::RequestResponseInformation,
            Self::ResponseInformation(_) => PropertyId::ResponseInformation,
            Self::ServerReference(_) => PropertyId::ServerReference,
            Self::ReasonString(_) => PropertyId::ReasonString,
            Self::ReceiveMaximum(_) => PropertyId::ReceiveMaximum,
            Self::TopicAliasMaximum(_) => PropertyId::TopicAliasMaximum,
            Self::TopicAlias(_) => PropertyId::TopicAlias,
            Self::MaximumQos(_) => PropertyId::MaximumQos,
            Self::RetainAvailable(_) => PropertyId::RetainAvailable,
            Self::UserProperty(..) => PropertyId::UserProperty,
            Self::MaximumPacketSize(_) => PropertyId::MaximumPacketSize,
            Self::WildcardSubscriptionAvailable(_) => PropertyId::WildcardSubscriptionAvailable,
            Self::SubscriptionIdentifierAvailable(_) => PropertyId::SubscriptionIdentifierAvailable,
            Self::SharedSubscriptionAvailable(_) => PropertyId::SharedSubscriptionAvailable,
        }
    }

    /// Reads the value of `id` and checks its range.
    fn read(id: PropertyId, reader: &mut Reader<'a>) -> Result<Self, Violation> {
        let bad_value = Violation::PropertyValue(id);
        Ok(match id {
            PropertyId::PayloadFormatIndicator => Self::PayloadFormatIndicator(flag(id, reader)?),
            PropertyId::MessageExpiryInterval => Self::MessageExpiryInterval(reader.four_bytes()?),
            PropertyId::ContentType => Self::ContentType(reader.string()?),
            PropertyId::ResponseTopic => {
                let name = reader.string()?;
                // MQTT-3.3.2-14, MQTT-4.7.3-1.
                topic::validate_name(name).map_err(|_| bad_value)?;
                Self::ResponseTopic(name)
            }
            PropertyId::CorrelationData => Self::CorrelationData(reader.binary()?),
            PropertyId::SubscriptionIdentifier => {
                let value = reader.variable_byte_integer()?;
                Self::SubscriptionIdentifier(Some(value).filter(|v| *v != 0).ok_or(bad_value)?)
            }
            PropertyId::SessionExpiryInterval => Self::SessionExpiryInterval(reader.four_bytes()?),
            PropertyId::AssignedClientIdentifier => {
                Self::AssignedClientIdentifier(reader.string()?)
            }
            PropertyId::ServerKeepAlive => Self::ServerKeepAlive(reader.two_bytes()?),
            PropertyId::AuthenticationMethod => Self::AuthenticationMethod(reader.string()?),
            PropertyId::AuthenticationData => Self::AuthenticationData(reader.binary()?),
            PropertyId::RequestProblemInformation => {
                Self::RequestProblemInformation(flag(id, reader)?)
            }
            PropertyId::WillDelayInterval => Self::WillDelayInterval(reader.four_bytes()?),
            PropertyId::RequestResponseInformation => {
                Self::RequestResponseInformation(flag(id, reader)?)
            }
            PropertyId::ResponseInformation => Self::ResponseInformation(reader.string()?),
            PropertyId::ServerReference => Self::ServerReference(reader.string()?),
            PropertyId::ReasonString => Self::ReasonString(reader.string()?),
            PropertyId::ReceiveMaximum => {
                Self::ReceiveMaximum(NonZeroU16::new(reader.two_bytes()?).ok_or(bad_value)?)
            }
            PropertyId::TopicAliasMaximum => Self::TopicAliasMaximum(reader.two_bytes()?),
            PropertyId::TopicAlias => {
                let alias = NonZeroU16::new(reader.two_bytes()?);
                Self::TopicAlias(alias.ok_or(Violation::TopicAliasZero)?)
            }
            PropertyId::MaximumQos => match reader.byte()? {
                0 => Self::MaximumQos(QoS::AtMostOnce),
                1 => Self::MaximumQos(QoS::AtLeastOnce),
                _ => return Err(bad_value),
            },
            PropertyId::RetainAvailable => Self::RetainAvailable(flag(id, reader)?),
            PropertyId::UserProperty => Self::UserProperty(reader.string()?, reader.string()?),
            PropertyId::MaximumPacketSize => {
                let value = reader.four_bytes()?;
                Self::MaximumPacketSize(Some(value).filter(|v| *v != 0).ok_or(bad_value)?)
            }
            PropertyId::WildcardSubscriptionAvailable => {
                Self::WildcardSubscriptionAvailable(flag(id, reader)?)
            }
            PropertyId::SubscriptionIdentifierAvailable => {
                Self::SubscriptionIdentifierAvailable(flag(id, reader)?)
            }
            PropertyId::SharedSubscriptionAvailable => {
                Self::SharedSubscriptionAvailable(flag(id, reader)?)
            }
        })
    }

    fn value(&self) -> Value<'a> {
        match *self {
            Self::PayloadFormatIndicator(v)
            | Self::RequestProblemInformation(v)
            | Self::RequestResponseInformation(v)
            | Self::RetainAvailable(v)
            | Self::WildcardSubscriptionAvailable(v)
            | Self::SubscriptionIdentifierAvailable(v)
            | Self::SharedSubscriptionAvailable(v) => Value::Byte(v.into()),
            Self::MaximumQos(v) => Value::Byte(v as u8),
            Self::ServerKeepAlive(v) | Self::TopicAliasMaximum(v) => Value::TwoBytes(v),
            Self::ReceiveMaximum(v) | Self::TopicAlias(v) => Value::TwoBytes(v.get()),
            Self::MessageExpiryInterval(v)
            | Self::SessionExpiryInterval(v)
            | Self::WillDelayInterval(v)
            | Self::MaximumPacketSize(v) => Value::FourBytes(v),
            Self::SubscriptionIdentifier(v) => Value::Varint(v),
            Self::CorrelationData(v) | Self::AuthenticationData(v) => Value::Bytes(v),
            Self::ContentType(v)
            | Self::ResponseTopic(v)
            | Self::AssignedClientIdentifier(v)
            | Self::AuthenticationMethod(v)
            | Self::ResponseInformation(v)
            | Self::ServerReference(v)
            | Self::ReasonString(v) => Value::Bytes(v.as_bytes()),
            Self::UserProperty(name, value) => Value::Pair(name.as_bytes(), value.as_bytes()),
        }
    }

    /// Bytes it takes on the wire, identifier included.
    pub fn encoded_len(&self) -> usize {
        1 + match self.value() {
            Value::Byte(_) => 1,
            Value::TwoBytes(_) => 2,
            Value::FourBytes(_) => 4,
            Value::Varint(v) => variable_byte_integer_len(v),
            Value::Bytes(v) => 2 + v.len(),
            Value::Pair(name, value) => 4 + name.len() + value.len(),
        }
    }
}

/// A byte that is 0 or 1.
fn flag(id: PropertyId, reader: &mut Reader<'_>) -> Result<bool, Violation> {
    match reader.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Violation::PropertyValue(id)),
    }
}

/// A value by its type on the wire.
enum Value<'a> {
    Byte(u8),
    TwoBytes(u16),
    FourBytes(u32),
    Varint(u32),
    Bytes(&'a [u8]),
    Pair(&'a [u8], &'a [u8]),
}

/// Validated properties in the bytes of the wire, without the length in front of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Properties<'a>(&'a [u8]);

impl<'a> Properties<'a> {
    /// None.
    pub const EMPTY: Self = Self(&[]);

    /// Takes bytes that were validated before, as [`Properties::as_bytes`] gave them. Should they be damaged all the
    /// same, iteration ends at the damage.
    pub const fn from_validated(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Checks bytes for a place and shows each property to `on_property`.
    #[inline]
    pub(crate) fn validate(
        bytes: &'a [u8],
        place: Place,
        sender: Sender,
        mut on_property: impl FnMut(Property<'a>),
    ) -> Result<Self, Violation> {
        let mut reader = Reader::new(bytes);
        let mut seen = 0_u64;
        while !reader.is_empty() {
            let byte = reader.byte()?;
            let id = PropertyId::from_u8(byte).ok_or(Violation::PropertyUnknown(byte))?;
            place.check(id, sender)?;
            if seen & id.bit() != 0 && !place.repeats(id) {
                return Err(Violation::PropertyTwice(id));
            }
            seen |= id.bit();
            let property =
                Property::read(id, &mut reader).map_err(|violation| match violation {
                    Violation::FieldBeyondPacket => Violation::PropertyLength,
                    other => other,
                })?;
            on_property(property);
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Properties in the order of the wire.
    pub const fn iter(self) -> PropertyIter<'a> {
        PropertyIter(Reader::new(self.0))
    }

    /// Properties in the order of the wire, each with its own bytes, identifier included.
    pub fn iter_with_bytes(self) -> impl Iterator<Item = (Property<'a>, &'a [u8])> {
        let mut iter = self.iter();
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let property = iter.next()?;
            let (bytes, behind) = rest.split_at(rest.len() - iter.0.len());
            rest = behind;
            Some((property, bytes))
        })
    }

    /// User properties in order.
    pub fn user_properties(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.iter().filter_map(|property| match property {
            Property::UserProperty(name, value) => Some((name, value)),
            _ => None,
        })
    }
}

impl<'a> IntoIterator for Properties<'a> {
    type Item = Property<'a>;
    type IntoIter = PropertyIter<'a>;

    fn into_iter(self) -> PropertyIter<'a> {
        self.iter()
    }
}

/// See [`Properties::iter`].
#[derive(Clone, Debug)]
pub struct PropertyIter<'a>(Reader<'a>);

impl<'a> Iterator for PropertyIter<'a> {
    type Item = Property<'a>;

    fn next(&mut self) -> Option<Property<'a>> {
        let id = PropertyId::from_u8(self.0.byte().ok()?)?;
        Property::read(id, &mut self.0).ok()
    }
}

/// Properties to be sent, in the bytes of the wire. Clear and reuse it: then it does not allocate.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PropertyBuf(Vec<u8>);

impl PropertyBuf {
    /// None yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Appends one. That it is not there already, and may be sent in the packet it is meant for, is the caller's to
    /// know. Fails, changing nothing, where a text or binary value is longer than 65,535 bytes.
    pub fn push(&mut self, property: Property<'_>) -> Result<(), EncodeError> {
        write_property(&property, &mut self.0)
    }

    /// Appends all of them, as they are.
    pub fn push_all(&mut self, properties: Properties<'_>) {
        self.0.extend_from_slice(properties.0);
    }

    /// What was appended.
    pub fn as_properties(&self) -> Properties<'_> {
        Properties(&self.0)
    }
}

/// Appends one property to wire bytes; see [`PropertyBuf::push`].
pub(crate) fn write_property(
    property: &Property<'_>,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let field_len =
        |field: &[u8]| u16::try_from(field.len()).map_err(|_| EncodeError::FieldTooLong);
    let id = property.id() as u8;
    match property.value() {
        Value::Byte(v) => out.extend_from_slice(&[id, v]),
        Value::TwoBytes(v) => {
            out.push(id);
            out.extend_from_slice(&v.to_be_bytes());
        }
        Value::FourBytes(v) => {
            out.push(id);
            out.extend_from_slice(&v.to_be_bytes());
        }
        Value::Varint(v) => {
            out.push(id);
            crate::codec::write_variable_byte_integer(v, out);
        }
        Value::Bytes(v) => {
            let len = field_len(v)?;
            out.push(id);
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(v);
        }
        Value::Pair(name, value) => {
            let (name_len, value_len) = (field_len(name)?, field_len(value)?);
            out.push(id);
            out.extend_from_slice(&name_len.to_be_bytes());
            out.extend_from_slice(name);
            out.extend_from_slice(&value_len.to_be_bytes());
            out.extend_from_slice(value);
        }
    }
    Ok(())
}
