//! Arguments with an inside: JSON and durations.

use std::io::Read;
use std::time::Duration;

use serde_json::Value;

use crate::failure::{Failure, for_example, quoted};

/// The text of an argument; `-` is standard input.
pub(crate) fn text(argument: &str) -> Result<String, Failure> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut text = String::new();
    match std::io::stdin().read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::new(format!("standard input: {error}"))),
    }
}

/// Text that is no JSON, and why.
#[derive(Debug)]
pub(crate) struct NotJson {
    text: String,
    why: serde_json::Error,
}

/// The value that a text is.
pub(crate) fn json(text: &str) -> Result<Value, NotJson> {
    serde_json::from_str(text).map_err(|why| NotJson { text: text.to_owned(), why })
}

impl NotJson {
    /// What to tell whoever typed it; `examples` would fit.
    pub(crate) fn failure(&self, examples: &[Value]) -> Failure {
        let shown: String = self.text.chars().take(60).collect();
        let mut help = String::from("an argument is JSON, in single quotes so that the shell leaves it alone");
        if is_word(&self.text) {
            let meant = Value::String(self.text.clone()).to_string();
            help = format!("a text stands in double quotes: {}", quoted(&meant));
        }
        if !examples.is_empty() {
            help = format!("{help}\n{}", for_example(examples));
        }
        Failure::usage(format!("`{shown}` is not JSON: {}", self.why)).help(help)
    }
}

fn is_word(text: &str) -> bool {
    text.len() <= 60
        && text.starts_with(char::is_alphabetic)
        && text.chars().all(|c| c.is_alphanumeric() || " _-".contains(c))
}

/// `10.0.0.1:7700`: where a node can be reached.
pub(crate) fn address(text: &str) -> Result<String, String> {
    let checked = neurath_node::check_address(text);
    checked.map(|()| text.to_owned()).map_err(|why| format!("{why}; an address looks like node1.example.org:7700"))
}

/// `500ms`, `5s`, `2m`, `1h`; a bare number is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write a duration like 500ms, 5s, 2m or 1h".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().map_err(|_| wrong())?;
    let seconds = match text[digits..].trim() {
        "ms" => number / 1000.0,
        "" | "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(wrong()),
    };
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if seconds <= 86_400.0 => Ok(duration),
        _ => Err("at most 24h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, ms) in
            [("500ms", 500), ("5s", 5_000), ("5", 5_000), ("0.5s", 500), ("2m", 120_000), ("1h", 3_600_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "5 parsecs", "-1s", "1e3", "25h", "."] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bare_word_is_shown_with_its_quotes() {
        let failure = json("Get").unwrap_err().failure(&[Value::String("Get".into())]);
        let help = format!("{:?}", failure);
        assert!(help.contains(r#"'\"Get\"'"#), "{help}");
    }
}
