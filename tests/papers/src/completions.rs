//! Completions for shells, made from the command's own grammar.

use clap::ValueHint;
use clap_complete::{Shell, generate};

/// Each shell's file, by the name under which that shell looks for it.
pub const FILES: [(&str, Shell); 3] =
    [("cgsandbox.bash", Shell::Bash), ("_cgsandbox", Shell::Zsh), ("cgsandbox.fish", Shell::Fish)];

/// The directory that they are kept in, from the repository's top.
pub const DIRECTORY: &str = "packaging/completions";

/// What the file for `shell` is to hold.
pub fn of(shell: Shell) -> String {
    let mut text = Vec::new();
    generate(shell, &mut cgsandbox::command::grammar(), "cgsandbox", &mut text);
    let text = String::from_utf8(text).expect("names of ours are UTF-8");
    match shell {
        Shell::Bash => with_users_in_bash(text),
        Shell::Fish => with_users_in_fish(text),
        // clap_complete does it for zsh alone.
        _ => text,
    }
}

/// The commands that take a user.
fn of_users() -> Vec<String> {
    let grammar = cgsandbox::command::grammar();
    let takes_user = |command: &&clap::Command| {
        command.get_positionals().any(|it| it.get_value_hint() == ValueHint::Username)
    };
    grammar.get_subcommands().filter(takes_user).map(|it| it.get_name().to_owned()).collect()
}

fn with_users_in_bash(mut text: String) -> String {
    for command in of_users() {
        let arm = format!("\n        cgsandbox__subcmd__{command})\n");
        let start = text.find(&arm).expect("each command has a part of its own") + arm.len();
        let end = start + text[start..].find("\n            ;;\n").expect("each part ends");
        let options = "COMPREPLY=( $(compgen -W \"${opts}\" -- \"${cur}\") )";
        let users = "mapfile -t COMPREPLY < <(compgen -u -- \"${cur}\")";
        let part = &text[start..end];
        let at = part.rfind(options).expect("the last words are options");
        let part = format!("{}{users}{}", &part[..at], &part[at + options.len()..]);
        let part = part.replacen("${cur} == -* || ${COMP_CWORD} -eq 2", "${cur} == -*", 1);
        text.replace_range(start..end, &part);
    }
    text
}

fn with_users_in_fish(mut text: String) -> String {
    for command in of_users() {
        text += &format!(
            "complete -c cgsandbox -n \"__fish_cgsandbox_using_subcommand {command}\" \
             -f -a \"(__fish_complete_users)\"\n"
        );
    }
    text
}
