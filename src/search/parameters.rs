//! The parameters of a query by name, from a string: `"ef=80,nprobe=16"`.

use super::paths::PATHS;
use super::paths::parameter::Parameter;
use super::request::Request;
use crate::error::{Error, Result};

/// The parameters of all searches.
const COMMON: &[Parameter] = &[
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

/// All parameters: those of each access path, and the common ones.
fn all() -> impl Iterator<Item = &'static Parameter> {
    PATHS.iter().flat_map(|path| path.parameters()).chain(COMMON)
}

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
        let names = || all().map(|known| known.name).collect::<Vec<_>>().join(", ");
        let (name, value) =
            one.split_once('=').ok_or_else(|| refused("write name=number, such as ef=80"))?;
        let known = all().find(|known| known.name == name.trim());
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
    use crate::types::IndexKind;

    #[test]
    fn what_is_named_is_set_and_what_is_wrong_changes_nothing() {
        let mut request = Request::new(10);
        set(&mut request, " codes = 0, ef=80,recall=0.9 ,").unwrap();
        assert_eq!((request.ef_search, request.recall, request.codes), (80, Some(0.9), false));
        assert!(set(&mut request, "").is_ok());
        for wrong in [
            "ef=8,recall",
            "ef=8,depth=3",
            "ef=8,ef=x",
            "ef=8,ef=0",
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

    #[test]
    fn every_parameter_has_one_name_and_every_effort_of_a_kind_can_be_set() {
        let mut names: Vec<_> = all().map(|known| known.name).collect();
        names.sort_unstable();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
        for kind in IndexKind::ALL {
            assert!(!kind.efforts().is_empty(), "{kind}");
            for effort in kind.efforts() {
                let mut request = Request::new(10);
                set(&mut request, effort).unwrap();
                let changed = format!("{request:?}") != format!("{:?}", Request::new(10));
                assert_eq!(changed, !effort.is_empty(), "{kind}: {effort}");
            }
        }
    }
}
