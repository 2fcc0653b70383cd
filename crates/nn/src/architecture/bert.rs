//! An encoder of BERT's shape that classifies sequences: `BertForSequenceClassification` of Hugging Face's transformers,
//! its `config.json` and the names of its tensors (Devlin et al. 2018; transformers 5, `models/bert`).

use ringfence_format::onnx::Dimension;
use ringfence_format::onnx::write::AttributeInput;

use super::chain::activate;
use super::error::ArchitectureError;
use super::fields::Fields;
use super::layer::Activation;
use super::network::{Dim, Network, int};
use super::transformer::{At, Heads, NEVER, Rows, depth, sequences};

/// The numbers of a configuration; what it leaves out has the value that transformers gives it.
#[derive(Debug, Clone)]
pub(super) struct Bert {
    vocabulary: usize,
    hidden: usize,
    layers: usize,
    heads: Heads,
    inner: usize,
    activation: Activation,
    positions: usize,
    types: usize,
    epsilon: f64,
    length: Option<usize>,
}

impl Bert {
    /// Reads a configuration; `length` fixes the sequence.
    pub(super) fn read(fields: &Fields<'_>, length: Option<usize>) -> Result<Self, ArchitectureError> {
        let hidden = fields.positive("hidden_size", 768)?;
        let name = fields.text("hidden_act")?.unwrap_or("gelu");
        let activation = Activation::of_transformers(name);
        let positions = fields.text("position_embedding_type")?.unwrap_or("absolute");
        if positions != "absolute" {
            return Err(fields.wrong("position_embedding_type", &format!("is `{positions}`; `absolute` is read")));
        }
        for key in ["is_decoder", "add_cross_attention"] {
            if fields.flag(key, false)? {
                return Err(fields.wrong(key, "is true: decoders of this kind are not read"));
            }
        }
        let positions = fields.positive("max_position_embeddings", 512)?;
        if length.is_some_and(|length| length > positions) {
            return Err(fields.wrong("sequence", &format!("is beyond the {positions} positions of the model")));
        }
        Ok(Self {
            vocabulary: fields.positive("vocab_size", 30_522)?,
            hidden,
            layers: depth(fields, "num_hidden_layers", 12)?,
            heads: Heads::of(fields, "num_attention_heads", 12, hidden)?,
            inner: fields.positive("intermediate_size", 3072)?,
            activation: activation
                .ok_or_else(|| fields.wrong("hidden_act", &format!("is `{name}`, which is not known")))?,
            positions,
            types: fields.positive("type_vocab_size", 2)?,
            epsilon: fields.epsilon("layer_norm_eps", 1e-12)?,
            length,
        })
    }

    /// Writes the network: token ids, mask and types in, one row of logits for each sequence out.
    pub(super) fn write(&self, network: &mut Network<'_, '_>) -> Result<(String, Vec<Dim>), ArchitectureError> {
        for name in [IDS, MASK, TYPES] {
            network.input(name, true, &sequences(self.length));
        }
        let head = At("classifier".to_owned());
        let labels = network.tensors.shape(&head.0, "classifier.weight", &format!("[?, {}]", self.hidden))?;
        let labels = labels.first().copied().unwrap_or(0);
        let mask = mask(network);
        let mut rows = Rows::new(network, IDS, self.hidden, self.heads);
        let mut state = self.embeddings(&mut rows)?;
        for layer in 0..self.layers {
            state = self.layer(&mut rows, &At(format!("bert.encoder.layer.{layer}")), &state, &mask)?;
        }
        let pooler = At("bert.pooler.dense".to_owned());
        let sequence = rows.unflatten(&state, self.hidden);
        let first = rows.network.integers(&[], &[0]);
        let first = rows.network.node(&pooler.0, "Gather", &[&sequence, &first], &[("axis", AttributeInput::Int(1))]);
        let pooled = rows.linear(&pooler, &first, [self.hidden; 2])?;
        let pooled = rows.network.node(&pooler.0, "Tanh", &[&pooled], &[]);
        let logits = rows.linear(&head, &pooled, [self.hidden, labels])?;
        Ok((logits, vec![Dimension::Named("batch"), Dimension::Fixed(int(labels))]))
    }

    fn embeddings(&self, rows: &mut Rows<'_, '_, '_>) -> Result<String, ArchitectureError> {
        let at = At("bert.embeddings".to_owned());
        let places = rows.places();
        let words = rows.embed(&at.part("word_embeddings"), IDS, self.vocabulary)?;
        let types = rows.embed(&at.part("token_type_embeddings"), TYPES, self.types)?;
        let places = rows.embed(&at.part("position_embeddings"), &places, self.positions)?;
        let sum = rows.add(&at, &words, &types);
        let sum = rows.add(&at, &sum, &places);
        let flat = rows.flatten(&sum);
        rows.norm(&at.part("LayerNorm"), &flat, self.epsilon)
    }

    fn layer(
        &self,
        rows: &mut Rows<'_, '_, '_>,
        at: &At,
        state: &str,
        mask: &str,
    ) -> Result<String, ArchitectureError> {
        let square = [self.hidden; 2];
        let attention = at.part("attention");
        let inner = attention.part("self");
        let query = rows.linear(&inner.part("query"), state, square)?;
        let key = rows.linear(&inner.part("key"), state, square)?;
        let value = rows.linear(&inner.part("value"), state, square)?;
        #[expect(clippy::cast_precision_loss, reason = "a width, far below 2^52")]
        let scale = 1.0 / (self.heads.width as f64).sqrt();
        let mixed = rows.attend(&inner, [&query, &key, &value], scale, mask);
        let out = attention.part("output");
        let mixed = rows.linear(&out.part("dense"), &mixed, square)?;
        let mixed = rows.add(&out, &mixed, state);
        let mixed = rows.norm(&out.part("LayerNorm"), &mixed, self.epsilon)?;
        let between = at.part("intermediate.dense");
        let wide = rows.linear(&between, &mixed, [self.hidden, self.inner])?;
        let wide = activate(rows.network, &between.0, &wide, self.activation);
        let out = at.part("output");
        let narrow = rows.linear(&out.part("dense"), &wide, [self.inner, self.hidden])?;
        let narrow = rows.add(&out, &narrow, &mixed);
        rows.norm(&out.part("LayerNorm"), &narrow, self.epsilon)
    }
}

/// 0 for tokens and far below every score for padding, `[batch, 1, 1, sequence]`.
fn mask(network: &mut Network<'_, '_>) -> String {
    let given = network.float_of(MASK, MASK);
    let one = network.numbers(&[], &[1.0]);
    let never = network.numbers(&[], &[f64::from(NEVER)]);
    let absent = network.node(MASK, "Sub", &[&one, &given], &[]);
    let added = network.node(MASK, "Mul", &[&absent, &never], &[]);
    let axes = network.integers(&[2], &[1, 2]);
    network.node(MASK, "Unsqueeze", &[&added, &axes], &[])
}

/// Inputs, as exporters of transformers name them.
const IDS: &str = "input_ids";
const MASK: &str = "attention_mask";
const TYPES: &str = "token_type_ids";
