//! SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK (§3.8 to §3.11).

use crate::codec::{Context, Reader, Violation};
use crate::frame::{
    ReasonCodes, SubAck, Subscribe, SubscribeFilters, UnsubAck, Unsubscribe, UnsubscribeFilters,
};
use crate::properties::Property;

pub(super) fn decode<'a>(
    reader: &mut Reader<'a>,
    context: Context,
) -> Result<Subscribe<'a>, Violation> {
    let packet_id = reader.packet_id()?;
    let mut subscription_id = None;
    let properties = context.properties(reader, |property| {
        if let Property::SubscriptionIdentifier(id) = property {
            subscription_id = Some(id);
        }
    })?;
    let filters = SubscribeFilters::validate(reader.take_rest(), context.version)?;
    Ok(Subscribe {
        packet_id,
        subscription_id,
        properties,
        filters,
    })
}

pub(super) fn decode_suback<'a>(
    reader: &mut Reader<'a>,
    context: Context,
) -> Result<SubAck<'a>, Violation> {
    let packet_id = reader.packet_id()?;
    let properties = context.properties(reader, |_| {})?;
    if reader.is_empty() {
        return Err(Violation::FieldBeyondPacket);
    }
    let reasons = ReasonCodes::validate(reader.take_rest(), context.packet, context.version)?;
    Ok(SubAck {
        packet_id,
        properties,
        reasons,
    })
}

pub(super) fn decode_unsubscribe<'a>(
    reader: &mut Reader<'a>,
    context: Context,
) -> Result<Unsubscribe<'a>, Violation> {
    let packet_id = reader.packet_id()?;
    let properties = context.properties(reader, |_| {})?;
    let filters = UnsubscribeFilters::validate(reader.take_rest())?;
    Ok(Unsubscribe {
        packet_id,
        properties,
        filters,
    })
}

/// MQTT 3 has no codes here.
pub(super) fn decode_unsuback<'a>(
    reader: &mut Reader<'a>,
    context: Context,
) -> Result<UnsubAck<'a>, Violation> {
    let packet_id = reader.packet_id()?;
    let properties = context.properties(reader, |_| {})?;
    let mut reasons = ReasonCodes::EMPTY;
    if context.version.is_v5() {
        if reader.is_empty() {
            return Err(Violation::FieldBeyondPacket);
        }
        reasons = ReasonCodes::validate(reader.take_rest(), context.packet, context.version)?;
    }
    Ok(UnsubAck {
        packet_id,
        properties,
        reasons,
    })
}
