//! The icons: each is drawn at the sizes that desktops show, and there is something to see.

use std::process::Command;

use crate::installed::{ID, Installed, read, run};

/// What was drawn.
#[derive(Debug)]
struct Drawn {
    size: (u32, u32),
    colours: u32,
    /// How much of it is covered, 0 to 1.
    covered: f64,
}

/// Draws an icon of the theme.
fn drawn(installed: &Installed, icon: &str, size: u32) -> Drawn {
    let picture = installed.room().join("icon.png");
    let mut draw = Command::new("rsvg-convert");
    draw.arg(format!("--width={size}")).arg(format!("--height={size}")).arg("--output").arg(&picture);
    run(draw.arg(installed.share(&format!("icons/hicolor/{icon}.svg")))).expect_silence();
    let mut look = Command::new("convert");
    look.arg(&picture).args(["-format", "%w %h %k ", "-write", "info:", "-channel", "A", "-separate"]);
    let said = run(look.args(["-format", "%[fx:mean]", "info:"])).expect_success();
    let words: Vec<&str> = said.split_whitespace().collect();
    let [width, height, colours, covered] = words.as_slice() else { panic!("what was seen: {said}") };
    let number = |word: &str| word.parse().unwrap_or_else(|error| panic!("{word}: {error}"));
    let covered = covered.parse().unwrap_or_else(|error| panic!("{covered}: {error}"));
    Drawn { size: (number(width), number(height)), colours: number(colours), covered }
}

#[test]
fn each_icon_can_be_seen_at_every_size() {
    let installed = Installed::new();
    let names = [
        format!("scalable/apps/{ID}"),
        format!("symbolic/apps/{ID}-symbolic"),
        format!("scalable/mimetypes/{ID}-image"),
    ];
    for name in names {
        for size in [16, 32, 64, 128] {
            let drawn = drawn(&installed, &name, size);
            assert_eq!(drawn.size, (size, size), "{name}");
            // Neither empty nor a square that covers all.
            assert!((0.25..0.9).contains(&drawn.covered), "{name} at {size}: {drawn:?}");
            assert!(name.contains("symbolic") || drawn.colours > 20, "{name} at {size}: {drawn:?}");
        }
    }
}

#[test]
fn the_symbolic_icon_has_one_colour() {
    let installed = Installed::new();
    let text = read(&installed.share(&format!("icons/hicolor/symbolic/apps/{ID}-symbolic.svg")));
    let colours: Vec<&str> = text.split('#').skip(1).map(|rest| &rest[..6]).collect();
    assert_eq!(colours, ["2e3436"]);
    assert!(
        text.contains("width=\"16\" height=\"16\"") && !text.contains("stroke"),
        "it is made for 16 pixels, of areas"
    );
}
