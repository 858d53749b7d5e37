//! A question's arguments, checked: what is missing has a default, what is wrong is refused and never guessed.

use serde_json::{Map, Value};

use crate::event::Key;
use crate::words;

use super::Refused;

pub struct Arguments<'v> {
    given: Option<&'v Map<String, Value>>,
}

impl<'v> Arguments<'v> {
    pub fn new(arguments: &'v Value) -> Result<Arguments<'v>, Refused> {
        match arguments {
            Value::Null => Ok(Arguments { given: None }),
            Value::Object(given) => Ok(Arguments { given: Some(given) }),
            _ => Err(Refused("arguments are given by name".to_owned())),
        }
    }

    pub fn value(&self, name: &str) -> Option<&'v Value> {
        self.given.and_then(|given| given.get(name)).filter(|value| !value.is_null())
    }

    pub fn number(&self, name: &str, default: u64) -> Result<u64, Refused> {
        let Some(value) = self.value(name) else { return Ok(default) };
        // From an address bar everything is text.
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok()).or_else(|| {
            let number = value.as_f64()?;
            (number >= 0.0 && number < u64::MAX as f64).then_some(number as u64)
        });
        number.ok_or_else(|| Refused(format!("{name} is a number, not {value}")))
    }

    pub fn flag(&self, name: &str) -> Result<bool, Refused> {
        match self.value(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(value) => match value.as_str() {
                Some("1" | "true") => Ok(true),
                Some("0" | "false" | "") => Ok(false),
                _ => Err(Refused(format!("{name} is true or false, not {value}"))),
            },
        }
    }

    pub fn text(&self, name: &str) -> Result<&'v str, Refused> {
        match self.value(name) {
            None => Ok(""),
            Some(value) => value.as_str().ok_or_else(|| Refused(format!("{name} is a text, not {value}"))),
        }
    }

    /// A list of texts, or texts with commas between them.
    pub fn texts(&self, name: &str) -> Result<Vec<&'v str>, Refused> {
        match self.value(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect()),
            Some(Value::Array(values)) => {
                let texts: Option<Vec<_>> = values.iter().map(Value::as_str).collect();
                texts.ok_or_else(|| Refused(format!("{name} is a list of texts")))
            }
            Some(value) => Err(Refused(format!("{name} is a list of texts, not {value}"))),
        }
    }

    pub fn task(&self, name: &str) -> Result<Key, Refused> {
        let id = self.text(name)?;
        words::key(id).ok_or_else(|| Refused(format!("{name} is a task's number such as 1.17, not {id:?}")))
    }
}
