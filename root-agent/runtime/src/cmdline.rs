//! Command lines: words of the form `key=value` or `flag`, parted by spaces.

/// A command line.
#[derive(Clone, Copy, Debug)]
pub struct CommandLine<'a>(pub &'a str);

impl<'a> CommandLine<'a> {
    /// Its words.
    pub fn words(self) -> impl Iterator<Item = &'a str> {
        self.0.split_ascii_whitespace()
    }

    /// Value of the first `key=value`.
    #[must_use]
    pub fn value(self, key: &str) -> Option<&'a str> {
        self.words()
            .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// Whether the word `flag` is there.
    #[must_use]
    pub fn has(self, flag: &str) -> bool {
        self.words().any(|word| word == flag)
    }

    /// Value of `key` as a number: decimal, or hexadecimal after `0x`. `None` where it is absent or no number.
    #[must_use]
    pub fn number(self, key: &str) -> Option<u64> {
        parse_number(self.value(key)?)
    }
}

/// A decimal number, or a hexadecimal one after `0x`.
#[must_use]
pub fn parse_number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_whole_words() {
        let line = CommandLine("net.elf nonce=7f ip=10.0.0.1/24 expectip=1  quiet addr=0xfee00000");
        assert_eq!(line.value("ip"), Some("10.0.0.1/24"));
        assert_eq!(line.value("once"), None);
        assert_eq!(line.number("addr"), Some(0xfee0_0000));
        assert!(line.has("quiet") && !line.has("quie"));
        assert_eq!(line.number("nonce"), None);
    }
}
