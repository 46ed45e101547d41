//! The document in a request: its body, or the file in a form (RFC 7578).

use axum::http::header;
use bytes::Bytes;

use crate::fault::Fault;
use crate::request::Payload;

/// The document's bytes.
pub(super) fn document(payload: &Payload) -> Result<Bytes, Fault> {
    let kind = payload.headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let Some(boundary) = boundary(kind) else {
        return Ok(payload.bytes.clone());
    };
    file(&payload.bytes, boundary).ok_or_else(|| Fault::bad_request("no file in the form"))
}

/// What separates the parts, if it is a form with parts.
fn boundary(kind: &str) -> Option<&str> {
    let (kind, parameters) = kind.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let mut parameters = parameters.split(';').map(str::trim);
    let boundary = parameters.find_map(|parameter| parameter.strip_prefix("boundary="))?;
    Some(boundary.trim_matches('"'))
}

/// The content of the part that is called `file`, else of the first part that is a file.
fn file(body: &Bytes, boundary: &str) -> Option<Bytes> {
    let delimiter = format!("\r\n--{boundary}");
    let first = format!("--{boundary}");
    let mut rest = body.slice(find(body, first.as_bytes())? + first.len()..);
    let mut found = None;
    while !rest.starts_with(b"--") {
        let end = find(&rest, delimiter.as_bytes())?;
        let part = rest.slice(..end);
        rest = rest.slice(end + delimiter.len()..);
        let head_end = find(&part, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&part[..head_end]).to_ascii_lowercase();
        let content = part.slice(head_end + 4..);
        if head.contains("name=\"file\"") {
            return Some(content);
        }
        if found.is_none() && head.contains("filename=") {
            found = Some(content);
        }
    }
    found
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "multipart/form-data; boundary=\"xyz\"";

    fn found(body: &str) -> Option<Bytes> {
        file(
            &Bytes::copy_from_slice(body.as_bytes()),
            boundary(KIND).unwrap(),
        )
    }

    #[test]
    fn file_of_a_form_is_found_behind_other_parts() {
        let body = "--xyz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n\
                    --xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"d.json\"\r\n\
                    Content-Type: application/json\r\n\r\n{\"a\":\r\n1}\r\n--xyz--\r\n";
        assert_eq!(found(body).unwrap(), "{\"a\":\r\n1}");
    }

    #[test]
    fn forms_without_a_file_or_an_end_have_none() {
        assert_eq!(
            found("--xyz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--xyz--"),
            None
        );
        assert_eq!(
            found("--xyz\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n1"),
            None
        );
        assert_eq!(found(""), None);
    }

    #[test]
    fn other_bodies_are_the_document() {
        assert_eq!(boundary("application/json"), None);
        assert_eq!(boundary("application/json; charset=utf-8"), None);
        assert_eq!(
            boundary("Multipart/Form-Data; charset=x; boundary=b"),
            Some("b")
        );
    }
}
