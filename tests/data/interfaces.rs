//! The introspection files in `data/dbus/` say the same as the interfaces in `core/wire`: names, arguments, signatures. Both are
//! read as text.

use std::collections::BTreeSet;
use std::process::Command;

use crate::installed::{Installed, SERVICE, read, run, workspace};

/// Each interface, and the file of `core/wire/src/dbus` that holds it.
const INTERFACES: [(&str, &str); 4] =
    [("Groups", "groups"), ("Images", "images"), ("Job", "jobs"), ("Service", "service")];

/// The D-Bus type of a Rust type of the proxies.
fn signature(of: &str) -> String {
    match of {
        "()" => String::new(),
        "bool" => "b".to_owned(),
        "i32" => "i".to_owned(),
        "u64" => "t".to_owned(),
        "&str" | "String" => "s".to_owned(),
        "OwnedObjectPath" => "o".to_owned(),
        "Fd<'_>" => "h".to_owned(),
        "HashMap<&str, Value<'_>>" => "a{sv}".to_owned(),
        _ => match of.strip_prefix("Vec<").and_then(|rest| rest.strip_suffix('>')) {
            Some(each) => format!("a{}", signature(each)),
            None => panic!("the test does not know {of}: teach it"),
        },
    }
}

/// `seconds_left` is `SecondsLeft` on the bus.
fn on_the_bus(name: &str) -> String {
    name.split('_').flat_map(|word| [word[..1].to_uppercase(), word[1..].to_owned()]).collect()
}

/// `a: &str, b: HashMap<&str, Value<'_>>` in its parts; a comma within brackets parts nothing.
fn arguments(list: &str) -> Vec<(String, String)> {
    let mut depth = 0;
    let parts = list.split(|letter| {
        depth += i32::from(letter == '<') - i32::from(letter == '>');
        letter == ',' && depth == 0
    });
    let parts = parts.filter_map(|part| part.trim().split_once(": "));
    parts.map(|(name, of)| (name.to_owned(), signature(of))).collect()
}

/// A method, a signal or a property.
struct Item {
    kind: String,
    name: String,
    /// Names and types.
    arguments: Vec<(String, String)>,
    answer: String,
}

impl Item {
    /// In one line, such as `method Freeze(group: s, options: a{sv}) -> o`.
    fn line(&self) -> String {
        let arguments: Vec<String> = self.arguments.iter().map(|(name, of)| format!("{name}: {of}")).collect();
        format!("{} {}({}) -> {}", self.kind, self.name, arguments.join(", "), self.answer)
    }
}

/// What a proxy of `core/wire` says.
fn of_proxy(text: &str, interface: &str) -> BTreeSet<String> {
    assert!(text.contains(&format!("interface = \"{SERVICE}.{interface}\"")), "the proxy is of another interface");
    let code = text.lines().map(str::trim).filter(|line| !line.starts_with("//")).collect::<Vec<_>>().join(" ");
    let (_, body) = code.split_once(&format!("pub trait {interface} {{")).unwrap_or_else(|| panic!("no trait"));
    let (body, _) = body.rsplit_once('}').unwrap_or_else(|| panic!("no end"));
    let each = body.split(';').map(str::trim).filter(|item| !item.is_empty());
    each.map(|text| {
        let (attributes, rest) = text.split_once("fn ").unwrap_or_else(|| panic!("no function: {text}"));
        let (head, answer) = rest.split_once(" -> ").unwrap_or_else(|| panic!("no answer: {text}"));
        let (name, list) = head.split_once('(').unwrap_or_else(|| panic!("no arguments: {text}"));
        let answer = answer.strip_prefix("zbus::Result<").and_then(|rest| rest.strip_suffix('>'));
        let answer = signature(answer.unwrap_or_else(|| panic!("no result: {text}")));
        let arguments = arguments(list.trim_end_matches([')', ',', ' ']));
        let kind = match attributes {
            attributes if attributes.contains("emits_changed_signal = \"const\"") => "const property",
            attributes if attributes.contains("zbus(property)") => "property",
            attributes if attributes.contains("zbus(signal)") => "signal",
            // Whether a password may be asked for is the caller's flag, and no part of the interface.
            "" | "#[zbus(allow_interactive_auth)] " => "method",
            _ => panic!("the test does not know {attributes}: teach it"),
        };
        Item { kind: kind.to_owned(), name: on_the_bus(name), arguments, answer }.line()
    })
    .collect()
}

