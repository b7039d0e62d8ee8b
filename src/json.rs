//! JSON texts that are nested too deeply for a parser.

/// Where the brackets and commas outside of strings, and the quotes around strings, are in a JSON text.
pub(crate) fn structure(json: &str) -> impl Iterator<Item = (usize, u8)> {
    let (mut string, mut escaped) = (false, false);
    json.bytes().enumerate().filter(move |&(_, byte)| {
        let is_quote = byte == b'"' && !escaped;
        string ^= is_quote;
        escaped = byte == b'\\' && !escaped;
        is_quote || !string && b"{}[],".contains(&byte)
    })
}

#[cfg(test)]
mod tests {
    use super::structure;

    #[test]
    fn what_is_in_strings_is_no_structure() {
        let json = r#"{"a{": ["\"],", "\\"]}"#;
        let found: String = structure(json).map(|(_, byte)| char::from(byte)).collect();
        assert_eq!(found, r#"{""["",""]}"#);
        assert!(structure(json).all(|(at, byte)| json.as_bytes()[at] == byte));
    }
}
