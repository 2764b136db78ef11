//! What SECURITY.md promises has the tests that it names.
#![allow(clippy::panic)]

use cgsandbox_papers::repository;

#[test]
fn every_promise_has_the_tests_that_security_md_names() {
    let security = repository::read("SECURITY.md");
    let promises =
        security.split("## The promise").nth(1).and_then(|text| text.split("\n## ").next());
    let rows = promises.unwrap_or_default().lines().filter(|line| line.starts_with("| ")).skip(2);
    let mut named = 0;
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let [_, promise, tests] = cells[..] else { panic!("not three cells: {row}") };
        let mut words = tests.split_whitespace().map(|word| word.trim_matches('`'));
        let Some(file) = words.next() else {
            assert!(promise.contains("not covered yet"), "no test: {row}");
            continue;
        };
        let path = match file.split_once('/') {
            Some((suite, file)) => format!("tests/{suite}/tests/{file}"),
            None => format!("tests/e2e/tests/{file}"),
        };
        let source = repository::read(path);
        for test in words {
            let test = format!("#[test]\nfn {test}()");
            assert!(source.contains(&test), "{file} has no {test}");
            named += 1;
        }
    }
    assert!(named >= 15, "only {named} tests are named: has the table changed its shape?");
}
