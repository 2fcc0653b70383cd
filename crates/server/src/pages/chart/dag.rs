//! What came from what: boxes in columns, sources on the left, arrows to what was made of them.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{
    super::{entry::local, parts::words},
    Figure, px,
};

/// One thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Names it among the nodes.
    pub key: String,
    /// What stands in its box.
    pub label: String,
    /// A smaller second line, such as its state.
    pub note: String,
    /// A path of this server; never a foreign address.
    pub target: Option<String>,
    /// Whether it is the one that the page is about.
    pub here: bool,
}

/// `from` went into `to`, as `role`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// Key of the source.
    pub from: String,
    /// Key of what was made.
    pub to: String,
    /// As what.
    pub role: String,
}

/// A graph without cycles; edges that would close one are left out of the drawing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dag<'a> {
    /// Unique on the page.
    pub id: &'a str,
    /// What it shows.
    pub title: &'a str,
    /// The things; the first [`NODES_MAX`] are drawn.
    pub nodes: Vec<Node>,
    /// What went into what.
    pub edges: Vec<Edge>,
}

/// Boxes in one picture.
pub const NODES_MAX: usize = 60;
/// Arrows in one picture.
pub const EDGES_MAX: usize = 200;
const BOX: (f64, f64) = (190.0, 46.0);
const GAP: (f64, f64) = (70.0, 18.0);
const EDGE: f64 = 8.0;

impl Dag<'_> {
    /// The graph.
    pub fn draw(&self) -> Markup {
        let nodes = self.nodes.get(..self.nodes.len().min(NODES_MAX)).unwrap_or_default();
        let columns = columns(nodes, &self.edges);
        let mut filled: BTreeMap<usize, usize> = BTreeMap::new();
        let places: BTreeMap<&str, (f64, f64)> = nodes
            .iter()
            .map(|node| {
                let column = columns.get(node.key.as_str()).copied().unwrap_or(0);
                let row = filled.entry(column).or_default();
                let at = (EDGE + column as f64 * (BOX.0 + GAP.0), EDGE + *row as f64 * (BOX.1 + GAP.1));
                *row += 1;
                (node.key.as_str(), at)
            })
            .collect();
        let wide = filled.keys().max().map_or(1, |last| last + 1) as f64;
        let high = filled.values().max().copied().unwrap_or(1) as f64;
        let size = (2.0 * EDGE + wide * (BOX.0 + GAP.0) - GAP.0, 2.0 * EDGE + high * (BOX.1 + GAP.1) - GAP.1);
        let drawing = html! {
            @for edge in self.edges.iter().take(EDGES_MAX) {
                @if let (Some(from), Some(to)) = (places.get(edge.from.as_str()), places.get(edge.to.as_str())) {
                    @if to.0 > from.0 { (arrow(*from, *to, &edge.role)) }
                }
            }
            @for node in nodes {
                @if let Some(at) = places.get(node.key.as_str()) {
                    @if let Some(target) = node.target.as_deref().filter(|target| local(target) == *target) {
                        a href=(target) { (boxed(node, *at)) }
                    } @else { (boxed(node, *at)) }
                }
            }
        };
        let description = format!(
            "{} artifacts and {} steps between them; the table names each.",
            self.nodes.len(),
            self.edges.len()
        );
        let label = |key: &str| {
            self.nodes.iter().find(|node| node.key == key).map_or_else(|| key.to_owned(), |node| node.label.clone())
        };
        let table = html! {
            div class="scroll" tabindex="0" role="group" aria-label=(format!("Figures: {}", self.title)) {
                table {
                    thead { tr { th scope="col" { "from" } th scope="col" { "as" } th scope="col" { "into" } } }
                    tbody { @for edge in self.edges.iter().take(EDGES_MAX) { tr {
                        th scope="row" { bdi { (words(&label(&edge.from), 120)) } } td { bdi { (words(&edge.role, 60)) } } td { bdi { (words(&label(&edge.to), 120)) } }
                    } } }
                }
            }
        };
        let legend = html! { @if self.nodes.len() > NODES_MAX { span class="key" { (self.nodes.len() - NODES_MAX) " more only in the table" } } };
        Figure { id: self.id, role: "group", title: self.title, description, size, drawing, legend, table }.draw()
    }
}

fn boxed(node: &Node, (x, y): (f64, f64)) -> Markup {
    html! {
        g class=(if node.here { "node here" } else { "node" }) {
            title { (words(&node.label, 200)) }
            rect x=(px(x)) y=(px(y)) width=(BOX.0) height=(BOX.1) rx="6" {}
            text class="label" x=(px(x + 10.0)) y=(px(y + 19.0)) { (words(&node.label, 24)) }
            text class="tick" x=(px(x + 10.0)) y=(px(y + 36.0)) { (words(&node.note, 26)) }
        }
    }
}

fn arrow(from: (f64, f64), to: (f64, f64), role: &str) -> Markup {
    let (x1, y1) = (from.0 + BOX.0, from.1 + BOX.1 / 2.0);
    let (x2, y2) = (to.0 - 7.0, to.1 + BOX.1 / 2.0);
    let middle = f64::midpoint(x1, x2);
    html! {
        path class="arrow" d=(format!("M{} {}C{} {} {} {} {} {}", px(x1), px(y1), px(middle), px(y1), px(middle), px(y2), px(x2), px(y2))) {
            title { (words(role, 60)) }
        }
        path class="head" d=(format!("M{} {}l-8 -4v8z", px(x2 + 7.0), px(y2))) {}
    }
}

/// The column of each node: one after its last source. A step back in a cycle does not count.
fn columns<'a>(nodes: &'a [Node], edges: &[Edge]) -> BTreeMap<&'a str, usize> {
    let mut columns: BTreeMap<&str, usize> = nodes.iter().map(|node| (node.key.as_str(), 0)).collect();
    for _ in 0..nodes.len().min(NODES_MAX) {
        let mut moved = false;
        for edge in edges.iter().take(EDGES_MAX) {
            let Some(from) = columns.get(edge.from.as_str()).copied() else { continue };
            if let Some(to) = columns.get_mut(edge.to.as_str())
                && edge.from != edge.to
                && *to <= from
                && from + 1 < COLUMNS_MAX
            {
                *to = from + 1;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    columns
}

/// Columns in one picture; a cycle, which no lineage has, ends there.
const COLUMNS_MAX: usize = 12;
