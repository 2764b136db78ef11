//! What a module's outcome means for the stack: the second word of a line.

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

/// A control word, or the values and actions in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// As written.
    pub text: String,
    actions: Vec<(String, Action)>,
    default: Action,
}

impl Control {
    /// Reads it. What Linux-PAM does not understand it takes for a failure.
    pub fn parse(text: &str) -> Self {
        use Action::{Bad, Die, Done, Ignore, Ok};
        let (success, ignore, default) = match text.to_ascii_lowercase().as_str() {
            "required" => (Ok, Ignore, Bad),
            "requisite" => (Ok, Ignore, Die),
            "sufficient" => (Done, Ignore, Ignore),
            "optional" => (Ok, Ignore, Ignore),
            _ => return Self::parse_brackets(text),
        };
        let actions = vec![("success".to_owned(), success), ("ignore".to_owned(), ignore)];
        Control { text: text.to_owned(), actions, default }
    }

    fn parse_brackets(text: &str) -> Self {
        let inner = text.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let inner = inner.replace(" =", "=").replace("= ", "=");
        let mut control =
            Control { text: text.to_owned(), actions: Vec::new(), default: Action::Bad };
        for pair in inner.split_whitespace() {
            let (code, action) = pair.split_once('=').unwrap_or((pair, ""));
            let action = match action {
                "ignore" => Action::Ignore,
                "ok" => Action::Ok,
                "done" => Action::Done,
                "die" => Action::Die,
                "reset" => Action::Reset,
                number => number.parse().map_or(Action::Bad, Action::Jump),
            };
            match code {
                "default" => control.default = action,
                _ => control.actions.push((code.to_owned(), action)),
            }
        }
        control
    }

    /// What the outcome `code`, such as `success` or `session_err`, leads to.
    pub fn on(&self, code: &str) -> Action {
        let named = self.actions.iter().rev().find(|(name, _)| name == code);
        named.map_or(self.default, |(_, action)| *action)
    }
}
