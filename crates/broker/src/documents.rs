//! Documents: what protocol adapters have to know again after a restart, as keys and values that only they understand.
//!
//! A change of documents is a record like any other. It can share a batch with a turn of publishes or a transaction, so
//! that both happened or neither: an adapter that remembers a packet identifier with the message it came with never
//! takes the message twice.

use std::collections::BTreeMap;
use std::ops::Bound;

use ternmq_core::id::Lsn;
use ternmq_core::record;
use ternmq_journal::{Batch, LogError};

use crate::broker::{Broker, Inner, Weight};
use crate::client::Client;
use crate::vhost::Vhost;

/// A document that changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DocumentChange {
    /// Its key, unique within the vhost. Adapters begin theirs with their protocol's name.
    pub key: Box<[u8]>,
    /// What it says from now on; none if it goes.
    pub value: Option<Box<[u8]>>,
}

/// A document: its key, and what it says.
pub type Document = (Box<[u8]>, Box<[u8]>);

/// All documents of a vhost.
#[derive(Default)]
pub(crate) struct Documents {
    by_key: BTreeMap<Box<[u8]>, Box<[u8]>>,
    /// Records of documents below this one are in.
    pub(crate) position: Lsn,
    /// The vhost is being deleted: nothing changes any more.
    pub(crate) sealed: bool,
}

impl Documents {
    pub(crate) fn apply(&mut self, change: DocumentChange) {
        match change.value {
            Some(value) => drop(self.by_key.insert(change.key, value)),
            None => drop(self.by_key.remove(&change.key)),
        }
    }

    /// Forgets all, as of the record before `position`.
    pub(crate) fn empty(&mut self, position: Lsn) {
        self.by_key.clear();
        self.position = position;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.by_key.iter().map(|(key, value)| (&**key, &**value))
    }

    fn beginning_with(&self, prefix: &[u8]) -> Vec<Document> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        self.by_key
            .range::<[u8], _>(from)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

impl Broker {
    /// The names of all vhosts, in no order.
    pub fn vhosts(&self) -> Vec<Box<str>> {
        self.0.vhosts.iter().map(|v| v.name.clone()).collect()
    }

    /// The documents of a vhost whose keys begin with `prefix`, in the order of their keys.
    pub fn documents(&self, vhost: &str, prefix: &[u8]) -> Vec<Document> {
        let vhost = self.0.vhost(vhost);
        vhost.map_or_else(Vec::new, |v| v.documents.lock().beginning_with(prefix))
    }
}

impl Client {
    /// Changes documents, all or none. Returns the record to wait for before anybody is promised the change.
    ///
    /// # Errors
    /// The journal takes no more records. Then nothing has changed.
    pub fn put_documents(&mut self, changes: Vec<DocumentChange>) -> Result<Lsn, LogError> {
        let Self {
            broker,
            vhost,
            work,
            ..
        } = self;
        let work = work.get();
        let _inside = broker.gate.enter();
        work.batch.clear();
        let count = changes.len() as u64;
        let batch = (&mut work.batch, Weight::Essential);
        let first = broker.append_with_documents(batch, vhost, changes)?;
        Ok(crate::publish::last_of(first, count))
    }
}

impl Inner {
    /// Appends a batch and behind it the records of documents, which then change. As with every change of shared state
    /// the journal has them in the order in which they took effect.
    pub(crate) fn append_with_documents(
        &self,
        (batch, weight): (&mut Batch, Weight),
        vhost: &Vhost,
        changes: Vec<DocumentChange>,
    ) -> Result<Lsn, LogError> {
        if changes.is_empty() {
            return self.try_append(batch, weight);
        }
        for change in &changes {
            let value = change.value.as_deref();
            batch.record(|out| record::document(&vhost.name, &change.key, value, out));
        }
        let mut documents = vhost.documents.lock();
        if documents.sealed {
            return Err(LogError::Closed);
        }
        let first = self.try_append(batch, weight)?;
        documents.position = Lsn(first.0 + batch.len() as u64);
        for change in changes {
            documents.apply(change);
        }
        Ok(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bed::{broker, client};

    fn change(key: &str, value: Option<&str>) -> DocumentChange {
        DocumentChange {
            key: key.as_bytes().into(),
            value: value.map(|value| value.as_bytes().into()),
        }
    }

    #[test]
    fn documents_are_found_by_the_beginning_of_their_keys() {
        let broker = broker();
        let mut client = client(&broker);
        let changes = ["a/1", "b/1", "b/2", "b", "c"].map(|key| change(key, Some("x")));
        let lsn = client.put_documents(changes.to_vec()).unwrap();
        assert!(lsn.is_some());
        client.put_documents(vec![change("b/1", None)]).unwrap();
        let found = broker.documents("/", b"b/");
        assert_eq!(found, [(b"b/2"[..].into(), b"x"[..].into())]);
        assert_eq!(broker.documents("/", b"").len(), 4);
        assert!(broker.documents("nowhere", b"").is_empty());
    }
}
