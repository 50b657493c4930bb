//! What was asked: a log of calls, and which token touched which owner.

use std::collections::BTreeSet;

/// What a call was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallKind {
    /// GraphQL that lists an owner's repositories.
    List,
    /// GraphQL that lists an owner's repositories twice, in two orders.
    Latest,
    /// GraphQL by `nodes`.
    Nodes,
    /// GraphQL that asks for repositories one by one: for files by path.
    Files,
    /// Other GraphQL, also such as did not parse.
    OtherGraphql,
    /// REST: a repository by id or name.
    Repository,
    /// REST: a file or a blob.
    File,
    /// REST: the paths of a commit.
    Tree,
    /// REST: what an App asks as itself.
    App,
    /// REST: the repositories that an installation may see.
    Selection,
    /// REST: a token for an App's installation.
    AccessToken,
    /// REST: the rate limit.
    RateLimit,
    /// A path GitHub does not have (or this fake does not).
    Unknown,
}

impl CallKind {
    /// Whether it came in by GraphQL.
    pub const fn is_graphql(self) -> bool {
        matches!(self, Self::List | Self::Latest | Self::Nodes | Self::Files | Self::OtherGraphql)
    }
}

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    /// What for.
    pub kind: CallKind,
    /// The method and path; GraphQL's query instead of its path.
    pub what: String,
    /// The token, if any was sent.
    pub token: Option<String>,
    /// The `User-Agent`.
    pub user_agent: String,
    /// GraphQL points spent.
    pub points: u64,
    /// How many node ids were asked for.
    pub nodes: usize,
    /// The status answered; 0 where the connection was cut instead.
    pub status: u16,
}

/// The log.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) calls: Vec<Call>,
    pub(crate) touched: BTreeSet<(String, String)>,
    /// Touches of another's, which are never forgotten.
    pub(crate) strays: BTreeSet<(String, String)>,
}

impl crate::World {
    /// Every call since the start or the last [`reset_calls`](Self::reset_calls).
    pub fn calls(&self) -> Vec<Call> {
        self.lock().journal.calls.clone()
    }

    /// How many calls of a kind.
    pub fn calls_of(&self, kind: CallKind) -> usize {
        self.lock().journal.calls.iter().filter(|call| call.kind == kind).count()
    }

    /// How many GraphQL calls.
    pub fn graphql_calls(&self) -> usize {
        self.lock().journal.calls.iter().filter(|call| call.kind.is_graphql()).count()
    }

    /// GraphQL points spent in those calls.
    pub fn points(&self) -> u64 {
        self.lock().journal.calls.iter().map(|call| call.points).sum()
    }

    /// Forgets all calls and touches.
    pub fn reset_calls(&self) {
        let mut state = self.lock();
        let strays = std::mem::take(&mut state.journal.strays);
        state.journal = Journal { strays, ..Journal::default() };
    }

    /// Every (token, owner's login) where the token was used to ask for something of the owner,
    /// allowed or not: a test of two tenants looks for the pair that must not be here.
    pub fn touched(&self) -> BTreeSet<(String, String)> {
        self.lock().journal.touched.clone()
    }
}
