//! AMQP 0.9.1 as a RabbitMQ client library sees it: lapin against the real binary.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions,
    BasicPublishOptions, BasicQosOptions, BasicRecoverOptions, BasicRejectOptions,
    ExchangeBindOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, ExchangeUnbindOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ExchangeKind};
use support::amqp::{
    Death, bind, channel, connect, consume, consume_with, counts, deaths, declare, drain, get,
    header, next, next_acked, number, open, persistent, publish, refusal, send, table, text,
};
use support::{Ternmq, soon};
use tokio_stream::StreamExt;

/// More than one frame, whatever frame size was agreed on.
const LARGE_BODY_BYTES: usize = 1024 * 1024;

async fn exchange(channel: &Channel, name: &str, kind: ExchangeKind, arguments: FieldTable) {
    let options = ExchangeDeclareOptions::default();
    soon(channel.exchange_declare(name.into(), kind, options, arguments))
        .await
        .unwrap();
}

/// Publishes to an exchange without the mandatory flag.
async fn emit(channel: &Channel, exchange: &str, key: &str, body: &[u8]) -> Confirmation {
    emit_with(channel, exchange, key, body, BasicProperties::default()).await
}

async fn emit_with(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &[u8],
    properties: BasicProperties,
) -> Confirmation {
    let options = BasicPublishOptions::default();
    let confirm = channel.basic_publish(exchange.into(), key.into(), options, body, properties);
    soon(soon(confirm).await.unwrap()).await.unwrap()
}

async fn nack(delivery: &lapin::message::Delivery, requeue: bool) {
    soon(delivery.nack(BasicNackOptions {
        requeue,
        ..Default::default()
    }))
    .await
    .unwrap();
}

async fn reject(delivery: &lapin::message::Delivery, requeue: bool) {
    soon(delivery.reject(BasicRejectOptions { requeue }))
        .await
        .unwrap();
}

async fn prefetch(channel: &Channel, count: u16) {
    soon(channel.basic_qos(count, BasicQosOptions::default()))
        .await
        .unwrap();
}

/// Declares a queue that dead-letters into the queue `graveyard`.
async fn declare_mortal<const N: usize>(
    channel: &Channel,
    queue: &str,
    arguments: [(&str, AMQPValue); N],
) {
    declare(channel, "graveyard", FieldTable::default()).await;
    let mut all = table(arguments);
    all.insert("x-dead-letter-exchange".into(), text(""));
    all.insert("x-dead-letter-routing-key".into(), text("graveyard"));
    declare(channel, queue, all).await;
}

#[tokio::test]
async fn published_messages_are_consumed_in_order_and_acknowledged() {
    let broker = Ternmq::start(&[]);
    let (connection, publisher) = open(&broker).await;
    let declared = declare(&publisher, "jobs", FieldTable::default()).await;
    assert_eq!(
        (declared.message_count(), declared.consumer_count()),
        (0, 0)
    );
    let consuming = channel(&connection).await;
    let mut consumer = consume(&consuming, "jobs").await;
    for number in 0..100_u32 {
        send(&publisher, "jobs", &number.to_be_bytes()).await;
    }
    for expected in 0..100_u32 {
        let delivery = next_acked(&mut consumer).await;
        assert_eq!(delivery.data, expected.to_be_bytes());
        assert_eq!(delivery.delivery_tag, u64::from(expected) + 1);
        assert_eq!(
            (delivery.exchange.as_str(), delivery.routing_key.as_str()),
            ("", "jobs")
        );
        assert!(!delivery.redelivered);
        assert_eq!(delivery.properties, persistent());
    }
    soon(consuming.basic_cancel("jobs".into(), BasicCancelOptions::default()))
        .await
        .unwrap();
    assert_eq!(counts(&publisher, "jobs").await, (0, 0));
}

#[tokio::test]
async fn every_property_and_header_comes_back_as_sent() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    declare(&channel, "q", FieldTable::default()).await;
    let headers = table([
        (
            "array",
            AMQPValue::FieldArray(vec![number(1), text("two")].into()),
        ),
        ("bytes", AMQPValue::LongString(vec![0, 255].into())),
        ("double", AMQPValue::Double(2.5)),
        ("long", AMQPValue::LongLongInt(i64::MIN)),
        (
            "table",
            AMQPValue::FieldTable(table([("inner", AMQPValue::Boolean(true))])),
        ),
        ("time", AMQPValue::Timestamp(1_700_000_000)),
        ("void", AMQPValue::Void),
    ]);
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_content_encoding("gzip".into())
        .with_headers(headers)
        .with_delivery_mode(1)
        .with_priority(7)
        .with_correlation_id("correlation".into())
        .with_reply_to("reply".into())
        .with_expiration("60000".into())
        .with_message_id("id".into())
        .with_timestamp(1_600_000_000)
        .with_type("type".into())
        .with_user_id("guest".into())
        .with_app_id("app".into());
    publish(&channel, "", "q", b"body", properties.clone()).await;
    let message = get(&channel, "q").await.unwrap();
    assert_eq!(message.delivery.properties, properties);
    assert_eq!(message.delivery.data, b"body");
    assert_eq!(message.message_count, 0);
}

