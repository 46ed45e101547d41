//! Vhosts, users, permissions and limits: those of the first start, and what operators set later.

use std::net::SocketAddr;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};

use crate::support::amqp::{channel, connect, counts, declare, refusal};
use crate::support::http::{ask, get};
use crate::support::node::{ENDS, Node};
use crate::support::{Ternmq, soon};

const DURABLE: QueueDeclareOptions = QueueDeclareOptions {
    durable: true,
    passive: false,
    exclusive: false,
    auto_delete: false,
    nowait: false,
};

/// Nothing but what every start has.
const LISTEN: &str = "";

const FIRST: &str = r#"
[broker]
vhosts = ["/", "orders"]

[[broker.users]]
name = "guest"
password = "guest"
loopback_only = true

[[broker.users]]
name = "shop"
password = "first"
vhosts = ["orders"]
"#;

const LATER: &str = r#"
[broker]
vhosts = ["/", "later"]

[[broker.users]]
name = "guest"
password = "other"

[[broker.users]]
name = "late"
password = "late"
"#;

/// `USER:PASSWORD` in a vhost, and the channel's or connection's refusal.
async fn log_in(broker: &Ternmq, who: &str, vhost: &str) -> Result<Connection, String> {
    let uri = broker.amqp_uri();
    let (_, address) = uri.split_once('@').unwrap();
    let (address, _) = address.split_once('/').unwrap_or((address, ""));
    let uri = format!("amqp://{who}@{address}/{vhost}");
    let properties = ConnectionProperties::default();
    soon(Connection::connect(&uri, properties))
        .await
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn vhosts_and_users_of_the_first_start_stay() {
    for end in ENDS {
        let mut node = Node::start(FIRST);
        let connection = log_in(node.broker(), "shop:first", "orders").await.unwrap();
        let orders = channel(&connection).await;
        declare(&orders, "q", FieldTable::default()).await;
        node.configure(LATER);
        for _ in 0..2 {
            node.restart(end);
            let broker = node.broker();
            let connection = log_in(broker, "shop:first", "orders").await.unwrap();
            let orders = channel(&connection).await;
            assert_eq!(counts(&orders, "q").await, (0, 0));
            drop(connect(broker).await);
            let refused = log_in(broker, "shop:first", "%2f").await.unwrap_err();
            let text = "access to vhost '/' refused for user 'shop'";
            assert!(refused.contains(text), "{refused}");
            let refused = log_in(broker, "guest:guest", "later").await.unwrap_err();
            assert!(refused.contains("vhost later not found"), "{refused}");
            for who in ["guest:other", "late:late", "shop:other"] {
                let refused = log_in(broker, who, "%2f").await.unwrap_err();
                assert!(refused.contains("ACCESS_REFUSED"), "{refused}");
            }
        }
        node.end(end);
    }
}

/// What is set in words that both starts understand.
fn set(addr: SocketAddr) -> Vec<serde_json::Value> {
    let lists = [
        "/users",
        "/permissions",
        "/topic-permissions",
        "/policies",
        "/operator-policies",
        "/parameters",
        "/global-parameters",
        "/vhost-limits",
        "/user-limits",
    ];
    let mut set = lists.map(|path| get(addr, path)).to_vec();
    let vhost = get(addr, "/vhosts/orders");
    // Not what it counts.
    let keys = ["name", "description", "tags", "metadata", "tracing"];
    set.extend(keys.map(|key| vhost[key].clone()));
    set
}

#[tokio::test]
async fn what_operators_set_survives_every_end() {
    for end in ENDS {
        let mut node = Node::start(LISTEN);
        let addr = node.broker().management;
        for (method, path, body) in [
            (
                "PUT",
                "/vhosts/orders",
                r#"{"description":"shop","tags":"a,b"}"#,
            ),
            ("PUT", "/vhosts/gone", "{}"),
            (
                "PUT",
                "/users/shop",
                r#"{"password":"secret","tags":"monitoring"}"#,
            ),
            ("PUT", "/users/gone", r#"{"password":"secret","tags":""}"#),
            (
                "PUT",
                "/permissions/orders/shop",
                r#"{"configure":"^mine","write":".*","read":".*"}"#,
            ),
            (
                "PUT",
                "/topic-permissions/orders/shop",
                r#"{"exchange":"amq.topic","write":"^a","read":".*"}"#,
            ),
            (
                "PUT",
                "/policies/orders/p",
                r#"{"pattern":"^mine","definition":{"max-length":3},"priority":1,"apply-to":"queues"}"#,
            ),
            ("PUT", "/global-parameters/g", r#"{"value":{"a":[1,"b"]}}"#),
            ("PUT", "/vhost-limits/orders/max-queues", r#"{"value":1}"#),
            ("PUT", "/user-limits/shop/max-connections", r#"{"value":5}"#),
            ("DELETE", "/vhosts/gone", ""),
            ("DELETE", "/users/gone", ""),
        ] {
            let (status, body) = ask(addr, method, path, body);
            assert!(status == 201 || status == 204, "{path}: {status} {body}");
        }
        let before = set(addr);
        for _ in 0..2 {
            node.restart(end);
            let broker = node.broker();
            assert_eq!(set(broker.management), before);
            assert_eq!(ask(broker.management, "GET", "/vhosts/gone", "").0, 404);
            log_in(broker, "gone:secret", "orders").await.unwrap_err();
            let connection = log_in(broker, "shop:secret", "orders").await.unwrap();
            let orders = channel(&connection).await;
            declare(&orders, "mine", FieldTable::default()).await;
            let other = orders.queue_declare("other".into(), DURABLE, FieldTable::default());
            let text = "ACCESS_REFUSED - configure access to queue 'other' in vhost 'orders' refused \
                        for user 'shop'";
            assert_eq!(refusal(soon(other).await), (403, text.to_owned()));
            let orders = channel(&connection).await;
            let another = orders.queue_declare("mine-2".into(), DURABLE, FieldTable::default());
            let text = "PRECONDITION_FAILED - cannot declare queue 'mine-2': queue limit in vhost \
                        'orders' (1) is reached";
            assert_eq!(refusal(soon(another).await), (406, text.to_owned()));
        }
        node.end(end);
    }
}