fn attribute<'a>(tag: &'a str, name: &str) -> &'a str {
    let value = tag.split(&format!(" {name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
    value.unwrap_or_else(|| panic!("no {name} in {tag}"))
}

/// The text without its comments.
fn without_comments(text: &str) -> String {
    text.split("<!--")
        .enumerate()
        .map(|(n, part)| if n == 0 { part } else { part.split_once("-->").map_or("", |of| of.1) })
        .collect()
}

/// What an introspection file says.
fn of_introspection(text: &str, interface: &str) -> BTreeSet<String> {
    let text = without_comments(text);
    let tags = text.split('<').filter(|tag| !tag.starts_with(['/', '!']));
    let mut items: Vec<Item> = Vec::new();
    for tag in tags {
        match tag.split([' ', '>']).next().unwrap_or_default() {
            "interface" => assert_eq!(attribute(tag, "name"), format!("{SERVICE}.{interface}")),
            kind @ ("method" | "signal") => {
                let name = attribute(tag, "name").to_owned();
                items.push(Item { kind: kind.to_owned(), name, arguments: Vec::new(), answer: String::new() });
            }
            "property" => {
                assert_eq!(attribute(tag, "access"), "read");
                let (name, answer) = (attribute(tag, "name").to_owned(), attribute(tag, "type").to_owned());
                items.push(Item { kind: "property".to_owned(), name, arguments: Vec::new(), answer });
            }
            kind @ ("arg" | "annotation") => {
                let Some(item) = items.last_mut() else { panic!("{tag} stands alone") };
                if kind == "annotation" {
                    assert!(
                        tag.contains("org.freedesktop.DBus.Property.EmitsChangedSignal\" value=\"const\""),
                        "{tag}"
                    );
                    item.kind.insert_str(0, "const ");
                } else if item.kind == "method" && attribute(tag, "direction") == "out" {
                    attribute(tag, "type").clone_into(&mut item.answer);
                } else {
                    item.arguments.push((attribute(tag, "name").to_owned(), attribute(tag, "type").to_owned()));
                }
            }
            _ => {}
        }
    }
    items.iter().map(Item::line).collect()
}

#[test]
fn introspection_and_proxies_say_the_same() {
    let installed = Installed::new();
    for (interface, file) in INTERFACES {
        let path = installed.share(&format!("dbus-1/interfaces/{SERVICE}.{interface}.xml"));
        run(Command::new("xmllint").args(["--noout", "--nonet"]).arg(&path)).expect_silence();
        let introspected = of_introspection(&read(&path), interface);
        let proxy = of_proxy(&read(&workspace().join(format!("core/wire/src/dbus/{file}.rs"))), interface);
        assert!(!proxy.is_empty());
        assert_eq!(introspected, proxy, "data/dbus/{SERVICE}.{interface}.xml and core/wire/src/dbus/{file}.rs");
    }
    let number = workspace()
        .join("core/wire/src/dbus")
        .read_dir()
        .map_or(0, |files| files.flatten().filter(|file| read(&file.path()).contains("#[zbus::proxy(")).count());
    assert_eq!(number, INTERFACES.len(), "a proxy without an introspection file");
}

#[test]
fn every_part_of_an_interface_is_documented() {
    for (interface, _) in INTERFACES {
        let text = read(&workspace().join(format!("data/dbus/{SERVICE}.{interface}.xml")));
        let mut comment = "";
        for part in text.split("<!--").skip(1) {
            let (said, items) = part.split_once("-->").unwrap_or_else(|| panic!("a comment without an end"));
            comment = said;
            let mut tags = items.split('<').filter(|tag| !tag.trim().is_empty() && !tag.starts_with('/'));
            let first = tags.next().unwrap_or_default();
            let name = attribute(first, "name");
            assert!(comment.contains(&format!("{name}:")), "the comment above {name} is about something else");
            for tag in tags {
                if tag.starts_with("arg ") {
                    let argument = attribute(tag, "name");
                    assert!(comment.contains(&format!("@{argument}: ")), "{name}: nothing is said of {argument}");
                } else {
                    assert!(tag.starts_with("annotation "), "{name}: no comment stands above <{tag}");
                }
            }
        }
        assert!(!comment.is_empty(), "{interface} has no comments");
    }
}

#[test]
fn interfaces_are_told_apart() {
    let text = "#[zbus::proxy(interface = \"io.github.dormouse.Dormouse1.Job\")]
        pub trait Job {
            /// Says.
            #[zbus(allow_interactive_auth)]
            fn say_all(&self, a: &str, b: HashMap<&str, Value<'_>>) -> zbus::Result<Vec<String>>;
            #[zbus(property(emits_changed_signal = \"const\"))]
            fn kind(&self) -> zbus::Result<u64>;
        }";
    let said = BTreeSet::from(["method SayAll(a: s, b: a{sv}) -> as", "const property Kind() -> t"].map(str::to_owned));
    assert_eq!(of_proxy(text, "Job"), said);
    let xml = "<node><interface name=\"io.github.dormouse.Dormouse1.Job\"><!-- <method name=\"No\"/> -->
        <method name=\"SayAll\"><arg name=\"a\" type=\"s\" direction=\"in\"/><arg name=\"b\" type=\"a{sv}\" direction=\"in\"/>
        <arg name=\"c\" type=\"as\" direction=\"out\"/></method><property name=\"Kind\" type=\"t\" access=\"read\">
        <annotation name=\"org.freedesktop.DBus.Property.EmitsChangedSignal\" value=\"const\"/></property></interface></node>";
    assert_eq!(of_introspection(xml, "Job"), said);
    assert_ne!(of_introspection(&xml.replace("\"as\"", "\"s\""), "Job"), said);
}