#[tokio::test]
async fn empty_body_and_large_body_arrive_whole() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    declare(&channel, "q", FieldTable::default()).await;
    let mut consumer = consume(&channel, "q").await;
    let large: Vec<u8> = (0..=255).cycle().take(LARGE_BODY_BYTES).collect();
    send(&channel, "q", b"").await;
    send(&channel, "q", &large).await;
    send(&channel, "q", b"small").await;
    assert_eq!(next_acked(&mut consumer).await.data, b"");
    assert!(
        next_acked(&mut consumer).await.data == large,
        "the large body is the same"
    );
    assert_eq!(next_acked(&mut consumer).await.data, b"small");
}

#[tokio::test]
async fn requeued_messages_return_to_their_places_and_are_marked() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    declare(&channel, "q", FieldTable::default()).await;
    for body in [b"a", b"b", b"c", b"d"] {
        send(&channel, "q", body).await;
    }
    let first = get(&channel, "q").await.unwrap();
    let second = get(&channel, "q").await.unwrap();
    let third = get(&channel, "q").await.unwrap();
    assert!(!first.redelivered && first.message_count == 3);
    // Returned in another order than they were taken in.
    nack(&third.delivery, true).await;
    reject(&first.delivery, true).await;
    nack(&second.delivery, true).await;
    for (body, redelivered) in [(b"a", true), (b"b", true), (b"c", true), (b"d", false)] {
        let message = get(&channel, "q").await.unwrap();
        assert_eq!(
            (message.delivery.data.as_slice(), message.redelivered),
            (&body[..], redelivered)
        );
    }
    assert!(get(&channel, "q").await.is_none());
}

#[tokio::test]
async fn multiple_ack_and_nack_settle_everything_up_to_their_tag() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    declare(&channel, "q", FieldTable::default()).await;
    for body in [b"a", b"b", b"c", b"d"] {
        send(&channel, "q", body).await;
    }
    let mut tags = Vec::new();
    for _ in 0..4 {
        tags.push(get(&channel, "q").await.unwrap().delivery_tag);
    }
    soon(channel.basic_ack(tags[1], BasicAckOptions { multiple: true }))
        .await
        .unwrap();
    let requeue = BasicNackOptions {
        multiple: true,
        requeue: true,
    };
    soon(channel.basic_nack(tags[3], requeue)).await.unwrap();
    assert_eq!(drain(&channel, "q").await, [b"c", b"d"]);
}

#[tokio::test]
async fn rejected_without_requeue_and_without_dead_letter_exchange_is_dropped() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    declare(&channel, "q", FieldTable::default()).await;
    send(&channel, "q", b"bad").await;
    send(&channel, "q", b"worse").await;
    reject(&get(&channel, "q").await.unwrap().delivery, false).await;
    nack(&get(&channel, "q").await.unwrap().delivery, false).await;
    assert_eq!(counts(&channel, "q").await, (0, 0));
}

#[tokio::test]
async fn unacknowledged_messages_of_a_closed_channel_and_connection_are_redelivered_in_order() {
    let broker = Ternmq::start(&[]);
    let (_connection, publisher) = open(&broker).await;
    declare(&publisher, "q", FieldTable::default()).await;
    for body in [b"a", b"b", b"c"] {
        send(&publisher, "q", body).await;
    }
    let other = connect(&broker).await;
    let channel_of_other = channel(&other).await;
    get(&channel_of_other, "q").await.unwrap();
    get(&channel_of_other, "q").await.unwrap();
    soon(channel_of_other.close(200, "bye".into()))
        .await
        .unwrap();
    let channel_of_other = channel(&other).await;
    let mut consumer = consume(&channel_of_other, "q").await;
    for (body, redelivered) in [(b"a", true), (b"b", true), (b"c", false)] {
        let delivery = next(&mut consumer).await;
        assert_eq!(
            (delivery.data.as_slice(), delivery.redelivered),
            (&body[..], redelivered)
        );
    }
    soon(other.close(200, "bye".into())).await.unwrap();
    let mut consumer = consume(&publisher, "q").await;
    for body in [b"a", b"b", b"c"] {
        let delivery = next_acked(&mut consumer).await;
        assert_eq!(
            (delivery.data.as_slice(), delivery.redelivered),
            (&body[..], true)
        );
    }
}

#[tokio::test]
async fn recover_redelivers_everything_unacknowledged() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    declare(&channel, "q", FieldTable::default()).await;
    send(&channel, "q", b"a").await;
    let mut consumer = consume(&channel, "q").await;
    assert!(!next(&mut consumer).await.redelivered);
    soon(channel.basic_recover(BasicRecoverOptions { requeue: true }))
        .await
        .unwrap();
    assert!(next_acked(&mut consumer).await.redelivered);
}

