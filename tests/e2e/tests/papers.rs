//! What SECURITY.md promises has the tests that it names.
#![allow(clippy::panic)]

const SECURITY: &str = include_str!("../../../SECURITY.md");

const TESTS: [(&str, &str); 4] = [
    ("`cleanup.rs`", include_str!("cleanup.rs")),
    ("`limits.rs`", include_str!("limits.rs")),
    ("`proc.rs`", include_str!("proc.rs")),
    ("`users.rs`", include_str!("users.rs")),
];

#[test]
fn every_promise_has_the_tests_that_security_md_names() {
    let promises =
        SECURITY.split("## The promise").nth(1).and_then(|text| text.split("\n## ").next());
    let rows = promises.unwrap_or_default().lines().filter(|line| line.starts_with("| ")).skip(2);
    let mut named = 0;
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let [_, promise, tests] = cells[..] else { panic!("not three cells: {row}") };
        let mut words = tests.split_whitespace();
        let Some(file) = words.next() else {
            assert!(promise.contains("not covered yet"), "no test: {row}");
            continue;
        };
        let source = TESTS.iter().find(|(name, _)| *name == file);
        let (_, source) = source.unwrap_or_else(|| panic!("{file} is not among the tests: {row}"));
        for test in words.map(|word| word.trim_matches('`')) {
            assert!(source.contains(&format!("fn {test}()")), "{file} has no test {test}");
            named += 1;
        }
    }
    assert!(named >= 15, "only {named} tests are named: has the table changed its shape?");
}
