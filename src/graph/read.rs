//! Graphviz text to a graph.

use std::collections::HashMap;

use super::attributes::{Attributes, gpus, number, ops, tensors};
use super::error::DotError;
use super::header::read_facts;
use super::lexer::{Token, TokenKind, tokens};
use super::{Cut, Edge, Graph, Node};
use crate::dag::Kind;

/// Reads a graph in Graphviz's language, with the attributes that [`super::dot`] writes.
///
/// Nodes that only edges name become nodes without a kind: `check` finds them.
///
/// # Errors
/// When the text is no directed graph, or an attribute does not hold what its name says.
pub fn read(text: &str) -> Result<Graph, DotError> {
    let tokens = tokens(text)?;
    let mut reader =
        Reader { tokens: &tokens, at: 0, graph: Graph::default(), index: HashMap::new(), named_gpus: 0 };
    reader.graph()?;
    Ok(reader.graph)
}

/// The most GPUs that all nodes may name together: a range of them is short, and what it names fills the memory.
const MOST_NAMED: usize = 1 << 26;

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    graph: Graph,
    /// Nodes that were declared or named, by id.
    index: HashMap<String, usize>,
    /// GPUs that nodes name, each as often as it is named.
    named_gpus: usize,
}

impl Reader<'_> {
    fn line(&self) -> usize {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |token| token.line)
    }

    fn fail<T>(&self, message: &str) -> Result<T, DotError> {
        Err(DotError::at(self.line(), message))
    }

    fn sign(&mut self, sign: char) -> bool {
        let here = self.tokens.get(self.at).is_some_and(|token| token.kind == TokenKind::Sign(sign));
        self.at += usize::from(here);
        here
    }

    fn keyword(&mut self, word: &str) -> bool {
        let is = |token: &Token| matches!(&token.kind, TokenKind::Text(text, false) if text.eq_ignore_ascii_case(word));
        let here = self.tokens.get(self.at).is_some_and(is);
        self.at += usize::from(here);
        here
    }

    fn text(&mut self) -> Option<String> {
        let Some(Token { kind: TokenKind::Text(text, _), .. }) = self.tokens.get(self.at) else {
            return None;
        };
        self.at += 1;
        Some(text.clone())
    }

    fn graph(&mut self) -> Result<(), DotError> {
        self.keyword("strict");
        if !self.keyword("digraph") {
            return self.fail("a plan's graph begins with: digraph NAME {");
        }
        self.graph.name = self.text().unwrap_or_default();
        if !self.sign('{') {
            return self.fail("`{` is missing");
        }
        let mut facts = Attributes::new();
        let mut lines = HashMap::new();
        let mut depth = 1usize;
        while depth > 0 {
            if self.at >= self.tokens.len() {
                return self.fail("the graph ends before its last `}`");
            }
            if self.sign('}') {
                depth -= 1;
            } else if self.sign('{') {
                depth += 1;
            } else if self.keyword("subgraph") {
                self.text();
                if !self.sign('{') {
                    return self.fail("`{` is missing after subgraph");
                }
                depth += 1;
            } else if !self.sign(';') {
                let line = self.line();
                let attributes = self.statement()?;
                if depth == 1 {
                    lines.extend(attributes.keys().map(|key| (key.clone(), line)));
                    facts.extend(attributes);
                }
            }
        }
        if let Some(name) = facts.remove("plan") {
            self.graph.name = name;
        }
        self.graph.facts = read_facts(&facts).map_err(|(key, message)| {
            let line = lines.get(key).or_else(|| lines.get("model_layers"));
            DotError::at(line.copied().unwrap_or(1), &message)
        })?;
        Ok(())
    }

    /// A node, edges, or attributes of the graph, which are returned.
    fn statement(&mut self) -> Result<Attributes, DotError> {
        let line = self.line();
        let graph = self.keyword("graph");
        if graph || self.keyword("node") || self.keyword("edge") {
            let attributes = self.attributes()?;
            return Ok(if graph { attributes } else { Attributes::new() });
        }
        let Some(id) = self.text() else { return self.fail("a node, an edge or an attribute was expected") };
        if self.sign('=') {
            let Some(value) = self.text() else { return self.fail("a value was expected after `=`") };
            return Ok(Attributes::from([(id, value)]));
        }
        self.port();
        let mut chain = vec![id];
        while matches!(self.tokens.get(self.at), Some(Token { kind: TokenKind::Arrow, .. })) {
            self.at += 1;
            let Some(id) = self.text() else { return self.fail("a node was expected after `->`") };
            self.port();
            chain.push(id);
        }
        let attributes = self.attributes()?;
        if let [id] = chain.as_slice() {
            self.declare(id, line, &attributes)?;
        }
        for pair in chain.windows(2) {
            let [from, to] = [&pair[0], &pair[1]].map(|id| self.named(id));
            let carries = attributes.get("tensor").map_or(Vec::new(), |text| carried(text));
            self.graph.edges.push(Edge { from, to, carries });
        }
        Ok(Attributes::new())
    }

    /// Skips `:port`.
    fn port(&mut self) {
        while self.sign(':') {
            self.text();
        }
    }

    fn attributes(&mut self) -> Result<Attributes, DotError> {
        let mut all = Attributes::new();
        while self.sign('[') {
            while !self.sign(']') {
                let Some(key) = self.text() else { return self.fail("`]` is missing") };
                let value = if self.sign('=') { self.text() } else { Some("true".to_owned()) };
                let Some(value) = value else { return self.fail("a value was expected after `=`") };
                all.insert(key, value);
                if !self.sign(',') {
                    self.sign(';');
                }
            }
        }
        Ok(all)
    }

    /// The node of that id; a bare one where none was declared yet.
    fn named(&mut self, id: &str) -> usize {
        let nodes = &mut self.graph.nodes;
        *self.index.entry(id.to_owned()).or_insert_with(|| {
            nodes.push(Node::named(id));
            nodes.len() - 1
        })
    }

    fn declare(&mut self, id: &str, line: usize, attributes: &Attributes) -> Result<(), DotError> {
        let node = read_node(id, line, attributes)
            .map_err(|message| DotError::at(line, &format!("{id}: {message}")))?;
        self.named_gpus += [Some(&node.gpus), node.givers.as_ref(), node.takers.as_ref()]
            .into_iter()
            .flatten()
            .map(Vec::len)
            .sum::<usize>();
        if self.named_gpus > MOST_NAMED {
            let message = format!("{id}: nodes name more than {MOST_NAMED} GPUs by now");
            return Err(DotError::at(line, &message));
        }
        match self.index.get(id) {
            // named by an edge before
            Some(i) if self.graph.nodes[*i].kind.is_none() => self.graph.nodes[*i] = node,
            // twice: both stay, so that it can be seen
            Some(_) => self.graph.nodes.push(node),
            None => {
                self.index.insert(id.to_owned(), self.graph.nodes.len());
                self.graph.nodes.push(node);
            }
        }
        Ok(())
    }
}

