//! Records, the bytes beside items, in output.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

/// A record in JSON: a field `record` if it is text, `record_base64` if it is not, or none.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Record<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record_base64: Option<String>,
}

impl<'a> Record<'a> {
    pub(crate) fn of(bytes: Option<&'a [u8]>) -> Self {
        match bytes.map(std::str::from_utf8) {
            None => Self::default(),
            Some(Ok(text)) => Self { record: Some(text), record_base64: None },
            Some(Err(_)) => {
                let record_base64 = bytes.map(|bytes| BASE64_STANDARD.encode(bytes));
                Self { record: None, record_base64 }
            }
        }
    }
}

/// A record in a line of text: control characters, and what is no text, are escaped.
pub(crate) fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(char::is_control) => Cow::Borrowed(text),
        Ok(text) => text.escape_debug().to_string().into(),
        Err(_) => bytes.escape_ascii().to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_text_or_base64() {
        let json = |bytes| serde_json::to_string(&Record::of(bytes)).unwrap();
        assert_eq!(json(Some(&b"a"[..])), r#"{"record":"a"}"#);
        assert_eq!(json(Some(&b"\xff\xfe"[..])), r#"{"record_base64":"//4="}"#);
        assert_eq!(json(None), "{}");
        assert_eq!((text(b"a\n"), text(b"\xff")), ("a\\n".into(), "\\xff".into()));
    }
}
