//! What is said to a person: in English, and how it was put together, so that it can be said in another language.
//!
//! The engine speaks English: its words stand in logs, in `--json` and on the screen of the command. The app says the same
//! in the language of whoever looks at it. For that a [`Phrase`] keeps its template, which is what translators see, with the
//! values for its places; [`phrase!`](crate::phrase!) makes one, and `make pot` finds it in the code by that name.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use serde::{Deserialize, Serialize};

/// Words for a person, that can be said in another language where they were made by [`phrase!`](crate::phrase!).
#[derive(Clone, Debug)]
pub struct Phrase(Words);

/// Small, because errors are made of it.
#[derive(Clone, Debug)]
enum Words {
    /// A template without places.
    Fixed(&'static str),
    /// The same in every language.
    Verbatim(Box<str>),
    /// A template with what stands in its places, and what that is in English.
    Made(Box<(Made, String)>),
}

/// How a phrase was put together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Made {
    /// English, with places in braces: `it is connected to {name}`.
    template: Cow<'static, str>,
    /// What stands in each place, by its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    values: Vec<Placed>,
}

/// The name of a place in a phrase, and what stands there.
type Placed = (Cow<'static, str>, Value);

/// What stands in a place of a phrase.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
enum Value {
    /// The same in every language: a name, a number, a path, what the kernel says.
    Text(String),
    /// A phrase of its own.
    Phrase(Made),
}

impl Phrase {
    /// What another program says, or a name: it is the same in every language.
    pub fn verbatim(text: impl Into<String>) -> Self {
        Self(Words::Verbatim(text.into().into_boxed_str()))
    }

    /// For [`phrase!`](crate::phrase!): a template without places.
    #[doc(hidden)]
    pub const fn fixed(template: &'static str) -> Self {
        Self(Words::Fixed(template))
    }

    /// For [`phrase!`](crate::phrase!): its template and what stands in each place.
    #[doc(hidden)]
    pub fn made(template: &'static str, values: Vec<(&'static str, Self)>) -> Self {
        let value = |phrase: Self| match phrase.apart() {
            (_, Some(made_of)) => Value::Phrase(made_of),
            (text, None) => Value::Text(text),
        };
        let values = values.into_iter().map(|(name, phrase)| (Cow::Borrowed(name), value(phrase))).collect();
        let made_of = Made { template: Cow::Borrowed(template), values };
        let text = made_of.english();
        Self(Words::Made(Box::new((made_of, text))))
    }

    /// The words in English together with how they were put together, as they come over the bus. The words alone count
    /// where the two do not belong together.
    pub(crate) fn rejoined(text: String, made_of: Option<Made>) -> Self {
        match made_of.filter(|made_of| made_of.depth() <= DEEPEST && made_of.english() == text) {
            Some(made_of) => Self(Words::Made(Box::new((made_of, text)))),
            None => Self::verbatim(text),
        }
    }

    /// The words in English and how they were put together, apart.
    pub(crate) fn apart(self) -> (String, Option<Made>) {
        match self.0 {
            Words::Fixed(template) => {
                let made_of = Made { template: Cow::Borrowed(template), values: Vec::new() };
                (template.to_owned(), Some(made_of))
            }
            Words::Verbatim(text) => (text.into_string(), None),
            Words::Made(made) => (made.1, Some(made.0)),
        }
    }

    /// The phrase in another language: `translate` is asked for each template, `value` for each value by its name.
    pub fn said(
        &self,
        translate: &mut dyn FnMut(&str) -> String,
        value: &mut dyn FnMut(&str, &str) -> String,
    ) -> String {
        match &self.0 {
            Words::Fixed(template) => translate(template),
            Words::Verbatim(text) => text.to_string(),
            Words::Made(made) => made.0.said(translate, value),
        }
    }

    /// The name that the words in English begin with, if they do: it is to stay as it is.
    pub fn beginning(&self) -> Option<&str> {
        if let Words::Made(made) = &self.0 { made.0.beginning() } else { None }
    }

    /// The words in English.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Words::Fixed(template) => template,
            Words::Verbatim(text) => text,
            Words::Made(made) => &made.1,
        }
    }

    /// Its words, its template and what stands in its places: what makes two phrases the same.
    fn parts(&self) -> (&str, Option<&str>, &[Placed]) {
        match &self.0 {
            Words::Fixed(template) => (template, Some(template), &[]),
            Words::Verbatim(text) => (text, None, &[]),
            Words::Made(made) => (&made.1, Some(&made.0.template), &made.0.values),
        }
    }
}

