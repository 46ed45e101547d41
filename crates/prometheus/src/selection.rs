//! What of the whole an answer has: `/metrics/detailed?family=..&vhost=..&queue=..`.

use std::collections::HashSet;

use fancy_regex::{Regex, RegexBuilder};

/// Longest regular expression for names of queues, in bytes, as in RabbitMQ.
const PATTERN_BYTES_MAX: usize = 2000;

/// Steps that matching one name may take.
const BACKTRACK_MAX: usize = 100_000;

/// Which families, and which of the things that are in virtual hosts.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    families: HashSet<String>,
    vhosts: Option<HashSet<String>>,
    queues: Option<Regex>,
}

impl Selection {
    /// A family besides those chosen before. One that does not exist is no error: other versions may have it.
    pub fn add_family(&mut self, family: impl Into<String>) {
        self.families.insert(family.into());
    }

    /// A virtual host besides those chosen before. Without any, all are chosen.
    pub fn add_vhost(&mut self, vhost: impl Into<String>) {
        self.vhosts.get_or_insert_default().insert(vhost.into());
    }

    /// Only queues whose names match. Says what is wrong with the expression.
    pub fn match_queues(&mut self, pattern: &str) -> Result<(), String> {
        if pattern.is_empty() {
            return Ok(());
        }
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err("'queue' regex too long".to_owned());
        }
        let regex = RegexBuilder::new(pattern)
            .backtrack_limit(BACKTRACK_MAX)
            .build();
        self.queues = Some(regex.map_err(|error| format!("Invalid 'queue' regex: {error}"))?);
        Ok(())
    }

    pub(crate) fn has_family(&self, family: &str) -> bool {
        self.families.contains(family)
    }

    pub(crate) fn has_vhost(&self, vhost: &str) -> bool {
        let Some(vhosts) = &self.vhosts else {
            return true;
        };
        vhosts.contains(vhost)
    }

    /// A name on which matching takes too long does not match.
    pub(crate) fn has_queue(&self, vhost: &str, name: &str) -> bool {
        let Some(queues) = &self.queues else {
            return self.has_vhost(vhost);
        };
        self.has_vhost(vhost) && queues.is_match(name).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_chosen_by_default_but_families() {
        let selection = Selection::default();
        assert!(selection.has_queue("/", "q") && selection.has_vhost("v"));
        assert!(!selection.has_family("queue_metrics"));
    }

    #[test]
    fn queues_are_chosen_by_vhost_and_name() {
        let mut selection = Selection::default();
        selection.add_vhost("v");
        selection.add_vhost("w");
        selection.match_queues("^(?!amq)").unwrap();
        assert!(selection.has_queue("v", "orders"));
        assert!(selection.has_queue("w", "orders"));
        assert!(!selection.has_queue("/", "orders"));
        assert!(!selection.has_queue("v", "amq.gen"));
    }

    #[test]
    fn expressions_are_checked() {
        let mut selection = Selection::default();
        assert!(selection.match_queues("(").is_err());
        assert!(
            selection
                .match_queues(&"x".repeat(PATTERN_BYTES_MAX))
                .is_ok()
        );
        assert!(
            selection
                .match_queues(&"x".repeat(PATTERN_BYTES_MAX + 1))
                .is_err()
        );
        selection.match_queues("(x+x+)+y").unwrap();
        assert!(!selection.has_queue("/", &"x".repeat(100)), "given up");
    }
}
