//! The graph of a group, walked by keys.

use super::sample::world;
use super::stage::Stage;

#[test]
fn a_node_is_reached_by_keys_and_shows_its_process() {
    let stage = Stage::with(world());
    stage.eyes.see("Freeze Text Editor");
    stage.fill();
    stage.call("open", Some("editor"));
    stage.eyes.press("Connections");
    stage.eyes.see("Legend");
    stage.tab_to("Graph of the group");
    // The first arrow leads to the first node, which is the editor.
    stage.press(&["Right", "Return"]);
    stage.eyes.see("/usr/bin/editor --verbose");
    stage.eyes.read("1: pipe:[4711]");
    stage.press(&["Escape"]);
    stage.eyes.press("Show as a List");
    stage.eyes.read("editor (process 3301) writes to Pipe (pipe:[88121])");
}

#[test]
fn a_family_is_opened_by_keys() {
    let stage = Stage::with(world());
    stage.eyes.see("Freeze Build of the kernel");
    stage.fill();
    stage.call("open", Some("build"));
    stage.eyes.press("Connections");
    stage.eyes.see("Legend");
    stage.tab_to("Graph of the group");
    stage.eyes.described("Graph of the group", "5 nodes");
    stage.press(&["Right", "Right", "Right", "Return"]);
    stage.eyes.described("Graph of the group", "154 nodes");
}
