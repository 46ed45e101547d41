//! DISCONNECT (§3.14) and AUTH (§3.15).

use crate::codec::{Context, Reader, Sender, Violation};
use crate::frame::{Auth, Disconnect};
use crate::properties::{Properties, Property};
use crate::reason_code::ReasonCode;

/// The reason code may be absent, and behind it the property length.
pub(super) fn decode_disconnect<'a>(
    reader: &mut Reader<'a>,
    context: Context,
) -> Result<Disconnect<'a>, Violation> {
    let mut disconnect = Disconnect {
        reason: ReasonCode::NORMAL_DISCONNECTION,
        properties: Properties::EMPTY,
    };
    if context.version.is_v5() && !reader.is_empty() {
        disconnect.reason = context.reason(reader)?;
        if !reader.is_empty() {
            disconnect.properties = context.properties(reader, |_| {})?;
        }
    }
    Ok(disconnect)
}

/// An empty AUTH says success, which only the server says. Else the method must be there (§3.15.2.2.2).
pub(super) fn decode_auth<'a>(
    reader: &mut Reader<'a>,
    context: Context,
) -> Result<Auth<'a>, Violation> {
    if reader.is_empty() {
        return match context.sender {
            Sender::Client => Err(Violation::ReasonCode(ReasonCode::Success.as_u8())),
            Sender::Server => Ok(Auth {
                reason: ReasonCode::Success,
                properties: Properties::EMPTY,
            }),
        };
    }
    let reason = context.reason(reader)?;
    let mut method = false;
    let properties = context.properties(reader, |property| {
        method |= matches!(property, Property::AuthenticationMethod(_));
    })?;
    if method {
        Ok(Auth { reason, properties })
    } else {
        Err(Violation::AuthenticationMethodMissing)
    }
}
