//! The Lua scripts, each with the parts it builds on: one change of state is one script.
//!
//! What a script expects and returns stands at its head; names of keys stand in `lib/items.lua`,
//! `lib/ledger.lua` and `lib/records.lua` and nowhere else.

use redis::Script;

/// Names, time, items and their indexes.
const ITEMS: &str = include_str!("scripts/lib/items.lua");
/// What may be taken, and when the next comes due.
const DUE: &str = include_str!("scripts/lib/due.lua");
/// What may happen to a key.
const RULES: &str = include_str!("scripts/lib/rules.lua");
/// Many changes of items in few commands.
const BATCH: &str = include_str!("scripts/lib/batch.lua");
/// The ledger of deliveries.
const LEDGER: &str = include_str!("scripts/lib/ledger.lua");
/// Records and what belongs to them.
const RECORDS: &str = include_str!("scripts/lib/records.lua");

/// Declares the scripts: name, file, and the parts before it.
macro_rules! scripts {
    ($($name:ident: $($part:ident)+;)+) => {
        /// All scripts.
        #[derive(Debug)]
        pub(super) struct Scripts {
            $(pub $name: Script,)+
        }

        impl Scripts {
            /// Puts each together; nothing is sent to a server.
            pub fn new() -> Self {
                Self {
                    $($name: Script::new(
                        &[$($part,)+ include_str!(concat!("scripts/", stringify!($name), ".lua"))]
                            .concat(),
                    ),)+
                }
            }
        }
    };
}

scripts! {
    greet: ITEMS;
    open: ITEMS RULES;
    push: ITEMS BATCH RULES LEDGER;
    take: ITEMS RULES DUE;
    extend: ITEMS RULES;
    settle: ITEMS RULES;
    gate: ITEMS RULES DUE;
    sleep: ITEMS DUE;
    probe: ITEMS;
    stats: ITEMS DUE;
    list: ITEMS;
    retry: ITEMS RULES;
    drop: ITEMS RULES;
    deliveries: ITEMS LEDGER;
    apply: ITEMS RULES RECORDS;
    approve: ITEMS RULES RECORDS;
    get: ITEMS RECORDS;
    records: ITEMS RECORDS;
    changes: ITEMS RECORDS;
    last_seq: ITEMS;
    owned: ITEMS RECORDS;
    summaries: ITEMS RECORDS;
    texts: ITEMS;
    stopped: ITEMS;
    put_note: ITEMS;
    notes: ITEMS;
}
