//! Sessions that are ended by whoever runs the node.

use ternmq_broker::Client;
use ternmq_broker::mailbox::{CloseReason, Notice};
use ternmq_core::id::{Lsn, Timestamp};

use super::Session;
use super::attach::WillFate;
use super::restore::own_client;
use crate::listener::MqttAcceptor;

impl MqttAcceptor {
    /// Ends a session with everything it has: subscriptions, what waits for it, open exchanges. A connected client is
    /// disconnected (0x98 in MQTT 5), `why` is for the log. Returns what has to be committed before anybody is told; none
    /// if there is no such session.
    pub fn end_session(&self, vhost: &str, client_id: &str, why: &str) -> Option<Lsn> {
        let node = self.node();
        let sessions = node.registry.vhost(vhost);
        let cell = sessions.find(client_id)?;
        let mut client = own_client(node, vhost)?;
        let mut session = cell.lock();
        if session.is_removed() || !session.exists() {
            return None;
        }
        let epoch = node.registry.next_epoch();
        let lsn = session.dismiss(&mut client, epoch, why, node.broker.now());
        session.mark_removed();
        sessions.remove(&session);
        Some(lsn)
    }
}

impl Session {
    /// Ends the session in the place of its connection, which finds out when it next takes the lock.
    fn dismiss(&mut self, client: &mut Client, epoch: u64, why: &str, now: Timestamp) -> Lsn {
        if let Some(live) = &self.live {
            let reason = CloseReason::Administrative(why.into());
            live.mailbox.push(Notice::Close(reason));
            self.detach(WillFate::Published, now);
        }
        self.epoch = epoch;
        self.end(client, now)
    }
}
