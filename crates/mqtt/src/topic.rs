//! Topic names and topic filters (§4.7, §4.8.2).

/// Most levels a topic name or filter may have. The specification sets none; without one a packet of slashes costs
/// its reader 65,536 levels of every matcher.
pub const TOPIC_LEVELS_MAX: usize = 256;

/// Longest topic name or filter in bytes (MQTT-4.7.3-3).
pub const TOPIC_BYTES_MAX: usize = 65_535;

/// What a shared subscription's filter starts with (§4.8.2).
pub const SHARE_PREFIX: &str = "$share/";

/// What a subscription starts with that consumes a queue: the rest is the queue's name. An extension.
pub const QUEUE_PREFIX: &str = "$queue/";

/// What a topic starts with whose messages are published later: `$delayed/SECONDS/TOPIC`. An extension.
pub const DELAYED_PREFIX: &str = "$delayed/";

/// Topics of the server itself: its alone to publish.
pub const SYS_PREFIX: &str = "$SYS/";

/// Why a topic name is no topic name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TopicNameError {
    /// MQTT-4.7.3-1.
    #[error("empty topic name")]
    Empty,
    /// MQTT-4.7.0-1, MQTT-4.7.3-2.
    #[error("wildcard or U+0000 in a topic name")]
    ForbiddenCharacter,
    /// §1.5.4: what a receiver may take for malformed, and we do.
    #[error("control character in a topic name")]
    ControlCharacter,
    /// MQTT-4.7.3-3.
    #[error("topic name longer than {TOPIC_BYTES_MAX} bytes")]
    TooLong,
    /// See [`TOPIC_LEVELS_MAX`].
    #[error("topic name with more than {TOPIC_LEVELS_MAX} levels")]
    TooManyLevels,
}

/// Why a topic filter is no topic filter; to be reported as "topic filter invalid".
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TopicFilterError {
    /// MQTT-4.7.3-1, and for the filter behind a share name MQTT-4.8.2-2.
    #[error("empty topic filter")]
    Empty,
    /// MQTT-4.7.3-2.
    #[error("U+0000 in a topic filter")]
    Nul,
    /// MQTT-4.7.1-1.
    #[error("multi-level wildcard not last or not alone in its level")]
    MultiLevelWildcard,
    /// MQTT-4.7.1-2.
    #[error("single-level wildcard not alone in its level")]
    SingleLevelWildcard,
    /// MQTT-4.8.2-1, MQTT-4.8.2-2.
    #[error("share name empty, with a wildcard, or without a filter")]
    ShareName,
    /// [`QUEUE_PREFIX`] without a name, or with a wildcard.
    #[error("no name of a queue behind {QUEUE_PREFIX}")]
    QueueName,
    /// MQTT-4.7.3-3.
    #[error("topic filter longer than {TOPIC_BYTES_MAX} bytes")]
    TooLong,
    /// See [`TOPIC_LEVELS_MAX`].
    #[error("topic filter with more than {TOPIC_LEVELS_MAX} levels")]
    TooManyLevels,
}

/// Checks a topic name.
pub fn validate_name(name: &str) -> Result<(), TopicNameError> {
    if name.is_empty() {
        return Err(TopicNameError::Empty);
    }
    // All bytes are looked at, so that the compiler can look at many at a time.
    if name
        .bytes()
        .fold(false, |found, byte| found | matches!(byte, b'+' | b'#' | 0))
    {
        return Err(TopicNameError::ForbiddenCharacter);
    }
    if has_control_character(name) {
        return Err(TopicNameError::ControlCharacter);
    }
    if name.len() > TOPIC_BYTES_MAX {
        return Err(TopicNameError::TooLong);
    }
    if too_many_levels(name) {
        return Err(TopicNameError::TooManyLevels);
    }
    Ok(())
}

