//! The configuration as the text of a file: read with errors that say where, and printed with every default.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::table::{AT_LEAST, Field, SECTIONS, Setting, TABLE};
use super::{LogFormat, LogLevel, Settings, cores};

/// Nanoseconds of a millisecond.
const MS: u64 = 1_000_000;

/// What is wrong at one place of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct ConfigError {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong, and with what.
    pub message: String,
    /// What was perhaps meant.
    pub hint: Option<String>,
}

/// The settings that a file's text says; what it does not say has its default.
///
/// # Errors
/// All that is wrong, in the order of the file.
pub fn read(text: &str, data: impl Into<PathBuf>) -> Result<Settings, Vec<ConfigError>> {
    let mut reader = Reader { text, settings: Settings::new(data), errors: Vec::new(), said: Vec::new() };
    match DeTable::parse(text) {
        Ok(document) => reader.document(document.get_ref()),
        Err(error) => {
            let at = error.span().unwrap_or(text.len()..text.len());
            reader.error(&at, error.message().to_owned(), None);
        }
    }
    if reader.errors.is_empty() {
        reader.compare();
    }
    let Reader { settings, mut errors, .. } = reader;
    errors.sort_by_key(|(at, _)| *at);
    if errors.is_empty() { Ok(settings) } else { Err(errors.into_iter().map(|(_, error)| error).collect()) }
}

/// A file with every setting at its default, and what each is.
pub fn default_file() -> String {
    let mut settings = Settings::new("");
    let mut text = String::from(
        "# Everything that can be set about a node, at its default. Leave out what you do not change.\n\
         # `_bytes` are bytes, `_ms` milliseconds. `neurath config --check FILE` looks for mistakes.\n",
    );
    for (section, about) in SECTIONS {
        text += &format!("\n# {about}\n[{section}]\n");
        for setting in TABLE.iter().filter(|setting| setting.section == *section) {
            let value = show(&(setting.field)(&mut settings));
            let range = match setting.range {
                (0, 0) => String::new(),
                (least, most) => format!(" From {} to {}.", grouped(least), grouped(most)),
            };
            text += &format!("# {}{range}\n{} = {value}\n", setting.about, setting.key);
        }
    }
    text
}

fn show(field: &Field<'_>) -> String {
    match field {
        Field::U8(value) => value.to_string(),
        Field::U32(value) => grouped(u64::from(**value)),
        Field::U64(value) => grouped(**value),
        Field::Usize(value) => grouped(**value as u64),
        Field::Time(value) => grouped(value.as_millis() as u64),
        Field::Micros(value) => grouped(value.as_micros() as u64),
        Field::Ns(value) => grouped(**value / MS),
        Field::Cores(value) => if **value == cores() { 0 } else { **value }.to_string(),
        Field::Bool(value) => value.to_string(),
        Field::Address(value) => format!("\"{}\"", value.map(|address| address.to_string()).unwrap_or_default()),
        Field::Text(value) => format!("{:?}", value.as_deref().unwrap_or_default()),
        Field::Format(value) => format!("\"{value}\""),
        Field::Level(value) => format!("\"{value}\""),
    }
}

/// `16_384`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

struct Reader<'t> {
    text: &'t str,
    settings: Settings,
    /// With where they begin.
    errors: Vec<(usize, ConfigError)>,
    /// What the file sets, and where.
    said: Vec<(&'static Setting, Range<usize>)>,
}