#[tokio::test]
async fn prefetch_bounds_what_a_consumer_holds() {
    let broker = Ternmq::start(&[]);
    let (connection, publisher) = open(&broker).await;
    declare(&publisher, "q", FieldTable::default()).await;
    for number in 0..5_u8 {
        send(&publisher, "q", &[number]).await;
    }
    let consuming = channel(&connection).await;
    prefetch(&consuming, 2).await;
    let mut consumer = consume(&consuming, "q").await;
    let first = next(&mut consumer).await;
    let second = next(&mut consumer).await;
    assert_eq!(
        (first.data.as_slice(), second.data.as_slice()),
        (&[0][..], &[1][..])
    );
    // An answer to a later method follows whatever was assigned before it.
    assert_eq!(counts(&consuming, "q").await, (3, 1));
    soon(first.ack(BasicAckOptions::default())).await.unwrap();
    assert_eq!(next(&mut consumer).await.data, [2]);
    assert_eq!(counts(&consuming, "q").await, (2, 1));
    soon(second.ack(BasicAckOptions { multiple: false }))
        .await
        .unwrap();
    assert_eq!(next(&mut consumer).await.data, [3]);
}

#[tokio::test]
async fn consumers_of_one_queue_take_turns() {
    let broker = Ternmq::start(&[]);
    let (connection, publisher) = open(&broker).await;
    declare(&publisher, "q", FieldTable::default()).await;
    let (left_channel, right_channel) = (channel(&connection).await, channel(&connection).await);
    let mut left = consume(&left_channel, "q").await;
    let mut right = consume(&right_channel, "q").await;
    for number in 0..10_u8 {
        send(&publisher, "q", &[number]).await;
    }
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push(next_acked(&mut left).await.data[0]);
        seen.push(next_acked(&mut right).await.data[0]);
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[tokio::test]
async fn no_ack_deliveries_need_no_acknowledgement() {
    let broker = Ternmq::start(&[]);
    let (connection, publisher) = open(&broker).await;
    declare(&publisher, "q", FieldTable::default()).await;
    let consuming = channel(&connection).await;
    prefetch(&consuming, 1).await;
    let options = BasicConsumeOptions {
        no_ack: true,
        ..Default::default()
    };
    let mut consumer = consume_with(&consuming, "q", options).await;
    for number in 0..50_u8 {
        send(&publisher, "q", &[number]).await;
    }
    for number in 0..50_u8 {
        assert_eq!(next(&mut consumer).await.data, [number]);
    }
    soon(consuming.close(200, "bye".into())).await.unwrap();
    assert_eq!(counts(&publisher, "q").await, (0, 0));
}

#[tokio::test]
async fn confirms_come_for_every_message_of_a_pipeline() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    declare(&channel, "q", FieldTable::default()).await;
    let mut confirms = Vec::new();
    for number in 0..1000_u32 {
        let (options, body) = (BasicPublishOptions::default(), number.to_be_bytes());
        let sent = channel.basic_publish("".into(), "q".into(), options, &body, persistent());
        confirms.push(soon(sent).await.unwrap());
    }
    for confirm in confirms {
        assert_eq!(soon(confirm).await.unwrap(), Confirmation::Ack(None));
    }
    assert_eq!(counts(&channel, "q").await, (1000, 0));
}

#[tokio::test]
async fn unroutable_mandatory_message_is_returned_before_its_confirm() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    let confirmation = publish(
        &channel,
        "amq.direct",
        "nowhere",
        b"lost",
        BasicProperties::default(),
    )
    .await;
    let Confirmation::Ack(Some(returned)) = confirmation else {
        panic!("not returned: {confirmation:?}")
    };
    assert_eq!(
        (returned.reply_code, returned.reply_text.as_str()),
        (312, "NO_ROUTE")
    );
    assert_eq!(returned.delivery.exchange.as_str(), "amq.direct");
    assert_eq!(returned.delivery.routing_key.as_str(), "nowhere");
    assert_eq!(returned.delivery.data, b"lost");
    assert_eq!(
        emit(&channel, "amq.direct", "nowhere", b"lost").await,
        Confirmation::Ack(None)
    );
}

#[tokio::test]
async fn messages_expire_by_queue_and_by_message_and_die_with_their_history() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    declare_mortal(&channel, "by-queue", [("x-message-ttl", number(50))]).await;
    declare_mortal(&channel, "by-message", []).await;
    let mut graveyard = consume(&channel, "graveyard").await;
    send(&channel, "by-queue", b"1").await;
    let dead = next_acked(&mut graveyard).await;
    assert_eq!(dead.data, b"1");
    assert_eq!(
        deaths(&dead.properties),
        [Death::once("expired", "by-queue", "", "by-queue")]
    );
    send(&channel, "by-message", b"no limit").await;
    let expiring = persistent().with_expiration("50".into());
    publish(&channel, "", "by-message", b"2", expiring).await;
    let dead = next_acked(&mut graveyard).await;
    assert_eq!(
        dead.data, b"2",
        "it does not wait behind one that lives longer"
    );
    assert_eq!(
        deaths(&dead.properties),
        [Death::once("expired", "by-message", "", "by-message")]
    );
    assert_eq!(
        dead.properties.expiration(),
        &None,
        "its next queue does not expire it again"
    );
    let headers = dead.properties.headers().as_ref().unwrap().inner();
    let death = headers["x-death"].as_array().unwrap().as_slice()[0]
        .as_field_table()
        .unwrap();
    assert_eq!(death.inner()["original-expiration"], text("50"));
    assert_eq!(drain(&channel, "by-message").await, [b"no limit"]);
}

