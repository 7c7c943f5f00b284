//! YAML documents as trees of nodes with spans. Aliases refer to nodes, so that a document cannot expand.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use granit_parser::{Event, Options, Parser, ScalarStyle, Tag};

/// Index of a node in [`Tree::nodes`].
pub(super) type Id = usize;

/// Node of a document.
#[derive(Debug)]
pub(super) enum Node {
    Scalar {
        text: String,
        span: Range<usize>,
        plain: bool,
    },
    List(Vec<Id>),
    /// Keys and values in order.
    Map(Vec<(Id, Id)>),
    /// Alias: the node of its anchor.
    Alias(Id),
    /// Value of an application's own tag, such as `!reference [.job, image]` of GitLab: only the application knows it.
    Tagged,
}

/// Documents of a file.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    pub(super) documents: Vec<Id>,
}

/// Syntax error in a file.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) reason: String,
}

/// List or mapping under construction.
///
/// The last field: a tag of an application changes the value.
enum Open {
    List(Id, Vec<Id>, bool),
    /// With the key that waits for its value.
    Map(Id, Vec<(Id, Id)>, Option<Id>, bool),
}

impl Tree {
    /// Parses all documents of a text, up to the first error.
    pub(super) fn read(text: &str) -> (Tree, Option<SyntaxError>) {
        let mut builder = Builder::default();
        // Comments have no use here, and the parser rejects a hundred in a row if it is to return them.
        let mut options = Options::default();
        options.set_emit_comments(false);
        for next in Parser::new_from_str_with_options(text, options) {
            match next {
                Ok((event, span)) => builder.take(event, span.byte_range().unwrap_or(0..0)),
                Err(error) => {
                    let error = SyntaxError {
                        line: error.marker().line(),
                        reason: error.info().to_owned(),
                    };
                    return (builder.tree, Some(error));
                }
            }
        }
        (builder.tree, None)
    }

    /// Removes pairs whose key occurs again later in their mapping: the last one counts.
    fn last_of_each(&self, mut pairs: Vec<(Id, Id)>) -> Vec<(Id, Id)> {
        let mut seen = HashSet::with_capacity(pairs.len());
        let mut is_last = |(key, _): &(Id, Id)| match self.scalar(*key) {
            Some("<<") | None => true,
            Some(name) => seen.insert(name),
        };
        let repeated: Vec<bool> = pairs.iter().rev().map(|pair| !is_last(pair)).collect();
        if repeated.contains(&true) {
            let mut repeated = repeated.into_iter().rev();
            pairs.retain(|_| !repeated.next().unwrap_or(false));
        }
        pairs
    }

    /// Returns a node; for an alias, the node of its anchor.
    pub(super) fn node(&self, id: Id) -> &Node {
        match &self.nodes[id] {
            // An anchor precedes its aliases, and an alias has no anchor, so that one step suffices.
            Node::Alias(target) => &self.nodes[*target],
            node => node,
        }
    }

    pub(super) fn is_alias(&self, id: Id) -> bool {
        matches!(self.nodes[id], Node::Alias(_))
    }

