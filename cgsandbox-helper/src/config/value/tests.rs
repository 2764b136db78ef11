#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

type Parse<T> = fn(Scalar<'_>) -> Result<T, Invalid>;

fn text<T>(parse: Parse<T>, value: &str) -> Result<T, Invalid> {
    parse(Scalar::Text(value))
}

/// Each is accepted and shown as the second.
fn accepts<T: ToString>(parse: Parse<T>, cases: &[(&str, &str)]) {
    for (written, shown) in cases {
        match text(parse, written) {
            Ok(value) => assert_eq!(value.to_string(), *shown, "{written}"),
            Err(invalid) => panic!("{written}: {invalid:?}"),
        }
        // What is shown can be written.
        assert!(text(parse, shown).is_ok(), "{shown}");
    }
}

/// Each is refused, with the second in its help.
fn refuses<T: std::fmt::Debug>(parse: Parse<T>, cases: &[(&str, &str)]) {
    for (written, help) in cases {
        let invalid = text(parse, written).unwrap_err();
        assert!(invalid.help.contains(help), "{written}: {invalid:?}");
        assert!(!invalid.message.is_empty());
    }
}

#[test]
fn memory_takes_every_spelling_of_systemd_and_docker() {
    accepts(
        Memory::limit,
        &[
            ("8388608B", "8M"),
            ("8192K", "8M"),
            ("8192k", "8M"),
            ("8192KB", "8M"),
            ("8192kib", "8M"),
            ("8192Ki", "8M"),
            ("512M", "512M"),
            ("512m", "512M"),
            ("512mb", "512M"),
            ("512 MiB", "512M"),
            ("1.5G", "1536M"),
            ("1.50Gi", "1536M"),
            (" 2G ", "2G"),
            ("2gb", "2G"),
            ("1024G", "1T"),
            ("1T", "1T"),
            ("1TiB", "1T"),
            ("8388609B", "8388609B"),
            ("8388607T", "8388607T"),
            ("infinity", "infinity"),
            ("unlimited", "infinity"),
            ("max", "infinity"),
            ("25%", "25%"),
            ("25.0 %", "25%"),
            ("12.5%", "12.5%"),
            ("0.01%", "0.01%"),
            ("100%", "100%"),
        ],
    );
    assert_eq!(text(Memory::limit, "1.5G"), Ok(Memory::Bytes(1_610_612_736)));
}

#[test]
fn memory_without_a_unit_is_refused_with_both_readings() {
    refuses(
        Memory::limit,
        &[
            ("2", "did you mean \"2M\" or \"2G\""),
            ("512", "did you mean \"512M\" or \"512G\""),
            ("1.5", "did you mean \"1.5M\""),
            ("2147483648", "write \"2G\""),
            ("2147483647", "write \"2147483647B\""),
        ],
    );
    let integer = |number| Memory::limit(Scalar::Integer(Some(number))).unwrap_err().help;
    assert!(integer(2).contains("\"2M\" or \"2G\""));
    assert!(integer(1 << 31).contains("\"2G\""));
}

#[test]
fn memory_that_is_none_is_refused() {
    refuses(
        Memory::limit,
        &[
            ("", "write a number and a unit"),
            ("G", "write a number and a unit"),
            ("-1", "write a number and a unit"),
            ("-5G", "write a number and a unit"),
            ("+5G", "write a number and a unit"),
            ("1e9", "write a number and a unit"),
            ("4.29e+09", "write a number and a unit"),
            ("5X", "write a number and a unit"),
            ("5GG", "write a number and a unit"),
            ("1.2.3G", "write a number and a unit"),
            ("1.G", "write a number and a unit"),
            (".5G", "write a number and a unit"),
            ("١G", "write a number and a unit"),
            ("1_G", "write a number and a unit"),
            ("0%", "0.01%"),
            ("101%", "0.01%"),
            ("%", "0.01%"),
            ("-5%", "0.01%"),
            ("0.001%", "0.01%"),
            ("99999999999999999999%", "0.01%"),
            ("99999999T", "smaller"),
            ("8388608T", "smaller"),
            ("9223372036854775808B", "smaller"),
            ("99999999999999999999999999999999999999999999999G", "smaller"),
        ],
    );
    for scalar in [Scalar::Float("1.5"), Scalar::Boolean(true), Scalar::Datetime] {
        assert!(Memory::limit(scalar).is_err());
    }
    for number in [None, Some(-1), Some(i128::MAX), Some(i128::MIN)] {
        assert!(Memory::limit(Scalar::Integer(number)).is_err());
    }
}

#[test]
fn too_little_memory_to_log_in_with_is_refused() {
    let help = "at least \"8M\"";
    refuses(Memory::limit, &[("0", help), ("1K", help), ("2047K", help), ("8388607B", help)]);
    assert!(Memory::limit(Scalar::Integer(Some(0))).is_err());
    // But no swap at all makes sense.
    accepts(Memory::swap, &[("0", "0"), ("0G", "0"), ("1K", "1K"), ("infinity", "infinity")]);
    assert_eq!(Memory::swap(Scalar::Integer(Some(0))), Ok(Memory::Bytes(0)));
}

#[test]
fn a_share_of_memory_is_exact_and_never_more_than_the_whole() {
    let share = |text: &str, total| Memory::limit(Scalar::Text(text)).unwrap().bytes(total);
    assert_eq!(share("25%", 16 << 30), Some(4 << 30));
    assert_eq!(share("33.33%", 10_000_000_000), Some(3_333_000_000));
    assert_eq!(share("0.01%", 1 << 30), Some(8 << 20), "enough to log in with");
    assert_eq!(share("100%", u64::MAX), Some(u64::MAX));
    assert_eq!(share("infinity", 1), None);
    assert_eq!(share("1G", 1), Some(1 << 30));
}

#[test]
fn processor_time_is_in_percent_or_processors() {
    accepts(
        CpuQuota::parse,
        &[
            ("150%", "150%"),
            ("1.5", "150%"),
            ("2", "200%"),
            ("9", "900%"),
            ("50.0", "5000%"),
            ("0.5", "50%"),
            ("33.3333%", "33.3333%"),
            ("12.5 %", "12.5%"),
            ("1%", "1%"),
            ("infinity", "infinity"),
            ("819200%", "819200%"),
        ],
    );
    assert_eq!(text(CpuQuota::parse, "150%"), Ok(CpuQuota::PerSecond(1_500_000)));
    assert_eq!(CpuQuota::parse(Scalar::Float("1.5")), Ok(CpuQuota::PerSecond(1_500_000)));
    assert_eq!(CpuQuota::parse(Scalar::Integer(Some(2))), Ok(CpuQuota::PerSecond(2_000_000)));
    refuses(
        CpuQuota::parse,
        &[
            ("50", "\"50%\", or \"50.0\""),
            ("10", "\"10%\", or \"10.0\""),
            ("0", "at least \"1%\""),
            ("0.99%", "at least \"1%\""),
            ("819201%", "150%"),
            ("99999999999999999999", "150%"),
            ("-1", "150%"),
            ("", "150%"),
            ("%", "150%"),
            ("1.5%%", "150%"),
            ("inf", "150%"),
            ("nan", "150%"),
        ],
    );
    for scalar in [
        Scalar::Integer(Some(50)),
        Scalar::Integer(None),
        Scalar::Float("inf"),
        Scalar::Float("1e3"),
    ] {
        assert!(CpuQuota::parse(scalar).is_err(), "{scalar:?}");
    }
}

#[test]
fn processors_are_sorted_and_merged() {
    accepts(
        CpuSet::parse,
        &[
            ("0", "0"),
            ("0-3,5", "0-3,5"),
            ("5,0-3", "0-3,5"),
            ("0-3,4-5", "0-5"),
            ("0-7,2-3", "0-7"),
            ("0, 1 ,3", "0-1,3"),
            ("8191", "8191"),
            ("all", "all"),
        ],
    );
    assert_eq!(text(CpuSet::parse, "0-3,5").unwrap().ranges(), [(0, 3), (5, 5)]);
    let help = "write numbers from 0";
    refuses(
        CpuSet::parse,
        &[("", help), (",", help), ("3-0", help), ("-1", help), ("1-", help), ("a", help)],
    );
    refuses(CpuSet::parse, &[("8192", help), ("99999999999", help), ("0--3", help), ("+1", help)]);
    let integer = CpuSet::parse(Scalar::Integer(Some(4))).unwrap_err();
    assert!(integer.help.contains("\"4\" for processor 4, \"0-3\" for the first 4"));
}

#[test]
fn tasks_and_logins_leave_room_for_a_login() {
    accepts(Limit::tasks, &[("8", "8"), ("200", "200"), ("4194304", "4194304")]);
    accepts(Limit::tasks, &[("infinity", "infinity")]);
    accepts(Limit::logins, &[("1", "1"), ("infinity", "infinity")]);
    assert_eq!(Limit::tasks(Scalar::Integer(Some(200))), Ok(Limit::At(200)));
    refuses(Limit::tasks, &[("7", "at least 8"), ("0", "at least 8"), ("4194305", "infinity")]);
    refuses(Limit::tasks, &[("", "whole"), ("10%", "how many"), ("-1", "whole"), ("1.5", "whole")]);
    refuses(Limit::tasks, &[("99999999999999999999999999", "whole")]);
    refuses(Limit::logins, &[("0", "at least 1"), ("x", "whole")]);
    assert!(Limit::tasks(Scalar::Integer(Some(-1))).is_err());
    assert!(Limit::tasks(Scalar::Boolean(true)).is_err());
}

#[test]
fn weights_are_from_one_to_ten_thousand() {
    accepts(Weight::parse, &[("1", "1"), ("100", "100"), ("10000", "10000")]);
    let help = "from 1 to 10000";
    refuses(Weight::parse, &[("0", help), ("10001", help), ("65537", help), ("idle", help)]);
}

#[test]
fn words_are_taken_exactly_and_guessed_at() {
    accepts(HidePid::parse, &[("off", "off"), ("noaccess", "noaccess")]);
    assert_eq!(text(HidePid::parse, "invisible"), Ok(HidePid::Invisible));
    assert_eq!(text(OnLogout::parse, "keep"), Ok(OnLogout::Keep));
    refuses(HidePid::parse, &[("invisble", "did you mean \"invisible\""), ("2", "write one of")]);
    refuses(
        OnLogout::parse,
        &[("kil", "did you mean \"kill\""), ("Kill", "did you mean \"kill\"")],
    );
    refuses(login, &[("alow", "did you mean \"allow\""), ("", "write one of \"deny\", \"allow\"")]);
    assert!(boolean(Scalar::Text("true")).is_err());
    assert_eq!(boolean(Scalar::Boolean(true)), Ok(true));
}

#[test]
fn disk_limits_are_a_path_and_an_amount() {
    accepts(
        IoLimit::bandwidth,
        &[
            ("/home 50M", "/home 50M"),
            ("/home  50M/s", "/home 50M"),
            ("/my disk\t1G", "/my disk 1G"),
            ("/dev/sda infinity", "/dev/sda infinity"),
        ],
    );
    accepts(IoLimit::operations, &[("/home 1000", "/home 1000"), ("/ infinity", "/ infinity")]);
    let form = "a path and an amount";
    refuses(
        IoLimit::bandwidth,
        &[
            ("/home", form),
            ("/dev/sda:50M", form),
            ("home 5M", form),
            ("/a/../b 5M", form),
            ("", form),
            ("/home 50", "\"50M\" or \"50G\""),
            ("/home 1K", "at least \"64K\""),
            ("/home 0", "at least \"64K\""),
            ("/home -1", "unit"),
        ],
    );
    refuses(IoLimit::operations, &[("/home 5", "at least 10"), ("/home 1K", "whole number")]);
    assert!(IoLimit::bandwidth(Scalar::Integer(Some(5))).is_err());
}

/// As in a `limits` table: name, value, and what it comes to or a part of the remedy.
fn limit(name: &str, value: &str) -> Result<RlimitPair, Invalid> {
    Rlimit::named(name).unwrap().parse(Scalar::Text(value))
}

#[test]
fn every_resource_limit_has_its_unit() {
    for (name, written, soft, hard, shown) in [
        ("nofile", "4096", 4096, 4096, "4096"),
        ("nofile", "1024:4096", 1024, 4096, "1024:4096"),
        ("nofile", " 1024 : 4096 ", 1024, 4096, "1024:4096"),
        ("nproc", "50", 50, 50, "50"),
        ("locks", "0", 0, 0, "0"),
        ("sigpending", "100", 100, 100, "100"),
        ("core", "0", 0, 0, "0"),
        ("as", "1G", 1 << 30, 1 << 30, "1G"),
        ("data", "16M:1G", 16 << 20, 1 << 30, "16M:1G"),
        ("fsize", "1G", 1 << 30, 1 << 30, "1G"),
        ("stack", "8M", 8 << 20, 8 << 20, "8M"),
        ("memlock", "64K", 64 << 10, 64 << 10, "64K"),
        ("rss", "1G", 1 << 30, 1 << 30, "1G"),
        ("msgqueue", "819200B", 819_200, 819_200, "800K"),
        ("cpu", "60s", 60, 60, "60s"),
        ("cpu", "10min:2h", 600, 7200, "600s:7200s"),
        ("rttime", "200ms", 200_000, 200_000, "200000us"),
        ("rtprio", "0", 0, 0, "0"),
        ("rtprio", "99", 99, 99, "99"),
        ("nice", "+5", 15, 15, "+5"),
        ("nice", "-20", 40, 40, "-20"),
        ("nice", "+19", 1, 1, "+19"),
        ("nice", "+0", 20, 20, "+0"),
    ] {
        let pair = limit(name, written).unwrap();
        let ours = (RlimitValue::At(soft), RlimitValue::At(hard));
        assert_eq!((pair.soft, pair.hard), ours, "{name} {written}");
        assert_eq!(pair.to_string(), shown, "{name} {written}");
        assert!(limit(name, shown).is_ok(), "{name} {shown}");
    }
    for name in Rlimit::ALL.map(Rlimit::name) {
        for written in ["infinity", "unlimited", "infinity:infinity"] {
            let pair = limit(name, written).unwrap();
            assert_eq!((pair.soft, pair.hard), (RlimitValue::Infinity, RlimitValue::Infinity));
        }
        for rubbish in ["", ":", "1:2:3", "x", "-", "99999999999999999999999999"] {
            assert!(limit(name, rubbish).is_err(), "{name} {rubbish}");
        }
    }
    assert_eq!(limit("nofile", "4096:infinity").unwrap().to_string(), "4096:infinity");
    assert_eq!(Rlimit::named("nofiles"), None);
}

#[test]
fn resource_limits_that_mislead_or_lock_out_are_refused() {
    for (name, written, help) in [
        ("nofile", "4096:1024", "\"1024:4096\""),
        ("nofile", "infinity:1024", "\"1024:infinity\""),
        ("nofile", "10", "\"64\""),
        ("nofile", "10:4096", "\"64\""),
        ("nproc", "1", "\"8\""),
        ("as", "1M", "\"64M\""),
        ("data", "1M", "\"16M\""),
        ("stack", "8K", "\"256K\""),
        ("fsize", "0", "\"16M\""),
        ("fsize", "1000000", "\"1000000B\""),
        ("cpu", "60", "\"60min\""),
        ("cpu", "59s", "\"60s\""),
        ("cpu", "1ms", "\"90s\""),
        ("rttime", "5", "\"200ms\""),
        ("rtprio", "100", "from 0 to 99"),
        ("nice", "5", "\"-20\""),
        ("nice", "0", "\"-20\""),
        ("nice", "+20", "\"-20\""),
        ("nice", "-21", "\"-20\""),
        ("nofile", "1.5", "whole"),
        ("nofile", "-1", "whole"),
    ] {
        let invalid = limit(name, written).unwrap_err();
        assert!(invalid.help.contains(help), "{name} {written}: {invalid:?}");
    }
    let parse = |name: &str, scalar| Rlimit::named(name).unwrap().parse(scalar);
    assert!(parse("nofile", Scalar::Integer(Some(4096))).is_ok());
    assert!(parse("core", Scalar::Integer(Some(0))).is_ok());
    assert!(parse("core", Scalar::Integer(Some(1))).is_err());
    assert!(parse("nice", Scalar::Integer(Some(-5))).is_ok());
    assert!(parse("nice", Scalar::Integer(Some(5))).is_err());
    assert!(parse("nofile", Scalar::Boolean(true)).is_err());
}
