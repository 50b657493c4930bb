//! `${VAR}` and `${VAR:-default}` in texts.
//!
//! A variable without a default must be set; one with a default uses it when the variable is
//! unset or empty. `$${` is a literal `${`. Defaults are not substituted again.

/// Replaces every variable of `text`; the error names the variable, never a value.
pub fn substitute(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, variable) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &variable[2..];
            continue;
        }
        out.push_str(before);
        let Some(end) = variable.find('}') else {
            return Err("`${` is never closed by `}` (a literal one is written `$${`)".to_owned());
        };
        out.push_str(&look_up(&variable[2..end], env)?);
        rest = &variable[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn look_up(inside: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name.trim(), Some(default)),
        None => (inside.trim(), None),
    };
    let fits = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !fits {
        let forms = "`${VAR}` or `${VAR:-default}`";
        return Err(format!("`{name}` is not the name of a variable (written {forms})"));
    }
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!("the environment variable {name} is not set")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_and_escapes_kept() {
        let env = |name: &str| match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let check = |text: &str, expected: Result<&str, &str>| {
            let found = substitute(text, &env);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
        };
        check("plain $A", Ok("plain $A"));
        check("${A}", Ok("one"));
        check("x${A}y${ A }z", Ok("xoneyonez"));
        check("${B:-two}", Ok("two"));
        check("${EMPTY:-two}", Ok("two"));
        check("${B:-}", Ok(""));
        check("${EMPTY}", Ok(""));
        check("${A:-two}", Ok("one"));
        check("$${A} ${A}", Ok("${A} one"));
        check("${B}", Err("the environment variable B is not set"));
        check("${A", Err("`${` is never closed by `}` (a literal one is written `$${`)"));
        let forms = "(written `${VAR}` or `${VAR:-default}`)";
        check("${1}", Err(&format!("`1` is not the name of a variable {forms}")));
        check("${}", Err(&format!("`` is not the name of a variable {forms}")));
    }
}