#[tokio::test]
async fn message_with_ttl_zero_reaches_a_waiting_consumer_only() {
    let broker = Ternmq::start(&[]);
    let (connection, publisher) = open(&broker).await;
    declare(&publisher, "q", FieldTable::default()).await;
    let now_or_never = || BasicProperties::default().with_expiration("0".into());
    publish(&publisher, "", "q", b"nobody waits", now_or_never()).await;
    assert_eq!(counts(&publisher, "q").await, (0, 0));
    let consuming = channel(&connection).await;
    let mut consumer = consume(&consuming, "q").await;
    publish(&publisher, "", "q", b"taken", now_or_never()).await;
    assert_eq!(next_acked(&mut consumer).await.data, b"taken");
}

#[tokio::test]
async fn full_queue_drops_its_oldest_or_refuses_the_newest() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    declare_mortal(&channel, "drop-head", [("x-max-length", number(2))]).await;
    for body in [b"a", b"b", b"c"] {
        send(&channel, "drop-head", body).await;
    }
    let dead = get(&channel, "graveyard").await.unwrap();
    assert_eq!(dead.delivery.data, b"a");
    let death = Death::once("maxlen", "drop-head", "", "drop-head");
    assert_eq!(deaths(&dead.delivery.properties), [death]);
    assert_eq!(drain(&channel, "drop-head").await, [b"b", b"c"]);

    let arguments = [
        ("x-max-length", number(1)),
        ("x-overflow", text("reject-publish")),
    ];
    declare(&channel, "reject", table(arguments)).await;
    assert_eq!(
        emit(&channel, "", "reject", b"kept").await,
        Confirmation::Ack(None)
    );
    assert_eq!(
        emit(&channel, "", "reject", b"refused").await,
        Confirmation::Nack(None)
    );
    assert_eq!(drain(&channel, "reject").await, [b"kept"]);

    declare(
        &channel,
        "bytes",
        table([("x-max-length-bytes", number(10))]),
    )
    .await;
    send(&channel, "bytes", b"123456").await;
    send(&channel, "bytes", b"7890ab").await;
    assert_eq!(drain(&channel, "bytes").await, [b"7890ab"]);
}

#[tokio::test]
async fn confirm_is_a_nack_when_one_of_several_queues_refuses() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    let arguments = [
        ("x-max-length", number(0)),
        ("x-overflow", text("reject-publish")),
    ];
    declare(&channel, "full", table(arguments)).await;
    declare(&channel, "roomy", FieldTable::default()).await;
    bind(&channel, "full", "amq.fanout", "").await;
    bind(&channel, "roomy", "amq.fanout", "").await;
    assert_eq!(
        emit(&channel, "amq.fanout", "", b"m").await,
        Confirmation::Nack(None)
    );
    assert_eq!(drain(&channel, "roomy").await, [b"m"], "the others keep it");
}

#[tokio::test]
async fn dead_letters_keep_the_whole_history_of_a_message() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    exchange(
        &channel,
        "dead",
        ExchangeKind::Fanout,
        FieldTable::default(),
    )
    .await;
    declare_mortal(&channel, "second", []).await;
    bind(&channel, "second", "dead", "").await;
    declare(
        &channel,
        "first",
        table([("x-dead-letter-exchange", text("dead"))]),
    )
    .await;
    bind(&channel, "first", "amq.topic", "jobs.#").await;
    publish(&channel, "amq.topic", "jobs.bad", b"poison", persistent()).await;
    reject(&get(&channel, "first").await.unwrap().delivery, false).await;
    let again = get(&channel, "second").await.unwrap();
    assert!(!again.redelivered);
    assert_eq!(
        again.routing_key.as_str(),
        "jobs.bad",
        "it keeps its key where none is set"
    );
    assert_eq!(again.exchange.as_str(), "dead");
    reject(&again.delivery, false).await;
    let dead = get(&channel, "graveyard").await.unwrap();
    let properties = &dead.delivery.properties;
    assert_eq!(
        deaths(properties),
        [
            Death::once("rejected", "second", "dead", "jobs.bad"),
            Death::once("rejected", "first", "amq.topic", "jobs.bad"),
        ]
    );
    for (name, expected) in [
        ("x-first-death-reason", "rejected"),
        ("x-first-death-queue", "first"),
        ("x-first-death-exchange", "amq.topic"),
        ("x-last-death-reason", "rejected"),
        ("x-last-death-queue", "second"),
        ("x-last-death-exchange", "dead"),
    ] {
        assert_eq!(
            header(properties, name).as_deref(),
            Some(expected),
            "{name}"
        );
    }
}

#[tokio::test]
async fn rejected_round_and_round_a_message_counts_its_deaths() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    let arguments = [
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("circle")),
    ];
    declare(&channel, "circle", table(arguments)).await;
    send(&channel, "circle", b"m").await;
    for _ in 0..3 {
        reject(&get(&channel, "circle").await.unwrap().delivery, false).await;
    }
    let message = get(&channel, "circle").await.unwrap();
    let deaths = deaths(&message.delivery.properties);
    assert_eq!((deaths.len(), deaths[0].count), (1, 3));
}

