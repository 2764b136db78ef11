//! What the sources say that no interface tells: names that stand in log lines.

use std::collections::{BTreeMap, BTreeSet};

use crate::repository;

/// The sources of what ships, without their tests, by file name from the repository's top.
pub fn shipped() -> BTreeMap<String, String> {
    let top = repository::path("");
    let files = ["pam_cgsandbox/src", "cgsandbox-helper/src", "cgsandbox-helper/protocol/src"];
    let all = files.into_iter().flat_map(|directory| repository::files(directory, "rs"));
    all.filter(|path| path.file_name().is_none_or(|name| name != "tests.rs"))
        .map(|path| {
            let name = path.strip_prefix(&top).unwrap_or(&path).display().to_string();
            let text = repository::read(&name);
            let code = text.split("#[cfg(test)]\n#[allow").next().unwrap_or_default();
            (name, code.to_owned())
        })
        .collect()
}

/// The string literals that follow `before`, blanks and line breaks aside.
pub fn literals(text: &str, before: &str) -> BTreeSet<String> {
    let after = text.split(before).skip(1).map(str::trim_start);
    after.filter_map(|rest| Some(rest.strip_prefix('"')?.split_once('"')?.0.to_owned())).collect()
}

/// The names of the events in the log.
pub fn events() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for text in shipped().values() {
        for level in ["Error", "Warning", "Info"] {
            names.extend(literals(text, &format!("Event::new(Level::{level},")));
        }
        names.extend(literals(text, "ailure.log("));
        for priority in ["ERR", "DEBUG"] {
            names.extend(literals(text, &format!("log::write(log::{priority},")));
        }
    }
    names
}

/// The keys of the log.
pub fn keys() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (file, text) in shipped() {
        let of_module: &[&str] = if file.starts_with("pam_cgsandbox/") { &["&[("] } else { &[] };
        for before in [".with(", ".with_some("].iter().chain(of_module) {
            names.extend(literals(&text, before));
        }
    }
    let module = &shipped()["pam_cgsandbox/src/log.rs"];
    let fields = module.split("let fields = [").nth(1).and_then(|text| text.split("];").next());
    names.extend(literals(fields.unwrap_or_default(), "("));
    names.extend(counters(&["of_session", "limit_hits", "usage"]));
    names
}

/// The keys of counters that these functions of `account.rs` fill in.
pub fn counters(functions: &[&str]) -> BTreeSet<String> {
    let text = &shipped()["cgsandbox-helper/src/account.rs"];
    let mut names = BTreeSet::new();
    for function in functions {
        let body = text.split(&format!("fn {function}(")).nth(1);
        let body = body.unwrap_or_else(|| panic!("account.rs has no {function}"));
        let body = body.split("\n}").next().unwrap_or_default();
        names.extend(literals(body, "&mut counters,"));
        if body.contains("TASKS_MAX_HITS") {
            names.extend(literals(text, "const TASKS_MAX_HITS: &str ="));
        }
    }
    names
}
