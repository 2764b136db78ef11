//! Reading the patterns of `match` and `exempt`.

use super::value::Invalid;
use crate::policy::{Pattern, Who};

/// Long enough for any name: Linux allows 255 bytes in directory names made of it.
const LONGEST: usize = 255;

/// The last uid; the one after it, all ones, means "none" to the kernel.
const LAST_UID: u32 = u32::MAX - 1;

/// One pattern, with or without its `!`.
pub(super) fn parse(text: &str) -> Result<Pattern, Invalid> {
    let (negated, rest) = match text.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    Ok(Pattern { negated, who: who(rest)? })
}

fn who(text: &str) -> Result<Who, Invalid> {
    if text.is_empty() || text.len() > LONGEST || text.trim() != text {
        return Err(nobody(text, "write \"user\", \"@group\", \"1000:1999\" or \"*\""));
    }
    if text.chars().any(char::is_control) {
        return Err(nobody(
            text,
            "no name has control characters; in \" \" a backslash is written twice",
        ));
    }
    match text {
        "*" => Ok(Who::Everyone),
        _ if text.starts_with('!') => Err(nobody(text, "write a single \"!\"")),
        _ if text.starts_with('%') => {
            Err(nobody(text, format!("groups are written \"@{}\"", &text[1..])))
        }
        _ if text.starts_with("@@") => {
            Err(nobody(text, "netgroups are not supported; name a group: \"@staff\""))
        }
        _ if text.starts_with('@') => group(&text[1..]),
        _ if text.contains(':') => match of_other_notation(text) {
            Some(meant) => Err(nobody(text, format!("did you mean \"{meant}\"?"))),
            None => uids(text),
        },
        _ if text.contains(['*', '?', '[']) => glob(text),
        _ if looks_like_range(text) => {
            Err(nobody(text, format!("uid ranges are written \"{}\"", text.replace('-', ":"))))
        }
        _ => Ok(Who::User(text.to_owned())),
    }
}

fn group(name: &str) -> Result<Who, Invalid> {
    if name.is_empty() {
        return Err(nobody("@", "write the group's name after the \"@\""));
    }
    if name.contains(['*', '?', '[', ':', '!']) {
        let help = "groups are named in full; list several: [\"@dev\", \"@ops\"]";
        return Err(nobody(&format!("@{name}"), help));
    }
    Ok(Who::Group(name.to_owned()))
}

/// What is written `group:staff`, `g:staff` or `user:alice` elsewhere, as in setfacl(1).
fn of_other_notation(text: &str) -> Option<String> {
    let (kind, name) = text.split_once(':').filter(|(_, name)| !name.is_empty())?;
    match kind.trim() {
        "group" | "g" | "gid" => Some(format!("@{}", name.trim())),
        "user" | "u" | "uid" => Some(name.trim().to_owned()),
        _ => None,
    }
}

fn uids(text: &str) -> Result<Who, Invalid> {
    let number = |text: &str, open: u32| match text {
        "" => Some(open),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
        _ => None,
    };
    let ends = text.split_once(':').filter(|(first, last)| !(first.is_empty() && last.is_empty()));
    let range = ends.and_then(|(first, last)| Some((number(first, 0)?, number(last, u32::MAX)?)));
    let help = "write the first and the last uid: \"1000:1999\", or \"1000:\" without end";
    match range {
        Some((first, last)) if first > last => {
            Err(nobody(text, format!("write \"{last}:{first}\"")))
        }
        Some((first, last)) if first <= LAST_UID => Ok(Who::Uids(first..=last)),
        _ => Err(nobody(text, help)),
    }
}

fn glob(text: &str) -> Result<Who, Invalid> {
    // Within brackets an opening one is a member like any other.
    let mut rest = text;
    while let Some(at) = rest.find('[') {
        let class = rest[at + 1..].trim_start_matches(['!', '^']);
        let mut members = class.char_indices().skip(1);
        let Some((end, _)) = members.find(|(_, char)| *char == ']') else {
            return Err(nobody(text, "close the bracket: \"web[0-9]\""));
        };
        rest = &class[end + 1..];
    }
    Ok(Who::Glob(text.to_owned()))
}

/// No distribution lets a user's name look so.
fn looks_like_range(text: &str) -> bool {
    text.split_once('-').is_some_and(|(first, last)| {
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        !first.is_empty() && digits(first) && digits(last)
    })
}

fn nobody(text: &str, help: impl Into<String>) -> Invalid {
    Invalid::new(format!("\"{text}\" describes no user"), help)
}
