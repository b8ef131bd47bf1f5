//! `voisin create`.

use clap::{Args, ValueEnum};
use serde_json::json;
use voisin::{AnyIndex, AnyType, Codes, Field, IndexKind, Names, Options};

use crate::failure::{Failure, Result};
use crate::fields::{self, field, kind};
use crate::place::Place;
use crate::ui::{self, Ui};

/// Create an empty index.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  voisin create notes --metric cosine --dimensions 384 --names texts
  voisin create papers --metric cosine -d 384 --field tag:keyword --field year:integer")]
pub(crate) struct Create {
    #[command(flatten)]
    place: Place,
    /// The number of components of every vector, 1 to 65535
    #[arg(long, short, value_name = "N")]
    dimensions: usize,
    #[command(flatten)]
    kind: Type,
    #[command(flatten)]
    parameters: Parameters,
}

/// The type of an index.
#[derive(Debug, Clone, Args)]
pub(crate) struct Type {
    /// The metric: euclidean, cosine, dot-product, manhattan, hamming, binary-quantized-cosine,
    /// binary-quantized-euclidean or binary-quantized-manhattan
    #[arg(long, short, value_name = "METRIC")]
    pub(crate) metric: Option<String>,
    /// How components are stored: f32, f16, bf16 or i8; bits (hamming); signs (binary quantized).
    /// The first that the metric has unless given
    #[arg(long, value_name = "FORM")]
    pub(crate) form: Option<String>,
    /// What items are named by
    #[arg(long, value_enum, value_name = "NAMES")]
    pub(crate) names: Option<Naming>,
}

/// What items are named by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Naming {
    /// Numbers from 0 to 2^32 - 1 (the default)
    Ids,
    /// Numbers from 0 to 2^64 - 1
    Numbers,
    /// Texts of 1 to 480 bytes
    Texts,
}

/// What an index has, and how its graph is built.
#[derive(Debug, Clone, Args)]
pub(crate) struct Parameters {
    /// A field of the records, by which items can be filtered: its name, and keyword, integer,
    /// float, timestamp or bool; give it again for each
    #[arg(long = "field", value_name = "NAME:TYPE", value_parser = field)]
    pub(crate) fields: Vec<Field>,
    /// The kinds of index: flat, hnsw, ivf or lsh, with commas between them; hnsw unless given
    #[arg(long = "kind", value_name = "KIND,...", value_delimiter = ',', value_parser = kind)]
    pub(crate) kinds: Vec<IndexKind>,
    /// Quantized codes to search by: 1, 2, 4, 7 or 8 bits a component, fast, or none
    #[arg(long, value_name = "BITS", value_parser = parse_codes)]
    pub(crate) codes: Option<CodesArg>,
    /// M: the maximum degree of an item above the base layer
    #[arg(long, value_name = "N")]
    pub(crate) m: Option<usize>,
    /// M0: the maximum degree on the base layer; twice M unless given
    #[arg(long, value_name = "N")]
    pub(crate) m0: Option<usize>,
    /// How many candidates a build keeps for the neighbors of an item
    #[arg(long, value_name = "N")]
    pub(crate) ef_construction: Option<usize>,
    /// The pruning factor, 1 to 10
    #[arg(long, value_name = "FACTOR")]
    pub(crate) alpha: Option<f32>,
    /// The seed of builds
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
}

/// Codes, as they are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CodesArg {
    None,
    Fast,
    Bits(Codes),
}

impl CodesArg {
    pub(crate) fn of(self, dimensions: usize) -> Option<Codes> {
        match self {
            Self::None => None,
            Self::Fast => Some(Codes::fast(dimensions)),
            Self::Bits(codes) => Some(codes),
        }
    }
}