#[tokio::test]
async fn expiring_in_a_circle_ends() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    let arguments = |to| {
        table([
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text(to)),
            ("x-message-ttl", number(20)),
        ])
    };
    declare(&channel, "ping", arguments("pong")).await;
    declare(&channel, "pong", arguments("ping")).await;
    declare_mortal(&channel, "fence", [("x-message-ttl", number(200))]).await;
    send(&channel, "ping", b"m").await;
    send(&channel, "fence", b"fence").await;
    let mut graveyard = consume(&channel, "graveyard").await;
    assert_eq!(next_acked(&mut graveyard).await.data, b"fence");
    assert_eq!(counts(&channel, "ping").await, (0, 0));
    assert_eq!(counts(&channel, "pong").await, (0, 0));
}

#[tokio::test]
async fn message_over_its_delivery_limit_dies() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    let arguments = [
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", number(2)),
    ];
    declare_mortal(&channel, "limited", arguments).await;
    send(&channel, "limited", b"m").await;
    for delivery_count in 0..3 {
        let message = get(&channel, "limited").await.unwrap();
        assert_eq!(message.redelivered, delivery_count > 0);
        reject(&message.delivery, true).await;
    }
    assert!(
        get(&channel, "limited").await.is_none(),
        "delivered limit + 1 times"
    );
    let dead = get(&channel, "graveyard").await.unwrap();
    let death = Death::once("delivery_limit", "limited", "", "limited");
    assert_eq!(deaths(&dead.delivery.properties), [death]);
}

#[tokio::test]
async fn exclusive_queue_is_its_connections_alone_and_goes_with_it() {
    let broker = Ternmq::start(&[]);
    let (owner, owning) = open(&broker).await;
    let options = QueueDeclareOptions {
        exclusive: true,
        ..Default::default()
    };
    let declared = soon(owning.queue_declare("".into(), options, FieldTable::default()))
        .await
        .unwrap();
    let name = declared.name().clone();
    assert!(name.as_str().starts_with("amq.gen-"), "{name}");
    send(&owning, name.as_str(), b"anybody may publish").await;

    let other = connect(&broker).await;
    let intruder = channel(&other).await;
    let (code, reason) =
        refusal(soon(intruder.basic_get(name.clone(), BasicGetOptions::default())).await);
    assert_eq!(code, 405);
    assert!(
        reason.contains("cannot obtain exclusive access to locked queue"),
        "{reason}"
    );

    soon(owner.close(200, "bye".into())).await.unwrap();
    let late = channel(&other).await;
    let passive = QueueDeclareOptions {
        passive: true,
        ..Default::default()
    };
    let gone = soon(late.queue_declare(name, passive, FieldTable::default())).await;
    assert_eq!(refusal(gone).0, 404);
}

#[tokio::test]
async fn exclusive_consumer_is_alone_on_its_queue() {
    let broker = Ternmq::start(&[]);
    let (connection, channel_of_first) = open(&broker).await;
    declare(&channel_of_first, "q", FieldTable::default()).await;
    let exclusive = BasicConsumeOptions {
        exclusive: true,
        ..Default::default()
    };
    let _consumer = consume_with(&channel_of_first, "q", exclusive).await;
    let second = channel(&connection).await;
    let options = BasicConsumeOptions::default();
    let refused =
        soon(second.basic_consume("q".into(), "".into(), options, FieldTable::default())).await;
    let (code, reason) = refusal(refused);
    assert_eq!(code, 403);
    assert!(reason.contains("in exclusive use"), "{reason}");
}

#[tokio::test]
async fn auto_delete_queue_goes_with_its_last_consumer() {
    let broker = Ternmq::start(&[]);
    let (connection, channel_of_test) = open(&broker).await;
    let options = QueueDeclareOptions {
        auto_delete: true,
        ..Default::default()
    };
    soon(channel_of_test.queue_declare("q".into(), options, FieldTable::default()))
        .await
        .unwrap();
    send(&channel_of_test, "q", b"m").await;
    assert!(
        get(&channel_of_test, "q").await.is_some(),
        "a get is no consumer"
    );
    let _consumer = consume(&channel_of_test, "q").await;
    soon(channel_of_test.basic_cancel("q".into(), BasicCancelOptions::default()))
        .await
        .unwrap();
    let passive = QueueDeclareOptions {
        passive: true,
        ..Default::default()
    };
    let other = channel(&connection).await;
    let gone = soon(other.queue_declare("q".into(), passive, FieldTable::default())).await;
    assert_eq!(refusal(gone).0, 404);
}

