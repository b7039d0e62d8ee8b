//! The path of a value in an object. It is formatted only when an error needs it.

use std::fmt::Write;

/// A path, linked from the value up to the object.
#[derive(Clone, Copy, Debug)]
pub(super) enum Path<'a> {
    Root,
    /// A declared field.
    Field(&'a Path<'a>, &'a str),
    /// A key of a map.
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl Path<'_> {
    /// `spec.labels[app]`, or `<nil>` for the object: the format of CEL rule errors.
    pub(super) fn as_field(&self) -> String {
        if matches!(self, Path::Root) {
            return "<nil>".to_owned();
        }
        let mut text = String::new();
        self.write(&mut text, true);
        text
    }

    /// `spec.labels.app`, or empty for the object: the format of schema errors.
    pub(super) fn as_schema(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, false);
        text
    }

    fn write(&self, out: &mut String, brackets: bool) {
        let (parent, name) = match self {
            Path::Root => return,
            Path::Field(parent, name) => (parent, name),
            Path::Key(parent, name) if !brackets => (parent, name),
            Path::Key(parent, name) => {
                parent.write(out, brackets);
                let _ = write!(out, "[{name}]");
                return;
            }
            Path::Index(parent, index) => {
                parent.write(out, brackets);
                let _ = write!(out, "[{index}]");
                return;
            }
        };
        parent.write(out, brackets);
        if !out.is_empty() {
            out.push('.');
        }
        out.push_str(name);
    }
}
