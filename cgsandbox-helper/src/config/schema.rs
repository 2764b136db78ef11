//! From TOML to typed values: one file at a time, every mistake reported.
//!
//! The document is walked by hand instead of through serde, which stops at the first
//! mistake and would have an administrator find the next one at the next login.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::sync::Arc;

use cgsandbox_protocol::Login;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Locator, Origin, Problem, SourceText, Sourced, did_you_mean};
use super::syntax;
use super::value::{self, Invalid, Scalar};
use super::{pattern, place, profile};
use crate::loopback::address::Network4;
use crate::policy::{KEYS, Match, Profile, Rule};

/// The keys at the top of a file.
pub(super) const TOP_KEYS: &[&str] = &[
    "version",
    "on_error",
    "exempt",
    "services",
    "cgroup_root",
    "loopback_pool",
    "loopback_prefix",
    "loopback_addresses",
    "profile",
    "rule",
];

/// More than this nobody reads, and the search for what was meant takes time.
pub(super) const MOST_PROBLEMS: usize = 100;

const RULE_KEYS: &[&str] = &["match", "profile"];

/// What one file says.
#[derive(Debug, Default)]
pub(super) struct Layer {
    pub version: Option<Origin>,
    pub on_error: Option<Sourced<Login>>,
    pub exempt: Option<Match>,
    pub services: Option<Vec<Sourced<String>>>,
    pub cgroup_root: Option<String>,
    pub loopback_pool: Option<Network4>,
    pub loopback_prefix: Option<Ipv6Addr>,
    pub loopback_addresses: BTreeMap<String, Sourced<Ipv4Addr>>,
    pub profiles: BTreeMap<String, Draft>,
    pub rules: Vec<Arc<Rule>>,
    /// Whether an entry of `exempt` could not be read.
    pub exempt_is_broken: bool,
}

/// A profile before inheritance.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub named: Origin,
    pub inherits: Option<Sourced<String>>,
    pub values: Arc<Profile>,
}

/// Reads one file; none when it is not even TOML.
pub(super) fn read(source: &SourceText, problems: &mut Vec<Problem>) -> Option<Layer> {
    let locator = Locator::of(source);
    match DeTable::parse(&source.text) {
        Ok(table) => {
            let mut reader = Reader { locator, problems };
            let layer = reader.layer(table.get_ref());
            if layer.version.is_none()
                && !source.drop_in
                && !table.get_ref().contains_key("version")
            {
                reader.refuse(0..0, "the version is missing", "begin the file with: version = 1");
            }
            Some(layer)
        }
        Err(first) => {
            problems.extend(syntax::problems(source, &locator, first));
            None
        }
    }
}

/// Turns the values of one file into typed ones and notes what it cannot.
pub(super) struct Reader<'a> {
    locator: Locator<'a>,
    problems: &'a mut Vec<Problem>,
}

type Value<'i> = Spanned<DeValue<'i>>;

