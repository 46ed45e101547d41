//! What a vhost says about queues that are declared without a type.

use ternmq_core::topology::QueueDecl;
use ternmq_core::value::Value;

use crate::client::Client;

const QUEUE_TYPE: &str = "x-queue-type";

/// The only type besides the one that queues have without being told.
const QUORUM: &str = "quorum";

impl Client {
    /// Adds the vhost's default type to a declaration without one, where a queue of that type can be declared so. A queue
    /// that is there already is declared as what it is. For adapters whose clients choose types.
    pub fn add_default_type(&self, decl: &mut QueueDecl) {
        if decl.arguments.get(QUEUE_TYPE).is_some() {
            return;
        }
        let existing = self.vhost.read(|space| {
            let queue = space.topology.queue(&decl.name, self.id).ok()?;
            Some(queue.decl.arguments.get(QUEUE_TYPE).cloned())
        });
        let wanted = match existing {
            Some(kind) => kind,
            None if can_be_quorum(decl) => self.default_type().map(Value::text),
            None => None,
        };
        if let Some(kind) = wanted {
            decl.arguments.push(QUEUE_TYPE, kind);
        }
    }

    fn default_type(&self) -> Option<&'static str> {
        let state = self.broker.registry.state.lock();
        let of = state.objects.vhost(&self.vhost.name)?;
        let kind = of.spec().default_queue_type.as_deref()?;
        (kind == QUORUM).then_some(QUORUM)
    }
}

/// Durable, of nobody in particular, and named by its client.
fn can_be_quorum(decl: &QueueDecl) -> bool {
    decl.durable && decl.exclusive.is_none() && !decl.auto_delete && !decl.name.is_empty()
}

#[cfg(test)]
mod tests {
    use ternmq_core::access::VhostSpec;

    use super::*;
    use crate::bed::{broker, client, queue};

    #[test]
    fn type_of_the_vhost_is_added_where_it_fits() {
        let broker = broker();
        let mut client = client(&broker);
        let durable = |name: &str| QueueDecl {
            durable: true,
            ..queue(name, &[])
        };
        let kind = |client: &Client, mut decl: QueueDecl| {
            client.add_default_type(&mut decl);
            decl.arguments.get(QUEUE_TYPE).cloned()
        };
        client.declare_queue(durable("old")).unwrap();
        assert_eq!(kind(&client, durable("q")), None);
        let spec = VhostSpec {
            default_queue_type: Some(QUORUM.into()),
            ..VhostSpec::default()
        };
        broker.admin().put_vhost("/", spec).unwrap();
        let quorum = Some(Value::text(QUORUM));
        assert_eq!(kind(&client, durable("q")), quorum);
        assert_eq!(kind(&client, queue("q", &[])), None, "not durable");
        assert_eq!(kind(&client, durable("")), None, "named by the broker");
        assert_eq!(kind(&client, durable("old")), None, "it is there already");
        let own = QueueDecl {
            exclusive: Some(client.id()),
            ..durable("q")
        };
        assert_eq!(kind(&client, own), None);
        let classic = QueueDecl {
            durable: true,
            ..queue("q", &[(QUEUE_TYPE, Value::text("classic"))])
        };
        assert_eq!(kind(&client, classic), Some(Value::text("classic")));

        let mut decl = durable("new");
        client.add_default_type(&mut decl);
        client.declare_queue(decl).unwrap();
        broker.admin().put_vhost("/", VhostSpec::default()).unwrap();
        assert_eq!(kind(&client, durable("new")), quorum, "it stays what it is");
    }
}
