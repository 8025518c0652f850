//! Who may do what: the actions for polkit.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::installed::{Installed, SERVICE, run};

/// What a session that is anywhere, not in front, and in front is allowed.
type Allowed = [String; 3];

fn allowed(policy: &Path) -> BTreeMap<String, Allowed> {
    let ask = |what: &str| {
        let said = run(Command::new("xmllint").args(["--nonet", "--xpath", what]).arg(policy));
        said.expect_success().trim().to_owned()
    };
    let count: usize = ask("count(//action)").parse().unwrap_or_else(|error| panic!("{error}"));
    let action = |number: usize| {
        let of = |who: &str| ask(&format!("string(//action[{number}]/defaults/allow_{who})"));
        (ask(&format!("string(//action[{number}]/@id)")), ["any", "inactive", "active"].map(of))
    };
    (1..=count).map(action).collect()
}

#[test]
fn the_policy_is_valid_and_lets_only_who_sits_there_do_things_with_what_is_their_own() {
    let installed = Installed::new();
    let path = installed.share(&format!("polkit-1/actions/{SERVICE}.policy"));
    let mut validate = Command::new("xmllint");
    validate.args(["--noout", "--nonet", "--path", "/usr/share/polkit-1"]);
    validate.args(["--dtdvalid", "/usr/share/polkit-1/policyconfig-1.dtd"]).arg(&path);
    run(&mut validate).expect_silence();

    let own = ["auth_admin", "auth_admin", "yes"].map(str::to_owned);
    let others = ["auth_admin", "auth_admin", "auth_admin_keep"].map(str::to_owned);
    let expected = [("own", &own), ("others", &others), ("see-others", &others)];
    let expected = expected.map(|(name, allowed)| (format!("{SERVICE}.{name}"), allowed.clone()));
    assert_eq!(allowed(&path), BTreeMap::from(expected));
}
