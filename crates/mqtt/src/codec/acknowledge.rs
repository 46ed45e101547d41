//! PUBACK, PUBREC, PUBREL, PUBCOMP (§3.4 to §3.7).

use crate::codec::{Context, Reader, Violation};
use crate::frame::Ack;
use crate::properties::Properties;
use crate::reason_code::ReasonCode;

/// The reason code may be absent, and behind it the property length.
pub(super) fn decode<'a>(reader: &mut Reader<'a>, context: Context) -> Result<Ack<'a>, Violation> {
    let packet_id = reader.packet_id()?;
    let mut ack = Ack {
        packet_id,
        reason: ReasonCode::Success,
        properties: Properties::EMPTY,
    };
    if context.version.is_v5() && !reader.is_empty() {
        ack.reason = context.reason(reader)?;
        if !reader.is_empty() {
            ack.properties = context.properties(reader, |_| {})?;
        }
    }
    Ok(ack)
}
