//! Counts with nouns in messages.

use std::fmt::Display;

/// `1 pod`, `3 pods`: a count with a noun whose plural ends in `s`.
#[must_use]
pub fn counted<N: Copy + Display + PartialEq + From<u8>>(count: N, one: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
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
