//! Which table turns an input's token ids into vectors.

use crate::load::{Known, Operator, Role};
use crate::model::Model;

impl Model {
    /// The place, among [`Model::parameters`], of the table `[tokens, width]` from which the graph takes a row for each number of
    /// the input `name`; `None` where there is no such table, or the numbers are changed before it is asked.
    pub fn embedding(&self, name: &str) -> Option<usize> {
        let graph = &self.graph;
        let mut same = vec![graph.inputs.iter().find(|input| input.name == name)?.value];
        for node in &graph.nodes {
            let input = |at: usize| node.inputs.get(at).copied().flatten();
            match &node.operator {
                Operator::Identity
                | Operator::Cast { .. }
                | Operator::Reshape { .. }
                | Operator::Flatten { .. }
                | Operator::Squeeze { .. }
                | Operator::Unsqueeze { .. }
                    if input(0).is_some_and(|value| same.contains(&value)) =>
                {
                    same.extend(node.outputs.iter().flatten());
                }
                Operator::Gather { axis: 0 } if input(1).is_some_and(|value| same.contains(&value)) => {
                    let Some(Known::Float(float)) = input(0).and_then(|value| graph.values.get(value)) else {
                        continue;
                    };
                    let table = graph.floats.get(*float)?;
                    if table.shape.len() == 2 && matches!(table.role, Role::Parameter(_)) {
                        return self.parameter_places().iter().position(|place| place == float);
                    }
                }
                _ => {}
            }
        }
        None
    }
}
