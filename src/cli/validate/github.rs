//! Problems for a GitHub workflow: commands that its runner turns into annotations, which a pull
//! request shows on the line.
//!
//! `::error file=…,line=…,col=…,title=…::message`. The runner takes a command line by line and
//! splits it at `:` and `,`, so these are escaped, and nothing that a catalog file says can become
//! a command of its own. GitHub shows the first ten errors of a step; the log has all.

use std::io::{self, Write};

use super::{Finding, Report, Root, STANDARD_INPUT, text};

/// Writes a command for each problem, and the summary.
pub(super) fn write(report: &Report, root: &Root, out: &mut dyn Write) -> io::Result<()> {
    for finding in &report.findings {
        writeln!(out, "{}", command(finding, root))?;
    }
    writeln!(out, "{}", text::summary(report))
}

fn command(finding: &Finding, root: &Root) -> String {
    let problem = &finding.problem;
    let mut properties = Vec::new();
    // What came from standard input is on no line of a pull request.
    if problem.path != STANDARD_INPUT {
        properties.push(format!("file={}", property(&root.relative(&problem.path))));
    }
    if finding.text.is_some() {
        properties.push(format!("line={}", problem.line));
        properties.push(format!("col={}", problem.column));
    }
    properties.push(format!("title={}", property(&format!("cuelight: {}", problem.code))));
    format!("::error {}::{}", properties.join(","), data(&problem.message))
}

/// The text of a command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Code, Problem};

    fn finding(path: &str, message: &str, text: Option<&str>) -> Finding {
        let problem = Problem {
            code: Code::Schema,
            path: path.to_owned(),
            line: 6,
            column: 10,
            document: 1,
            entity_ref: None,
            message: message.to_owned(),
        };
        Finding { problem, text: text.map(Into::into) }
    }

    #[track_caller]
    fn check(finding: &Finding, expected: &str) {
        assert_eq!(command(finding, &Root::new("/r".into(), None)), expected);
    }

    #[test]
    fn a_command_says_where_and_what() {
        let title = "title=cuelight%3A schema";
        check(
            &finding("./a/b.yaml", "x: y, z", Some("")),
            &format!("::error file=a/b.yaml,line=6,col=10,{title}::x: y, z"),
        );
        check(
            &finding("a.yaml", "no such file", None),
            &format!("::error file=a.yaml,{title}::no such file"),
        );
        check(&finding("-", "x", Some("")), &format!("::error line=6,col=10,{title}::x"));
    }

    #[test]
    fn nothing_that_a_file_says_becomes_a_command() {
        check(
            &finding("a,b:c%.yaml", "50%\r\n::set-output name=x::y", Some("")),
            "::error file=a%2Cb%3Ac%25.yaml,line=6,col=10,title=cuelight%3A schema\
             ::50%25%0D%0A::set-output name=x::y",
        );
    }
}