#[tokio::test]
async fn unused_queue_expires() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    declare(&channel, "short-lived", table([("x-expires", number(50))])).await;
    // The alternate tells when the binding, and with it the queue, is gone.
    let alternate = table([("alternate-exchange", text("amq.fanout"))]);
    exchange(&channel, "watched", ExchangeKind::Fanout, alternate).await;
    bind(&channel, "short-lived", "watched", "").await;
    declare(&channel, "witness", FieldTable::default()).await;
    bind(&channel, "witness", "amq.fanout", "").await;
    soon(async {
        while counts(&channel, "witness").await.0 == 0 {
            emit(&channel, "watched", "", b"m").await;
        }
    })
    .await;
    let passive = QueueDeclareOptions {
        passive: true,
        ..Default::default()
    };
    let gone = soon(channel.queue_declare("short-lived".into(), passive, FieldTable::default()));
    assert_eq!(refusal(gone.await).0, 404);
}

#[tokio::test]
async fn direct_and_fanout_exchanges_route_by_key_and_to_all() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    for (name, kind) in [
        ("direct", ExchangeKind::Direct),
        ("fanout", ExchangeKind::Fanout),
    ] {
        exchange(&channel, name, kind, FieldTable::default()).await;
        for (queue, key) in [
            ("red", "red"),
            ("blue", "blue"),
            ("both", "red"),
            ("both", "blue"),
        ] {
            declare(&channel, &format!("{name}-{queue}"), FieldTable::default()).await;
            bind(&channel, &format!("{name}-{queue}"), name, key).await;
        }
        emit(&channel, name, "red", b"m").await;
    }
    for (queue, expected) in [
        ("direct-red", 1),
        ("direct-blue", 0),
        ("direct-both", 1),
        ("fanout-red", 1),
        ("fanout-blue", 1),
        ("fanout-both", 1),
    ] {
        assert_eq!(drain(&channel, queue).await.len(), expected, "{queue}");
    }
}

#[tokio::test]
async fn topic_exchange_matches_words() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    for pattern in ["#", "a.*", "a.#", "*.b", "#.c.#", "a.b.c"] {
        declare(&channel, pattern, FieldTable::default()).await;
        bind(&channel, pattern, "amq.topic", pattern).await;
    }
    for (key, matching) in [
        ("a", vec!["#", "a.#"]),
        ("a.b", vec!["#", "a.*", "a.#", "*.b"]),
        ("a.b.c", vec!["#", "a.#", "#.c.#", "a.b.c"]),
        ("c", vec!["#", "#.c.#"]),
        ("a.", vec!["#", "a.*", "a.#"]),
        ("", vec!["#"]),
    ] {
        emit(&channel, "amq.topic", key, b"m").await;
        for pattern in ["#", "a.*", "a.#", "*.b", "#.c.#", "a.b.c"] {
            let copies = drain(&channel, pattern).await.len();
            assert_eq!(
                copies,
                usize::from(matching.contains(&pattern)),
                "{key} by {pattern}"
            );
        }
    }
}

#[tokio::test]
async fn headers_exchange_matches_all_or_any() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    for mode in ["all", "any"] {
        declare(&channel, mode, FieldTable::default()).await;
        let arguments = table([
            ("x-match", text(mode)),
            ("a", number(1)),
            ("b", text("two")),
        ]);
        let options = QueueBindOptions::default();
        soon(channel.queue_bind(
            mode.into(),
            "amq.headers".into(),
            "".into(),
            options,
            arguments,
        ))
        .await
        .unwrap();
    }
    for (headers, all, any) in [
        (
            table([("a", number(1)), ("b", text("two")), ("c", number(3))]),
            1,
            1,
        ),
        (table([("a", number(1))]), 0, 1),
        (table([("a", number(2))]), 0, 0),
    ] {
        let properties = BasicProperties::default().with_headers(headers);
        emit_with(&channel, "amq.headers", "", b"m", properties).await;
        assert_eq!(drain(&channel, "all").await.len(), all);
        assert_eq!(drain(&channel, "any").await.len(), any);
    }
}

#[tokio::test]
async fn exchanges_bound_to_exchanges_pass_messages_on_once() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    exchange(
        &channel,
        "source",
        ExchangeKind::Topic,
        FieldTable::default(),
    )
    .await;
    exchange(
        &channel,
        "sink",
        ExchangeKind::Fanout,
        FieldTable::default(),
    )
    .await;
    let (options, arguments) = (ExchangeBindOptions::default(), FieldTable::default);
    for (to, from, key) in [("sink", "source", "a.#"), ("source", "sink", "")] {
        let bound = channel.exchange_bind(to.into(), from.into(), key.into(), options, arguments());
        soon(bound).await.unwrap();
    }
    declare(&channel, "q", FieldTable::default()).await;
    bind(&channel, "q", "sink", "").await;
    bind(&channel, "q", "source", "#").await;
    emit(&channel, "source", "a.b", b"in a circle").await;
    assert_eq!(drain(&channel, "q").await, [b"in a circle"]);
    let options = ExchangeUnbindOptions::default();
    for (to, from, key) in [("sink", "source", "a.#"), ("source", "sink", "")] {
        let unbound =
            channel.exchange_unbind(to.into(), from.into(), key.into(), options, arguments());
        soon(unbound).await.unwrap();
    }
    soon(channel.queue_unbind("q".into(), "source".into(), "#".into(), arguments()))
        .await
        .unwrap();
    emit(&channel, "source", "a.b", b"nowhere").await;
    assert_eq!(counts(&channel, "q").await, (0, 0));
}

