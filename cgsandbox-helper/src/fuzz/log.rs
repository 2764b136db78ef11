//! The lines of the log: their values come from clients, directories and users.

use cgsandbox_fuzz::Fuzz;

use crate::audit::{Event, Level};
use crate::error::Error;

/// More than this of one value is cut.
const LONGEST: usize = 512;

/// A line's keys and values, as a program reads them that knows the rules of pam_cgsandbox(8).
fn fields(line: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').unwrap_or_else(|| panic!("no key in {rest:?}"));
        assert!(key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{key:?}");
        let (value, after) = match after.strip_prefix('"') {
            None => {
                let (value, after) = after.split_once(' ').unwrap_or((after, ""));
                (value.to_owned(), after)
            }
            Some(quoted) => {
                let (value, after) = unquote(quoted);
                let after = match after {
                    "" => after,
                    _ => after.strip_prefix(' ').unwrap_or_else(|| panic!("{after:?} is left")),
                };
                (value, after)
            }
        };
        fields.push((key.to_owned(), value));
        rest = after;
    }
    fields
}

/// The value up to the closing quote, and what comes after that.
fn unquote(quoted: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => match characters.next().unwrap().1 {
                'u' => {
                    let code: String =
                        characters.by_ref().map(|(_, c)| c).take_while(|c| *c != '}').collect();
                    let code = u32::from_str_radix(code.strip_prefix('{').unwrap(), 16).unwrap();
                    value.push(char::from_u32(code).unwrap());
                }
                c => value.push(c),
            },
            c => value.push(c),
        }
    }
    panic!("a value without an end: {quoted:?}");
}

#[test]
fn no_value_ends_a_line_or_adds_a_key() {
    let words = ["\" uid=0 ", "\\", "\\u{a}", "\n", "=", "event=session_open", "...", "\u{1b}[2J"];
    Fuzz::target("log").words(&words).longest(4096).run(|input| {
        let text = String::from_utf8_lossy(input);
        let (first, second) = text.split_once('\n').unwrap_or((&text, ""));
        let error = Error::new("open", first, second);
        let event = Event::new(Level::Error, "degraded").with("user", first).with_error(&error);
        let event = event.with("rhost", second).with_some("tty", Some(&*text));
        let line = event.text();
        assert!(!line.chars().any(char::is_control), "{line:?}");
        let cut = |value: &str| -> String {
            match value.chars().nth(LONGEST) {
                None => value.to_owned(),
                Some(_) => value.chars().take(LONGEST).chain("...".chars()).collect(),
            }
        };
        let wanted = [
            ("event", "degraded"),
            ("user", first),
            ("operation", "open"),
            ("object", first),
            ("cause", second),
            ("rhost", second),
            ("tty", &text),
        ];
        let wanted = wanted.map(|(key, value)| (key.to_owned(), cut(value)));
        assert_eq!(fields(line), wanted);
        // What was escaped: its kind makes an outcome.
        let escaped = line.matches("\\u").count().min(4);
        (line.matches('"').count().min(20) / 2, escaped, line.contains("..."))
    });
}
