use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

/// The specification, by backtracking over levels.
fn brute(pattern: &[Word<'_>], levels: &[&[u8]]) -> bool {
    match (pattern, levels) {
        ([], []) => true,
        ([Word::Any, rest @ ..], _) => (0..=levels.len()).any(|skip| brute(rest, &levels[skip..])),
        ([Word::One, rest @ ..], [_, tail @ ..]) => brute(rest, tail),
        ([Word::Literal(word), rest @ ..], [level, tail @ ..]) => {
            word == level && brute(rest, tail)
        }
        _ => false,
    }
}

fn expected(pattern: &str, syntax: KeySyntax, key: &str, written: KeySyntax) -> bool {
    let pattern: Vec<_> = words(pattern.as_bytes(), syntax).collect();
    let levels: Vec<_> = topic_levels(key.as_bytes(), written, syntax).collect();
    let guarded = syntax == KeySyntax::Slashed
        && key.starts_with('$')
        && !matches!(pattern.first(), Some(Word::Literal(_)));
    key::has_view(key.as_bytes(), written, syntax) && !guarded && brute(&pattern, &levels)
}

/// Patterns that the trie says match, by their number; wildcard patterns only.
fn trie_matches(trie: &Trie, key: &str, written: KeySyntax, view: KeySyntax) -> Vec<u32> {
    let mut found = Vec::new();
    if key::has_view(key.as_bytes(), written, view) {
        let levels = topic_levels(key.as_bytes(), written, view);
        let guard = view == KeySyntax::Slashed && key.starts_with('$');
        trie.matches(levels, guard, &mut Frontier::default(), &mut |bucket| {
            found.push(bucket);
        });
    }
    found
}

fn single(pattern: &str, syntax: KeySyntax, key: &str, written: KeySyntax) -> bool {
    let mut trie = Trie::default();
    trie.insert(words(pattern.as_bytes(), syntax), 0);
    !trie_matches(&trie, key, written, syntax).is_empty()
}

#[test]
fn dotted_star_is_one_word_and_hash_is_any_number_anywhere() {
    let matches = |pattern, key| single(pattern, KeySyntax::Dotted, key, KeySyntax::Dotted);
    for (pattern, key) in [
        ("*", "a"),
        ("*", "a/b"),
        ("#", ""),
        ("#", "a.b.c"),
        ("a.#", "a"),
        ("a.#", "a.b.c"),
        ("#.c", "c"),
        ("#.c", "a.b.c"),
        ("a.#.c", "a.c"),
        ("a.#.c", "a.b.b.c"),
        ("#.*", "a"),
        ("*.#", "a"),
        ("#.#", ""),
        ("#.b.#", "a.b.c"),
        ("*.*", "."),
        ("*.b", ".b"),
    ] {
        assert!(matches(pattern, key), "{pattern} should match {key}");
    }
    for (pattern, key) in [
        ("*", ""),
        ("*", "a.b"),
        ("a.*", "a"),
        ("#.c", "a.b"),
        ("a.#.c", "c"),
        ("#.*", ""),
        ("*.*", "a"),
    ] {
        assert!(!matches(pattern, key), "{pattern} should not match {key}");
    }
}

#[test]
fn slashed_plus_is_one_level_and_hash_is_the_rest_with_the_parent() {
    let matches = |pattern, key| single(pattern, KeySyntax::Slashed, key, KeySyntax::Slashed);
    for (pattern, key) in [
        ("sport/tennis/+", "sport/tennis/player1"),
        ("sport/#", "sport"),
        ("sport/#", "sport/tennis/x"),
        ("#", "a/b"),
        ("+/+", "/finance"),
        ("/+", "/finance"),
        ("+", "a.b"),
        ("$SYS/#", "$SYS/broker"),
        ("$SYS/+/x", "$SYS/broker/x"),
        ("a/$SYS/+", "a/$SYS/b"),
    ] {
        assert!(matches(pattern, key), "{pattern} should match {key}");
    }
    for (pattern, key) in [
        ("+", "/finance"),
        ("sport/+", "sport"),
        ("#", "$SYS/broker"),
        ("+/broker", "$SYS/broker"),
        ("*/b", "a/b"),
        ("#/b", "a/b"),
    ] {
        assert!(!matches(pattern, key), "{pattern} should not match {key}");
    }
}

#[test]
fn dollar_means_nothing_in_dotted_patterns() {
    assert!(single("#", KeySyntax::Dotted, "$SYS.a", KeySyntax::Dotted));
    assert!(single(
        "*.a",
        KeySyntax::Dotted,
        "$SYS/a",
        KeySyntax::Slashed
    ));
}

#[test]
fn many_hashes_cost_no_more_than_levels_times_nodes() {
    let mut trie = Trie::default();
    let pattern = "#.a.".repeat(60) + "#.end";
    trie.insert(words(pattern.as_bytes(), KeySyntax::Dotted), 7);
    let miss = "a.".repeat(120) + "x";
    assert_eq!(
        trie_matches(&trie, &miss, KeySyntax::Dotted, KeySyntax::Dotted),
        [0; 0]
    );
    let hit = "a.".repeat(120) + "end";
    assert_eq!(
        trie_matches(&trie, &hit, KeySyntax::Dotted, KeySyntax::Dotted),
        [7]
    );
}

#[test]
fn removing_the_last_pattern_leaves_no_node() {
    let mut matcher = TopicMatcher::default();
    let patterns = ["a.*.c", "a.#", "a.*", "#", "#.#.x", "exact.key", ""];
    let syntax = KeySyntax::Dotted;
    let nodes: Vec<_> = patterns
        .iter()
        .zip(0..)
        .map(|(p, bucket)| matcher.insert(p.as_bytes(), syntax, bucket))
        .collect();
    assert_eq!(nodes.iter().filter(|node| **node == NONE).count(), 2);
    for node in nodes {
        matcher.remove(syntax, node);
    }
    assert_eq!(matcher.dotted.exact, 0);
    assert!(matcher.dotted.wild.is_empty());
    assert!(matcher.dotted.wild.edges.find(0, |_| true).is_none());
}

fn level() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("a"),
        Just("b"),
        Just(""),
        Just("$x"),
        Just("a.b"),
        Just("a/b"),
        Just("+"),
        Just("*")
    ]
}

