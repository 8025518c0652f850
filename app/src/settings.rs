//! What the person has chosen: in GSettings, or for as long as the app runs where its schema is not installed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use dormouse_wire::Compression;
use relm4::gtk::gio;
use relm4::gtk::gio::prelude::*;

use crate::APP_ID;
use crate::model::groups::Sort;

/// A choice between yes and no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Choice {
    /// Ask before a freeze that loses nothing, too.
    AskBeforeFreezing,
    /// Keep connections in the network over a freeze.
    KeepConnections,
    /// Keep copies of open files over a freeze.
    KeepFiles,
    /// Go on without a window.
    RunInBackground,
    /// Show the groups of all users.
    ShowEverybody,
}

impl Choice {
    fn key(self) -> &'static str {
        match self {
            Self::AskBeforeFreezing => "ask-before-freezing",
            Self::KeepConnections => "keep-connections",
            Self::KeepFiles => "keep-files",
            Self::RunInBackground => "run-in-background",
            Self::ShowEverybody => "show-everybody",
        }
    }
}

const SORT_BY: &str = "sort-by";
const COMPRESSION: &str = "compression";

/// The settings; a clone is the same.
#[derive(Clone, Debug)]
pub struct Settings {
    stored: Option<gio::Settings>,
    kept: Rc<RefCell<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    choices: HashMap<Choice, bool>,
    sort: Sort,
    compression: Compression,
}

impl Settings {
    /// Looks for the schema.
    pub fn open() -> Self {
        let schema = gio::SettingsSchemaSource::default().and_then(|source| source.lookup(APP_ID, true));
        // One of another version may lack a key, and asking for it would end the app.
        let choices = [
            Choice::AskBeforeFreezing,
            Choice::KeepConnections,
            Choice::KeepFiles,
            Choice::RunInBackground,
            Choice::ShowEverybody,
        ];
        let keys = choices.map(Choice::key).into_iter().chain([SORT_BY, COMPRESSION]);
        let whole = |schema: &gio::SettingsSchema| keys.clone().all(|key| schema.has_key(key));
        Self { stored: schema.filter(whole).map(|_| gio::Settings::new(APP_ID)), kept: Rc::default() }
    }

    /// What is chosen.
    pub fn is(&self, choice: Choice) -> bool {
        match &self.stored {
            Some(stored) => stored.boolean(choice.key()),
            None => self.kept.borrow().choices.get(&choice).copied().unwrap_or_default(),
        }
    }

    /// Chooses.
    pub fn set(&self, choice: Choice, value: bool) {
        if let Some(stored) = &self.stored {
            // One that an administrator has locked stays as it is.
            let _ = stored.set_boolean(choice.key(), value);
        } else {
            self.kept.borrow_mut().choices.insert(choice, value);
        }
    }

    /// The order of the groups.
    pub fn sort(&self) -> Sort {
        match &self.stored {
            Some(stored) => Sort::of_key(&stored.string(SORT_BY)),
            None => self.kept.borrow().sort,
        }
    }

    /// How images are compressed.
    pub fn compression(&self) -> Compression {
        match &self.stored {
            Some(stored) => Compression::named(&stored.string(COMPRESSION)).unwrap_or_default(),
            None => self.kept.borrow().compression,
        }
    }

    /// Chooses how images are compressed.
    pub fn set_compression(&self, compression: Compression) {
        if let Some(stored) = &self.stored {
            let _ = stored.set_string(COMPRESSION, compression.name());
        } else {
            self.kept.borrow_mut().compression = compression;
        }
    }

    /// Chooses the order of the groups.
    pub fn set_sort(&self, sort: Sort) {
        if let Some(stored) = &self.stored {
            let _ = stored.set_string(SORT_BY, sort.key());
        } else {
            self.kept.borrow_mut().sort = sort;
        }
    }
}
