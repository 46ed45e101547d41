//! What clients were promised, and what they got: the facts that a crash must not change.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::topology;

/// Faults kept of one party; more of them say no more.
const FAULTS_MAX: usize = 20;

/// A message: who published it, and how many it had published before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Id {
    pub publisher: u16,
    pub number: u64,
}

impl Id {
    /// The body that a message has: its identity, then as much filling as it is entitled to, some of it much.
    pub fn body(self) -> Vec<u8> {
        let Self { publisher, number } = self;
        let mut body = format!("{publisher:05}.{number:010}.").into_bytes();
        let filling = match number % 64 {
            0 => 20_000,
            share => usize::try_from(share).unwrap() * 16,
        };
        let byte = u8::try_from(number % 251).unwrap();
        body.resize(body.len() + filling, byte);
        body
    }

    /// Which message a body belongs to, if it is whole and unchanged.
    pub fn of(body: &[u8]) -> Option<Self> {
        let head = std::str::from_utf8(body.get(..17)?).ok()?;
        let (publisher, number) = head.strip_suffix('.')?.split_once('.')?;
        let id = Self {
            publisher: publisher.parse().ok()?,
            number: number.parse().ok()?,
        };
        (id.body() == body).then_some(id)
    }
}

/// What somebody published.
#[derive(Debug)]
pub struct Sent {
    publisher: u16,
    /// One more than were tried.
    next: u64,
    confirmed: BTreeSet<u64>,
    /// How many were tried before each life of the broker.
    lives: Vec<u64>,
}

impl Sent {
    pub fn new(publisher: u16) -> Self {
        Self {
            publisher,
            next: 0,
            confirmed: BTreeSet::new(),
            lives: Vec::new(),
        }
    }

    /// The broker was started.
    pub fn begin_life(&mut self) {
        self.lives.push(self.next);
    }

    /// In which life a message was tried.
    fn life_of(&self, id: Id) -> usize {
        self.lives.partition_point(|&before| before <= id.number)
    }

    /// A message that is about to be published.
    pub fn next(&mut self) -> Id {
        self.next += 1;
        Id {
            publisher: self.publisher,
            number: self.next - 1,
        }
    }

    /// The broker has taken responsibility.
    pub fn confirm(&mut self, id: Id) {
        assert_eq!(id.publisher, self.publisher);
        self.confirmed.insert(id.number);
    }

    pub fn publisher(&self) -> u16 {
        self.publisher
    }

    pub fn confirmed(&self) -> impl ExactSizeIterator<Item = Id> {
        let publisher = self.publisher;
        self.confirmed
            .iter()
            .map(move |&number| Id { publisher, number })
    }

    /// Every message that was tried.
    pub fn tried(&self) -> impl Iterator<Item = Id> + use<> {
        let publisher = self.publisher;
        (0..self.next).map(move |number| Id { publisher, number })
    }
}

/// What came out of one queue, and what was said about it.
#[derive(Debug)]
pub struct Received {
    queue: String,
    /// Which messages came, and in which life of the broker they came last.
    seen: HashMap<Id, usize>,
    lives: usize,
    /// Number of the last first delivery, by publisher.
    last: HashMap<u16, u64>,
    /// Settled, and nobody knows yet whether that is safe.
    settled: Vec<Id>,
    /// Settled for good.
    done: HashSet<Id>,
    faults: Vec<String>,
    pub tally: Tally,
}

/// For the record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub deliveries: u64,
    /// Deliveries of what had been delivered before.
    pub again: u64,
    /// Those of them that did not say so.
    pub unflagged: u64,
}

/// Whether a delivery says that it may not be the first one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flag {
    Redelivered,
    Fresh,
}

impl Flag {
    pub fn of(redelivered: bool) -> Self {
        if redelivered {
            Self::Redelivered
        } else {
            Self::Fresh
        }
    }
}

