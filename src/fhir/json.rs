//! JSON from the network: bounded in size and depth, and no name twice in an object, because two readers would take
//! different ones of the two.
//!
//! Numbers become 64-bit floats here, so a decimal such as `1.10` loses its last zero. A resource that only passes
//! through is passed as its bytes.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// What a document may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest document, in bytes.
    pub bytes: usize,
    /// Deepest nesting of objects and arrays.
    pub depth: u32,
}

impl Default for Limits {
    /// 64 MiB, because documents travel inside as base64, and 64 levels, deeper than any IHE message.
    fn default() -> Self {
        Self { bytes: 64 << 20, depth: 64 }
    }
}

/// Why bytes were not read. Never quotes what it read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum JsonError {
    /// More bytes than the limit.
    #[error("the document is longer than {0} bytes")]
    TooLong(usize),
    /// Nested deeper than the limit.
    #[error("the document is nested deeper than {0} levels")]
    TooDeep(u32),
    /// A name twice in an object.
    #[error("an object has a name twice, near line {line} column {column}")]
    DuplicateName {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// Not JSON, or not UTF-8.
    #[error("not well-formed JSON, at line {line} column {column}")]
    Malformed {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
}

/// Reads a document.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Value, JsonError> {
    if bytes.len() > limits.bytes {
        return Err(JsonError::TooLong(limits.bytes));
    }
    // Windows programs write a byte order mark, which JSON does not allow.
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let fault = Cell::new(Fault::Syntax);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Reader { left: limits.depth, fault: &fault }.deserialize(&mut reader);
    value.and_then(|value| reader.end().map(|()| value)).map_err(|error| match fault.get() {
        Fault::Depth => JsonError::TooDeep(limits.depth),
        Fault::Duplicate => JsonError::DuplicateName { line: error.line(), column: error.column() },
        Fault::Syntax => JsonError::Malformed { line: error.line(), column: error.column() },
    })
}

#[derive(Clone, Copy)]
enum Fault {
    Syntax,
    Depth,
    Duplicate,
}

#[derive(Clone, Copy)]
struct Reader<'f> {
    left: u32,
    fault: &'f Cell<Fault>,
}

impl Reader<'_> {
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Self { left, ..self }),
            None => {
                self.fault.set(Fault::Depth);
                Err(E::custom("too deep"))
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut list = Vec::new();
        while let Some(value) = items.next_element_seed(inside)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                self.fault.set(Fault::Duplicate);
                return Err(A::Error::custom("a name twice"));
            }
            object.insert(name, members.next_value_seed(inside)?);
        }
        Ok(Value::Object(object))
    }
}

/// The text of a member, without white space around it; none if it is absent, no text or empty.
pub fn text<'v>(object: &'v Value, name: &str) -> Option<&'v str> {
    object.get(name)?.as_str().map(str::trim).filter(|text| !text.is_empty())
}

/// The elements of a member that is an array; nothing if it is none.
pub fn list<'v>(object: &'v Value, name: &str) -> &'v [Value] {
    object.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The type of a resource.
pub fn resource_type(resource: &Value) -> &str {
    text(resource, "resourceType").unwrap_or_default()
}

/// Builds an object. What is absent or empty is left out, because FHIR has neither `null` nor empty arrays.
#[derive(Clone, Default)]
pub struct Builder(Map<String, Value>);

impl Builder {
    /// An empty object.
    pub fn new() -> Self {
        Self::default()
    }

    /// A resource of a type.
    pub fn resource(kind: &str) -> Self {
        Self::new().with("resourceType", kind)
    }

    /// Adds a member.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        let empty = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(object) => object.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        };
        if !empty {
            self.0.insert(name.to_owned(), value);
        }
    }

    /// Adds a member, if there is a value.
    pub fn set_if(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// Adds to a member that is an array.
    pub fn push(&mut self, name: &str, value: impl Into<Value>) {
        let slot = self.0.entry(name).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = slot {
            list.push(value.into());
        }
    }

    /// With a member.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.set(name, value);
        self
    }

    /// With a member, if there is a value.
    pub fn with_if(mut self, name: &str, value: Option<impl Into<Value>>) -> Self {
        self.set_if(name, value);
        self
    }

    /// The object.
    pub fn build(self) -> Value {
        Value::Object(self.0)
    }
}

impl From<Builder> for Value {
    fn from(builder: Builder) -> Self {
        builder.build()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn documents_beyond_the_limits_are_refused_by_name() {
        let limits = Limits { bytes: 40, depth: 3 };
        for (text, error) in [
            ("[[[[1]]]]", JsonError::TooDeep(3)),
            ("{\"a\":{\"b\":{\"c\":{}}}}", JsonError::TooDeep(3)),
            ("{\"id\":\"1\",\"id\":\"2\"}", JsonError::DuplicateName { line: 1, column: 14 }),
            ("{\"a\":1,}", JsonError::Malformed { line: 1, column: 8 }),
            ("{} {}", JsonError::Malformed { line: 1, column: 4 }),
            ("", JsonError::Malformed { line: 1, column: 0 }),
            ("\"0123456789012345678901234567890123456789\"", JsonError::TooLong(40)),
        ] {
            assert_eq!(read(text.as_bytes(), &limits), Err(error), "{text}");
        }
        assert!(read(b"\xEF\xBB\xBF{\"a\":[1.5,-2,true,null,\"\\u00e9\"]}", &limits).is_ok());
        assert!(read(b"\"\xFF\"", &limits).is_err());
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let deep = "[".repeat(100_000);
        assert_eq!(read(deep.as_bytes(), &Limits::default()), Err(JsonError::TooDeep(64)));
    }

    #[test]
    fn nothing_empty_is_written() {
        let object = Builder::resource("Patient")
            .with("id", "")
            .with("name", Vec::<Value>::new())
            .with_if("gender", None::<&str>)
            .with("text", Builder::new())
            .build();
        assert_eq!(object, serde_json::json!({"resourceType": "Patient"}));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes, &Limits::default());
        }

        #[test]
        fn what_is_read_is_what_serde_reads(text in "[\\[\\]{}\",:0-9a-c ]{0,24}") {
            if let Ok(value) = read(text.as_bytes(), &Limits::default()) {
                prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
            }
        }
    }
}