/// `q k` or `out>x`.
fn carried(text: &str) -> Vec<(String, String)> {
    text.split_whitespace()
        .map(|word| {
            let (from, to) = word.split_once('>').unwrap_or((word, word));
            (from.to_owned(), to.to_owned())
        })
        .collect()
}

fn read_node(id: &str, line: usize, attributes: &Attributes) -> Result<Node, String> {
    let text = |key: &str| attributes.get(key).map_or("", String::as_str);
    let one_of =
        |key: &str, known: Vec<&str>| format!("{key} = \"{}\" is none of {}", text(key), known.join(", "));
    let kind = match attributes.get("kind") {
        None => return Err("the node has no kind".to_owned()),
        Some(name) => Kind::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| one_of("kind", Kind::ALL.map(Kind::name).to_vec()))?,
    };
    let cut = match attributes.get("cut") {
        None => None,
        Some(name) => Some(
            Cut::ALL
                .into_iter()
                .find(|cut| cut.name() == name)
                .ok_or_else(|| one_of("cut", Cut::ALL.map(Cut::name).to_vec()))?,
        ),
    };
    let some_gpus = |key: &str| attributes.get(key).map(|text| gpus(text)).transpose();
    Ok(Node {
        id: id.to_owned(),
        line,
        kind: Some(kind),
        op: text("op").to_owned(),
        gpus: gpus(text("gpus"))?,
        givers: some_gpus("givers")?,
        takers: some_gpus("takers")?,
        layer: number(attributes, "layer_index")?,
        expert: number(attributes, "expert")?,
        microbatch: number(attributes, "microbatch")?.unwrap_or(0),
        peer: number(attributes, "peer")?,
        cut,
        parameters: number(attributes, "parameters")?.unwrap_or(0),
        reads: tensors(text("in"))?,
        writes: tensors(text("out"))?,
        ops: ops(text("ops"))?,
    })
}
