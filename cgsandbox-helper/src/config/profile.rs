//! Reading a `[profile.NAME]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Origin, Sourced};
use super::schema::{Draft, Reader, TOP_KEYS};
use super::value::{IoLimit, List, Port, Rlimit};
use crate::loopback::MOST_SERVICES;
use crate::policy::{KEYS, Match, Parser, Profile, Reading, Rlimits, Said};

/// More disks than any machine shows to its users.
const MOST_DISKS: usize = 256;

/// The directives in `table`, noting the mistakes in them.
pub(super) fn read(reader: &mut Reader<'_>, named: Origin, table: &DeTable<'_>) -> Draft {
    let mut inherits = None;
    let mut values = Profile::default();
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        if name == "inherits" {
            inherits = reader.text(value, |name| Ok(name.to_owned()));
        } else if !values.read(name, &mut Entry { reader, value }) {
            reader.unknown_key(key.span(), name, KEYS, misplaced(name));
        }
    }
    Draft { named, inherits, values: Arc::new(values) }
}

/// What stands behind one key.
struct Entry<'a, 'r, 'i> {
    reader: &'a mut Reader<'r>,
    value: &'a Spanned<DeValue<'i>>,
}

impl Reading for Entry<'_, '_, '_> {
    fn one<T>(&mut self, parse: Parser<T>) -> Said<T> {
        self.reader.scalar(self.value, parse)
    }

    fn disks(&mut self, parse: Parser<IoLimit>) -> Said<List<IoLimit>> {
        disks(self.reader, self.value, parse)
    }

    fn ports(&mut self, parse: Parser<Port>) -> Said<List<Port>> {
        ports(self.reader, self.value, parse)
    }

    fn users(&mut self) -> Said<Match> {
        let origin = self.reader.origin(self.value.span());
        Some(Sourced { value: self.reader.matches(self.value), origin })
    }

    fn rlimits(&mut self) -> Rlimits {
        rlimits(self.reader, self.value)
    }
}

fn misplaced(key: &str) -> Option<String> {
    if TOP_KEYS.contains(&key) {
        return Some(format!("{key} belongs at the top of the file, before the first [...] line"));
    }
    Rlimit::named(key).map(|_| format!("did you mean limits.{key}?"))
}

fn disks(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    parse: Parser<IoLimit>,
) -> Said<List<IoLimit>> {
    let mut limits: Vec<IoLimit> = Vec::new();
    let entries = reader.list(value, "limits: [\"/home 50M\"]");
    if entries.len() > MOST_DISKS {
        let message = format!("{} disks, where at most {MOST_DISKS} can be limited", entries.len());
        reader.refuse(value.span(), message, "name only the disks that users can reach");
        return None;
    }
    for entry in entries {
        let Some(limit) = reader.scalar(entry, parse) else { continue };
        if limits.iter().any(|other| other.path == limit.path) {
            let message = format!("a second limit for {}", limit.path);
            reader.refuse(entry.span(), message, "keep one of them");
        }
        limits.push(limit.value);
    }
    Some(Sourced { value: List(limits), origin: reader.origin(value.span()) })
}

fn ports(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    parse: Parser<Port>,
) -> Said<List<Port>> {
    let entries = reader.list(value, "ports: [53, \"smtp\"]");
    if entries.len() > MOST_SERVICES {
        let message = format!("{} ports, where at most {MOST_SERVICES} can be", entries.len());
        reader.refuse(value.span(), message, "name only what users are to reach");
        return None;
    }
    let ports = entries.iter().filter_map(|entry| reader.scalar(entry, parse));
    let ports = List(ports.map(|port| port.value).collect());
    Some(Sourced { value: ports, origin: reader.origin(value.span()) })
}

fn rlimits(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Rlimits {
    let mut limits = BTreeMap::new();
    let Some(table) = value.get_ref().as_table() else {
        let help = "write limits = { nofile = \"4096\", core = \"0\" }";
        reader.refuse(value.span(), "limits is a table", help);
        return limits;
    };
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let Some(rlimit) = Rlimit::named(name) else {
            let known = Rlimit::ALL.map(Rlimit::name);
            let help = match name {
                "maxlogins" | "maxsyslogins" => {
                    Some("did you mean the profile's max_logins?".to_owned())
                }
                _ => None,
            };
            reader.unknown_key(key.span(), name, &known, help);
            continue;
        };
        if let Some(pair) = reader.scalar(value, |scalar| rlimit.parse(scalar)) {
            limits.insert(rlimit, pair);
        }
    }
    limits
}
