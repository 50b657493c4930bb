//! Location refs: `<type>:<target>`, as annotations and requests hold them.

/// A location ref that is none, in Backstage's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationRefError {
    /// Not `<type>:<target>`.
    #[error(
        "Unable to parse location ref '{0}', expected '<type>:<target>', e.g. \
         'url:https://host/path'"
    )]
    Form(String),
    /// A bare URL.
    #[error("Invalid location ref '{0}', please prefix it with 'url:', e.g. 'url:{0}'")]
    BareUrl(String),
    /// A target that would run in a browser.
    #[error("Invalid location ref '{0}', target is a javascript: URL")]
    Script(String),
}

/// Splits a ref into type and target, both without spaces around them.
pub fn parse(text: &str) -> Result<(&str, &str), LocationRefError> {
    let form = || LocationRefError::Form(text.to_owned());
    let (kind, target) = text.split_once(':').ok_or_else(form)?;
    let (kind, target) = (kind.trim(), target.trim());
    if kind.is_empty() || target.is_empty() {
        return Err(form());
    }
    if ["http", "https"].contains(&kind) {
        return Err(LocationRefError::BareUrl(text.to_owned()));
    }
    // Browsers skip control characters within the scheme.
    let mut letters = target.chars().filter(|c| !c.is_control());
    let starts = "javascript:"
        .chars()
        .all(|wanted| letters.next().is_some_and(|letter| letter.to_ascii_lowercase() == wanted));
    if starts { Err(LocationRefError::Script(text.to_owned())) } else { Ok((kind, target)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ref_is_a_type_and_a_target() {
        assert_eq!(parse("url:https://a/b"), Ok(("url", "https://a/b")));
        assert_eq!(parse(" file : ./a "), Ok(("file", "./a")));
        assert_eq!(parse("s3:bucket:key"), Ok(("s3", "bucket:key")));
    }

    #[test]
    fn what_is_none_is_refused_with_the_reason() {
        for text in ["", "x", ":x", "url:", "url:  "] {
            assert_eq!(parse(text), Err(LocationRefError::Form(text.to_owned())));
        }
        for text in ["https://a", "http:a"] {
            assert_eq!(parse(text), Err(LocationRefError::BareUrl(text.to_owned())));
        }
        for text in ["url:javascript:x", "url: Java\nScript:x"] {
            assert_eq!(parse(text), Err(LocationRefError::Script(text.to_owned())));
        }
    }
}
