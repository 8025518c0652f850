//! The app in another language: also what the service says in it, whose words come over the bus in English.

use std::process::Command;

use dormouse_wire::Problem;

use super::sample::{on_the_bus, world};
use super::stage::{Scenery, Stage};

/// What a template is in a language, as gettext(1) finds it in the translation that the stage has made.
fn translated(stage: &Stage, language: &str, template: &str) -> String {
    let folder = stage.folder().join("installed/share/locale");
    let mut command = Command::new("gettext");
    command.args(["--domain", "dormouse", template]).env("TEXTDOMAINDIR", folder);
    let said = command.env("LC_ALL", "C.UTF-8").env("LANGUAGE", language).output();
    let said = said.unwrap_or_else(|error| panic!("gettext does not start: {error}")).stdout;
    let said = String::from_utf8_lossy(&said).into_owned();
    assert_ne!(said, template, "{language} has no translation of it");
    said
}

/// The words of a problem in a language.
fn said(stage: &Stage, language: &str, problem: &Problem) -> Vec<String> {
    let phrases = [Some(&problem.what), problem.lost(), problem.resource.as_ref()];
    let each = phrases.into_iter().flatten().map(|phrase| {
        phrase.said(&mut |template| translated(stage, language, template), &mut |_, value| value.to_owned())
    });
    each.collect()
}

fn reasons_are_said_in(language: &'static str) {
    let mut world = world();
    let reason = on_the_bus();
    if let Some(checked) = world.checked.get_mut("editor") {
        checked.verdict = dormouse_wire::Verdict::Blocked(vec![reason.clone()]);
    }
    let stage = Stage::set(Scenery { language: Some(language), ..Scenery::default() }, world);
    stage.eyes.see("Text Editor");
    stage.call("open", Some("editor"));
    for words in said(&stage, language, &reason) {
        // The first letter is made a capital one, and to whoever has the window read to him GTK tells no underscores.
        stage.eyes.read(&words.chars().skip(1).filter(|letter| *letter != '_').collect::<String>());
    }
    stage.photograph(&format!("reasons-{language}"));
    let english = [reason.what.as_str(), "connected", "descriptor"];
    let left = stage.eyes.things().into_iter().find(|thing| english.iter().any(|words| thing.name.contains(words)));
    assert!(left.is_none(), "something is left in English: {left:?}");
}

#[test]
fn reasons_are_said_in_german() {
    reasons_are_said_in("de");
}

#[test]
fn reasons_are_said_in_chinese() {
    reasons_are_said_in("zh_CN");
}
