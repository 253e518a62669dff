//! A strict reading of JSON (RFC 8259) that shares no code with serde_json, and keeps repeated keys.

/// A text is `None` if it has an unpaired surrogate, which is JSON but not Unicode.
pub enum Json {
    Object(Vec<(Option<String>, Json)>),
    Text(Option<String>),
    Number(String),
    Other,
}

impl Json {
    /// Returns `None` unless this is one JSON value and nothing else.
    pub fn read(text: &str) -> Option<Self> {
        let mut reader = Reader(text);
        let value = reader.value()?;
        reader.0.is_empty().then_some(value)
    }

    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { text.as_deref() } else { None }
    }
}

struct Reader<'a>(&'a str);

impl Reader<'_> {
    fn value(&mut self) -> Option<Json> {
        self.space();
        let start = self.0;
        let value = match start.chars().next()? {
            '{' => {
                let mut members = Vec::new();
                self.list("}", |reader| {
                    let key = reader.text()?;
                    reader.space();
                    reader.take(":")?;
                    members.push((key, reader.value()?));
                    Some(())
                })?;
                Json::Object(members)
            }
            '[' => self.list("]", |reader| reader.value().map(drop)).map(|()| Json::Other)?,
            '"' => Json::Text(self.text()?),
            'a'..='z' => {
                ["true", "false", "null"].iter().find_map(|name| self.take(name)).map(|()| Json::Other)?
            }
            _ => {
                let _ = self.take("-");
                self.take("0").or_else(|| self.digits())?;
                self.take(".").map_or(Some(()), |()| self.digits())?;
                if self.take("e").or_else(|| self.take("E")).is_some() {
                    let _ = self.take("+").or_else(|| self.take("-"));
                    self.digits()?;
                }
                Json::Number(start[..start.len() - self.0.len()].to_owned())
            }
        };
        self.space();
        Some(value)
    }

    fn list(&mut self, end: &str, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.next();
        self.space();
        if self.take(end).is_some() {
            return Some(());
        }
        loop {
            self.space();
            item(self)?;
            self.space();
            if self.take(end).is_some() {
                return Some(());
            }
            self.take(",")?;
        }
    }

    fn text(&mut self) -> Option<Option<String>> {
        self.take("\"")?;
        let mut units = Vec::new();
        loop {
            units.push(match self.next()? {
                '"' => return Some(String::from_utf16(&units).ok()),
                '\\' => match self.next()? {
                    same @ ('"' | '\\' | '/') => same as u16,
                    'b' => 8,
                    'f' => 12,
                    'n' => 10,
                    'r' => 13,
                    't' => 9,
                    'u' => {
                        let digits =
                            self.0.get(..4).filter(|it| it.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
                        self.0 = &self.0[4..];
                        u16::from_str_radix(digits, 16).ok()?
                    }
                    _ => return None,
                },
                ..' ' => return None,
                other => {
                    units.extend(other.encode_utf16(&mut [0; 2]).iter());
                    continue;
                }
            });
        }
    }

    fn digits(&mut self) -> Option<()> {
        let rest = self.0.trim_start_matches(|c: char| c.is_ascii_digit());
        let found = rest.len() < self.0.len();
        self.0 = rest;
        found.then_some(())
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.0.chars();
        let next = chars.next();
        self.0 = chars.as_str();
        next
    }

    fn take(&mut self, token: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(token)?;
        Some(())
    }

    fn space(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t', '\n', '\r']);
    }
}
