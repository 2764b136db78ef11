//! New inputs out of known ones, and small ones out of large ones.

use crate::random::Random;

/// Numbers at which code decides, as text.
const NUMBERS: [&str; 14] = [
    "0",
    "1",
    "-1",
    "127",
    "255",
    "256",
    "65535",
    "65536",
    "2147483647",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
];

/// Characters of every length in UTF-8, and some that parsers and terminals take for others.
const CHARACTERS: [&str; 12] = [
    "\0",
    "\n",
    "\r",
    "\t",
    "\\",
    "\"",
    "\u{7f}",
    "\u{e9}",
    "\u{202e}",
    "\u{345}",
    "\u{2028}",
    "\u{1f600}",
];

/// An input made from the pool by one change or some.
pub fn next(random: &mut Random, pool: &[Vec<u8>], words: &[Vec<u8>], longest: usize) -> Vec<u8> {
    let mut input = random.of(pool).clone();
    let most = 1 << random.below(4);
    let changes = 1 + random.below(most);
    for _ in 0..changes {
        change(random, &mut input, pool, words);
    }
    input.truncate(longest);
    input
}

fn change(random: &mut Random, input: &mut Vec<u8>, pool: &[Vec<u8>], words: &[Vec<u8>]) {
    let (from, to) = range(random, input.len());
    match random.below(12) {
        0 if !input.is_empty() => {
            let at = random.below(input.len());
            input[at] ^= 1 << random.below(8);
        }
        1 if !input.is_empty() => {
            let at = random.below(input.len());
            input[at] = random.number() as u8;
        }
        2 => drop(input.drain(from..to)),
        3 => {
            let part = input[from..to].to_vec();
            insert(random, input, &part);
        }
        4 if !words.is_empty() => {
            let word = random.of(words).clone();
            insert(random, input, &word);
        }
        5 if !words.is_empty() => {
            let word = random.of(words).clone();
            input.splice(from..to, word);
        }
        6 => {
            let number = *random.of(&NUMBERS);
            let (from, to) = digits(random, input).unwrap_or((from, from));
            input.splice(from..to, number.bytes());
        }
        7 => {
            let character = *random.of(&CHARACTERS);
            insert(random, input, character.as_bytes());
        }
        // The beginning of one and the end of another.
        8 => {
            let other = random.of(pool);
            input.truncate(from);
            let at = random.below(other.len() + 1);
            input.extend_from_slice(&other[at..]);
        }
        9 => {
            let other = random.of(pool);
            let (from, to) = range(random, other.len());
            let part = other[from..to].to_vec();
            insert(random, input, &part);
        }
        10 => lines(random, input),
        _ => {
            let part = input[from..to].to_vec();
            let times = 1 << random.below(8);
            (0..times).for_each(|_| drop(input.splice(from..from, part.iter().copied())));
        }
    }
}

/// A part of `length` bytes: short ones as likely as long ones.
fn range(random: &mut Random, length: usize) -> (usize, usize) {
    let from = random.below(length + 1);
    let most = 1 << random.below(10);
    (from, from + random.below(most.min(length - from) + 1))
}

fn insert(random: &mut Random, input: &mut Vec<u8>, part: &[u8]) {
    let at = random.below(input.len() + 1);
    input.splice(at..at, part.iter().copied());
}

/// Where one of its numbers is.
fn digits(random: &mut Random, input: &[u8]) -> Option<(usize, usize)> {
    let start = random.below(input.len() + 1);
    let from = start + input[start..].iter().position(u8::is_ascii_digit)?;
    let length = input[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    Some((from, from + length))
}

/// Moves a line to another place, or drops it, or doubles it.
fn lines(random: &mut Random, input: &mut Vec<u8>) {
    let mut all: Vec<Vec<u8>> =
        input.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    if all.is_empty() {
        return;
    }
    let line = match random.once_in(3) {
        true => random.of(&all).clone(),
        false => {
            let at = random.below(all.len());
            all.remove(at)
        }
    };
    if !random.once_in(3) {
        let at = random.below(all.len() + 1);
        all.insert(at, line);
    }
    *input = all.concat();
}

/// A smaller input that fails as well: parts are left out as long as it still does.
pub fn shrink(input: &[u8], fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut smallest = input.to_vec();
    let mut tries = 2000;
    let mut part = smallest.len().div_ceil(2);
    while part > 0 && tries > 0 {
        let mut at = 0;
        while at < smallest.len() && tries > 0 {
            let end = (at + part).min(smallest.len());
            let shorter = [&smallest[..at], &smallest[end..]].concat();
            tries -= 1;
            match fails(&shorter) {
                true => smallest = shorter,
                false => at = end,
            }
        }
        part /= 2;
    }
    smallest
}
