//! A Rust file as its code and its comments, line by line: enough of a lexer not to be fooled by strings.

use std::iter::Peekable;
use std::str::Chars;

/// The text with everything but code blanked, and with everything but comments blanked.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Code: comments and the insides of literals are blanks.
    pub code: String,
    /// Comments: everything else is blanks.
    pub comments: String,
}

impl Source {
    /// Splits `text`; both halves have its line structure.
    pub fn read(text: &str) -> Self {
        let mut lexer = Lexer {
            rest: text.chars().peekable(),
            out: Self::default(),
        };
        lexer.run();
        lexer.out
    }

    /// Lines (from 1) with the word `unsafe` in code.
    pub fn unsafe_lines(&self) -> Vec<usize> {
        self.words().into_iter().map(|(line, _)| line).collect()
    }

    /// Lines (from 1) with an unsafe block or implementation that no `SAFETY:` comment precedes.
    pub fn unreasoned(&self) -> Vec<usize> {
        let needs = |rest: &str| rest.starts_with('{') || rest.starts_with("impl");
        let blocks = self.words().into_iter().filter(|(_, rest)| needs(rest));
        blocks
            .map(|(line, _)| line)
            .filter(|line| !self.reasoned(*line))
            .collect()
    }

    /// Each `unsafe` of the code: its line (from 1) and the code behind it.
    fn words(&self) -> Vec<(usize, &str)> {
        let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
        let mut found = Vec::new();
        for (place, word) in self.code.match_indices("unsafe") {
            let before = self.code.get(..place).unwrap_or_default();
            let behind = self.code.get(place + word.len()..).unwrap_or_default();
            if !before.ends_with(part_of_word) && !behind.starts_with(part_of_word) {
                found.push((before.matches('\n').count() + 1, behind.trim_start()));
            }
        }
        found
    }

    /// Whether a `SAFETY:` comment stands on this line or above it, with nothing but comments, attributes and the
    /// beginning of the same statement between.
    fn reasoned(&self, line: usize) -> bool {
        let code: Vec<&str> = self.code.lines().collect();
        let comments: Vec<&str> = self.comments.lines().collect();
        let has = |index: usize| {
            comments
                .get(index)
                .is_some_and(|text| text.contains("SAFETY:"))
        };
        let mut index = line - 1;
        while !has(index) {
            let Some(above) = index.checked_sub(1) else {
                return false;
            };
            let text = code.get(above).copied().unwrap_or_default().trim();
            if text.ends_with([';', '}'])
                || (text.is_empty() && comments.get(above).is_none_or(|c| c.trim().is_empty()))
            {
                return false;
            }
            index = above;
        }
        true
    }
}

struct Lexer<'t> {
    rest: Peekable<Chars<'t>>,
    out: Source,
}

