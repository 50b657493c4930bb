//! Deliveries as the ledger keeps them: the text that the scripts carry and do not read.

use serde::{Deserialize, Serialize};

use super::calls::{Calls, millis};
use super::codec::{corrupt, from_json, to_json};
use crate::clock::Timestamp;
use crate::engine::EngineError;
use crate::engine::queue::{Delivery, LEDGER_KEEP, LedgerEntry};
use crate::ids::{DeliveryId, FullName};

/// A delivery but its id: short names, for there are many of them.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "e")]
    event: String,
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    repository: Option<FullName>,
    #[serde(rename = "t")]
    received_at: Timestamp,
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    ignored: Option<String>,
}

/// The text of a delivery.
pub(super) fn text(delivery: &Delivery) -> Result<String, EngineError> {
    let Delivery { id: _, event, action, repository, received_at, ignored } = delivery.clone();
    to_json(&Stored { event, action, repository, received_at, ignored })
}

impl Calls {
    /// See [`Inspect::deliveries`](crate::engine::queue::Inspect::deliveries).
    pub async fn deliveries(&self, limit: usize) -> Result<(Vec<LedgerEntry>, u64), EngineError> {
        let mut call = self.call(&self.scripts.deliveries);
        call.arg(self.options.ledger_rows_max).arg(millis(LEDGER_KEEP)).arg(limit);
        let (total, stored): (u64, Vec<(String, String)>) = self.run(&call).await?;
        let entries = stored.iter().map(|(id, entry)| read(id, entry)).collect::<Result<_, _>>()?;
        Ok((entries, total))
    }
}

/// An entry: `number time outcome text`.
fn read(id: &str, entry: &str) -> Result<LedgerEntry, EngineError> {
    let wrong = || corrupt(format!("delivery {id} cannot be read"));
    let mut parts = entry.splitn(4, ' ').skip(2);
    let outcome = match parts.next() {
        Some("0") => "queued",
        Some("1") => "merged",
        Some("2") => "ignored",
        _ => return Err(wrong()),
    };
    let text = parts.next().ok_or_else(wrong)?;
    let stored: Stored = from_json(text.as_bytes(), || format!("delivery {id}"))?;
    let Stored { event, action, repository, received_at, ignored } = stored;
    let id = DeliveryId::parse(id).map_err(corrupt)?;
    let delivery = Delivery { id, event, action, repository, received_at, ignored };
    Ok(LedgerEntry { delivery, outcome })
}
