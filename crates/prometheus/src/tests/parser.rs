//! A strict parser of the text format, version 0.0.4. It panics at whatever the format does not allow, and at what it
//! allows and Prometheus warns of: families in two places, samples that occur twice, histograms that do not add up.

use std::collections::{BTreeMap, HashMap, HashSet};

/// Labels in the order of their names.
type LabelSet = BTreeMap<String, String>;

#[derive(Debug)]
pub(super) struct Family {
    kind: String,
    samples: HashMap<(String, LabelSet), f64>,
}

#[derive(Debug, Default)]
pub(super) struct Exposition {
    pub(super) families: HashMap<String, Family>,
}

impl Exposition {
    fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a LabelSet, f64)> {
        let all = self.families.values().flat_map(|family| &family.samples);
        all.filter(move |((its, _), _)| its == name)
            .map(|((_, labels), value)| (labels, *value))
    }

    pub(super) fn has_sample(&self, name: &str) -> bool {
        self.count(name) > 0
    }

    pub(super) fn count(&self, name: &str) -> usize {
        self.samples(name).count()
    }

    /// The value of the sample with exactly these labels.
    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels: LabelSet = labels
            .iter()
            .map(|(n, v)| (n.to_string(), v.to_string()))
            .collect();
        let mut samples = self.samples(name);
        samples
            .find(|(its, _)| **its == labels)
            .map(|(_, value)| value)
    }

    pub(super) fn labels_of(&self, name: &str) -> Vec<String> {
        let labels = self.samples(name).next().unwrap().0;
        labels.keys().cloned().collect()
    }
}

pub(super) fn parse(text: &str) -> Exposition {
    assert!(
        text.is_empty() || text.ends_with('\n'),
        "the last line ends too"
    );
    let mut exposition = Exposition::default();
    let mut current: Option<String> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert!(is_name(name, true), "{line}");
            let kinds = ["counter", "gauge", "histogram", "untyped"];
            assert!(kinds.contains(&kind), "{line}");
            let family = Family {
                kind: kind.to_owned(),
                samples: HashMap::new(),
            };
            let before = exposition.families.insert(name.to_owned(), family);
            assert!(before.is_none(), "{name} is there twice");
            current = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect(line);
            assert_eq!(Some(name), current.as_deref(), "{line}");
            assert!(!help.is_empty() && !help.contains('\\'), "{line}");
        } else {
            let name = current.as_ref().expect(line);
            let family = exposition.families.get_mut(name).unwrap();
            add_sample(line, name, family);
        }
    }
    for (name, family) in &exposition.families {
        check(name, family);
    }
    exposition
}

fn add_sample(line: &str, family_name: &str, family: &mut Family) {
    let end = line.find(['{', ' ']).expect(line);
    let (name, rest) = line.split_at(end);
    assert!(is_name(name, true), "{line}");
    let suffix = name.strip_prefix(family_name).expect(line);
    let allowed: &[&str] = match family.kind.as_str() {
        "histogram" => &["_bucket", "_count", "_sum"],
        _ => &[""],
    };
    assert!(allowed.contains(&suffix), "{line}");
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest, line),
        None => (LabelSet::new(), rest),
    };
    let value = value.strip_prefix(' ').expect(line);
    let value: f64 = value.parse().expect(line);
    assert!(value.is_finite() && value >= 0.0, "{line}");
    let before = family.samples.insert((name.to_owned(), labels), value);
    assert!(before.is_none(), "twice: {line}");
}

/// What stands between the braces, and what comes behind them.
fn labels<'a>(mut rest: &'a str, line: &str) -> (LabelSet, &'a str) {
    let mut labels = LabelSet::new();
    loop {
        let (name, behind) = rest.split_once("=\"").expect(line);
        assert!(is_name(name, false), "{line}");
        let mut value = String::new();
        let mut symbols = behind.char_indices();
        let end = loop {
            let (at, symbol) = symbols.next().expect(line);
            match symbol {
                '"' => break at + 1,
                '\\' => value.push(match symbols.next().expect(line).1 {
                    'n' => '\n',
                    same @ ('\\' | '"') => same,
                    other => panic!("\\{other} in {line}"),
                }),
                _ => value.push(symbol),
            }
        };
        let before = labels.insert(name.to_owned(), value);
        assert!(before.is_none(), "{name} is there twice in {line}");
        rest = &behind[end..];
        if let Some(behind) = rest.strip_prefix('}') {
            return (labels, behind);
        }
        rest = rest.strip_prefix(',').expect(line);
    }
}

fn is_name(name: &str, colons: bool) -> bool {
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_' || (colons && c == ':');
    name.starts_with(starts) && name.chars().all(|c| starts(c) || c.is_ascii_digit())
}

fn check(name: &str, family: &Family) {
    match family.kind.as_str() {
        "counter" => assert!(name.ends_with("_total"), "{name} is a counter"),
        "histogram" => check_histogram(name, family),
        _ => assert!(!name.ends_with("_total"), "{name} is no counter"),
    }
}

/// Buckets grow with their bounds, and the last one has everything.
fn check_histogram(name: &str, family: &Family) {
    let bucket = format!("{name}_bucket");
    let mut series: HashMap<LabelSet, Vec<(f64, f64)>> = HashMap::new();
    for ((its, labels), value) in &family.samples {
        if *its == bucket {
            let mut labels = labels.clone();
            let bound = labels.remove("le").expect(name).parse().expect(name);
            series.entry(labels).or_default().push((bound, *value));
        }
    }
    let counted: HashSet<_> = family
        .samples
        .keys()
        .filter(|(its, _)| its.ends_with("_count"))
        .map(|(_, labels)| labels.clone())
        .collect();
    assert_eq!(counted, series.keys().cloned().collect(), "{name}");
    for (labels, mut buckets) in series {
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        assert!(
            buckets.is_sorted_by(|one, other| one.1 <= other.1),
            "{name} {labels:?}"
        );
        let (bound, all) = *buckets.last().unwrap();
        assert!(bound.is_infinite(), "{name} {labels:?}");
        let count = family.samples[&(format!("{name}_count"), labels.clone())];
        assert!((all - count).abs() < 0.5, "{name} {labels:?}");
        assert!(
            family
                .samples
                .contains_key(&(format!("{name}_sum"), labels)),
            "{name}"
        );
    }
}
