//! Reads what a certificate says about its holder.

use std::fmt::Write;
use std::net::IpAddr;

use der::asn1::{Any, ObjectIdentifier};
use der::{Decode, Tag, Tagged};
use x509_cert::Certificate;
use x509_cert::ext::pkix::SubjectAltName as AltNames;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::RdnSequence;
use x509_cert::time::Validity;

use super::peer::{ClientCertificate, SubjectAltName};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");

/// What names are called in front of their `=`; others by their identifier in dotted decimals.
const SHORT_NAMES: [(&str, &str); 18] = [
    ("2.5.4.4", "SN"),
    ("2.5.4.42", "GIVENNAME"),
    ("2.5.4.43", "INITIALS"),
    ("2.5.4.44", "GENERATIONQUALIFIER"),
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "TITLE"),
    ("2.5.4.6", "C"),
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.65", "PSEUDONYM"),
    ("2.5.4.46", "DNQUALIFIER"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("1.2.840.113549.1.9.1", "EMAILADDRESS"),
];

/// Reads a certificate in DER.
pub(super) fn read(der: &[u8]) -> Result<ClientCertificate, der::Error> {
    let certificate = Certificate::from_der(der)?.tbs_certificate;
    let common_names: Vec<_> = certificate
        .subject
        .0
        .iter()
        .flat_map(|rdn| rdn.0.iter())
        .filter(|part| part.oid == COMMON_NAME)
        .map(|part| text(&part.value))
        .collect();
    let alt_names = certificate
        .extensions
        .iter()
        .flatten()
        .filter(|extension| extension.extn_id == SUBJECT_ALT_NAME)
        .map(|extension| AltNames::from_der(extension.extn_value.as_bytes()))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(ClientCertificate {
        subject: distinguished_name(&certificate.subject),
        issuer: distinguished_name(&certificate.issuer),
        validity: validity(&certificate.validity),
        common_name: (!common_names.is_empty()).then(|| common_names.join(",")),
        alt_names: alt_names
            .iter()
            .flat_map(|names| &names.0)
            .filter_map(alt_name)
            .collect(),
    })
}

/// Whether a certificate names itself as its issuer.
pub(super) fn is_self_issued(der: &[u8]) -> Result<bool, der::Error> {
    let certificate = Certificate::from_der(der)?.tbs_certificate;
    Ok(certificate.subject == certificate.issuer)
}

/// When a certificate ends, in seconds since 1970.
pub(super) fn not_after_s(der: &[u8]) -> Result<u64, der::Error> {
    let validity = Certificate::from_der(der)?.tbs_certificate.validity;
    Ok(validity.not_after.to_unix_duration().as_secs())
}

fn validity(validity: &Validity) -> String {
    let (from, to) = (
        validity.not_before.to_date_time(),
        validity.not_after.to_date_time(),
    );
    format!("{from} - {to}")
}

/// RFC 4514: the last name of the sequence comes first.
fn distinguished_name(name: &RdnSequence) -> String {
    let mut out = String::new();
    for rdn in name.0.iter().rev() {
        let mut separator = if out.is_empty() { "" } else { "," };
        for part in rdn.0.iter() {
            out.push_str(separator);
            push_kind(&mut out, part.oid);
            push_escaped(&mut out, &text(&part.value));
            separator = "+";
        }
    }
    out
}

fn push_kind(out: &mut String, kind: ObjectIdentifier) {
    let dotted = kind.to_string();
    let short = SHORT_NAMES.iter().find(|(id, _)| *id == dotted);
    out.push_str(short.map_or(dotted.as_str(), |(_, name)| name));
    out.push('=');
}

/// RFC 4514 §2.4. What is not printable ASCII is escaped too, byte by byte, as RabbitMQ does: it is part of user names.
fn push_escaped(out: &mut String, value: &str) {
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            b' ' | b'#' if at == 0 => push_backslashed(out, byte),
            b' ' if at == last => push_backslashed(out, byte),
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => push_backslashed(out, byte),
            0x20..0x7e => out.push(char::from(byte)),
            // A string takes everything that is written to it.
            _ => write!(out, "\\{byte:02X}").unwrap_or_default(),
        }
    }
}

fn push_backslashed(out: &mut String, byte: u8) {
    out.push('\\');
    out.push(char::from(byte));
}

/// A string of whatever ASN.1 type; other values in hexadecimal, after a `#` (RFC 4514 §2.4).
fn text(value: &Any) -> String {
    let bytes = value.value();
    match value.tag() {
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::VisibleString
        | Tag::NumericString => String::from_utf8_lossy(bytes).into_owned(),
        // In practice always Latin-1, whatever the standard says.
        Tag::TeletexString => bytes.iter().copied().map(char::from).collect(),
        Tag::BmpString => {
            let units = bytes
                .chunks_exact(2)
                .map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
            char::decode_utf16(units)
                .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect()
        }
        _ => bytes.iter().fold("#".into(), |mut out: String, byte| {
            write!(out, "{byte:02X}").unwrap_or_default();
            out
        }),
    }
}

/// `None` for kinds that cannot name a user: directory names, registered identifiers.
fn alt_name(name: &GeneralName) -> Option<SubjectAltName> {
    Some(match name {
        GeneralName::DnsName(name) => SubjectAltName::Dns(name.to_string()),
        GeneralName::Rfc822Name(name) => SubjectAltName::Email(name.to_string()),
        GeneralName::UniformResourceIdentifier(name) => SubjectAltName::Uri(name.to_string()),
        GeneralName::IpAddress(addr) => SubjectAltName::Ip(ip(addr.as_bytes())?),
        GeneralName::OtherName(other) => SubjectAltName::Other {
            kind: other.type_id.to_string(),
            name: text(&other.value),
        },
        _ => return None,
    })
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_as_rfc_4514_and_rabbitmq_do() {
        for (value, expected) in [
            ("plain", "plain"),
            (" both ", "\\ both\\ "),
            (" ", "\\ "),
            ("#1", "\\#1"),
            ("a#1", "a#1"),
            ("a,b+c\"d\\e<f>g;h", "a\\,b\\+c\\\"d\\\\e\\<f\\>g\\;h"),
            ("tab\t", "tab\\09"),
            ("ü", "\\C3\\BC"),
            ("", ""),
        ] {
            let mut out = String::new();
            push_escaped(&mut out, value);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn strings_of_every_type_become_text() {
        for (tag, bytes, expected) in [
            (Tag::Utf8String, "ü".as_bytes(), "ü"),
            (Tag::PrintableString, b"abc", "abc"),
            (Tag::TeletexString, &[0xfc], "ü"),
            (Tag::BmpString, &[0, 0xfc, 0x20, 0xac], "ü€"),
            (Tag::Integer, &[1, 0xab], "#01AB"),
        ] {
            assert_eq!(text(&Any::new(tag, bytes).unwrap()), expected);
        }
    }

    #[test]
    fn addresses_of_other_lengths_are_none() {
        assert_eq!(ip(&[10, 0, 0, 1]), Some(IpAddr::from([10, 0, 0, 1])));
        assert_eq!(ip(&[0; 16]), Some(IpAddr::from([0; 16])));
        assert_eq!(ip(&[10, 0, 0]), None);
    }
}
