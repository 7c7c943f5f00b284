//! YAML documents as trees of nodes with their places. Anchors are links, so a file can't grow by them.

use std::collections::HashMap;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle};

/// A node: index into [`Tree::nodes`].
pub(super) type Id = usize;

/// What a node is.
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
    /// An alias: the node of its anchor.
    Link(Id),
}

/// The documents of a file.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    pub(super) documents: Vec<Id>,
}

/// Why a file is no YAML.
#[derive(Debug)]
pub(super) struct NotYaml {
    pub(super) line: usize,
    pub(super) reason: String,
}

/// A list or mapping under construction.
enum Open {
    List(Id, Vec<Id>),
    /// With the key whose value comes next.
    Map(Id, Vec<(Id, Id)>, Option<Id>),
}

impl Tree {
    /// Reads all documents of a text. What stands before an error is kept.
    pub(super) fn read(text: &str) -> (Tree, Option<NotYaml>) {
        let mut builder = Builder::default();
        for next in Parser::new_from_str(text) {
            match next {
                Ok((event, span)) => builder.take(event, span.byte_range().unwrap_or(0..0)),
                Err(error) => {
                    let not_yaml = NotYaml {
                        line: error.marker().line(),
                        reason: error.info().to_owned(),
                    };
                    return (builder.tree, Some(not_yaml));
                }
            }
        }
        (builder.tree, None)
    }

    /// The node itself, or what an alias links to.
    pub(super) fn node(&self, id: Id) -> &Node {
        match &self.nodes[id] {
            // An anchor is in front of its aliases and no alias has an anchor, so one step is all.
            Node::Link(target) => &self.nodes[*target],
            node => node,
        }
    }

    pub(super) fn is_link(&self, id: Id) -> bool {
        matches!(self.nodes[id], Node::Link(_))
    }

    pub(super) fn scalar(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Scalar { text, .. } => Some(text),
            _ => None,
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

    /// The value of a key, merged ones (`<<`) too.
    pub(super) fn get(&self, id: Id, key: &str) -> Option<Id> {
        self.get_merged(id, key, 8)
    }

    fn get_merged(&self, id: Id, key: &str, deepest: usize) -> Option<Id> {
        let pairs = self.pairs(id);
        let own = pairs
            .iter()
            .find(|(name, _)| self.scalar(*name) == Some(key))
            .map(|(_, value)| *value);
        if own.is_some() || deepest == 0 {
            return own;
        }
        let merged = pairs.iter().filter(|(name, _)| self.scalar(*name) == Some("<<"));
        merged
            .map(|(_, value)| *value)
            .find_map(|value| match self.node(value) {
                Node::List(items) => items
                    .iter()
                    .find_map(|item| self.get_merged(*item, key, deepest - 1)),
                _ => self.get_merged(value, key, deepest - 1),
            })
    }

    /// The scalar at a key.
    pub(super) fn text(&self, id: Id, key: &str) -> Option<&str> {
        self.scalar(self.get(id, key)?)
    }
}

/// Puts a tree together from the parser's events.
#[derive(Default)]
struct Builder {
    tree: Tree,
    /// Lists and mappings that have not ended, the innermost last.
    open: Vec<Open>,
    /// The nodes that anchors name.
    anchors: HashMap<usize, Id>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Range<usize>) {
        match event {
            Event::Scalar(value, style, anchor, _) => {
                let node = Node::Scalar {
                    text: value.into_owned(),
                    span,
                    plain: style == ScalarStyle::Plain,
                };
                let id = self.add(node, anchor);
                self.place(id);
            }
            Event::SequenceStart(_, anchor, _) => {
                let id = self.add(Node::List(Vec::new()), anchor);
                self.open.push(Open::List(id, Vec::new()));
            }
            Event::MappingStart(_, anchor, _) => {
                let id = self.add(Node::Map(Vec::new()), anchor);
                self.open.push(Open::Map(id, Vec::new(), None));
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let (id, node) = match self.open.pop() {
                    Some(Open::List(id, items)) => (id, Node::List(items)),
                    Some(Open::Map(id, pairs, _)) => (id, Node::Map(pairs)),
                    None => return,
                };
                self.tree.nodes[id] = node;
                self.place(id);
            }
            Event::Alias(anchor) => {
                if let Some(&target) = self.anchors.get(&anchor) {
                    let id = self.add(Node::Link(target), 0);
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

    /// Puts a whole node into the list or mapping that it stands in.
    fn place(&mut self, id: Id) {
        match self.open.last_mut() {
            None => self.tree.documents.push(id),
            Some(Open::List(_, items)) => items.push(id),
            Some(Open::Map(_, pairs, key)) => match key.take() {
                None => *key = Some(id),
                Some(key) => pairs.push((key, id)),
            },
        }
    }
}
