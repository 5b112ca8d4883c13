//! Sizes of tensors.

use std::fmt;
use std::str::FromStr;

/// The size of a tensor on one GPU, as in `1024x10000x8192`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// From the slowest to the fastest axis.
    pub dims: Vec<u64>,
    /// Bytes of one element, where they are not those of the plan's element type.
    pub element_bytes: Option<u64>,
}

/// Beyond this many elements, or FLOPs, sums over a graph could overflow.
pub(super) const MOST: u128 = 1 << 90;

/// A text that is no shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a shape such as 1024x10000x8192")]
pub struct NotAShape(String);

impl Shape {
    /// A tensor of the plan's element type.
    pub fn new(dims: &[u64]) -> Self {
        Shape { dims: dims.to_vec(), element_bytes: None }
    }

    /// How many elements it has.
    pub fn elements(&self) -> u128 {
        self.dims.iter().fold(1u128, |product, dim| product.saturating_mul(u128::from(*dim)))
    }

    /// Its bytes when an element of the plan has `element_bytes`.
    pub fn bytes(&self, element_bytes: u64) -> u64 {
        let bytes = self.elements().saturating_mul(u128::from(self.element_bytes.unwrap_or(element_bytes)));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// The fastest axis.
    pub fn width(&self) -> u64 {
        self.dims.last().copied().unwrap_or(1)
    }

    /// All axes but the fastest, multiplied.
    pub fn rows(&self) -> u128 {
        match self.width() {
            0 => 0,
            width => self.elements() / u128::from(width),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<String> = self.dims.iter().map(u64::to_string).collect();
        f.write_str(&dims.join("x"))?;
        match self.element_bytes {
            Some(bytes) => write!(f, ":{bytes}B"),
            None => Ok(()),
        }
    }
}

impl FromStr for Shape {
    type Err = NotAShape;

    fn from_str(text: &str) -> Result<Self, NotAShape> {
        let wrong = || NotAShape(text.to_owned());
        let (dims, element_bytes) = match text.split_once(':') {
            None => (text, None),
            Some((dims, bytes)) => {
                let bytes = bytes.strip_suffix('B').and_then(|b| b.parse().ok()).ok_or_else(wrong)?;
                (dims, Some(bytes))
            }
        };
        let dims = dims.split('x').map(|dim| dim.parse().map_err(|_| wrong())).collect::<Result<_, _>>()?;
        let shape = Shape { dims, element_bytes };
        if shape.elements() > MOST { Err(wrong()) } else { Ok(shape) }
    }
}