fn syntax() -> impl Strategy<Value = KeySyntax> {
    prop_oneof![Just(KeySyntax::Dotted), Just(KeySyntax::Slashed)]
}

fn join(levels: &[&str], syntax: KeySyntax) -> String {
    levels.join(if syntax == KeySyntax::Dotted {
        "."
    } else {
        "/"
    })
}

fn pattern() -> impl Strategy<Value = Vec<&'static str>> {
    let word = prop_oneof![4 => level(), 2 => Just("*"), 2 => Just("+"), 3 => Just("#")];
    prop::collection::vec(word, 0..6)
}

proptest! {
    #[test]
    fn trie_agrees_with_brute_force_whatever_was_inserted_and_removed(
        patterns in prop::collection::vec((pattern(), any::<bool>()), 1..30),
        view in syntax(),
        keys in prop::collection::vec((prop::collection::vec(level(), 0..7), syntax()), 1..10),
    ) {
        let mut kept: Vec<(String, bool)> = Vec::new();
        for (pattern, keep) in patterns {
            let pattern = join(&pattern, view);
            if !kept.iter().any(|(p, _)| *p == pattern) {
                kept.push((pattern, keep));
            }
        }
        let mut matcher = TopicMatcher::default();
        let nodes: Vec<u32> =
            kept.iter().zip(0..).map(|((p, _), bucket)| matcher.insert(p.as_bytes(), view, bucket)).collect();
        for ((_, keep), node) in kept.iter().zip(&nodes) {
            if !keep {
                matcher.remove(view, *node);
            }
        }
        for (levels, written) in keys {
            let key = join(&levels, written);
            let mut found = trie_matches(&matcher.patterns(view).wild, &key, written, view);
            found.sort_unstable();
            let wanted: Vec<u32> = kept
                .iter()
                .zip(0..)
                .zip(&nodes)
                .filter(|(((p, keep), _), node)| *keep && **node != NONE && expected(p, view, &key, written))
                .map(|((_, bucket), _)| bucket)
                .collect();
            prop_assert_eq!(found, wanted, "key {} in {:?}, patterns {}", key, view, format!("{kept:?}"));
        }
    }
}
