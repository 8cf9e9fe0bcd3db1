//! Refuses NUL characters in the parameters of a request. Postgres keeps none in a text, so nothing recorded
//! has one; a query with one would fail and look like a database that does not answer.

/// The refusals by parameter. They are constant: nothing of a request is repeated in an answer.
macro_rules! sentences {
    ($($name:literal),* $(,)?) => {
        [$(($name, concat!("The parameter ", $name, " has a NUL character. Leave it out."))),*]
    };
}

/// The parameters that name something recorded, or a place in a list.
const SENTENCES: [(&str, &str); 13] = sentences![
    "search",
    "after",
    "sort",
    "status",
    "problem",
    "type",
    "outcome",
    "order",
    "destination",
    "wait",
    "q",
    "to",
    "id",
];
const OTHER: &str = "A parameter has a NUL character. Leave it out.";

/// What to answer a request with this query; `None` if its values have no NUL.
#[must_use]
pub fn in_query(query: Option<&str>) -> Option<&'static str> {
    // Most queries have none: nothing is decoded to find that out.
    let query = query.filter(|query| query.contains("%00"))?;
    form_urlencoded::parse(query.as_bytes()).find_map(|(name, value)| in_value(&name, &value))
}

/// The same for a form's field.
#[must_use]
pub fn in_field((name, value): (&String, &String)) -> Option<&'static str> {
    in_value(name, value)
}

fn in_value(name: &str, value: &str) -> Option<&'static str> {
    let known = SENTENCES.iter().find(|(known, _)| *known == name);
    value.contains('\0').then(|| known.map_or(OTHER, |(_, sentence)| sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_is_refused_by_the_name_of_its_parameter() {
        let search = Some("The parameter search has a NUL character. Leave it out.");
        for (query, expected) in [
            (None, None),
            (Some(""), None),
            (Some("search=a%2500"), None),
            (Some("search=100%25&after=%0"), None),
            (Some("search=%00"), search),
            (Some("limit=5&search=a%00b"), search),
            (Some("strange=%00"), Some(OTHER)),
        ] {
            assert_eq!(in_query(query), expected, "{query:?}");
        }
    }
}
