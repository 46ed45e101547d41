use super::*;

#[test]
fn filters_match_as_the_specification_shows() {
    let cases = [
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        (
            "sport/tennis/player1/#",
            "sport/tennis/player1/ranking",
            true,
        ),
        (
            "sport/tennis/player1/#",
            "sport/tennis/player1/score/wimbledon",
            true,
        ),
        ("sport/#", "sport", true),
        ("#", "a/b", true),
        ("sport/tennis/+", "sport/tennis/player1", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        ("+/tennis/#", "a/tennis", true),
        ("a//b", "a//b", true),
        ("a/+/b", "a//b", true),
        ("a/b", "a/B", false),
        ("a/b", "a/b/", false),
        ("a", "", false),
        ("#", "$SYS/monitor", false),
        ("+/monitor/Clients", "$SYS/monitor/Clients", false),
        ("$SYS/#", "$SYS/monitor", true),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
        ("a/#", "$a", false),
    ];
    for (filter, topic, expected) in cases {
        assert_eq!(matches(filter, topic), expected, "{filter} against {topic}");
    }
}

#[test]
fn misplaced_wildcards_are_refused() {
    use TopicFilterError::{Empty, MultiLevelWildcard, Nul, SingleLevelWildcard};
    for filter in [
        "+", "#", "+/#", "a/+/b", "/", "//", "a/#", "$SYS/#", " ", "$share", "$queue/x",
    ] {
        assert!(TopicFilter::parse(filter).is_ok(), "{filter}");
    }
    for (filter, error) in [
        ("", Empty),
        ("a\0", Nul),
        ("a#", MultiLevelWildcard),
        ("#/a", MultiLevelWildcard),
        ("a/#/b", MultiLevelWildcard),
        ("a/b#", MultiLevelWildcard),
        ("##", MultiLevelWildcard),
        ("a+", SingleLevelWildcard),
        ("+a/b", SingleLevelWildcard),
        ("a/++", SingleLevelWildcard),
    ] {
        assert_eq!(TopicFilter::parse(filter), Err(error), "{filter}");
    }
}

#[test]
fn shared_filter_is_taken_apart() {
    let filter = TopicFilter::parse("$share/group/a/+").unwrap();
    assert_eq!(
        (filter.share_name(), filter.filter()),
        (Some("group"), "a/+")
    );
    assert_eq!(filter.as_str(), "$share/group/a/+");
    assert!(filter.matches("a/b") && filter.has_wildcard());
    assert_eq!(TopicFilter::parse("$share/g//").unwrap().filter(), "/");
}

#[test]
fn share_name_must_be_there_and_have_no_wildcard() {
    for filter in [
        "$share/",
        "$share/g",
        "$share//a",
        "$share/g+/a",
        "$share/#/a",
        "$share/+/a",
    ] {
        assert_eq!(
            TopicFilter::parse(filter),
            Err(TopicFilterError::ShareName),
            "{filter}"
        );
    }
    assert_eq!(
        TopicFilter::parse("$share/g/"),
        Err(TopicFilterError::Empty)
    );
    assert_eq!(
        TopicFilter::parse("$share/g/a#"),
        Err(TopicFilterError::MultiLevelWildcard)
    );
}

#[test]
fn topic_names_have_no_wildcards_and_at_least_one_character() {
    for name in ["/", "a", " ", "a//b", "$SYS/x", "\u{FEFF}a", "\u{A0}"] {
        assert_eq!(validate_name(name), Ok(()), "{name}");
    }
    assert_eq!(validate_name(""), Err(TopicNameError::Empty));
    for name in ["a\u{1}b", "\u{1F}", "a\u{7F}", "\u{80}", "\u{9F}/b"] {
        let refused = Err(TopicNameError::ControlCharacter);
        assert_eq!(validate_name(name), refused, "{name:?}");
    }
    for name in ["+", "#", "a/+/b", "a#", "a\0b"] {
        assert_eq!(
            validate_name(name),
            Err(TopicNameError::ForbiddenCharacter),
            "{name}"
        );
    }
}

#[test]
fn levels_are_limited() {
    let most = "/".repeat(TOPIC_LEVELS_MAX - 1);
    assert_eq!(validate_name(&most), Ok(()));
    assert!(TopicFilter::parse(&most).is_ok());
    let more = "/".repeat(TOPIC_LEVELS_MAX);
    assert_eq!(validate_name(&more), Err(TopicNameError::TooManyLevels));
    assert_eq!(
        TopicFilter::parse(&more),
        Err(TopicFilterError::TooManyLevels)
    );
}

#[test]
fn bytes_are_limited() {
    let most = "a".repeat(TOPIC_BYTES_MAX);
    assert_eq!(validate_name(&most), Ok(()));
    assert!(TopicFilter::parse(&most).is_ok());
    let more = "a".repeat(TOPIC_BYTES_MAX + 1);
    assert_eq!(validate_name(&more), Err(TopicNameError::TooLong));
    assert_eq!(TopicFilter::parse(&more), Err(TopicFilterError::TooLong));
}