#[tokio::test]
async fn alternate_exchange_gets_what_matches_nothing() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    exchange(
        &channel,
        "spare",
        ExchangeKind::Fanout,
        FieldTable::default(),
    )
    .await;
    let alternate = table([("alternate-exchange", text("spare"))]);
    exchange(&channel, "main", ExchangeKind::Direct, alternate).await;
    for (queue, exchange) in [("known", "main"), ("unknown", "spare")] {
        declare(&channel, queue, FieldTable::default()).await;
        bind(&channel, queue, exchange, "key").await;
    }
    emit(&channel, "main", "key", b"a").await;
    let confirmation = publish(&channel, "main", "other", b"b", BasicProperties::default()).await;
    assert_eq!(confirmation, Confirmation::Ack(None), "it is not returned");
    assert_eq!(drain(&channel, "known").await, [b"a"]);
    assert_eq!(drain(&channel, "unknown").await, [b"b"]);
}

#[tokio::test]
async fn carbon_copies_route_by_more_keys_and_blind_ones_stay_hidden() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    for queue in ["to", "cc", "bcc"] {
        declare(&channel, queue, FieldTable::default()).await;
    }
    let keys = |key| AMQPValue::FieldArray(vec![text(key)].into());
    let headers = table([("CC", keys("cc")), ("BCC", keys("bcc"))]);
    publish(
        &channel,
        "",
        "to",
        b"m",
        BasicProperties::default().with_headers(headers),
    )
    .await;
    for queue in ["to", "cc", "bcc"] {
        let message = get(&channel, queue).await.unwrap();
        assert_eq!(message.routing_key.as_str(), "to");
        let headers = message.delivery.properties.headers().clone().unwrap();
        assert!(
            headers.contains_key("CC") && !headers.contains_key("BCC"),
            "{queue}"
        );
    }
}

#[tokio::test]
async fn consumers_are_told_when_their_queue_is_deleted() {
    let broker = Ternmq::start(&[]);
    let (connection, consuming) = open(&broker).await;
    declare(&consuming, "q", FieldTable::default()).await;
    let mut consumer = consume(&consuming, "q").await;
    let other = channel(&connection).await;
    let options = QueueDeleteOptions::default();
    assert_eq!(
        soon(other.queue_delete("q".into(), options)).await.unwrap(),
        0
    );
    assert!(
        soon(consumer.next()).await.is_none(),
        "the stream of deliveries ends"
    );
    declare(&consuming, "q", FieldTable::default()).await;
}

#[tokio::test]
async fn queues_are_purged_and_deleted_conditionally() {
    let broker = Ternmq::start(&[]);
    let (connection, channel_of_test) = open(&broker).await;
    declare(&channel_of_test, "q", FieldTable::default()).await;
    for body in [b"a", b"b", b"c"] {
        send(&channel_of_test, "q", body).await;
    }
    let held = get(&channel_of_test, "q").await.unwrap();
    let options = QueuePurgeOptions::default();
    let purged = soon(channel_of_test.queue_purge("q".into(), options))
        .await
        .unwrap();
    assert_eq!(purged, 2, "what is unacknowledged is not purged");
    nack(&held.delivery, true).await;
    let if_empty = QueueDeleteOptions {
        if_empty: true,
        ..Default::default()
    };
    let refused = channel(&connection).await;
    let (code, reason) = refusal(soon(refused.queue_delete("q".into(), if_empty)).await);
    assert_eq!(
        (code, reason.contains("not empty")),
        (406, true),
        "{reason}"
    );
    let deleted = channel_of_test.queue_delete("q".into(), QueueDeleteOptions::default());
    assert_eq!(soon(deleted).await.unwrap(), 1);
    let missing = channel_of_test.queue_delete("q".into(), QueueDeleteOptions::default());
    assert_eq!(
        soon(missing).await.unwrap(),
        0,
        "deleting what is not there is no error"
    );
}

#[tokio::test]
async fn deleted_exchange_takes_its_bindings_along() {
    let broker = Ternmq::start(&[]);
    let (connection, channel_of_test) = open(&broker).await;
    exchange(
        &channel_of_test,
        "x",
        ExchangeKind::Fanout,
        FieldTable::default(),
    )
    .await;
    declare(&channel_of_test, "q", FieldTable::default()).await;
    bind(&channel_of_test, "q", "x", "").await;
    let if_unused = ExchangeDeleteOptions {
        if_unused: true,
        ..Default::default()
    };
    let refused = channel(&connection).await;
    assert_eq!(
        refusal(soon(refused.exchange_delete("x".into(), if_unused)).await).0,
        406
    );
    let options = ExchangeDeleteOptions::default();
    soon(channel_of_test.exchange_delete("x".into(), options))
        .await
        .unwrap();
    exchange(
        &channel_of_test,
        "x",
        ExchangeKind::Fanout,
        FieldTable::default(),
    )
    .await;
    let lost = publish(&channel_of_test, "x", "", b"m", BasicProperties::default()).await;
    assert!(
        lost.take_message().is_some(),
        "nothing is bound to the new one"
    );
}

