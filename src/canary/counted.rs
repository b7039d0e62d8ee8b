//! Counted nouns in messages.

/// `1 pod`, `3 pods`: a count, and what is counted, which takes an `s`.
#[must_use]
pub fn counted(count: impl Into<u64>, one: &str) -> String {
    let count = count.into();
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {one}{plural}")
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn only_one_is_singular() {
        let texts = [0_u32, 1, 2].map(|count| counted(count, "good measurement"));
        assert_eq!(
            texts,
            ["0 good measurements", "1 good measurement", "2 good measurements"]
        );
    }
}
