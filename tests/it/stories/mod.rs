//! Stories: what the catalog looks like after something happened on GitHub.

mod alone;
mod approvals;
mod apps;
mod both_ways;
mod commands;
mod disorder;
mod evidence;
mod explained;
mod explaining;
mod false_removals;
mod files;
mod heartbeat;
mod installed;
mod kill;
mod lagging;
mod lifecycle;
mod measures;
mod outage;
mod recovery;
mod replicas;
mod scan_budget;
mod scan_progress;
mod scan_schedule;
mod scanning;
mod selected;
mod trouble;