/// Every refusal closes its own channel; the connection and its other channels go on.
#[tokio::test]
async fn channel_errors_leave_the_connection_alive() {
    let broker = Ternmq::start(&[]);
    let (connection, good) = open(&broker).await;
    declare(&good, "q", FieldTable::default()).await;
    let found = refused_declares(&connection).await;
    assert_eq!(
        found,
        [
            (404, "NOT_FOUND - no queue 'nope' in vhost '/'".to_owned()),
            (
                406,
                "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': \
                 received 'false' but current is 'true'"
                    .to_owned()
            ),
            (
                406,
                "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.direct' in vhost \
                 '/': received 'fanout' but current is 'direct'"
                    .to_owned()
            ),
            (
                403,
                "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'"
                    .to_owned()
            ),
        ]
    );
    let acking = channel(&connection).await;
    soon(acking.basic_ack(99, BasicAckOptions::default()))
        .await
        .unwrap();
    let error = soon(acking.basic_get("q".into(), BasicGetOptions::default())).await;
    assert!(error.is_err(), "an unknown delivery tag closes the channel");
    assert!(connection.status().connected());
    send(&good, "q", b"still here").await;
    assert_eq!(drain(&good, "q").await, [b"still here"]);
}

async fn refused_declares(connection: &Connection) -> Vec<(u16, String)> {
    let none = FieldTable::default;
    let passive = QueueDeclareOptions {
        passive: true,
        ..Default::default()
    };
    let plain = QueueDeclareOptions::default();
    let mut found = Vec::new();
    for (queue, options) in [("nope", passive), ("q", plain)] {
        let bad = channel(connection).await;
        found.push(refusal(
            soon(bad.queue_declare(queue.into(), options, none())).await,
        ));
        assert!(!bad.status().connected());
    }
    let bad = channel(connection).await;
    let options = ExchangeDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let fanout = ExchangeKind::Fanout;
    let declared = bad.exchange_declare("amq.direct".into(), fanout, options, none());
    found.push(refusal(soon(declared).await));
    let bad = channel(connection).await;
    found.push(refusal(
        soon(bad.queue_declare("amq.mine".into(), plain, none())).await,
    ));
    found
}

#[tokio::test]
async fn publish_to_a_missing_exchange_closes_the_channel_with_404() {
    let broker = Ternmq::start(&[]);
    let (connection, bad) = open(&broker).await;
    let options = BasicPublishOptions::default();
    let confirm = bad
        .basic_publish(
            "nope".into(),
            "k".into(),
            options,
            b"m",
            BasicProperties::default(),
        )
        .await
        .unwrap();
    let (code, reason) = refusal(soon(confirm).await);
    assert_eq!(
        (code, reason.as_str()),
        (404, "NOT_FOUND - no exchange 'nope' in vhost '/'")
    );
    assert!(connection.status().connected());
}

#[tokio::test]
async fn wrong_password_and_missing_vhost_are_refused() {
    let broker = Ternmq::start(&[]);
    for (uri, code) in [
        (broker.amqp_uri().replace("guest:guest", "guest:wrong"), 403),
        (broker.amqp_uri().replace("%2f", "nope"), 530),
    ] {
        let refused = soon(Connection::connect(
            &uri,
            lapin::ConnectionProperties::default(),
        ))
        .await;
        let Err(error) = refused else {
            panic!("{uri} was let in")
        };
        if let lapin::ErrorKind::ProtocolError(refusal) = error.kind() {
            assert_eq!(refusal.get_id(), code);
        } else {
            assert!(error.is_io_error(), "{error}");
        }
    }
}

#[tokio::test]
async fn hundreds_of_channels_work_side_by_side() {
    let broker = Ternmq::start(&[]);
    let connection = connect(&broker).await;
    let mut channels = Vec::new();
    for number in 0..300 {
        let channel = channel(&connection).await;
        let queue = format!("q{number}");
        declare(&channel, &queue, FieldTable::default()).await;
        let consumer = consume(&channel, &queue).await;
        channels.push((channel, queue, consumer));
    }
    for (channel, queue, _) in &channels {
        send(channel, queue, queue.as_bytes()).await;
    }
    for (_, queue, consumer) in &mut channels {
        let delivery = next_acked(consumer).await;
        assert_eq!(
            (delivery.data.as_slice(), delivery.delivery_tag),
            (queue.as_bytes(), 1)
        );
    }
}

#[tokio::test]
async fn deliveries_survive_the_cancel_of_their_consumer() {
    let broker = Ternmq::start(&[]);
    let (_connection, channel) = open(&broker).await;
    declare(&channel, "q", FieldTable::default()).await;
    send(&channel, "q", b"m").await;
    let mut consumer = consume(&channel, "q").await;
    let delivery = next(&mut consumer).await;
    soon(channel.basic_cancel("q".into(), BasicCancelOptions::default()))
        .await
        .unwrap();
    assert_eq!(counts(&channel, "q").await, (0, 0), "it is not requeued");
    soon(channel.basic_ack(delivery.delivery_tag, BasicAckOptions::default()))
        .await
        .unwrap();
    assert_eq!(counts(&channel, "q").await, (0, 0));
    assert!(channel.status().connected(), "the ack was in order");
}
