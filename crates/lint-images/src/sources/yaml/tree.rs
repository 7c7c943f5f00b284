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
    Map(Id, Vec<(Id, Id)>, Option<Id>),
}

impl Tree {
    /// Reads all documents of a text. What stands before an error is kept.
    pub(super) fn read(text: &str) -> (Tree, Option<NotYaml>) {
        let mut tree = Tree::default();
        let mut open: Vec<Open> = Vec::new();
        let mut anchors: HashMap<usize, Id> = HashMap::new();
        for next in Parser::new_from_str(text) {
            let (event, span) = match next {
                Ok(next) => next,
                Err(error) => {
                    let line = error.marker().line();
                    return (
                        tree,
                        Some(NotYaml {
                            line,
                            reason: error.info().to_owned(),
                        }),
                    );
                }
            };
            let id = match event {
                Event::Scalar(value, style, anchor, _) => {
                    let span = span.byte_range().unwrap_or(0..0);
                    let plain = style == ScalarStyle::Plain;
                    tree.add(
                        Node::Scalar {
                            text: value.into_owned(),
                            span,
                            plain,
                        },
                        anchor,
                        &mut anchors,
                    )
                }
                Event::SequenceStart(_, anchor, _) => {
                    let id = tree.add(Node::List(Vec::new()), anchor, &mut anchors);
                    open.push(Open::List(id, Vec::new()));
                    continue;
                }
                Event::MappingStart(_, anchor, _) => {
                    let id = tree.add(Node::Map(Vec::new()), anchor, &mut anchors);
                    open.push(Open::Map(id, Vec::new(), None));
                    continue;
                }
                Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                    Some(Open::List(id, items)) => {
                        tree.nodes[id] = Node::List(items);
                        id
                    }
                    Some(Open::Map(id, pairs, _)) => {
                        tree.nodes[id] = Node::Map(pairs);
                        id
                    }
                    None => continue,
                },
                Event::Alias(anchor) => match anchors.get(&anchor) {
                    Some(&target) => tree.add(Node::Link(target), 0, &mut anchors),
                    None => continue,
                },
                _ => continue,
            };
            match open.last_mut() {
                None => tree.documents.push(id),
                Some(Open::List(_, items)) => items.push(id),
                Some(Open::Map(_, pairs, key)) => match key.take() {
                    None => *key = Some(id),
                    Some(key) => pairs.push((key, id)),
                },
            }
        }
        (tree, None)
    }

    fn add(&mut self, node: Node, anchor: usize, anchors: &mut HashMap<usize, Id>) -> Id {
        let id = self.nodes.len();
        self.nodes.push(node);
        if anchor != 0 {
            anchors.insert(anchor, id);
        }
        id
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
