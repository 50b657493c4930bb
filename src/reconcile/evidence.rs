//! On what evidence a repository may lose its entities: pure.
//!
//! A read alone is not enough. Lost permissions look like repositories that are not there, and a
//! mistyped filter or path looks like a wish: then every push to every repository would take one
//! more along, as far as the brake lets it. So somebody has to have said that *this* one goes: a
//! signed event that names what happened, a scan, which weighs the whole set of an account before
//! it pushes any of it, or a person. Otherwise everything stays as it is until the next scan.

use super::Unit;
use crate::engine::record::RepoRecord;
use crate::work::Reasons;

/// Whether a scan has weighed what goes, or a person has asked.
const fn is_weighed(reasons: Reasons) -> bool {
    reasons.any(Reasons::SCAN.and(Reasons::REFRESH))
}

/// Why a repository that GitHub does not show stays; `None` when it may go.
pub(super) fn doubts_absence(unit: &Unit) -> Option<&'static str> {
    let record = unit.record.as_ref().filter(|record| record.holds_entities())?;
    // An event that tells of another owner explains why the old one does not see it any more.
    let has_moved = unit.account != record.account;
    let is_explained = unit.hint.reasons.any(Reasons::DELETED) || has_moved;
    (!is_explained && !is_weighed(unit.hint.reasons))
        .then_some("GitHub does not show it, and no webhook says that it was deleted")
}

/// Why a repository that the configuration leaves out stays; `None` when it may go. `was_let_in`
/// says whether the configuration lets it in as it was before: then it has changed itself.
pub(super) fn doubts_refusal(
    reasons: Reasons,
    old: Option<&RepoRecord>,
    was_let_in: bool,
) -> Option<&'static str> {
    old.filter(|old| old.holds_entities())?;
    (!was_let_in && !is_weighed(reasons))
        .then_some("the configuration leaves it out as it was before already")
}

/// Why a record stays though its files are no longer there; `None` when it may go. `was_wanted`
/// says whether the configuration names the files that it has, for the repository as it was.
pub(super) fn doubts_loss(
    reasons: Reasons,
    old: Option<&RepoRecord>,
    new: &RepoRecord,
    was_wanted: bool,
) -> Option<&'static str> {
    old.filter(|old| old.holds_entities() && !new.holds_entities())?;
    (!was_wanted && !is_weighed(reasons))
        .then_some("it has none of the files that the configuration names now")
}
