//! Families of one kind of objects: a table of names, and what is read of an object for each.

use crate::Source;
use crate::text::{Kind, Labels, Number, Page};

/// Bytes after which a part of the answer is sent.
pub(crate) const PAGE_BYTES: usize = 64 * 1024;

/// A number that every object of a kind has, or may have.
pub(crate) struct Family<T> {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) help: &'static str,
    /// None: this object has no such number.
    pub(crate) value: fn(&T) -> Option<Number>,
}

/// A counter that every object has.
macro_rules! counter {
    ($name:literal, $help:literal, |$object:ident| $value:expr) => {
        $crate::family::Family {
            name: $name,
            kind: $crate::text::Kind::Counter,
            help: $help,
            value: |$object| Some($crate::text::Number::from($value)),
        }
    };
}

/// A gauge that every object has.
macro_rules! gauge {
    ($name:literal, $help:literal, |$object:ident| $value:expr) => {
        $crate::family::Family {
            name: $name,
            kind: $crate::text::Kind::Gauge,
            help: $help,
            value: |$object| Some($crate::text::Number::from($value)),
        }
    };
}

/// A gauge that an object may have.
macro_rules! optional {
    ($name:literal, $help:literal, |$object:ident| $value:expr) => {
        $crate::family::Family {
            name: $name,
            kind: $crate::text::Kind::Gauge,
            help: $help,
            value: |$object| $value.map($crate::text::Number::from),
        }
    };
}

pub(crate) use {counter, gauge, optional};

/// A part of an answer that is written page by page.
pub(crate) trait Section: Send {
    /// Writes until the page is full. Returns whether there is more.
    fn write(&mut self, source: &Source, page: &mut Page) -> bool;
}

/// Written at once.
impl Section for fn(&Source, &mut Page) {
    fn write(&mut self, source: &Source, page: &mut Page) -> bool {
        self(source, page);
        false
    }
}

/// Families of many objects. The objects are looked at when their first family is written, and let go behind the last.
pub(crate) struct Objects<T: 'static> {
    prefix: &'static str,
    families: Vec<&'static Family<T>>,
    look: Look<T>,
    found: Option<Vec<(Labels, T)>>,
    family: usize,
    object: usize,
}

/// Where objects come from, with the labels of their samples.
type Look<T> = Box<dyn Fn(&Source) -> Vec<(Labels, T)> + Send>;

impl<T: 'static> Objects<T> {
    pub(crate) fn new(
        prefix: &'static str,
        families: impl IntoIterator<Item = &'static Family<T>>,
        look: impl Fn(&Source) -> Vec<(Labels, T)> + Send + 'static,
    ) -> Self {
        Self {
            prefix,
            families: families.into_iter().collect(),
            look: Box::new(look),
            found: None,
            family: 0,
            object: 0,
        }
    }
}

impl<T: Send + 'static> Section for Objects<T> {
    fn write(&mut self, source: &Source, page: &mut Page) -> bool {
        let look = &self.look;
        let objects = self.found.get_or_insert_with(|| look(source));
        while let Some(family) = self.families.get(self.family) {
            if self.object == 0 {
                page.family(self.prefix, family.name, family.kind, family.help);
            }
            while let Some((labels, object)) = objects.get(self.object) {
                self.object += 1;
                if let Some(value) = (family.value)(object) {
                    page.sample(labels, value);
                }
                if page.len() >= PAGE_BYTES {
                    return true;
                }
            }
            self.object = 0;
            self.family += 1;
        }
        false
    }
}
