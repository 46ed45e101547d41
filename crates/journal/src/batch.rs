//! Records that are appended together.

/// Records in order, laid one behind the other in one buffer that is kept from batch to batch.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    /// An empty batch.
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Adds one record: what `write` appends to the buffer it is given. `write` must only append.
    pub fn record(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.bytes.len();
        write(&mut self.bytes);
        debug_assert!(self.bytes.len() >= before, "a record only appends");
        self.ends.push(self.bytes.len());
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all records.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// All records, one behind the other.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where each record ends in [`Batch::bytes`].
    pub(crate) fn ends(&self) -> &[usize] {
        &self.ends
    }

    /// The records in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        self.ends
            .iter()
            .zip(starts)
            .map(|(&end, start)| &self.bytes[start..end])
    }

    /// Forgets the records and keeps the memory, unless one giant batch blew it up.
    pub fn clear(&mut self) {
        const KEPT_BYTES_MAX: usize = 1024 * 1024;
        if self.bytes.capacity() > KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.ends.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_were_added() {
        let mut batch = Batch::new();
        for record in [&b"one"[..], b"", b"three"] {
            batch.record(|out| out.extend_from_slice(record));
        }
        assert_eq!(
            batch.iter().collect::<Vec<_>>(),
            [&b"one"[..], b"", b"three"]
        );
        assert_eq!((batch.len(), batch.byte_len()), (3, 8));
        batch.clear();
        assert!(batch.is_empty() && batch.iter().next().is_none());
    }
}
