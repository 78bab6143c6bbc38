//! How the word before the cursor may go on.

use alloc::string::String;
use alloc::vec::Vec;

/// What completion found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Completion {
    /// Nothing begins like that.
    None,
    /// This text goes on without a choice.
    Insert(String),
    /// Several words begin like that.
    Choices(Vec<String>),
}

/// Completes the last word of `before` from words that may stand there.
#[must_use]
pub fn complete(before: &str, words: &[String]) -> Completion {
    let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let typed = before.get(start..).unwrap_or("");
    let mut fitting: Vec<&String> = words.iter().filter(|w| w.starts_with(typed)).collect();
    fitting.sort();
    fitting.dedup();
    let Some(first) = fitting.first() else {
        return Completion::None;
    };
    let common = fitting.iter().fold(first.len(), |length, word| {
        let same = first.bytes().zip(word.bytes());
        length.min(same.take_while(|(a, b)| a == b).count())
    });
    let mut rest = String::from(first.get(typed.len()..common).unwrap_or(""));
    if fitting.len() == 1 {
        rest.push(' ');
    }
    if rest.is_empty() {
        Completion::Choices(fitting.into_iter().cloned().collect())
    } else {
        Completion::Insert(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_is_finished_and_several_are_listed() {
        let words: Vec<String> = ["domain", "domains", "devices", "delete"]
            .map(Into::into)
            .into();
        assert_eq!(complete("dev", &words), Completion::Insert("ices ".into()));
        assert_eq!(complete("do", &words), Completion::Insert("main".into()));
        assert_eq!(
            complete("x domain", &words),
            Completion::Choices(alloc::vec!["domain".into(), "domains".into()])
        );
        assert_eq!(complete("zz", &words), Completion::None);
    }
}
