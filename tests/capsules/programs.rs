//! Large programs in capsules with their displays: each is typed into, sleeps, wakes, and is to be seen as it was, ten times in a row.

use harness::User;

use crate::desktop::{App, goes_on};

const LINE: &[&str] = &["d", "o", "r", "m", "o", "u", "s", "e", "Return"];

#[test]
fn a_calculator_of_kde_goes_on_computing() {
    let app = App {
        program: "kcalc",
        first: MANAGED,
        title: "KCalc",
        sandbox: &[],
        keys: &["plus", "7", "Return"],
        rounds: 10,
    };
    goes_on(User::Root, app);
}

/// Who gives windows the keyboard.
const MANAGED: &str = "matchbox-window-manager -use_titlebar no > /tmp/manager.log 2>&1 &";

/// Nothing that comes up by itself.
const WRITER: &str = r#"
matchbox-window-manager -use_titlebar no > /tmp/manager.log 2>&1 &
mkdir -p /tmp/home/office/user
cat > /tmp/home/office/user/registrymodifications.xcu << 'END'
<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry" xmlns:xs="http://www.w3.org/2001/XMLSchema"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<item oor:path="/org.openoffice.Office.Common/Misc"><prop oor:name="ShowTipOfTheDay" oor:op="fuse"><value>false</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Misc"><prop oor:name="FirstRun" oor:op="fuse"><value>false</value></prop></item>
<item oor:path="/org.openoffice.Setup/Product"><prop oor:name="ooSetupLastVersion" oor:op="fuse"><value>7.4</value></prop></item>
<item oor:path="/org.openoffice.Setup/Product"><prop oor:name="LastTimeGetInvolvedShown" oor:op="fuse"><value>4000000000</value></prop></item>
<item oor:path="/org.openoffice.Setup/Product"><prop oor:name="LastTimeDonateShown" oor:op="fuse"><value>4000000000</value></prop></item>
</oor:items>
END
export SAL_USE_VCLPLUGIN=gtk3
"#;

const WORD_PROCESSOR: App<'_> = App {
    program: "soffice --writer --norestore --nologo -env:UserInstallation=file:///tmp/home/office",
    first: WRITER,
    title: "Writer",
    sandbox: &[],
    keys: LINE,
    rounds: 10,
};

#[test]
fn a_word_processor_goes_on_writing() {
    goes_on(User::Root, WORD_PROCESSOR);
}

#[test]
fn a_word_processor_in_a_capsule_of_an_ordinary_user_goes_on_writing() {
    goes_on(User::Ordinary, App { rounds: 3, ..WORD_PROCESSOR });
}

/// A page to write on, and nothing that a browser does at home. Its sandbox is on: each page has namespaces of its own within the capsule,
/// and what confines its system calls.
const BROWSER: &str = r#"
matchbox-window-manager -use_titlebar no > /tmp/manager.log 2>&1 &
mkdir /tmp/home/profile
cat > /tmp/home/profile/user.js << 'END'
user_pref("app.normandy.enabled", false);
user_pref("app.update.enabled", false);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("browser.search.update", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.safebrowsing.downloads.remote.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("datareporting.policy.firstRunURL", "");
user_pref("extensions.systemAddon.update.enabled", false);
user_pref("media.gmp-manager.updateEnabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("network.proxy.type", 0);
user_pref("services.settings.server", "http://127.0.0.1:9/");
user_pref("startup.homepage_welcome_url", "about:blank");
user_pref("toolkit.telemetry.enabled", false);
END
cat > /tmp/home/page.html << 'END'
<!DOCTYPE html><meta charset=utf-8><title>page to write on</title><textarea autofocus rows=25 cols=60></textarea>
END
export MOZ_CRASHREPORTER_DISABLE=1
"#;

const CONFINED: App<'_> = App {
    program: "firefox-esr --no-remote --profile /tmp/home/profile file:///tmp/home/page.html",
    first: BROWSER,
    title: "page to write on",
    sandbox: &[],
    keys: LINE,
    rounds: 10,
};

#[test]
fn a_browser_whose_pages_are_confined_goes_on_writing() {
    goes_on(User::Root, CONFINED);
}

#[test]
fn a_browser_in_a_capsule_of_an_ordinary_user_goes_on_writing() {
    goes_on(User::Ordinary, App { rounds: 3, ..CONFINED });
}

/// Its pages, and what lets them talk to the bus, are in sandboxes of bubblewrap's, each with mounts of its own.
const PAGES: &str = r"
matchbox-window-manager -use_titlebar no > /tmp/manager.log 2>&1 &
cat > /tmp/home/page.html << 'END'
<!DOCTYPE html><meta charset=utf-8><title>page to write on</title><textarea autofocus rows=25 cols=60></textarea>
END
export WEBKIT_FORCE_SANDBOX=1
";

#[test]
fn a_browser_of_webkit_whose_pages_are_in_bubblewrap_goes_on_writing() {
    let app = App {
        program: "surf file:///tmp/home/page.html",
        first: PAGES,
        title: "page to write on",
        sandbox: &["--ro-bind", "/sys", "/sys"],
        keys: LINE,
        rounds: 3,
    };
    goes_on(User::Ordinary, app);
}