impl Reader<'_> {
    fn document(&mut self, document: &DeTable<'_>) {
        for (name, value) in document {
            let known = SECTIONS.iter().find(|(section, _)| section == name.get_ref());
            match (known, value.get_ref()) {
                (Some((section, _)), DeValue::Table(table)) => self.section(section, table),
                (Some((section, _)), other) => {
                    let message = format!("`{section}` is a table, and this is {}", kind(other));
                    self.error(&value.span(), message, Some(format!("write `[{section}]`, and its settings below")));
                }
                (None, _) => {
                    let sections = SECTIONS.iter().map(|(section, _)| *section);
                    let homes = TABLE.iter().filter(|setting| setting.key == name.get_ref());
                    let hint = homes.map(|setting| format!("it belongs below `[{}]`", setting.section)).next();
                    let hint = hint.or_else(|| nearest(name.get_ref(), sections));
                    self.error(&name.span(), format!("there is no table or setting `{}`", name.get_ref()), hint);
                }
            }
        }
    }

    fn section(&mut self, section: &'static str, table: &DeTable<'_>) {
        for (key, value) in table {
            let of_section = || TABLE.iter().filter(move |setting| setting.section == section);
            match of_section().find(|setting| setting.key == key.get_ref()) {
                Some(setting) => match set((setting.field)(&mut self.settings), setting, value) {
                    Ok(()) => self.said.push((setting, value.span())),
                    Err(message) => {
                        let message = format!("`{}` in `[{section}]`: {message}", setting.key);
                        self.error(&value.span(), message, Some(setting.about.to_owned()));
                    }
                },
                None => {
                    let elsewhere = TABLE.iter().filter(|setting| setting.key == key.get_ref());
                    let hint = elsewhere.map(|setting| format!("it belongs below `[{}]`", setting.section)).next();
                    let hint = hint.or_else(|| nearest(key.get_ref(), of_section().map(|setting| setting.key)));
                    self.error(&key.span(), format!("`[{section}]` has no setting `{}`", key.get_ref()), hint);
                }
            }
        }
    }

    /// What is right by itself may be wrong together.
    fn compare(&mut self) {
        for (lower, upper, times, more) in AT_LEAST {
            let (Some((lower, low)), Some((upper, high))) = (self.number(lower), self.number(upper)) else { continue };
            let least = low.saturating_mul(*times).saturating_add(*more);
            if high >= least {
                continue;
            }
            let at = self.place_of(upper).or_else(|| self.place_of(lower)).unwrap_or(0..0);
            let message = format!(
                "`{}` in `[{}]` is {}, and must be at least {}, because `{}` in `[{}]` is {}",
                upper.key,
                upper.section,
                grouped(high),
                grouped(least),
                lower.key,
                lower.section,
                grouped(low),
            );
            self.error(&at, message, None);
        }
    }

    /// Where the file sets it.
    fn place_of(&self, wanted: &Setting) -> Option<Range<usize>> {
        let said = |(setting, _): &&(&Setting, _)| [setting.section, setting.key] == [wanted.section, wanted.key];
        self.said.iter().find(said).map(|(_, at)| at.clone())
    }

    fn number(&mut self, name: &str) -> Option<(&'static Setting, u64)> {
        let (section, key) = name.split_once('.')?;
        let setting = TABLE.iter().find(|setting| setting.section == section && setting.key == key)?;
        let value = match (setting.field)(&mut self.settings) {
            Field::U32(value) | Field::Cores(value) => u64::from(*value),
            Field::U8(value) => u64::from(*value),
            Field::U64(value) => *value,
            Field::Usize(value) => *value as u64,
            Field::Time(value) => value.as_millis() as u64,
            Field::Micros(value) => value.as_micros() as u64,
            Field::Ns(value) => *value / MS,
            Field::Bool(_) | Field::Address(_) | Field::Text(_) | Field::Format(_) | Field::Level(_) => return None,
        };
        Some((setting, value))
    }

    fn error(&mut self, at: &Range<usize>, message: String, hint: Option<String>) {
        let before = &self.text[..at.start.min(self.text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |start| start.chars().count()) + 1;
        self.errors.push((at.start, ConfigError { line, column, message, hint }));
    }
}

fn set(field: Field<'_>, setting: &Setting, value: &Spanned<DeValue<'_>>) -> Result<(), String> {
    let value = value.get_ref();
    match field {
        Field::U8(place) => *place = number(setting, value)? as u8,
        Field::U32(place) => *place = number(setting, value)? as u32,
        Field::U64(place) => *place = number(setting, value)?,
        Field::Usize(place) => *place = number(setting, value)? as usize,
        Field::Time(place) => *place = Duration::from_millis(number(setting, value)?),
        Field::Micros(place) => *place = Duration::from_micros(number(setting, value)?),
        Field::Ns(place) => *place = number(setting, value)? * MS,
        Field::Cores(place) => *place = Some(number(setting, value)? as u32).filter(|n| *n > 0).unwrap_or_else(cores),
        Field::Bool(place) => *place = value.as_bool().ok_or_else(|| expected("true or false", value))?,
        Field::Address(place) => *place = address(value)?,
        Field::Text(place) => *place = text(value)?,
        Field::Format(place) => *place = word(&LogFormat::ALL, value)?,
        Field::Level(place) => *place = word(&LogLevel::ALL, value)?,
    }
    Ok(())
}

fn number(setting: &Setting, value: &DeValue<'_>) -> Result<u64, String> {
    let (least, most) = setting.range;
    let range = format!("a number from {} to {}", grouped(least), grouped(most));
    let DeValue::Integer(integer) = value else { return Err(expected(&range, value)) };
    let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
    number.filter(|n| (least..=most).contains(n)).ok_or_else(|| format!("expected {range}, found {integer}"))
}

fn address(value: &DeValue<'_>) -> Result<Option<std::net::SocketAddr>, String> {
    let what = "an address with a port, such as \"127.0.0.1:9464\", or \"\"";
    let text = value.as_str().ok_or_else(|| expected(what, value))?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| format!("expected {what}, found {text:?}"))
}

fn text(value: &DeValue<'_>) -> Result<Option<String>, String> {
    /// No name and no address is so long.
    const BYTES_MAX: usize = 255;
    let what = format!("a text of at most {BYTES_MAX} bytes");
    let text = value.as_str().ok_or_else(|| expected(&what, value))?;
    match text.len() {
        0 => Ok(None),
        1..=BYTES_MAX => Ok(Some(text.to_owned())),
        bytes => Err(format!("expected {what}, found one of {bytes}")),
    }
}

fn word<T: Copy + ToString>(all: &[T], value: &DeValue<'_>) -> Result<T, String> {
    let words: Vec<_> = all.iter().map(|word| format!("{:?}", word.to_string())).collect();
    let what = format!("one of {}", words.join(", "));
    let text = value.as_str().ok_or_else(|| expected(&what, value))?;
    let found = all.iter().find(|word| word.to_string() == text);
    found.copied().ok_or_else(|| format!("expected {what}, found {text:?}"))
}

