//! The lines of the log, which both sides write.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

/// The longest value in a line, in characters; what is over is cut and shown as cut.
const MAX_VALUE: usize = 512;

/// Adds ` key=value` to `line`.
///
/// A value that holds anything but the plainest characters is quoted and escaped, so that no user
/// name, host or terminal can end a line, begin another or add a key.
pub fn add_field(line: &mut String, key: &str, value: &str) {
    line.extend([" ", key, "="]);
    line.push_str(&escape(value));
}

/// Bare where it is plain, else quoted.
fn escape(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:/@%+,-".contains(c);
    if !value.is_empty() && value.len() <= MAX_VALUE && value.chars().all(plain) {
        return value.to_owned();
    }
    let mut text = String::from("\"");
    for (count, c) in value.chars().enumerate() {
        if count == MAX_VALUE {
            text.push_str("...");
            break;
        }
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            ' ' => text.push(c),
            // What joins its neighbour on the screen is escaped, too.
            c if c.is_ascii_graphic() || c.is_alphanumeric() && c.escape_debug().len() == 1 => {
                text.push(c);
            }
            c => text.extend(c.escape_unicode()),
        }
    }
    text.push('"');
    text
}

/// Has the helper's next line tell that one of the module's did not get through. Where there is no
/// state yet, it is not told.
pub fn count_lost() {
    let (path, flags) = ("/run/cgsandbox/lost", libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let lost = OpenOptions::new().append(true).custom_flags(flags).open(path);
    let _ = lost.and_then(|mut file| file.write_all(b"."));
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn no_value_ends_a_line_or_adds_a_key() {
        assert_eq!(escape("alice"), "alice");
        assert_eq!(escape(""), "\"\"");
        assert_eq!(escape("a b=c"), "\"a b=c\"");
        assert_eq!(escape("a\" uid=0 \\"), "\"a\\\" uid=0 \\\\\"");
        assert_eq!(escape("x\nevent=y\u{202e}"), "\"x\\u{a}event=y\\u{202e}\"");
        assert_eq!(escape("žofie"), "\"žofie\"");
        assert_eq!(escape("\u{345}a b"), "\"\\u{345}a b\"");
        assert_eq!(escape(&"a".repeat(600)), format!("\"{}...\"", "a".repeat(512)));
    }
}
