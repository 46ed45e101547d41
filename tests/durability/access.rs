//! Vhosts and users: those of the first start stay, whatever the configuration says later.

use lapin::{Connection, ConnectionProperties};

use crate::support::amqp::{channel, connect, counts, declare};
use crate::support::node::{ENDS, Node};
use crate::support::{Ternmq, soon};

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
        declare(&orders, "q", lapin::types::FieldTable::default()).await;
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