fn expected(what: &str, value: &DeValue<'_>) -> String {
    format!("expected {what}, found {}", kind(value))
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The known word that is most like this one, if any is.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    const LIKE: f64 = 0.6;
    let scored = known.map(|known| (strsim::normalized_damerau_levenshtein(word, known), known));
    let best = scored.filter(|(score, _)| *score >= LIKE).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, known)| format!("did you mean `{known}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<String> {
        let errors = read(text, "data").expect_err(text);
        errors.iter().map(|error| format!("{error} ({})", error.hint.as_deref().unwrap_or("-"))).collect()
    }

    #[test]
    fn the_printed_defaults_are_the_defaults() {
        let text = default_file();
        let read = read(&text, "data").unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", Settings::new("data")));
        assert_eq!(text.lines().filter(|line| line.contains(" = ")).count(), TABLE.len(), "{text}");
        let empty = super::read("", "data").unwrap();
        assert_eq!(format!("{empty:?}"), format!("{:?}", Settings::new("data")));
    }

    #[test]
    fn every_setting_takes_its_bounds_and_nothing_beyond() {
        for Setting { section, key, range: (least, most), .. } in TABLE {
            if *most == 0 {
                continue;
            }
            let line = |value: u64| format!("[{section}]\n{key} = {value}\n");
            let beyond = errors(&line(most + 1));
            assert!(beyond[0].contains(&format!("{} to {}", grouped(*least), grouped(*most))), "{beyond:?}");
            if let Some(below) = least.checked_sub(1) {
                assert_eq!(errors(&line(below)).len(), 1, "{section}.{key}");
            }
            for bound in [*least, *most] {
                if let Err(errors) = read(&line(bound), "data") {
                    assert!(errors[0].message.contains("because"), "{section}.{key}: {errors:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_said_is_set_and_the_rest_is_not() {
        let text = "[node]\nshards = 3\n[cluster]\nlisten = \"10.0.0.1:7700\"\nname = \"\"\n[process]\nmailbox_bytes = 0x10_0000\n[log]\nformat = \"json\"\n\
                    [session]\ngrace_ms = 1_500\n[metrics]\nlisten = \"127.0.0.1:9464\"\n";
        let settings = read(text, "data").unwrap();
        assert_eq!(settings.node.shards, 3);
        assert_eq!(settings.cluster.listen.as_deref(), Some("10.0.0.1:7700"));
        assert_eq!((&settings.cluster.advertise, &settings.cluster.name), (&None, &None));
        assert_eq!(settings.node.kernel.port.mailbox_bytes, 1 << 20);
        assert_eq!(settings.log.format, LogFormat::Json);
        assert_eq!(settings.session.grace_ns, 1_500_000_000);
        assert_eq!(settings.node.metrics_listen, Some(([127, 0, 0, 1], 9464).into()));
        assert_eq!(settings.node.log_lines, 10_000);
    }

    #[test]
    fn errors_name_the_place_and_what_was_perhaps_meant() {
        let text =
            "[process]\nmailbox_mesages = 1\nmessage_bytes = \"1 MiB\"\n\n[shard]\n  procceses = 7\n[lgo]\nlines = 1\n";
        assert_eq!(
            errors(text),
            [
                "2:1: `[process]` has no setting `mailbox_mesages` (did you mean `mailbox_messages`?)",
                "3:17: `message_bytes` in `[process]`: expected a number from 1_024 to 33_554_432, found a text (One message. \
                 Longer ones are not sent.)",
                "6:3: `[shard]` has no setting `procceses` (did you mean `processes`?)",
                "7:2: there is no table or setting `lgo` (did you mean `log`?)",
            ]
        );
        assert_eq!(errors("[node]\nlines = 5"), ["2:1: `[node]` has no setting `lines` (it belongs below `[log]`)"]);
        assert!(errors("[log]\nlevel = \"loud\"")[0].contains("found \"loud\""));
        let long = format!("[cluster]\nname = \"{}\"", "n".repeat(256));
        assert!(errors(&long)[0].contains("at most 255 bytes, found one of 256"), "{:?}", errors(&long));
        assert!(errors("[cluster]\nlisten = 7700")[0].contains("found a number"));
        assert!(errors("[log]\nlines = -5")[0].contains("found -5"));
        assert!(errors("[log\nlines = 5")[0].starts_with("1:5: "), "{:?}", errors("[log\nlines = 5"));
        assert!(errors("shards = 2")[0].contains("it belongs below `[node]`"));
        assert!(errors("node = 2")[0].contains("is a table"));
    }

    #[test]
    fn what_cannot_be_together_is_refused() {
        let wrong = errors("[hibernation]\nawake_min = 9_000\n");
        assert!(wrong[0].starts_with("2:13: `awake_max` in `[hibernation]` is 8_192"), "{wrong:?}");
        assert!(errors("[process]\nmessage_bytes = 4_000_000")[0].contains("`message_bytes` in `[session]`"));
    }
}
