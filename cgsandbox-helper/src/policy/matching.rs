//! Whom a rule or an exemption is for.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use super::Subject;
use crate::config::Sourced;

/// A list of patterns. It matches whoever one of them fits, but nobody whom one of its
/// negated patterns fits. An empty list matches nobody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Match(pub Vec<Sourced<Pattern>>);

/// One entry of a [`Match`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Written with a leading `!`: whom it fits is left out.
    pub negated: bool,
    /// Whom it fits.
    pub who: Who,
}

/// Whom a pattern fits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Who {
    /// `*`
    Everyone,
    /// `@staff` or `@50`: everyone whose primary or supplementary group it is.
    Group(String),
    /// `web-*`: shell wildcards over the user's name.
    Glob(String),
    /// `1000:1999`, `1000:`
    Uids(RangeInclusive<u32>),
    /// `alice` or `1001`
    User(String),
}

/// How closely a pattern describes whom it fits; the closer one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the variants of `Who`, in their order")]
pub enum Specificity {
    Everyone,
    Group,
    Glob,
    Uids,
    User,
}

/// What a [`Match`] says of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// No pattern fits.
    NoMatch,
    /// This negated pattern fits.
    Excluded(&'a Sourced<Pattern>),
    /// This pattern fits; no other that does is more specific.
    Matched(&'a Sourced<Pattern>),
}

impl Match {
    /// What this list says of `subject`.
    pub fn judge(&self, subject: &Subject) -> Verdict<'_> {
        let fitting = || self.0.iter().filter(|pattern| pattern.who.fits(subject));
        if let Some(negated) = fitting().find(|pattern| pattern.negated) {
            return Verdict::Excluded(negated);
        }
        fitting()
            .max_by_key(|pattern| pattern.specificity())
            .map_or(Verdict::NoMatch, Verdict::Matched)
    }

    /// Whether it is for `subject`.
    pub fn has(&self, subject: &Subject) -> bool {
        matches!(self.judge(subject), Verdict::Matched(_))
    }

    /// Whether it is for everybody, but for whom it leaves out.
    pub fn has_everybody(&self) -> bool {
        self.0.iter().any(|pattern| !pattern.negated && pattern.who == Who::Everyone)
    }

    /// Whether somebody is left out of it whom it would match, by an entry with "!".
    pub fn leaves_out(&self) -> bool {
        self.0.iter().any(|pattern| pattern.negated)
    }

    /// What NSS has to be asked for this list.
    pub fn mentioned(&self) -> Mentioned<'_> {
        let mut mentioned = Mentioned::default();
        mentioned.add(self);
        mentioned
    }
}

/// What a policy mentions that only NSS can tell. A look-up can take a directory server, so
/// nothing else is looked up.
#[derive(Debug, Default)]
pub struct Mentioned<'a> {
    /// Groups, by name or by gid.
    pub groups: BTreeSet<&'a str>,
    /// Uids. Each may also be some user's name.
    pub uids: BTreeSet<u32>,
}

impl<'a> Mentioned<'a> {
    /// Adds what `list` mentions.
    pub fn add(&mut self, list: &'a Match) {
        for pattern in &list.0 {
            match &pattern.who {
                Who::Group(group) => _ = self.groups.insert(group),
                Who::User(user) => self.uids.extend(user.parse::<u32>()),
                Who::Everyone | Who::Glob(_) | Who::Uids(_) => {}
            }
        }
    }
}

impl Pattern {
    /// How closely it describes whom it fits.
    pub fn specificity(&self) -> Specificity {
        match self.who {
            Who::Everyone => Specificity::Everyone,
            Who::Group(_) => Specificity::Group,
            Who::Glob(_) => Specificity::Glob,
            Who::Uids(_) => Specificity::Uids,
            Who::User(_) => Specificity::User,
        }
    }
}

impl Who {
    fn fits(&self, subject: &Subject) -> bool {
        let names = || std::iter::once(&subject.name).chain(&subject.canonical);
        match self {
            Who::Everyone => true,
            Who::Group(group) => in_group(subject, group),
            Who::Glob(glob) => names().any(|name| glob_fits(glob, name)),
            Who::Uids(range) => range.contains(&subject.uid),
            Who::User(user) => {
                let by_uid = || user.parse() == Ok(subject.uid) && !subject.uid_is_a_name;
                names().any(|name| name == user) || by_uid()
            }
        }
    }
}

fn in_group(subject: &Subject, group: &str) -> bool {
    let Some(groups) = &subject.groups else { return group.parse() == Ok(subject.gid) };
    let id = groups.mentioned.get(group).copied().flatten();
    id.is_some_and(|id| id == subject.gid || groups.ids.contains(&id))
}

/// glob(7) over a whole name: `*`, `?`, `[a-z]`, `[!a-z]`.
///
/// After a mismatch only the last `*` is widened: never more than length times length steps.
fn glob_fits(glob: &str, name: &str) -> bool {
    let glob: Vec<char> = glob.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut g, mut n) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while n < name.len() {
        if glob.get(g) == Some(&'*') {
            last_star = Some((g, n));
            g += 1;
        } else if let Some(next) = glob.get(g..).and_then(|rest| one_fits(rest, name[n])) {
            g += next;
            n += 1;
        } else if let Some((star, from)) = last_star {
            last_star = Some((star, from + 1));
            (g, n) = (star + 1, from + 1);
        } else {
            return false;
        }
    }
    glob.get(g..).is_some_and(|rest| rest.iter().all(|char| *char == '*'))
}

/// How many characters of `glob` stand for `char`, if its first element does.
fn one_fits(glob: &[char], char: char) -> Option<usize> {
    match glob.first()? {
        '?' => Some(1),
        '[' => {
            // A bracket right after the opening one is itself a member.
            let negated = matches!(glob.get(1), Some('!' | '^'));
            let first = 1 + usize::from(negated);
            let end = first + 1 + glob.get(first + 1..)?.iter().position(|char| *char == ']')?;
            (class_has(&glob[first..end], char) != negated).then_some(end + 1)
        }
        literal => (*literal == char).then_some(1),
    }
}

fn class_has(members: &[char], char: char) -> bool {
    match members {
        [] => false,
        [first, '-', last, rest @ ..] => (*first..=*last).contains(&char) || class_has(rest, char),
        [member, rest @ ..] => *member == char || class_has(rest, char),
    }
}

/// As an administrator would write it.
impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0.as_slice() {
            return write!(f, "{}", only.value);
        }
        let all: Vec<String> = self.0.iter().map(|pattern| pattern.value.to_string()).collect();
        write!(f, "{}", all.join(", "))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negated {
            write!(f, "!")?;
        }
        match &self.who {
            Who::Everyone => write!(f, "*"),
            Who::Group(group) => write!(f, "@{group}"),
            Who::Glob(name) | Who::User(name) => write!(f, "{name}"),
            Who::Uids(range) if *range.end() == u32::MAX => write!(f, "{}:", range.start()),
            Who::Uids(range) => write!(f, "{}:{}", range.start(), range.end()),
        }
    }
}

impl fmt::Display for Specificity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Specificity::Everyone => "everyone",
            Specificity::Group => "group",
            Specificity::Glob => "glob",
            Specificity::Uids => "uid range",
            Specificity::User => "user",
        })
    }
}
