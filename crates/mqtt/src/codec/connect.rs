//! CONNECT (§3.1) and CONNACK (§3.2).

use crate::codec::header::Header;
use crate::codec::{Context, DecodeError, Reader, Sender, Violation};
use crate::frame::{ConnAck, Connect, PacketType, ProtocolVersion, QoS, Will};
use crate::properties::{Place, Properties, Property};
use crate::reason_code::ConnectReturnCode;
use crate::topic::{self, TopicNameError};

/// Connect flags (§3.1.2.3).
#[derive(Clone, Copy)]
struct Flags(u8);

impl Flags {
    const fn clean_start(self) -> bool {
        self.0 & 0x02 != 0
    }
    const fn will(self) -> bool {
        self.0 & 0x04 != 0
    }
    const fn will_qos(self) -> Option<QoS> {
        QoS::from_u8(self.0 >> 3 & 3)
    }
    const fn will_retain(self) -> bool {
        self.0 & 0x20 != 0
    }
    const fn password(self) -> bool {
        self.0 & 0x40 != 0
    }
    const fn user_name(self) -> bool {
        self.0 & 0x80 != 0
    }

    /// MQTT-3.1.2-3, -11, -12, -13; MQTT-3.1.2-22 of 3.1.1: no password without a user name. MQTT 3.1 does not care
    /// about the reserved flag.
    fn check(self, version: ProtocolVersion) -> Result<QoS, Violation> {
        let bad = Violation::ConnectFlags(self.0);
        let reserved = self.0 & 0x01 != 0 && version != ProtocolVersion::V31;
        let will_bits_alone = !self.will() && self.0 & 0x38 != 0;
        let password_alone = self.password() && !self.user_name() && !version.is_v5();
        if reserved || will_bits_alone || password_alone {
            return Err(bad);
        }
        self.will_qos().ok_or(bad)
    }
}

/// Decodes the body of a CONNECT, and judges what of its fixed header depends on the version it names.
pub(super) fn decode<'a>(header: &Header, body: &'a [u8]) -> Result<Connect<'a>, DecodeError> {
    let mut reader = Reader::new(body);
    let version = decode_version(&mut reader).map_err(|violation| DecodeError {
        violation,
        version: None,
    })?;
    decode_rest(&mut reader, version, header).map_err(|violation| DecodeError {
        violation,
        version: Some(version),
    })
}

/// Protocol name and level.
pub(super) fn decode_version(reader: &mut Reader<'_>) -> Result<ProtocolVersion, Violation> {
    let name = reader.binary()?;
    let known = [
        ProtocolVersion::V31,
        ProtocolVersion::V311,
        ProtocolVersion::V5,
    ]
    .into_iter()
    .filter(|version| version.protocol_name().as_bytes() == name);
    if known.clone().next().is_none() {
        return Err(Violation::ProtocolName);
    }
    let level = reader.byte()?;
    known
        .into_iter()
        .find(|version| version.level() == level)
        .ok_or(Violation::ProtocolLevel(level))
}

fn decode_rest<'a>(
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
    header: &Header,
) -> Result<Connect<'a>, Violation> {
    if header.flags != 0 && version != ProtocolVersion::V31 {
        return Err(Violation::HeaderFlags {
            packet: header.packet,
            flags: header.flags,
        });
    }
    if version.is_v5() && !header.minimal {
        return Err(Violation::VariableByteInteger);
    }
    let flags = Flags(reader.byte()?);
    let will_qos = flags.check(version)?;
    let keep_alive_s = reader.two_bytes()?;
    let properties = decode_properties(reader, version)?;
    let client_id = reader.string()?;
    check_client_id(client_id, flags, version)?;
    let will = if flags.will() {
        Some(decode_will(reader, flags, will_qos, version)?)
    } else {
        None
    };
    // MQTT 3.1 (§3.1 there): the flag may be set and the field be missing, then the remaining length decides.
    let absent = |reader: &Reader<'_>| version == ProtocolVersion::V31 && reader.is_empty();
    let user_name = (flags.user_name() && !absent(reader))
        .then(|| reader.string())
        .transpose()?;
    let password = (flags.password() && !absent(reader))
        .then(|| reader.binary())
        .transpose()?;
    if !reader.is_empty() {
        return Err(Violation::TrailingBytes);
    }
    Ok(Connect {
        version,
        clean_start: flags.clean_start(),
        keep_alive_s,
        client_id,
        will,
        user_name,
        password,
        properties,
    })
}

fn decode_properties<'a>(
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
) -> Result<Properties<'a>, Violation> {
    let (mut method, mut data) = (false, false);
    let context = Context {
        packet: PacketType::Connect,
        version,
        sender: Sender::Client,
    };
    let properties = context.properties(reader, |property| match property {
        Property::AuthenticationMethod(_) => method = true,
        Property::AuthenticationData(_) => data = true,
        _ => {}
    })?;
    // §3.1.2.11.10.
    if data && !method {
        Err(Violation::AuthenticationMethodMissing)
    } else {
        Ok(properties)
    }
}

/// MQTT-3.1.3-7 and -8 of 3.1.1: without an identifier there is no session to keep. MQTT 3.1 wants one always (§3.1
/// there; that it ends after 23 characters is held against nobody, as everywhere). Control characters, which §1.5.4
/// lets a receiver refuse, are refused here and nowhere else: identifiers end in queue names, logs and permissions.
fn check_client_id(
    client_id: &str,
    flags: Flags,
    version: ProtocolVersion,
) -> Result<(), Violation> {
    let may_be_empty = match version {
        ProtocolVersion::V31 => false,
        ProtocolVersion::V311 => flags.clean_start(),
        ProtocolVersion::V5 => true,
    };
    let is_missing = client_id.is_empty() && !may_be_empty;
    if is_missing || client_id.chars().any(char::is_control) {
        return Err(Violation::ClientIdentifier);
    }
    Ok(())
}

fn topic_violation(error: TopicNameError) -> Violation {
    match error {
        TopicNameError::ControlCharacter => Violation::ControlCharacter,
        _ => Violation::TopicName,
    }
}

fn decode_will<'a>(
    reader: &mut Reader<'a>,
    flags: Flags,
    qos: QoS,
    version: ProtocolVersion,
) -> Result<Will<'a>, Violation> {
    let mut properties = Properties::EMPTY;
    if version.is_v5() {
        let bytes = reader.property_bytes()?;
        properties = Properties::validate(bytes, Place::Will, Sender::Client, |_| {})?;
    }
    let topic = reader.string()?;
    topic::validate_name(topic).map_err(topic_violation)?;
    let payload = reader.binary()?;
    Ok(Will {
        qos,
        retain: flags.will_retain(),
        topic,
        payload,
        properties,
    })
}

pub(super) fn decode_connack<'a>(
    reader: &mut Reader<'a>,
    context: Context,
) -> Result<ConnAck<'a>, Violation> {
    let acknowledge_flags = reader.byte()?;
    let session_present = acknowledge_flags & 1 != 0;
    let reason = if context.version.is_v5() {
        context.reason(reader)?
    } else {
        let byte = reader.byte()?;
        ConnectReturnCode::from_u8(byte)
            .ok_or(Violation::ReasonCode(byte))?
            .to_reason()
    };
    // MQTT-3.2.2-1, MQTT-3.2.2-6.
    if acknowledge_flags > 1 || (session_present && reason.is_error()) {
        return Err(Violation::AcknowledgeFlags(acknowledge_flags));
    }
    let properties = context.properties(reader, |_| {})?;
    Ok(ConnAck {
        session_present,
        reason,
        properties,
    })
}