impl Reader<'_> {
    fn layer(&mut self, table: &DeTable<'_>) -> Layer {
        let mut layer = Layer::default();
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "version" => layer.version = self.version(value),
                "on_error" => layer.on_error = self.scalar(value, value::login),
                "exempt" => {
                    let before = self.problems.len();
                    layer.exempt = Some(self.matches(value));
                    layer.exempt_is_broken = self.problems.len() > before;
                }
                "services" => layer.services = Some(self.services(value)),
                "cgroup_root" => {
                    layer.cgroup_root = self.text(value, place::cgroup_root).map(|root| root.value);
                }
                "loopback_pool" => {
                    layer.loopback_pool = self.text(value, place::pool).map(|pool| pool.value);
                }
                "loopback_prefix" => {
                    layer.loopback_prefix =
                        self.text(value, place::prefix).map(|prefix| prefix.value);
                }
                "loopback_addresses" => layer.loopback_addresses = self.addresses(value),
                "profile" => layer.profiles = self.profiles(value),
                "rule" => layer.rules = self.rules(value),
                unknown => {
                    let help = misplaced_at_top(unknown, value.get_ref());
                    self.unknown_key(key.span(), unknown, TOP_KEYS, help);
                }
            }
        }
        layer
    }

    fn version(&mut self, value: &Value<'_>) -> Option<Origin> {
        let one = |scalar: Scalar<'_>| match scalar {
            Scalar::Integer(Some(1)) => Ok(()),
            _ => Err(Invalid::new("this version of the file format is not known", "write 1")),
        };
        self.scalar(value, one).map(|version| version.origin)
    }

    fn services(&mut self, value: &Value<'_>) -> Vec<Sourced<String>> {
        let services = self.list(value, "PAM services: [\"sshd\"]");
        services.iter().filter_map(|value| self.text(value, place::service)).collect()
    }

    fn addresses(&mut self, value: &Value<'_>) -> BTreeMap<String, Sourced<Ipv4Addr>> {
        let Some(table) = value.get_ref().as_table() else {
            let help = "write [loopback_addresses], and USER = \"127.64.0.9\" in the lines below";
            self.refuse(value.span(), "loopback_addresses is a table", help);
            return BTreeMap::new();
        };
        let mut addresses = BTreeMap::new();
        for (name, value) in table {
            if let Some(address) = self.text(value, place::address) {
                addresses.insert(name.get_ref().to_string(), address);
            }
        }
        addresses
    }

    fn profiles(&mut self, value: &Value<'_>) -> BTreeMap<String, Draft> {
        let mut profiles = BTreeMap::new();
        let Some(table) = value.get_ref().as_table() else {
            let help = "write [profile.NAME], and its directives in the lines below";
            self.refuse(value.span(), "profile is a table of profiles", help);
            return profiles;
        };
        for (name, value) in table {
            let Some(directives) = value.get_ref().as_table() else {
                // [profile] in place of [profile.NAME] makes directives look like names.
                let help = match KEYS.contains(&name.get_ref().as_ref()) {
                    true => "directives belong into a [profile.NAME]".to_owned(),
                    false => format!("write [profile.{}]", name.get_ref()),
                };
                self.refuse(name.span(), format!("\"{}\" is not a profile", name.get_ref()), help);
                continue;
            };
            if let Err(invalid) = place::profile_name(name.get_ref()) {
                self.refuse(name.span(), invalid.message, invalid.help);
            }
            let named = self.locator.origin(name.span());
            let draft = profile::read(self, named, directives);
            profiles.insert(name.get_ref().to_string(), draft);
        }
        profiles
    }

    fn rules(&mut self, value: &Value<'_>) -> Vec<Arc<Rule>> {
        let Some(rules) = value.get_ref().as_array() else {
            let help = "write [[rule]], with two brackets on either side";
            self.refuse(value.span(), "there can be several rules", help);
            return Vec::new();
        };
        rules.iter().filter_map(|rule| self.rule(rule)).map(Arc::new).collect()
    }

    fn rule(&mut self, value: &Value<'_>) -> Option<Rule> {
        let Some(table) = value.get_ref().as_table() else {
            let help = "write [[rule]], then match = ... and profile = ... below it";
            self.refuse(value.span(), "not a rule", help);
            return None;
        };
        let (mut matches, mut profile) = (None, None);
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "match" => {
                    matches = Some((self.locator.origin(value.span()), self.matches(value)));
                }
                "profile" => profile = self.text(value, |name| Ok(name.to_owned())),
                unknown => {
                    let directive = KEYS.contains(&unknown);
                    let help = directive.then(|| {
                        format!("{unknown} belongs into a [profile.NAME]; rules only choose one")
                    });
                    self.unknown_key(key.span(), unknown, RULE_KEYS, help);
                }
            }
        }
        for key in RULE_KEYS.iter().filter(|key| !table.contains_key(**key)) {
            let help = match *key {
                "match" => "write whom it is for: match = \"*\"",
                _ => "write which profile they get: profile = \"default\"",
            };
            self.refuse(value.span(), format!("this rule has no {key}"), help);
        }
        let (origin, matches) = matches?;
        Some(Rule { matches, profile: profile?, origin })
    }

    /// A list of patterns.
    pub(super) fn matches(&mut self, value: &Value<'_>) -> Match {
        let entries = self.list(value, "users: \"*\", or [\"@staff\", \"!bob\"]");
        let before = self.problems.len();
        let patterns: Vec<_> =
            entries.iter().filter_map(|entry| self.text(entry, pattern::parse)).collect();
        let only_negated = !patterns.is_empty() && patterns.iter().all(|pattern| pattern.negated);
        if only_negated && self.problems.len() == before {
            let help = "begin with whom it is for: [\"*\", \"!bob\"] is everyone but bob";
            self.refuse(value.span(), "\"!\" only leaves out, so this is for nobody", help);
        }
        Match(patterns)
    }

    /// The entries of an array; a value that is none stands for itself.
    pub(super) fn list<'v, 'i>(&mut self, value: &'v Value<'i>, of: &str) -> Vec<&'v Value<'i>> {
        match value.get_ref() {
            DeValue::Array(array) => array.iter().collect(),
            DeValue::Table(_) => {
                self.refuse(value.span(), "a table where a list belongs", format!("list {of}"));
                Vec::new()
            }
            _ => vec![value],
        }
    }

    /// A string, read by `parse`.
    pub(super) fn text<T>(
        &mut self,
        value: &Value<'_>,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Option<Sourced<T>> {
        self.scalar(value, |scalar| match scalar {
            Scalar::Text(text) => parse(text),
            other => Err(Invalid::new(
                format!("{} where a string belongs", other.kind()),
                "write it in quotes",
            )),
        })
    }

    /// Anything but an array or a table, read by `parse`.
    pub(super) fn scalar<T>(
        &mut self,
        value: &Value<'_>,
        parse: impl FnOnce(Scalar<'_>) -> Result<T, Invalid>,
    ) -> Option<Sourced<T>> {
        let scalar = match value.get_ref() {
            DeValue::String(text) => Scalar::Text(text),
            DeValue::Integer(number) => {
                Scalar::Integer(i128::from_str_radix(number.as_str(), number.radix()).ok())
            }
            DeValue::Float(number) => Scalar::Float(number.as_str()),
            DeValue::Boolean(value) => Scalar::Boolean(*value),
            DeValue::Datetime(_) => Scalar::Datetime,
            DeValue::Array(_) => {
                self.refuse(value.span(), "a list where one value belongs", "write it without [ ]");
                return None;
            }
            DeValue::Table(_) => {
                let help = "write NAME = VALUE on one line";
                self.refuse(value.span(), "a table where one value belongs", help);
                return None;
            }
        };
        match parse(scalar) {
            Ok(parsed) => {
                Some(Sourced { value: parsed, origin: self.locator.origin(value.span()) })
            }
            Err(invalid) => {
                self.refuse(value.span(), invalid.message, invalid.help);
                None
            }
        }
    }

    /// Notes a key that does not belong where it stands.
    pub(super) fn unknown_key(
        &mut self,
        span: Range<usize>,
        key: &str,
        known: &[&str],
        help: Option<String>,
    ) {
        if self.problems.len() >= MOST_PROBLEMS {
            return;
        }
        let help = help
            .or_else(|| did_you_mean(key, known).map(|meant| format!("did you mean {meant}?")))
            .unwrap_or_else(|| format!("possible here: {}", known.join(", ")));
        self.refuse(span, format!("unknown key \"{key}\""), help);
    }

    /// Notes an error and what mends it.
    pub(super) fn refuse(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(Problem::at(self.locator.origin(span), message).help(help));
        }
    }

    pub(super) fn origin(&self, span: Range<usize>) -> Origin {
        self.locator.origin(span)
    }
}

fn misplaced_at_top(key: &str, value: &DeValue<'_>) -> Option<String> {
    if KEYS.contains(&key) {
        return Some(format!("{key} belongs into a [profile.NAME]"));
    }
    let is_profile = value
        .as_table()
        .is_some_and(|table| table.keys().any(|inner| KEYS.contains(&inner.get_ref().as_ref())));
    is_profile.then(|| format!("profiles are written [profile.{key}]"))
}