impl Lexer<'_> {
    fn run(&mut self) {
        let mut last = ' ';
        while let Some(c) = self.rest.next() {
            match (c, self.rest.peek().copied()) {
                ('/', Some('/')) => self.line_comment(),
                ('/', Some('*')) => self.block_comment(),
                ('"', _) => self.string(),
                ('r', Some('"' | '#')) if !last.is_alphanumeric() || last == 'b' || last == 'c' => {
                    self.raw_string()
                }
                ('\'', Some(next)) => self.quote(next),
                _ => self.code(c),
            }
            last = c;
        }
    }

    fn code(&mut self, c: char) {
        self.out.code.push(c);
        self.out.comments.push(if c == '\n' { '\n' } else { ' ' });
    }

    fn comment(&mut self, c: char) {
        self.out.comments.push(c);
        self.out.code.push(if c == '\n' { '\n' } else { ' ' });
    }

    fn blank(&mut self, c: char) {
        let shown = if c == '\n' { '\n' } else { ' ' };
        self.out.code.push(shown);
        self.out.comments.push(shown);
    }

    fn line_comment(&mut self) {
        self.comment('/');
        while let Some(c) = self.rest.next_if(|c| *c != '\n') {
            self.comment(c);
        }
    }

    fn block_comment(&mut self) {
        self.comment('/');
        let mut depth = 0;
        while let Some(c) = self.rest.next() {
            self.comment(c);
            let next = self.rest.peek().copied();
            match (c, next) {
                ('*', Some('/')) => depth -= 1,
                ('/', Some('*')) => depth += 1,
                _ => {}
            }
            if c == '*' && depth == 0 && self.rest.next_if_eq(&'/').is_some() {
                return self.comment('/');
            }
            // The comment's own star opened the first level.
            depth = depth.max(1);
            if c == '*' && next == Some('/') && self.rest.next_if_eq(&'/').is_some() {
                self.comment('/');
            }
        }
    }

    fn string(&mut self) {
        self.code('"');
        while let Some(c) = self.rest.next() {
            match c {
                '"' => return self.code('"'),
                '\\' => {
                    self.blank(c);
                    if let Some(escaped) = self.rest.next() {
                        self.blank(escaped);
                    }
                }
                _ => self.blank(c),
            }
        }
    }

    fn raw_string(&mut self) {
        self.code('r');
        let mut hashes = 0;
        while self.rest.next_if_eq(&'#').is_some() {
            self.code('#');
            hashes += 1;
        }
        if self.rest.next_if_eq(&'"').is_none() {
            return;
        }
        self.code('"');
        while let Some(c) = self.rest.next() {
            self.blank(c);
            if c == '"' {
                let closing = (0..hashes)
                    .take_while(|_| self.rest.next_if_eq(&'#').is_some())
                    .count();
                (0..closing).for_each(|_| self.blank('#'));
                if closing == hashes {
                    return;
                }
            }
        }
    }

    /// A character literal, or a lifetime, which has no closing quote.
    fn quote(&mut self, next: char) {
        self.code('\'');
        let mut ahead = self.rest.clone();
        ahead.next();
        if next == '\\' {
            self.rest.next();
            self.blank(next);
            if let Some(escaped) = self.rest.next() {
                self.blank(escaped);
            }
            while let Some(c) = self.rest.next_if(|c| *c != '\'') {
                self.blank(c);
            }
        } else if ahead.peek() == Some(&'\'') {
            self.rest.next();
            self.blank(next);
        } else {
            return;
        }
        if self.rest.next_if_eq(&'\'').is_some() {
            self.code('\'');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_comments_are_not_code() {
        let text = "let a = \"unsafe {\"; // unsafe {\nlet b = r#\"unsafe \" {\"#; /* unsafe /* { */ unsafe */ let c = '\"';\nunsafe fn d<'a>() {}\nlet not_unsafe = '\\'';";
        let source = Source::read(text);
        assert_eq!(source.unsafe_lines(), [3]);
        assert_eq!(source.code.lines().count(), 4);
        assert!(source.code.contains("let c = '"), "{}", source.code);
        assert!(source.comments.contains("// unsafe {"));
    }

    #[test]
    fn a_block_needs_its_reason() {
        let good = [
            "// SAFETY: yes\nunsafe { f() }",
            "// SAFETY: yes,\n// and more\n#[inline]\nunsafe { f() }",
            "let x = unsafe { f() }; // SAFETY: yes",
            "// SAFETY: yes\nlet x =\n    unsafe { f() };",
            "// SAFETY: yes\nunsafe impl Send for X {}",
            "unsafe fn f() {}",
            "#[unsafe(no_mangle)]\nfn f() {}",
        ];
        for text in good {
            assert!(Source::read(text).unreasoned().is_empty(), "{text}");
        }
        let bad = [
            "unsafe { f() }",
            "// because\nunsafe { f() }",
            "// SAFETY: of another\nf();\nunsafe { f() }",
            "// SAFETY: far away\n\nunsafe { f() }",
            "unsafe impl Send for X {}",
            "let s = \"// SAFETY:\"; unsafe { f() }",
        ];
        for text in bad {
            assert_eq!(Source::read(text).unreasoned().len(), 1, "{text}");
        }
    }

    #[test]
    fn odd_text_does_no_harm() {
        for text in [
            "",
            "\"",
            "r#\"",
            "'",
            "'\\",
            "/*",
            "/",
            "r#x",
            "b'x'",
            "'a: loop {}",
            "\\",
        ] {
            let source = Source::read(text);
            assert_eq!(source.code.len(), source.comments.len(), "{text}");
        }
    }
}