impl PartialEq for Phrase {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Phrase {}

impl PartialOrd for Phrase {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Phrase {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl Hash for Phrase {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

/// How many phrases may stand in each other: more than any has, and few enough for every stack.
const DEEPEST: usize = 8;

impl Made {
    fn english(&self) -> String {
        self.said(&mut |template| template.to_owned(), &mut |_, text| text.to_owned())
    }

    fn said(&self, translate: &mut dyn FnMut(&str) -> String, value: &mut dyn FnMut(&str, &str) -> String) -> String {
        let values: Vec<(&str, String)> = self
            .values
            .iter()
            .map(|(name, inner)| match inner {
                Value::Text(text) => (name.as_ref(), value(name, text)),
                Value::Phrase(made_of) => (name.as_ref(), made_of.said(translate, value)),
            })
            .collect();
        let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        filled(&translate(&self.template), &values)
    }

    fn beginning(&self) -> Option<&str> {
        let (name, _) = self.template.strip_prefix('{')?.split_once('}')?;
        match self.values.iter().find(|(place, _)| place == name)? {
            (_, Value::Text(text)) => Some(text),
            (_, Value::Phrase(made_of)) => made_of.beginning(),
        }
    }

    fn depth(&self) -> usize {
        let inner = self.values.iter().map(|(_, value)| match value {
            Value::Text(_) => 0,
            Value::Phrase(made_of) => made_of.depth(),
        });
        1 + inner.max().unwrap_or(0)
    }
}

/// A sentence with its values in the places that are named for them: `{name}`. Translations may turn the order around.
pub fn filled(sentence: &str, values: &[(&str, &str)]) -> String {
    let mut said = String::with_capacity(sentence.len());
    let mut rest = sentence;
    while let Some(start) = rest.find('{') {
        said.push_str(&rest[..start]);
        rest = &rest[start..];
        let named = rest.find('}').and_then(|end| {
            let value = values.iter().find(|(name, _)| *name == &rest[1..end])?.1;
            Some((value, end + 1))
        });
        let (value, length) = named.unwrap_or(("{", 1));
        said.push_str(value);
        rest = &rest[length..];
    }
    said + rest
}

impl Deref for Phrase {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq<str> for Phrase {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Phrase {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<String> for Phrase {
    fn eq(&self, other: &String) -> bool {
        self.as_str() == *other
    }
}

impl From<Phrase> for String {
    fn from(phrase: Phrase) -> Self {
        phrase.apart().0
    }
}

impl From<String> for Phrase {
    /// The same in every language: see [`Phrase::verbatim`].
    fn from(text: String) -> Self {
        Self::verbatim(text)
    }
}

impl From<&str> for Phrase {
    /// The same in every language: see [`Phrase::verbatim`].
    fn from(text: &str) -> Self {
        Self::verbatim(text)
    }
}

/// Makes a [`Phrase`] of a template and what stands in its places:
/// `phrase!("it is connected to {name}: {why}", name, why = errno.desc())`. What stands there may be a phrase itself, which
/// is translated then, or anything that can be displayed. Each place has a name, for translators; a place without a value
/// and a value without a place do not compile.
#[macro_export]
macro_rules! phrase {
    ($template:literal) => {
        $crate::Phrase::fixed(const {
            $crate::phrase::checked($template, &[]);
            $template
        })
    };
    ($template:literal $(, $name:ident $(= $value:expr)?)+ $(,)?) => {
        $crate::Phrase::made(
            const {
                $crate::phrase::checked($template, &[$(stringify!($name)),+]);
                $template
            },
            vec![$((stringify!($name), $crate::phrase_value!($name $(= $value)?))),+],
        )
    };
}

/// For [`phrase!`](crate::phrase!): what stands in a place.
#[doc(hidden)]
#[macro_export]
macro_rules! phrase_value {
    ($name:ident) => {
        $crate::phrase_value!($name = $name)
    };
    ($name:ident = $value:expr) => {{
        // Of the two, method resolution takes the one for phrases where the value is one.
        #[allow(unused_imports)]
        use $crate::phrase::{Displayed as _, Nested as _};
        match &$value {
            value => (&$crate::phrase::Place(value)).stands(),
        }
    }};
}

/// For [`phrase!`](crate::phrase!): a value on its way into a phrase.
#[doc(hidden)]
#[derive(Debug)]
pub struct Place<'a, T: ?Sized>(pub &'a T);

/// For [`phrase!`](crate::phrase!): phrases stay what they are.
#[doc(hidden)]
pub trait Nested {
    /// What stands in the place.
    fn stands(&self) -> Phrase;
}

/// For [`phrase!`](crate::phrase!): everything else is displayed.
#[doc(hidden)]
pub trait Displayed {
    /// What stands in the place.
    fn stands(&self) -> Phrase;
}

impl Nested for Place<'_, Phrase> {
    fn stands(&self) -> Phrase {
        self.0.clone()
    }
}

impl<T: fmt::Display + ?Sized> Displayed for &Place<'_, T> {
    fn stands(&self) -> Phrase {
        Phrase::verbatim(self.0.to_string())
    }
}

/// For [`phrase!`](crate::phrase!): whether each place of a template has a value, and each value a place.
///
/// # Panics
/// If one has not: the compiler shows it.
#[doc(hidden)]
pub const fn checked(template: &str, names: &[&str]) {
    let bytes = template.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'{' {
            let mut found = false;
            let mut each = 0;
            while each < names.len() {
                found = found || stands_at(bytes, at, names[each].as_bytes());
                each += 1;
            }
            assert!(found, "a place in braces has no value of its name");
        }
        at += 1;
    }
    let mut each = 0;
    while each < names.len() {
        let mut found = false;
        let mut at = 0;
        while at < bytes.len() {
            found = found || stands_at(bytes, at, names[each].as_bytes());
            at += 1;
        }
        assert!(found, "a value has no place in braces of its name");
        each += 1;
    }
}

/// Whether `{name}` stands at a place.
const fn stands_at(bytes: &[u8], at: usize, name: &[u8]) -> bool {
    if at + name.len() + 2 > bytes.len() || bytes[at] != b'{' || bytes[at + 1 + name.len()] != b'}' {
        return false;
    }
    let mut each = 0;
    while each < name.len() {
        if bytes[at + 1 + each] != name[each] {
            return false;
        }
        each += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_their_places_whatever_the_order() {
        let values = [("count", "3"), ("name", "{count}")];
        assert_eq!(filled("{name}: {count} of {count}", &values), "{count}: 3 of 3");
        assert_eq!(filled("a { b } {unknown} {", &values), "a { b } {unknown} {");
        assert_eq!(filled("", &values), "");
    }

    #[test]
    fn a_phrase_is_english_and_can_be_said_in_another_language_with_what_stands_in_it() {
        let who = phrase!("a window of {name}", name = "{why}");
        let phrase = phrase!("{who} is lost: {why}", who, why = 7);
        assert_eq!(phrase, "a window of {why} is lost: 7");
        let mut german = |template: &str| match template {
            "a window of {name}" => "ein Fenster von {name}".to_owned(),
            "{who} is lost: {why}" => "{why}: {who} fehlt".to_owned(),
            other => other.to_owned(),
        };
        let said =
            phrase.said(&mut german, &mut |name, text| format!("{text}{}", if name == "why" { "!" } else { "" }));
        assert_eq!(said, "7!: ein Fenster von {why} fehlt");
        assert_eq!(Phrase::verbatim("/{a}").said(&mut german, &mut |_, _| String::new()), "/{a}");
    }

    #[test]
    fn the_name_that_words_begin_with_is_told() {
        let named = phrase!("{who} waits for {what}", who = "cat (pid 7)", what = "less");
        assert_eq!(named.beginning(), Some("cat (pid 7)"));
        assert_eq!(phrase!("{named}; so do others", named).beginning(), Some("cat (pid 7)"));
        for other in [phrase!("it waits for {what}", what = "less"), phrase!("it waits")] {
            assert_eq!(other.beginning(), None);
            assert_eq!(phrase!("{other}; so do others", other).beginning(), None);
        }
        assert_eq!(Phrase::verbatim("cat").beginning(), None, "what another program says may be a sentence");
    }

    #[test]
    fn what_does_not_belong_together_is_english_alone() {
        let made_of = |phrase: Phrase| phrase.apart().1;
        let phrase = phrase!("it has {count} windows", count = 2);
        let rejoined = |text: &str| Phrase::rejoined(text.to_owned(), made_of(phrase.clone()));
        assert_eq!(rejoined("it has 2 windows"), phrase);
        let fixed = phrase!("it is gone");
        assert_eq!(Phrase::rejoined("it is gone".to_owned(), made_of(fixed.clone())), fixed);
        assert_ne!(Phrase::verbatim("it is gone"), fixed);
        assert_eq!(rejoined("it has none"), Phrase::verbatim("it has none"));
        let deep = (0..=DEEPEST).fold(phrase!("x"), |phrase, _| phrase!("{phrase}", phrase));
        assert_eq!(deep, "x");
        assert_eq!(Phrase::rejoined("x".to_owned(), made_of(deep)), Phrase::verbatim("x"));
    }
}
