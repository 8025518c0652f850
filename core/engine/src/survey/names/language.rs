//! The languages of a person, from a locale: Desktop Entry Specification, "Localized values for keys".

/// The languages to look for, the best first, for a locale such as `sr_RS.UTF-8@latin`. None for `C` and `POSIX`.
pub fn wanted(locale: &str) -> Vec<String> {
    let (plain, modifier) = split(locale, '@');
    let (plain, _encoding) = split(plain, '.');
    let (language, country) = split(plain, '_');
    if language.is_empty() || language == "C" || language == "POSIX" {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut add = |country: Option<&str>, modifier: Option<&str>| {
        let country = country.map(|country| format!("_{country}")).unwrap_or_default();
        let modifier = modifier.map(|modifier| format!("@{modifier}")).unwrap_or_default();
        let name = format!("{language}{country}{modifier}");
        if !found.contains(&name) {
            found.push(name);
        }
    };
    add(country, modifier);
    add(country, None);
    add(None, modifier);
    add(None, None);
    found
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, behind)| (before, Some(behind)))
}

#[cfg(test)]
mod tests {
    use super::wanted;

    #[test]
    fn a_locale_means_languages_in_the_order_of_the_specification() {
        assert_eq!(wanted("sr_RS.UTF-8@latin"), ["sr_RS@latin", "sr_RS", "sr@latin", "sr"]);
        assert_eq!(wanted("de_DE.UTF-8"), ["de_DE", "de"]);
        assert_eq!(wanted("eo"), ["eo"]);
        assert!(["C", "C.UTF-8", "POSIX", ""].iter().all(|locale| wanted(locale).is_empty()));
    }
}