pub(crate) fn parse_codes(text: &str) -> Result<CodesArg, String> {
    Ok(match text {
        "none" => CodesArg::None,
        "fast" => CodesArg::Fast,
        "1" => CodesArg::Bits(Codes::Bits1),
        "2" => CodesArg::Bits(Codes::Bits2),
        "4" => CodesArg::Bits(Codes::Bits4),
        "7" => CodesArg::Bits(Codes::Bits7),
        "8" => CodesArg::Bits(Codes::Bits8),
        _ => return Err("codes are 1, 2, 4, 7 or 8 bits, fast, or none".to_owned()),
    })
}

impl Type {
    /// The type, if it has a metric.
    pub(crate) fn any(&self) -> Option<AnyType> {
        let metric = self.metric.as_deref()?.to_ascii_lowercase().replace(['-', '_'], " ");
        let metric = match &*metric {
            "dot" | "ip" | "inner product" => "dot product",
            "l2" => "euclidean",
            "l1" => "manhattan",
            other => other,
        };
        let mut kind = AnyType::new(metric);
        if let Some(form) = &self.form {
            kind = kind.form(form);
        }
        Some(kind.names(match self.names {
            None | Some(Naming::Ids) => Names::Ids,
            Some(Naming::Numbers) => Names::Numbers,
            Some(Naming::Texts) => Names::Texts,
        }))
    }
}

impl Type {
    /// The same, with what is not given as in an index.
    pub(crate) fn or_of(mut self, index: &AnyIndex) -> AnyType {
        self.form.get_or_insert_with(|| index.form().to_owned());
        self.names.get_or_insert(match index {
            AnyIndex::Ids(_) => Naming::Ids,
            AnyIndex::Numbers(_) => Naming::Numbers,
            AnyIndex::Texts(_) => Naming::Texts,
        });
        self.metric.get_or_insert_with(|| index.metric().to_owned());
        self.any().unwrap_or_else(|| AnyType::new(index.metric()))
    }
}

impl Parameters {
    pub(crate) fn options(&self, dimensions: usize) -> Options {
        let mut options = Options::new(dimensions).fields(self.fields.clone());
        if !self.kinds.is_empty() {
            options = options.kinds(self.kinds.iter().copied());
        }
        if let Some(codes) = self.codes.and_then(|codes| codes.of(dimensions)) {
            options = options.codes(codes);
        }
        if let Some(m) = self.m {
            options = options.m(m);
        }
        if let Some(m0) = self.m0 {
            options = options.m0(m0);
        }
        if let Some(ef) = self.ef_construction {
            options = options.ef_construction(ef);
        }
        if let Some(alpha) = self.alpha {
            options = options.alpha(alpha);
        }
        if let Some(seed) = self.seed {
            options = options.seed(seed);
        }
        options
    }
}

/// What an index is, in words and in JSON.
pub(crate) fn describe(index: &AnyIndex) -> (String, serde_json::Value) {
    let (metric, form, naming) = (index.metric(), index.form(), index.naming());
    let (name, path, dimensions) = (index.name(), index.path(), index.dimensions());
    let text = format!(
        "{name} in {}: {metric}, {dimensions} dimensions as {form}, items named by {naming}",
        path.display()
    );
    let value = json!({
        "folder": ui::path(path), "index": name, "metric": metric, "form": form, "names": naming,
        "dimensions": dimensions,
    });
    (text, value)
}

impl Create {
    pub(crate) fn run(self, ui: &mut Ui) -> Result<()> {
        let Some(kind) = self.kind.any() else {
            return Err(Failure::usage(
                "an index needs a metric: give --metric euclidean, cosine, dot-product, \
                 manhattan or hamming",
            ));
        };
        let options = self.place.options(self.parameters.options(self.dimensions));
        let index = AnyIndex::create(&self.place.path, &kind, options)?;
        let (mut text, mut value) = describe(&index);
        let (kinds, fields) = (index.kinds()?, index.fields()?);
        value["index_kinds"] = fields::kinds_json(&kinds);
        value["fields"] = fields::fields_json(&fields);
        if !fields.is_empty() {
            text = format!("{text}, with the fields {}", fields::names_of(&fields));
        }
        ui.result(&value, || format!("created {text}"))
    }
}
