//! Questions as RabbitMQ's `rabbitmq_auth_backend_http` puts them, and the answers it takes.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use ring::digest;

/// What stands for itself in a form.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b' ');

/// What is asked, and where.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) address: String,
    /// As in `application/x-www-form-urlencoded`. It may have a password.
    pub(super) form: String,
    /// Who asks is not let in yet: such questions are put behind those about users who are.
    pub(super) is_login: bool,
}

/// What a question is known by, which does not tell what it was.
pub(super) type Key = [u8; 32];

impl Question {
    /// A question without fields.
    pub(super) fn at(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            form: String::new(),
            is_login: false,
        }
    }

    /// The same, about somebody who is not let in yet.
    pub(super) fn of_login(self) -> Self {
        Self {
            is_login: true,
            ..self
        }
    }

    /// With one more field.
    pub(super) fn with(mut self, name: &str, value: &[u8]) -> Self {
        if !self.form.is_empty() {
            self.form.push('&');
        }
        self.form.push_str(name);
        self.form.push('=');
        let encoded = percent_encode(value, PLAIN).to_string();
        self.form.push_str(&encoded.replace(' ', "+"));
        self
    }

    pub(super) fn key(&self) -> Key {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(self.address.as_bytes());
        hash.update(b"\n");
        hash.update(self.form.as_bytes());
        let mut key = Key::default();
        key.copy_from_slice(hash.finish().as_ref());
        key
    }
}

/// What was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// With the tags that came with it.
    Allow(Vec<Box<str>>),
    /// No, or no answer.
    Deny,
}

/// Reads the body of an answer; none if it is no answer.
pub(super) fn read(body: &str) -> Option<Verdict> {
    let body = body.trim();
    let mut words = body.split_whitespace();
    match words.next()?.to_ascii_lowercase().as_str() {
        // A reason may follow.
        "deny" => Some(Verdict::Deny),
        "allow" => Some(Verdict::Allow(words.map(Into::into).collect())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_encoded_as_in_forms() {
        let question = Question::at("http://x/y")
            .with("username", "a b&c=d+e".as_bytes())
            .with("password", b"\xff/~-_.")
            .with("tags", b"");
        let expected = "username=a+b%26c%3Dd%2Be&password=%FF%2F~-_.&tags=";
        assert_eq!(question.form, expected);
    }

    #[test]
    fn answers_are_read_as_rabbitmq_reads_them() {
        let allow = |tags: &[&str]| {
            Some(Verdict::Allow(
                tags.iter().map(|tag| (*tag).into()).collect(),
            ))
        };
        assert_eq!(read("allow"), allow(&[]));
        assert_eq!(read(" ALLOW\n"), allow(&[]));
        assert_eq!(
            read("allow administrator Management"),
            allow(&["administrator", "Management"])
        );
        assert_eq!(read("deny"), Some(Verdict::Deny));
        assert_eq!(read("Deny because of the weather"), Some(Verdict::Deny));
        for nothing in ["", "yes", "allowed", "<html>allow</html>"] {
            assert_eq!(read(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn keys_differ_where_questions_do() {
        let one = Question::at("http://x").with("a", b"1");
        assert_eq!(one.key(), Question::at("http://x").with("a", b"1").key());
        assert_ne!(one.key(), Question::at("http://x").with("a", b"2").key());
        assert_ne!(one.key(), Question::at("http://y").with("a", b"1").key());
    }
}
