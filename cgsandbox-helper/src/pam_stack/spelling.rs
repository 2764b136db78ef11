//! Which words mean our module, rightly spelt or not.

use super::MODULE;

/// What our module is called without directory and ending.
const STEM: &str = "pam_cgsandbox";

/// Whether Linux-PAM finds our module by `word`: a bare name is looked for in its own
/// directory, as is what follows `$ISA/`.
pub(super) fn is_ours(word: &str) -> bool {
    let word = word.strip_prefix("$ISA/").unwrap_or(word);
    match word.rsplit_once('/') {
        Some((_, name)) => word.starts_with('/') && name == MODULE,
        None => word == MODULE,
    }
}

/// Whether `word` is our module's name, or was meant to be.
pub(super) fn is_meant(word: &str) -> bool {
    let name = word.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let stem = name.split('.').next().unwrap_or_default().replace('-', "_");
    let stem = stem.strip_prefix("lib").unwrap_or(&stem);
    // One letter too many, too few, wrong or in the wrong place; two off is another module.
    stem == "cgsandbox" || strsim::damerau_levenshtein(stem, STEM) <= 1
}

/// Which of a line's words is the module, whatever became of the brackets before it.
///
/// `words` are those after the line's type.
pub(super) fn module(words: &[String]) -> Option<&str> {
    let control = words.first()?;
    if control.starts_with('[') && !control.ends_with(']') {
        // All the rest of the line is in the bracket.
        return control.split_whitespace().find(|word| is_meant(word));
    }
    if !control.starts_with('[') && control.contains('=') {
        // The rest of the bracket are words of their own.
        return words.iter().map(String::as_str).find(|word| !word.contains('='));
    }
    words.get(1).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_module_is_found_by_name_and_by_path() {
        for word in [MODULE, "/lib/security/pam_cgsandbox.so", "$ISA/pam_cgsandbox.so"] {
            assert!(is_ours(word) && is_meant(word), "{word}");
        }
    }

    #[test]
    fn what_is_misspelt_is_meant_and_not_found() {
        for word in [
            "pam_cgsandbox",
            "pam-cgsandbox.so",
            "PAM_CGSANDBOX.SO",
            "libpam_cgsandbox.so",
            "cgsandbox.so",
            "pam_cgsanbdox.so",
            "security/pam_cgsandbox.so",
            "./pam_cgsandbox.so",
            "pam_cgsandbox.so.0",
        ] {
            assert!(is_meant(word) && !is_ours(word), "{word}");
        }
        for word in ["pam_sandbox.so", "pam_cgroup.so", "pam_permit.so", "cgsandbox-notify", "so"] {
            assert!(!is_meant(word), "{word}");
        }
    }
}