impl Received {
    pub fn new(queue: &str) -> Self {
        Self {
            queue: queue.to_owned(),
            seen: HashMap::new(),
            lives: 0,
            last: HashMap::new(),
            settled: Vec::new(),
            done: HashSet::new(),
            faults: Vec::new(),
            tally: Tally::default(),
        }
    }

    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// A message came. Returns which one.
    pub fn deliver(&mut self, body: &[u8], flag: Flag) -> Option<Id> {
        let Some(id) = Id::of(body) else {
            let start = &body[..body.len().min(32)];
            self.fault(format!("{} is no message", start.escape_ascii()));
            return None;
        };
        self.tally.deliveries += 1;
        if self.done.contains(&id) {
            self.fault(format_args!(
                "{id:?} came back after it was settled for good"
            ));
        }
        if self.seen.insert(id, self.lives).is_none() {
            let last = self.last.insert(id.publisher, id.number);
            if last.is_some_and(|last| last > id.number) && topology::is_ordered(&self.queue) {
                self.fault(format!("{id:?} came for the first time after {last:?}"));
            }
        } else {
            self.tally.again += 1;
            self.tally.unflagged += u64::from(flag == Flag::Fresh);
            if flag == Flag::Fresh && topology::is_published_to(&self.queue) {
                self.fault(format_args!("{id:?} came again as if for the first time"));
            }
        }
        Some(id)
    }

    /// The same where nothing may come twice.
    pub fn deliver_once(&mut self, body: &[u8]) -> Option<Id> {
        let known = Id::of(body).filter(|id| self.seen.contains_key(id));
        let Some(id) = known else {
            return self.deliver(body, Flag::Fresh);
        };
        // One fault, whatever flag it came with.
        self.fault(format!("{id:?} came twice"));
        self.deliver(body, Flag::Redelivered)
    }

    /// It was acknowledged or rejected.
    pub fn settle(&mut self, id: Id) {
        self.settled.push(id);
    }

    /// How many were settled since it last was certain.
    pub fn unsafe_len(&self) -> usize {
        self.settled.len()
    }

    /// All that was settled is settled for good.
    pub fn make_safe(&mut self) {
        self.done.extend(self.settled.drain(..));
    }

    /// The broker was started: what was settled in its last life may come back.
    pub fn begin_life(&mut self) {
        self.settled.clear();
        self.lives += 1;
    }

    pub fn fault(&mut self, what: impl std::fmt::Display) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(format!("queue {}: {what}", self.queue));
        }
    }

    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    fn has(&self, id: Id) -> bool {
        self.seen.contains_key(&id)
    }
}

/// Everything, once it is over.
pub struct Ledger {
    sent: HashMap<u16, Sent>,
    received: HashMap<String, Received>,
    pub faults: Vec<String>,
}

impl Ledger {
    pub fn new(sent: Vec<Sent>, received: Vec<Received>) -> Self {
        Self {
            sent: sent.into_iter().map(|s| (s.publisher, s)).collect(),
            received: received.into_iter().map(|r| (r.queue.clone(), r)).collect(),
            faults: Vec::new(),
        }
    }

    fn fault(&mut self, what: String) {
        self.faults.push(what);
    }

    /// Checks everything. `queues` says where a message has to arrive, `unit` which other ones share its fate.
    pub fn check(
        &mut self,
        queues: impl Fn(Id) -> Vec<&'static str>,
        unit: impl Fn(Id) -> Vec<Id>,
    ) {
        let mut faults: Vec<String> = Vec::new();
        for received in self.received.values_mut() {
            faults.append(&mut received.faults);
        }
        let arrived = |id: Id| -> usize {
            let is_in = |queue: &&str| self.received[*queue].has(id);
            queues(id).iter().filter(|queue| is_in(queue)).count()
        };
        let last_life = |id: Id| -> usize {
            let lives = self
                .received
                .values()
                .map(|received| received.seen.get(&id));
            lives.flatten().copied().max().unwrap_or(0)
        };
        for sent in self.sent.values() {
            for id in sent.confirmed() {
                let wanted = queues(id);
                if arrived(id) < wanted.len() {
                    faults.push(format!(
                        "{id:?} was confirmed, and not all of {wanted:?} had it"
                    ));
                }
            }
            for id in sent.tried() {
                let parts = unit(id);
                let there = parts.iter().filter(|id| arrived(**id) > 0).count();
                // Before a crash a consumer may get what the journal does not have yet, and nobody gets later.
                let survived = parts.iter().any(|id| last_life(*id) > sent.life_of(*id));
                if survived && there != parts.len() && id == parts[0] {
                    faults.push(format!("of {parts:?} only {there} arrived"));
                }
            }
        }
        for received in self.received.values() {
            let queue = received.queue();
            for id in received.seen.keys() {
                let sent = self.sent.get(&id.publisher);
                if sent.is_none_or(|sent| id.number >= sent.next) {
                    faults.push(format!("queue {queue}: {id:?} was never sent"));
                } else if !queues(*id).contains(&queue) {
                    faults.push(format!("queue {queue}: {id:?} belongs elsewhere"));
                }
            }
        }
        for fault in faults {
            self.fault(fault);
        }
    }

