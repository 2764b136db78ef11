//! What an administrator sees.

use super::*;

#[test]
fn an_error_looks_like_this() {
    let text = "[profile.p]\n\tmemory_max = \"1G\"\n\tmemory_high = \"2G\"";
    let errors = parse(&[main_file(text)]).unwrap_err();
    let expected = "\
error: memory_high (2G) is above memory_max (1G): it would have no effect
 --> main.toml:4:16
  |
4 |  memory_high = \"2G\"
  |                ^^^^
  |
3 |  memory_max = \"1G\"
  |               ^^^^ is the maximum
  = help: lower memory_high, or leave it out
";
    assert_eq!(errors.render(false), expected);
}

#[test]
fn a_terminal_obeys_nothing_in_a_file() {
    let text = "x = \"a\\u001b[31mb\\nc\" # \u{1b}[31m\n\u{9b}31m";
    for errors in [
        parse(&[main_file(text)]).unwrap_err(),
        parse(&[main_file("exempt = \"!\\u001b[31m\\n\"")]).unwrap_err(),
        parse(&[file("a\u{1b}\nb", "")]).unwrap_err(),
    ] {
        assert!(!errors.render(false).contains(['\u{1b}', '\u{9b}']), "{}", errors.render(false));
        assert!(!errors.to_string().contains(char::is_control), "{errors}");
    }
}

#[test]
fn of_a_long_line_the_part_that_matters_is_shown() {
    let text = format!("exempt = [{}\"%x\", {}]", "\"a\", ".repeat(500), "\"b\", ".repeat(500));
    let shown = parse(&[main_file(&text)]).unwrap_err().render(false);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines.iter().all(|line| line.chars().count() < 120), "{shown}");
    let caret = lines[4].find('^').unwrap();
    let under: String = lines[3].chars().skip(caret).take(4).collect();
    assert_eq!((under.as_str(), lines[4].trim_end()), ("\"%x\"", lines[4]), "{shown}");
    assert!(lines[4].ends_with("^^^^"), "{shown}");
    // A value longer than a line of the terminal, too.
    let text = format!("exempt = \"!{}\"", "x".repeat(10_000));
    let shown = parse(&[main_file(&text)]).unwrap_err().render(false);
    assert!(shown.lines().all(|line| line.chars().count() < 1300), "{shown}");
}

#[test]
fn the_caret_stands_under_its_value_in_any_script() {
    let errors = parse(&[main_file("# é\nservices = [\"é€\", \"Ä\"]")]).unwrap_err();
    let shown = errors.render(false);
    assert!(shown.contains(":3:13\n"), "{shown}");
    assert!(shown.contains("3 | services = [\"é€\", \"Ä\"]\n  |             ^^^^\n"), "{shown}");
    assert!(shown.contains(":3:19\n"), "{shown}");
}

#[test]
fn colours_only_add_escapes() {
    let errors = parse(&[main_file("x = 1\nrule = 1")]).unwrap_err();
    let coloured = errors.render(true);
    assert!(coloured.contains("\x1b[1;31merror\x1b[0m"));
    let mut plain = String::new();
    for part in coloured.split('\x1b') {
        plain += part.split_once('m').map_or(
            part,
            |(code, rest)| {
                if code.starts_with('[') { rest } else { part }
            },
        );
    }
    assert_eq!(plain, errors.render(false));
    assert!(!errors.render(false).contains('\x1b'));
}

#[test]
fn the_log_gets_one_line() {
    let errors = parse(&[main_file("a = 1\nb = 2\nc = 3")]).unwrap_err();
    let line = errors.to_string();
    assert!(line.starts_with("main.toml:2:1: unknown key \"a\"; possible here:"), "{line}");
    assert!(line.ends_with("(and 2 more)"), "{line}");
}

#[test]
fn files_are_told_apart_and_in_order() {
    let first = main_file("x = 1");
    let second =
        drop_in("drop.toml", "[profile.p]\ny = 1\n[[rule]]\nmatch = \"*\"\nprofile = \"q\"");
    let found = problems(&[first, second]);
    let places: Vec<String> =
        found.iter().map(|problem| problem.origin.as_ref().unwrap().to_string()).collect();
    assert_eq!(places, ["main.toml:2", "drop.toml:2", "drop.toml:5"]);
}
