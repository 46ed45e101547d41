//! Which topic a client's PUBLISH is about (§3.3.2.1, §3.3.2.3.4).

use crate::error::Fault;
use crate::frame::Publish;

/// The topic, or what its alias stands for.
pub(super) fn resolve_topic<'a>(
    publish: &Publish<'a>,
    aliases: &'a [Option<Box<str>>],
    levels_max: u16,
) -> Result<&'a str, Fault> {
    let topic = match publish.topic_alias {
        Some(alias) if publish.topic.is_empty() => aliases
            .get(usize::from(alias.get()) - 1)
            .and_then(Option::as_deref)
            .ok_or(Fault::TopicAliasUnknown(alias.get()))?,
        _ => publish.topic,
    };
    if has_more_levels(topic, levels_max) {
        return Err(Fault::TopicLevels(levels_max));
    }
    Ok(topic)
}

/// Sets the alias that comes with a topic (§3.3.2.3.4).
pub(super) fn define_alias(
    aliases: &mut Vec<Option<Box<str>>>,
    publish: &Publish<'_>,
    alias_max: u16,
) -> Result<(), Fault> {
    let Some(alias) = publish.topic_alias else {
        return Ok(());
    };
    if alias.get() > alias_max {
        return Err(Fault::TopicAliasAboveMaximum(alias.get()));
    }
    if publish.topic.is_empty() {
        return Ok(());
    }
    let at = usize::from(alias.get()) - 1;
    if aliases.len() <= at {
        aliases.resize(at + 1, None);
    }
    aliases[at] = Some(publish.topic.into());
    Ok(())
}

fn has_more_levels(topic: &str, levels_max: u16) -> bool {
    let levels_max = usize::from(levels_max);
    // Fewer bytes than separators needed: nothing to count.
    topic.len() >= levels_max && topic.bytes().filter(|byte| *byte == b'/').count() >= levels_max
}
