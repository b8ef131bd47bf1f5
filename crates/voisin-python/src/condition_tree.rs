//! Conditions as they were combined, in shared parts: a join costs the same however large its parts
//! are, and what voisin takes is made of them when it is asked for.
//!
//! Invariant: what recurses goes no deeper than [`DEPTH`]. A chain of one joint is one level of
//! depth, and is walked with a stack of its own, as `condition = condition & other` in a loop makes
//! trees as deep as the loop is long.

use std::fmt;
use std::sync::Arc;

use pyo3::prelude::*;
use voisin::Condition;

/// The deepest condition: far below what the stack of a thread holds, and far above what people or
/// programs write.
const DEPTH: usize = 200;
/// The most tests of a condition. Parts are shared, so that a few dozen joins of a condition with
/// itself would name more than memory holds.
const TESTS: usize = 1 << 20;

/// How conditions are joined.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Joint {
    And,
    Or,
}

impl Joint {
    fn name(self) -> &'static str {
        match self {
            Self::And => "and",
            Self::Or => "or",
        }
    }

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        [Self::And, Self::Or].into_iter().find(|joint| joint.name() == name)
    }
}

/// A condition: see the module.
pub(crate) struct Tree {
    node: Node,
    /// The levels of joints and negations above the deepest test.
    depth: usize,
    /// The tests, as often as they occur.
    tests: usize,
}

enum Node {
    /// What was made of JSON.
    Leaf(Condition, String),
    Not(Arc<Tree>),
    Join(Joint, Vec<Arc<Tree>>),
}

/// Why a condition cannot be combined.
#[derive(Debug)]
pub(crate) enum TooMuch {
    Depth(usize),
    Tests(usize),
}

impl fmt::Display for TooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Depth(depth) => write!(
                f,
                "the condition is {depth} levels deep, of {DEPTH} at most: write it flatter, as \
                 a | (b & c) and not as ((a & b) | a) & c, or with isin for many values"
            ),
            Self::Tests(tests) => write!(
                f,
                "the condition has {tests} tests, of {TESTS} at most: use isin for many values of \
                 a field"
            ),
        }
    }
}

/// A step of making a condition from a list, as pickles have it: the JSON of a condition, or the
/// name of what joins so many conditions before it.
#[derive(FromPyObject, IntoPyObject)]
pub(crate) struct Step(pub(crate) String, pub(crate) Option<usize>);

impl Tree {
    pub(crate) fn leaf(condition: Condition, json: String) -> Self {
        Self { node: Node::Leaf(condition, json), depth: 0, tests: 1 }
    }

    /// # Errors
    /// [`TooMuch`].
    pub(crate) fn not(of: Arc<Self>) -> Result<Self, TooMuch> {
        let (depth, tests) = (of.depth + 1, of.tests);
        Self { node: Node::Not(of), depth, tests }.checked()
    }

    /// # Errors
    /// [`TooMuch`].
    pub(crate) fn join(joint: Joint, parts: Vec<Arc<Self>>) -> Result<Self, TooMuch> {
        // A part that is joined alike adds its parts to the same list.
        let deep = |part: &Arc<Self>| part.depth + usize::from(!part.is_joined_by(joint));
        let depth = parts.iter().map(deep).max().unwrap_or(1);
        let tests = parts.iter().fold(0, |tests: usize, part| tests.saturating_add(part.tests));
        Self { node: Node::Join(joint, parts), depth, tests }.checked()
    }

    fn checked(self) -> Result<Self, TooMuch> {
        match (self.depth, self.tests) {
            (depth, _) if depth > DEPTH => Err(TooMuch::Depth(depth)),
            (_, tests) if tests > TESTS => Err(TooMuch::Tests(tests)),
            _ => Ok(self),
        }
    }

    fn is_joined_by(&self, joint: Joint) -> bool {
        matches!(&self.node, Node::Join(by, _) if *by == joint)
    }

    /// The parts of a join, of all that are joined alike, in their order.
    fn parts_of(joint: Joint, parts: &[Arc<Self>]) -> Vec<&Self> {
        let mut flat = Vec::new();
        let mut stack: Vec<&Self> = parts.iter().rev().map(|part| &**part).collect();
        while let Some(part) = stack.pop() {
            match &part.node {
                Node::Join(by, parts) if *by == joint => {
                    stack.extend(parts.iter().rev().map(|part| &**part));
                }
                _ => flat.push(part),
            }
        }
        flat
    }

    /// What voisin takes. O(tests).
    pub(crate) fn condition(&self) -> Condition {
        match &self.node {
            Node::Leaf(condition, _) => condition.clone(),
            Node::Not(of) => of.condition().not(),
            Node::Join(joint, parts) => {
                let parts = Self::parts_of(*joint, parts).into_iter().map(Self::condition);
                match joint {
                    Joint::And => Condition::all(parts),
                    Joint::Or => Condition::any(parts),
                }
            }
        }
    }

    /// The condition as JSON. O(bytes).
    pub(crate) fn json(&self) -> String {
        let mut json = String::new();
        self.write_json(&mut json);
        json
    }

    fn write_json(&self, json: &mut String) {
        match &self.node {
            Node::Leaf(_, leaf) => json.push_str(leaf),
            Node::Not(of) => {
                json.push_str("{\"not\":");
                of.write_json(json);
                json.push('}');
            }
            Node::Join(joint, parts) => {
                json.push_str(&format!("{{\"{}\":[", joint.name()));
                for (at, part) in Self::parts_of(*joint, parts).into_iter().enumerate() {
                    if at > 0 {
                        json.push(',');
                    }
                    part.write_json(json);
                }
                json.push_str("]}");
            }
        }
    }

    /// The JSON that the condition was made of, if it is not combined.
    pub(crate) fn leaf_json(&self) -> Option<&str> {
        match &self.node {
            Node::Leaf(_, json) => Some(json),
            _ => None,
        }
    }

    /// The steps that make the condition: each part before what joins it.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        self.write_steps(&mut steps);
        steps
    }

    fn write_steps(&self, steps: &mut Vec<Step>) {
        match &self.node {
            Node::Leaf(_, json) => steps.push(Step(json.clone(), None)),
            Node::Not(of) => {
                of.write_steps(steps);
                steps.push(Step("not".to_owned(), Some(1)));
            }
            Node::Join(joint, parts) => {
                let parts = Self::parts_of(*joint, parts);
                parts.iter().for_each(|part| part.write_steps(steps));
                steps.push(Step(joint.name().to_owned(), Some(parts.len())));
            }
        }
    }

    /// The trees that this one is made of, which it loses.
    fn take_parts(&mut self) -> Vec<Arc<Self>> {
        match std::mem::replace(&mut self.node, Node::Join(Joint::And, Vec::new())) {
            Node::Leaf(..) => Vec::new(),
            Node::Not(of) => vec![of],
            Node::Join(_, parts) => parts,
        }
    }
}

/// Without recursion: see the module.
impl Drop for Tree {
    fn drop(&mut self) {
        let mut left = self.take_parts();
        while let Some(part) = left.pop() {
            if let Some(mut part) = Arc::into_inner(part) {
                left.append(&mut part.take_parts());
            }
        }
    }
}