    /// How much there was of everything.
    pub fn summary(&self) -> String {
        let tried: u64 = self.sent.values().map(|s| s.next).sum();
        let confirmed: usize = self.sent.values().map(|s| s.confirmed.len()).sum();
        let mut all = Tally::default();
        for Received { tally, .. } in self.received.values() {
            all.deliveries += tally.deliveries;
            all.again += tally.again;
            all.unflagged += tally.unflagged;
        }
        format!(
            "{tried} published, {confirmed} confirmed, {} delivered, {} again, {} of them without saying so",
            all.deliveries, all.again, all.unflagged
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Id = Id {
        publisher: 1,
        number: 0,
    };
    const B: Id = Id {
        publisher: 1,
        number: 1,
    };

    /// What the ledger says if both were sent and the first one confirmed.
    fn faults(happens: impl FnOnce(&mut Received)) -> Vec<String> {
        let mut sent = Sent::new(1);
        assert_eq!([sent.next(), sent.next()], [A, B]);
        sent.confirm(A);
        let mut received = Received::new("q");
        happens(&mut received);
        let mut ledger = Ledger::new(vec![sent], vec![received]);
        ledger.check(|_| vec!["q"], |id| vec![id]);
        ledger.faults
    }

    #[track_caller]
    fn finds(what: &str, happens: impl FnOnce(&mut Received)) {
        let faults = faults(happens);
        assert!(faults.len() == 1 && faults[0].contains(what), "{faults:?}");
    }

    #[test]
    fn ledger_finds_every_kind_of_fault() {
        let deliver = |received: &mut Received, id: Id| received.deliver(&id.body(), Flag::Fresh);
        let fine = faults(|q| assert_eq!(deliver(q, A), Some(A)));
        assert_eq!(fine, [""; 0]);
        finds("was confirmed", |_| {});
        finds("for the first time after", |q| {
            deliver(q, B);
            deliver(q, A);
        });
        finds("came back", |q| {
            deliver(q, A);
            q.settle(A);
            q.make_safe();
            q.deliver(&A.body(), Flag::Redelivered);
        });
        finds("as if for the first time", |q| {
            deliver(q, A);
            deliver(q, A);
        });
        finds("came twice", |q| {
            q.deliver_once(&A.body());
            q.deliver_once(&A.body());
        });
        finds("never sent", |q| {
            deliver(q, A);
            deliver(q, Id { number: 2, ..A });
        });
        finds("no message", |q| {
            deliver(q, A);
            q.deliver(&A.body()[..20], Flag::Fresh);
        });
    }

    #[test]
    fn ledger_finds_half_a_transaction_and_what_went_astray() {
        let mut sent = Sent::new(1);
        sent.begin_life();
        assert_eq!([sent.next(), sent.next()], [A, B]);
        let (mut here, there) = (Received::new("here"), Received::new("there"));
        here.begin_life();
        here.begin_life();
        here.deliver(&A.body(), Flag::Fresh);
        let mut ledger = Ledger::new(vec![sent], vec![here, there]);
        ledger.check(|_| vec!["there"], |id| vec![id]);
        assert!(
            ledger
                .faults
                .iter()
                .any(|f| f.contains("belongs elsewhere"))
        );
        ledger.faults.clear();
        ledger.check(|_| vec!["here"], |_| vec![A, B]);
        assert!(ledger.faults[0].contains("only 1 arrived"));
    }

    #[test]
    fn acknowledged_without_certainty_may_come_back() {
        let happened = faults(|q| {
            q.deliver(&A.body(), Flag::Fresh);
            q.settle(A);
            q.begin_life();
            q.make_safe();
            q.deliver(&A.body(), Flag::Redelivered);
        });
        assert_eq!(happened, [""; 0]);
    }
}