    pub(super) fn scalar(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Returns a scalar that is not null.
    pub(super) fn value(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Scalar { text, plain, .. } if !(*plain && is_null(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn span(&self, id: Id) -> Range<usize> {
        match self.node(id) {
            Node::Scalar { span, .. } => span.clone(),
            _ => 0..0,
        }
    }

    pub(super) fn list(&self, id: Id) -> &[Id] {
        match self.node(id) {
            Node::List(items) => items,
            _ => &[],
        }
    }

    pub(super) fn pairs(&self, id: Id) -> &[(Id, Id)] {
        match self.node(id) {
            Node::Map(pairs) => pairs,
            _ => &[],
        }
    }

    /// Returns the value of a key, including keys merged by `<<`.
    pub(super) fn get(&self, id: Id, key: &str) -> Option<Id> {
        self.get_merged(id, key, 8)
    }

    fn get_merged(&self, id: Id, key: &str, depth: usize) -> Option<Id> {
        let pairs = self.pairs(id);
        let own = pairs
            .iter()
            .find(|(name, _)| self.scalar(*name) == Some(key))
            .map(|(_, value)| *value);
        if own.is_some() || depth == 0 {
            return own;
        }
        let merged = pairs.iter().filter(|(name, _)| self.scalar(*name) == Some("<<"));
        merged
            .map(|(_, value)| *value)
            .find_map(|value| match self.node(value) {
                Node::List(items) => items
                    .iter()
                    .find_map(|item| self.get_merged(*item, key, depth - 1)),
                _ => self.get_merged(value, key, depth - 1),
            })
    }

    /// Returns the scalar at a key.
    pub(super) fn text(&self, id: Id, key: &str) -> Option<&str> {
        self.scalar(self.get(id, key)?)
    }

    /// Returns the scalar at a key, unless it is null or empty.
    pub(super) fn filled(&self, id: Id, key: &str) -> Option<&str> {
        self.value(self.get(id, key)?).filter(|text| !text.is_empty())
    }
}

/// Returns whether a plain scalar is null in YAML.
fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Returns whether a tag is an application's own, and changes the value. `!override` and `!unsafe` keep it.
fn changes_value(tag: Option<&Tag>) -> bool {
    const KEEPING: [&str; 2] = ["override", "unsafe"];
    tag.is_some_and(|tag| tag.handle() == "!" && !KEEPING.contains(&tag.suffix()))
}

/// Builds a tree from the parser's events.
#[derive(Default)]
struct Builder {
    tree: Tree,
    /// Open lists and mappings, the innermost last.
    open: Vec<Open>,
    /// Nodes by the number of their anchor.
    anchors: HashMap<usize, Id>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Range<usize>) {
        match event {
            Event::Scalar(value, style, anchor, tag) => {
                let node = match changes_value(tag.as_deref()) {
                    true => Node::Tagged,
                    false => Node::Scalar {
                        text: value.into_owned(),
                        span,
                        plain: style == ScalarStyle::Plain,
                    },
                };
                let id = self.add(node, anchor);
                self.place(id);
            }
            Event::SequenceStart(_, anchor, tag) => {
                let id = self.add(Node::Tagged, anchor);
                self.open
                    .push(Open::List(id, Vec::new(), changes_value(tag.as_deref())));
            }
            Event::MappingStart(_, anchor, tag) => {
                let id = self.add(Node::Tagged, anchor);
                self.open
                    .push(Open::Map(id, Vec::new(), None, changes_value(tag.as_deref())));
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let (id, node, tagged) = match self.open.pop() {
                    Some(Open::List(id, items, tagged)) => (id, Node::List(items), tagged),
                    Some(Open::Map(id, pairs, _, tagged)) => {
                        (id, Node::Map(self.tree.last_of_each(pairs)), tagged)
                    }
                    None => return,
                };
                if !tagged {
                    self.tree.nodes[id] = node;
                }
                self.place(id);
            }
            Event::Alias(anchor) => {
                if let Some(&target) = self.anchors.get(&anchor) {
                    let id = self.add(Node::Alias(target), 0);
                    self.place(id);
                }
            }
            _ => {}
        }
    }

    /// Adds a node; `anchor` is 0 if it has none.
    fn add(&mut self, node: Node, anchor: usize) -> Id {
        let id = self.tree.nodes.len();
        self.tree.nodes.push(node);
        if anchor != 0 {
            self.anchors.insert(anchor, id);
        }
        id
    }

    /// Adds a completed node to the list or mapping that contains it.
    fn place(&mut self, id: Id) {
        match self.open.last_mut() {
            None => self.tree.documents.push(id),
            Some(Open::List(_, items, _)) => items.push(id),
            Some(Open::Map(_, pairs, key, _)) => match key.take() {
                None => *key = Some(id),
                Some(key) => pairs.push((key, id)),
            },
        }
    }
}
