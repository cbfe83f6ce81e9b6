//! Bytes that a person may want to read: text where the format is for people and the bytes are text, else bytes.

use std::fmt;

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{SeqAccess, Visitor},
};

/// For `#[serde(with = …)]`.
///
/// # Errors
/// Those of the format.
pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) if serializer.is_human_readable() => serializer.serialize_str(text),
        _ => bytes.serialize(serializer),
    }
}

/// For `#[serde(with = …)]`.
///
/// # Errors
/// Those of the format; what is neither text nor bytes.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    match deserializer.is_human_readable() {
        true => deserializer.deserialize_any(TextOrBytes),
        false => Bytes::deserialize(deserializer),
    }
}

struct TextOrBytes;

impl<'de> Visitor<'de> for TextOrBytes {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or bytes")
    }

    fn visit_str<E>(self, text: &str) -> Result<Bytes, E> {
        Ok(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Bytes, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = list.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Held(#[serde(with = "super")] Bytes);

    #[test]
    fn text_is_read_as_text_and_other_bytes_come_back_as_they_were() {
        let text = Held(Bytes::from_static("größer".as_bytes()));
        assert_eq!(serde_json::to_string(&text).unwrap(), "\"größer\"");
        for held in [text, Held(Bytes::from_static(&[0xff, 0, 7])), Held(Bytes::new())] {
            let line = serde_json::to_string(&held).unwrap();
            assert_eq!(serde_json::from_str::<Held>(&line).unwrap(), held);
            let packed = postcard::to_stdvec(&held).unwrap();
            assert_eq!(postcard::from_bytes::<Held>(&packed).unwrap(), held);
        }
    }
}
