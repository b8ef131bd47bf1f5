//! The parameters of a query by name, from a string: `"ef=80,nprobe=16"`.

use super::request::Request;
use crate::error::{Error, Result};
use crate::types::IndexKind;

/// A parameter: its name, the numbers that it can be, and how it is set.
struct Parameter {
    name: &'static str,
    remedy: &'static str,
    set: fn(&mut Request<'_>, f64) -> bool,
}

/// Whether a number is a count of at least 1.
fn count(value: f64) -> Option<usize> {
    (value >= 1.0 && value <= f64::from(u32::MAX) && value.fract() == 0.0).then_some(value as usize)
}

/// All parameters.
const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "ef",
        remedy: "use a whole number from 1 on",
        set: |request, value| count(value).map(|ef| request.ef_search = ef).is_some(),
    },
    Parameter {
        name: "nprobe",
        remedy: "use a whole number from 1 on",
        set: |request, value| {
            count(value).map(|lists| request.efforts.set(IndexKind::Ivf, lists)).is_some()
        },
    },
    Parameter {
        name: "recall",
        remedy: "use a number above 0 and at most 1",
        set: |request, value| {
            request.recall = Some(value);
            value > 0.0 && value <= 1.0
        },
    },
    Parameter {
        name: "codes",
        remedy: "use 0 or 1",
        set: |request, value| {
            request.codes = value == 1.0;
            value == 0.0 || value == 1.0
        },
    },
];

/// Sets parameters by name.
///
/// # Errors
/// [`Error::InvalidParameters`] for a name or a number that none has: nothing has been set.
pub(crate) fn set(request: &mut Request<'_>, text: &str) -> Result<()> {
    let mut changed = *request;
    for one in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
        let refused = |remedy: &str| Error::InvalidParameters {
            part: one.to_owned(),
            remedy: remedy.to_owned(),
        };
        let names = || PARAMETERS.iter().map(|known| known.name).collect::<Vec<_>>().join(", ");
        let (name, value) =
            one.split_once('=').ok_or_else(|| refused("write name=number, such as ef=80"))?;
        let known = PARAMETERS.iter().find(|known| known.name == name.trim());
        let known = known.ok_or_else(|| refused(&format!("the names are {}", names())))?;
        let value: f64 = value.trim().parse().map_err(|_| refused(known.remedy))?;
        if !(known.set)(&mut changed, value) {
            return Err(refused(known.remedy));
        }
    }
    *request = changed;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_set_and_what_is_wrong_changes_nothing() {
        let mut request = Request::new(10);
        set(&mut request, " nprobe = 16, ef=80,recall=0.9,codes=0 ,").unwrap();
        assert_eq!((request.ef_search, request.recall, request.codes), (80, Some(0.9), false));
        assert_eq!(request.efforts.of(IndexKind::Ivf), Some(16));
        assert!(set(&mut request, "").is_ok());
        for wrong in [
            "ef=8,nprobe",
            "ef=8,depth=3",
            "ef=8,nprobe=x",
            "ef=8,nprobe=0",
            "ef=1.5",
            "ef=8,recall=2",
            "ef=8,codes=3",
            "ef=NaN",
            "ef=-1",
        ] {
            let error = set(&mut request, wrong).unwrap_err().to_string();
            let part = wrong.rsplit(',').next().unwrap();
            assert!(error.contains(part), "{error}");
            assert_eq!(request.ef_search, 80, "{wrong}");
        }
    }
}