/// Whether a topic name or filter has one of U+0001 to U+001F or U+007F to U+009F (§1.5.4).
pub fn has_control_character(text: &str) -> bool {
    // All bytes are looked at, so that the compiler can look at many at a time. U+0080 to U+00BF begin with 0xC2.
    let may_be = text.bytes().fold(false, |found, byte| {
        found | matches!(byte, 0..=0x1F | 0x7F | 0xC2)
    });
    may_be && text.chars().any(char::is_control)
}

fn too_many_levels(text: &str) -> bool {
    // Fewer bytes than separators needed: nothing to count.
    text.len() >= TOPIC_LEVELS_MAX
        && text.bytes().filter(|byte| *byte == b'/').count() >= TOPIC_LEVELS_MAX
}

/// A topic filter that is known to be well formed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TopicFilter<'a> {
    text: &'a str,
    share_name: Option<&'a str>,
    filter: &'a str,
}

impl<'a> TopicFilter<'a> {
    /// Checks a filter and takes a shared one (`$share/NAME/FILTER`) apart.
    pub fn parse(text: &'a str) -> Result<Self, TopicFilterError> {
        if text.len() > TOPIC_BYTES_MAX {
            return Err(TopicFilterError::TooLong);
        }
        let Some(shared) = text.strip_prefix(SHARE_PREFIX) else {
            validate_plain(text)?;
            let queue = text.strip_prefix(QUEUE_PREFIX);
            if queue.is_some_and(|name| name.is_empty() || name.contains(['+', '#'])) {
                return Err(TopicFilterError::QueueName);
            }
            return Ok(Self {
                text,
                share_name: None,
                filter: text,
            });
        };
        let (name, filter) = shared.split_once('/').ok_or(TopicFilterError::ShareName)?;
        if name.is_empty() || name.contains(['+', '#', '\0']) {
            return Err(TopicFilterError::ShareName);
        }
        validate_plain(filter)?;
        Ok(Self {
            text,
            share_name: Some(name),
            filter,
        })
    }

    /// As the client wrote it.
    pub const fn as_str(&self) -> &'a str {
        self.text
    }

    /// The group of a shared subscription.
    pub const fn share_name(&self) -> Option<&'a str> {
        self.share_name
    }

    /// The queue that it consumes, instead of matching topics.
    pub fn queue_name(&self) -> Option<&'a str> {
        self.text.strip_prefix(QUEUE_PREFIX)
    }

    /// What topics are matched with: without the prefix of a shared subscription.
    pub const fn filter(&self) -> &'a str {
        self.filter
    }

    /// Whether it has a wildcard.
    pub fn has_wildcard(&self) -> bool {
        self.filter.contains(['+', '#'])
    }

    /// Whether the topic name matches it.
    pub fn matches(&self, topic: &str) -> bool {
        matches(self.filter, topic)
    }
}

/// Whether a filter is about topics of the server itself, whose messages no other filter gets.
pub fn is_of_server(filter: &str) -> bool {
    filter.starts_with(SYS_PREFIX)
}

fn validate_plain(filter: &str) -> Result<(), TopicFilterError> {
    if filter.is_empty() {
        return Err(TopicFilterError::Empty);
    }
    if too_many_levels(filter) {
        return Err(TopicFilterError::TooManyLevels);
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.contains('\0') {
            return Err(TopicFilterError::Nul);
        }
        if level.contains('#') && (level.len() > 1 || levels.peek().is_some()) {
            return Err(TopicFilterError::MultiLevelWildcard);
        }
        if level.contains('+') && level.len() > 1 {
            return Err(TopicFilterError::SingleLevelWildcard);
        }
    }
    Ok(())
}

/// Whether a topic name matches a well-formed filter, not a shared one (§4.7.1 to §4.7.3).
pub fn matches(filter: &str, topic: &str) -> bool {
    // MQTT-4.7.2-1.
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for pattern in filter.split('/') {
        if pattern == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if pattern == "+" || pattern == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests;
