//! Where in an object a value is, written down only if there is something to say about it.

use std::fmt::Write;

/// A place, as a chain up to the object.
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
    /// `spec.labels[app]`, and `<nil>` for the object: how rules name a place.
    pub(super) fn as_field(&self) -> String {
        if matches!(self, Path::Root) {
            return "<nil>".to_owned();
        }
        let mut told = String::new();
        self.write(&mut told, true);
        told
    }

    /// `spec.labels.app`, and nothing for the object: how the schema's own errors name a place.
    pub(super) fn as_schema(&self) -> String {
        let mut told = String::new();
        self.write(&mut told, false);
        told
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
