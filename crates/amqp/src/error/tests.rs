use bytes::Bytes;
use ternmq_core::access::Right;

use super::*;

const SCENE: Scene<'_> = Scene {
    vhost: "probe",
    user: "lim",
};

fn said(refusal: &Refusal) -> (u16, String) {
    let fault = from_refusal(refusal, SCENE);
    (fault.reply.code(), fault.reply_text())
}

#[test]
fn soft_errors_close_the_channel_and_hard_ones_the_connection() {
    use Reply as R;
    for reply in [
        R::AccessRefused,
        R::NotFound,
        R::ResourceLocked,
        R::PreconditionFailed,
    ] {
        assert_eq!(reply.scope(), Scope::Channel);
    }
    for reply in [
        R::ConnectionForced,
        R::FrameError,
        R::SyntaxError,
        R::CommandInvalid,
        R::ChannelError,
        R::UnexpectedFrame,
        R::NotAllowed,
        R::NotImplemented,
        R::InternalError,
    ] {
        assert_eq!(reply.scope(), Scope::Connection);
    }
}

#[test]
fn reply_text_is_cut_to_a_short_string_between_characters() {
    let fits = Fault::new(Reply::NotFound, "x".repeat(255 - "NOT_FOUND - ".len()));
    assert_eq!(fits.reply_text().len(), 255);
    assert!(!fits.reply_text().ends_with("..."));
    let long = Fault::new(Reply::NotFound, "x".repeat(256 - "NOT_FOUND - ".len()));
    assert_eq!(long.reply_text().len(), 255);
    assert!(long.reply_text().ends_with("x..."));
    let wide = Fault::new(Reply::NotFound, "ä".repeat(200)).reply_text();
    assert!(wide.len() <= 255 && wide.ends_with("ä..."));
}

#[test]
fn fault_without_a_text_is_its_name() {
    assert_eq!(
        Fault::new(Reply::InternalError, "").reply_text(),
        "INTERNAL_ERROR"
    );
}

#[test]
fn method_is_named_once() {
    let fault = precondition_failed("x")
        .in_method((60, 40))
        .in_method((50, 10));
    assert_eq!(fault.method, (60, 40));
}

#[test]
fn refusals_that_no_script_reaches_have_their_words_too() {
    let access = Refusal::AccessRefused {
        right: Right::Configure,
        kind: Kind::Queue,
        name: "other".into(),
    };
    let text = "ACCESS_REFUSED - configure access to queue 'other' in vhost 'probe' refused for user 'lim'";
    assert_eq!(said(&access), (403, text.to_owned()));
    let topic = Refusal::TopicRefused {
        right: Right::Write,
        exchange: "amq.topic".into(),
        key: "a.b".into(),
    };
    let text = "ACCESS_REFUSED - write access to topic 'a.b' in exchange 'amq.topic' in vhost 'probe' \
                refused for user 'lim'";
    assert_eq!(said(&topic), (403, text.to_owned()));
    let queues = Refusal::QueueLimit {
        queue: "q".into(),
        max: 3,
    };
    let text = "PRECONDITION_FAILED - cannot declare queue 'q': queue limit in vhost 'probe' (3) is reached";
    assert_eq!(said(&queues), (406, text.to_owned()));
    let text = "CONNECTION_FORCED - vhost 'probe' is deleted";
    assert_eq!(said(&Refusal::VhostDeleted), (320, text.to_owned()));
    let limit = Refusal::LimitReached {
        limit: "queues_max",
        max: 3,
    };
    let text = "PRECONDITION_FAILED - limit queues_max in vhost 'probe' (3) is reached";
    assert_eq!(said(&limit), (406, text.to_owned()));
    let text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
    assert_eq!(said(&Refusal::ShuttingDown), (320, text.to_owned()));
}

#[test]
fn values_of_every_type_have_rabbitmqs_names() {
    for (value, name, shown) in [
        (Value::Void, "void", "undefined"),
        (Value::Bool(true), "bool", "true"),
        (Value::I8(-1), "byte", "-1"),
        (Value::U8(1), "unsignedbyte", "1"),
        (Value::I16(-2), "short", "-2"),
        (Value::U16(2), "unsignedshort", "2"),
        (Value::I32(-3), "signedint", "-3"),
        (Value::U32(3), "unsignedint", "3"),
        (Value::I64(-4), "long", "-4"),
        (Value::U64(u64::MAX), "long", "18446744073709551615"),
        (Value::F32(0.5), "float", "0.5"),
        (Value::F64(0.25), "double", "0.25"),
        (Value::Timestamp(7), "timestamp", "7"),
        (Value::text("t"), "longstr", "t"),
        (
            Value::Binary(Bytes::from_static(&[1, 2])),
            "binary",
            "<<1,2>>",
        ),
        (Value::List(Vec::new()), "array", "array"),
        (
            Value::Map(ternmq_core::value::Headers::new()),
            "table",
            "table",
        ),
        (Value::Decimal { scale: 2, value: 5 }, "decimal", "{2,5}"),
    ] {
        assert_eq!(
            (type_name(&value), describe(&value).as_str()),
            (name, shown)
        );
    }
}

#[test]
fn frame_errors_show_at_most_the_beginning_of_a_payload() {
    let mut frame = vec![1, 0, 1, 0, 0, 0, 17];
    frame.extend([7; 17]);
    frame.push(0);
    let error = FrameError::BadFrameEnd {
        channel: 1,
        found: 0,
    };
    let shown = "<<7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7>>";
    assert_eq!(
        from_frame_error(&error, &frame).reply_text(),
        format!("FRAME_ERROR - type 1, first 16 octets = {shown}: {{invalid_frame_end_marker,0}}")
    );
}
