//! A service's file with our line and without it. Every other byte stays as it is.

use super::spelling;
use super::text;

/// The line as it ships.
pub const LINE: &str =
    "session [success=ok ignore=ignore module_unknown=ignore default=bad] pam_cgsandbox.so";

/// `file` with the line as its last one. Where the file's last newline is missing, the new
/// one's is too: without the line, the file is as it was.
pub fn with_line(file: &[u8]) -> Vec<u8> {
    let mut new = file.to_vec();
    match file.last() {
        None | Some(b'\n') => new.extend_from_slice(format!("{LINE}\n").as_bytes()),
        Some(_) => new.extend_from_slice(format!("\n{LINE}").as_bytes()),
    }
    new
}

/// `file` without the lines of our module, however they are written; and how many those were.
pub fn without_lines(file: &[u8]) -> (Vec<u8>, usize) {
    let shown = String::from_utf8_lossy(file);
    let is_ours = |line: &text::Logical| {
        let rest = line.words.get(1..).unwrap_or_default();
        spelling::module(rest).is_some_and(spelling::is_meant)
    };
    let ours: Vec<text::Logical> = text::lines(&shown).into_iter().filter(is_ours).collect();
    let mut kept = Vec::with_capacity(file.len());
    let physical: Vec<&[u8]> = file.split_inclusive(|byte| *byte == b'\n').collect();
    for (number, line) in (1..).zip(&physical) {
        if !ours.iter().any(|ours| (ours.number..=ours.last).contains(&number)) {
            kept.extend_from_slice(line);
        }
    }
    let ends_with_ours = ours.last().is_some_and(|line| line.last == physical.len());
    if ends_with_ours && file.last() != Some(&b'\n') && kept.last() == Some(&b'\n') {
        kept.pop();
    }
    (kept, ours.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: [&[u8]; 9] = [
        b"",
        b"\n",
        b"session required pam_unix.so",
        b"session required pam_unix.so\n",
        b"session required pam_unix.so\n\n\n",
        b"# pam_cgsandbox.so\nauth optional pam_exec.so /opt/pam_cgsandbox-notify\n",
        b"\xff\xfe not UTF-8 \x80\nsession \\\n  required pam_unix.so\t\t",
        b"session required pam_unix.so\r\n@include common-session\r\n",
        b"session [success=1 default=ignore] pam_succeed_if.so uid < 1000 # why\n#",
    ];

    #[test]
    fn with_the_line_and_without_it_again_a_file_is_the_same() {
        for file in BARE {
            let with = with_line(file);
            assert!(with.starts_with(file));
            assert_eq!(String::from_utf8_lossy(&with).lines().last(), Some(LINE));
            assert_eq!(without_lines(&with), (file.to_vec(), 1), "{file:?}");
            assert_eq!(without_lines(file), (file.to_vec(), 0), "{file:?}");
        }
    }

    #[test]
    fn the_line_is_taken_out_in_every_spelling() {
        for line in [
            "session required pam_cgsandbox.so",
            "-session optional /lib/security/pam_cgsandbox.so timeout=2s debug # ours",
            "  SESSION\t[success=ok default=bad]\tpam_cgsandbox.so",
            "session [success=ok ignore=ignore module_unknown=ignore default=bad] \\\n    pam_cgsandbox.so",
            "session \\\n [success=ok \\\n default=bad] \\\n pam_cgsandbox.so \\\n timeout=2s",
            "auth optional pam_cgsandbox.so",
            "session required pam_cgsandbox",
            "session required pam_cgsandbox.so\r",
            "session [success=ok default=bad pam_cgsandbox.so",
            "session success=ok default=bad] pam_cgsandbox.so timeout=1s",
        ] {
            let file = format!("# one\nsession required pam_unix.so\n{line}\n@include x\n\n");
            let bare = b"# one\nsession required pam_unix.so\n@include x\n\n";
            assert_eq!(without_lines(file.as_bytes()), (bare.to_vec(), 1), "{line}");
            let last = format!("@include x\n{line}");
            assert_eq!(without_lines(last.as_bytes()), (b"@include x".to_vec(), 1), "{line}");
        }
        let twice = format!("{LINE}\nsession required pam_unix.so\n{LINE}");
        assert_eq!(without_lines(twice.as_bytes()).1, 2);
    }
}
