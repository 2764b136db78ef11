//! What a module's outcome means for the stack: the second word of a line.

use crate::config::did_you_mean;

/// What becomes of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// As if the module was not there.
    Ignore,
    /// The stack fails in the end.
    Bad,
    /// The stack fails at once.
    Die,
    /// Success, so far.
    Ok,
    /// Success at once.
    Done,
    /// So many modules are passed over.
    Jump(usize),
    /// What the modules before said is forgotten.
    Reset,
}

impl Action {
    /// Whether the stack fails by it.
    pub fn refuses(self) -> bool {
        matches!(self, Action::Bad | Action::Die)
    }
}

const KEYWORDS: [&str; 6] =
    ["required", "requisite", "sufficient", "optional", "include", "substack"];

const ACTIONS: [&str; 6] = ["ignore", "ok", "done", "bad", "die", "reset"];

/// The outcomes of a module, by the names of pam.conf(5).
const OUTCOMES: [&str; 33] = [
    "success",
    "open_err",
    "symbol_err",
    "service_err",
    "system_err",
    "buf_err",
    "perm_denied",
    "auth_err",
    "cred_insufficient",
    "authinfo_unavail",
    "user_unknown",
    "maxtries",
    "new_authtok_reqd",
    "acct_expired",
    "session_err",
    "cred_unavail",
    "cred_expired",
    "cred_err",
    "no_module_data",
    "conv_err",
    "authtok_err",
    "authtok_recover_err",
    "authtok_lock_busy",
    "authtok_disable_aging",
    "try_again",
    "ignore",
    "abort",
    "authtok_expired",
    "module_unknown",
    "bad_item",
    "conv_again",
    "incomplete",
    "default",
];

/// A control word, or the values and actions in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// As written.
    pub text: String,
    /// What Linux-PAM does not understand in it; it then takes every outcome for a failure.
    pub mistake: Option<String>,
    actions: Vec<(String, Action)>,
    default: Action,
}

impl Control {
    /// Reads it as Linux-PAM does.
    pub fn parse(text: &str) -> Self {
        use Action::{Bad, Die, Done, Ignore, Ok};
        let (success, ignore, default) = match text.to_ascii_lowercase().as_str() {
            "required" => (Ok, Ignore, Bad),
            "requisite" => (Ok, Ignore, Die),
            "sufficient" => (Done, Ignore, Ignore),
            "optional" => (Ok, Ignore, Ignore),
            _ => {
                return Self::parse_brackets(text).unwrap_or_else(|mistake| Control {
                    text: text.to_owned(),
                    mistake: Some(mistake),
                    actions: Vec::new(),
                    default: Bad,
                });
            }
        };
        let actions = vec![("success".to_owned(), success), ("ignore".to_owned(), ignore)];
        Control { text: text.to_owned(), mistake: None, actions, default }
    }

    /// `[outcome=action ...]`; without the brackets Linux-PAM takes a single pair as well.
    fn parse_brackets(text: &str) -> Result<Self, String> {
        let inner = match (text.strip_prefix('['), text.contains('=')) {
            (Some(inner), _) => inner.strip_suffix(']').ok_or("its [ has no ]")?,
            (None, true) => text,
            (None, false) => return Err(unknown(text, "control", &KEYWORDS)),
        };
        // Blanks may stand around the sign.
        let inner = inner.split('=').map(str::trim).collect::<Vec<_>>().join("=");
        let mut actions = Vec::new();
        let mut default = None;
        for pair in inner.split_whitespace() {
            let Some((outcome, action)) = pair.split_once('=') else {
                return Err(format!("\"{pair}\" lacks its =ACTION"));
            };
            if !OUTCOMES.contains(&outcome) {
                return Err(unknown(outcome, "outcome of a module", &OUTCOMES));
            }
            let action = parse_action(action)?;
            match outcome {
                // Of several the first counts.
                "default" => default = default.or(Some(action)),
                _ => actions.push((outcome.to_owned(), action)),
            }
        }
        let default = default.unwrap_or(Action::Bad);
        Ok(Control { text: text.to_owned(), mistake: None, actions, default })
    }

    /// What the outcome `code`, such as `success` or `session_err`, leads to.
    pub fn on(&self, code: &str) -> Action {
        let named = self.actions.iter().rev().find(|(name, _)| name == code);
        named.map_or(self.default, |(_, action)| *action)
    }
}

fn parse_action(action: &str) -> Result<Action, String> {
    Ok(match action {
        "ignore" => Action::Ignore,
        "ok" => Action::Ok,
        "done" => Action::Done,
        "bad" => Action::Bad,
        "die" => Action::Die,
        "reset" => Action::Reset,
        number => match number.parse() {
            Ok(0) => return Err("a jump over 0 modules is none".to_owned()),
            Ok(over) => Action::Jump(over),
            Err(_) => return Err(unknown(action, "action", &ACTIONS)),
        },
    })
}

fn unknown(word: &str, what: &str, known: &[&str]) -> String {
    match did_you_mean(word, known) {
        Some(meant) => format!("\"{word}\" is no {what}; did you mean \"{meant}\"?"),
        None => format!("\"{word}\" is no {what}"),
    }
}
