//! The part of GitHub's GraphQL schema that the fake knows: types, fields, arguments.
//!
//! What is not here is refused as a field that does not exist, even where GitHub has it.

/// A type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Query,
    RateLimit,
    Node,
    RepositoryOwner,
    Organization,
    User,
    Repository,
    RepositoryConnection,
    PageInfo,
    RepositoryTopicConnection,
    RepositoryTopic,
    Topic,
    Ref,
    GitObject,
    Commit,
    Tree,
    Blob,
    /// Any scalar or enum.
    Scalar(&'static str),
}

/// What an argument takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    Int,
    Boolean,
    String,
    Id,
    Ids,
    Order,
    Affiliations,
}

impl Input {
    /// The type as a variable has to be declared, apart from an outer `!`.
    pub(crate) const fn type_name(self) -> &'static str {
        match self {
            Self::Int => "Int",
            Self::Boolean => "Boolean",
            Self::String => "String",
            Self::Id => "ID",
            Self::Ids => "[ID!]",
            Self::Order => "RepositoryOrder",
            Self::Affiliations => "[RepositoryAffiliation]",
        }
    }
}

/// An argument.
#[derive(Debug)]
pub(crate) struct Argument {
    pub(crate) name: &'static str,
    pub(crate) input: Input,
    pub(crate) required: bool,
}

const fn required(name: &'static str, input: Input) -> Argument {
    Argument { name, input, required: true }
}

const fn optional(name: &'static str, input: Input) -> Argument {
    Argument { name, input, required: false }
}

/// A field.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) result: Type,
    pub(crate) arguments: &'static [Argument],
}

const ID: Type = Type::Scalar("ID");
const STRING: Type = Type::Scalar("String");
const INT: Type = Type::Scalar("Int");
const BOOLEAN: Type = Type::Scalar("Boolean");
const DATE_TIME: Type = Type::Scalar("DateTime");
const OID: Type = Type::Scalar("GitObjectID");
const URI: Type = Type::Scalar("URI");

const NODE: [Argument; 1] = [required("id", Input::Id)];
const NODES: [Argument; 1] = [required("ids", Input::Ids)];
const BY_LOGIN: [Argument; 1] = [required("login", Input::String)];
const BY_NAME: [Argument; 3] = [
    required("owner", Input::String),
    required("name", Input::String),
    optional("followRenames", Input::Boolean),
];
const REPOSITORIES: [Argument; 8] = [
    optional("first", Input::Int),
    optional("last", Input::Int),
    optional("after", Input::String),
    optional("orderBy", Input::Order),
    optional("ownerAffiliations", Input::Affiliations),
    optional("affiliations", Input::Affiliations),
    optional("isFork", Input::Boolean),
    optional("isArchived", Input::Boolean),
];
const TOPICS: [Argument; 3] =
    [optional("first", Input::Int), optional("last", Input::Int), optional("after", Input::String)];
const EXPRESSION: [Argument; 2] =
    [optional("expression", Input::String), optional("oid", Input::String)];

impl Type {
    /// GitHub's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Query => "Query",
            Self::RateLimit => "RateLimit",
            Self::Node => "Node",
            Self::RepositoryOwner => "RepositoryOwner",
            Self::Organization => "Organization",
            Self::User => "User",
            Self::Repository => "Repository",
            Self::RepositoryConnection => "RepositoryConnection",
            Self::PageInfo => "PageInfo",
            Self::RepositoryTopicConnection => "RepositoryTopicConnection",
            Self::RepositoryTopic => "RepositoryTopic",
            Self::Topic => "Topic",
            Self::Ref => "Ref",
            Self::GitObject => "GitObject",
            Self::Commit => "Commit",
            Self::Tree => "Tree",
            Self::Blob => "Blob",
            Self::Scalar(name) => name,
        }
    }

    /// The composite type of this name.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        const NAMED: [Type; 17] = [
            Type::Query,
            Type::RateLimit,
            Type::Node,
            Type::RepositoryOwner,
            Type::Organization,
            Type::User,
            Type::Repository,
            Type::RepositoryConnection,
            Type::PageInfo,
            Type::RepositoryTopicConnection,
            Type::RepositoryTopic,
            Type::Topic,
            Type::Ref,
            Type::GitObject,
            Type::Commit,
            Type::Tree,
            Type::Blob,
        ];
        NAMED.into_iter().find(|ty| ty.name() == name)
    }

    /// The object types a value of this type may have.
    pub(crate) fn possible(self) -> Vec<Self> {
        match self {
            Self::Node => vec![
                Self::Repository,
                Self::Organization,
                Self::User,
                Self::Ref,
                Self::Commit,
                Self::Tree,
                Self::Blob,
                Self::Topic,
                Self::RepositoryTopic,
            ],
            Self::RepositoryOwner => vec![Self::Organization, Self::User],
            Self::GitObject => vec![Self::Commit, Self::Tree, Self::Blob],
            object => vec![object],
        }
    }

    /// Whether this is a connection, which has to be paged.
    pub(crate) const fn is_connection(self) -> bool {
        matches!(self, Self::RepositoryConnection | Self::RepositoryTopicConnection)
    }

    /// A field by its name.
    pub(crate) fn field(self, name: &str) -> Option<Field> {
        let with = |result, arguments| Some(Field { result, arguments });
        if name == "__typename" && !matches!(self, Self::Scalar(_)) {
            return with(STRING, &[]);
        }
        match (self, name) {
            (Self::Query, "node") => with(Self::Node, &NODE),
            (Self::Query, "nodes") => with(Self::Node, &NODES),
            (Self::Query, "repository") => with(Self::Repository, &BY_NAME),
            (Self::Query, "repositoryOwner") => with(Self::RepositoryOwner, &BY_LOGIN),
            (Self::RepositoryOwner | Self::Organization | Self::User, "repositories") => {
                with(Self::RepositoryConnection, &REPOSITORIES)
            }
            (Self::Repository, "repositoryTopics") => {
                with(Self::RepositoryTopicConnection, &TOPICS)
            }
            (Self::Repository, "object") => with(Self::GitObject, &EXPRESSION),
            _ => self.plain_field(name).and_then(|result| with(result, &[])),
        }
    }

    /// A field without arguments.
    fn plain_field(self, name: &str) -> Option<Self> {
        match self {
            Self::Query => match name {
                "rateLimit" => Some(Self::RateLimit),
                "viewer" => Some(Self::User),
                _ => None,
            },
            Self::RateLimit => match name {
                "cost" | "limit" | "remaining" | "used" | "nodeCount" => Some(INT),
                "resetAt" => Some(DATE_TIME),
                _ => None,
            },
            Self::Node => (name == "id").then_some(ID),
            Self::RepositoryOwner | Self::Organization | Self::User => match name {
                "id" => Some(ID),
                "login" => Some(STRING),
                "url" => Some(URI),
                "databaseId" if self != Self::RepositoryOwner => Some(INT),
                _ => None,
            },
            Self::Repository => repository_field(name),
            Self::RepositoryConnection => match name {
                "totalCount" => Some(INT),
                "nodes" => Some(Self::Repository),
                "pageInfo" => Some(Self::PageInfo),
                _ => None,
            },
            Self::RepositoryTopicConnection => match name {
                "totalCount" => Some(INT),
                "nodes" => Some(Self::RepositoryTopic),
                "pageInfo" => Some(Self::PageInfo),
                _ => None,
            },
            Self::PageInfo => match name {
                "endCursor" | "startCursor" => Some(STRING),
                "hasNextPage" | "hasPreviousPage" => Some(BOOLEAN),
                _ => None,
            },
            Self::RepositoryTopic => (name == "topic").then_some(Self::Topic),
            Self::Topic => (name == "name").then_some(STRING),
            Self::Ref => match name {
                "name" | "prefix" => Some(STRING),
                "target" => Some(Self::GitObject),
                _ => None,
            },
            Self::Blob => match name {
                "oid" => Some(OID),
                "byteSize" => Some(INT),
                "isTruncated" | "isBinary" => Some(BOOLEAN),
                "text" => Some(STRING),
                _ => None,
            },
            Self::GitObject | Self::Commit | Self::Tree => (name == "oid").then_some(OID),
            Self::Scalar(_) => None,
        }
    }
}

fn repository_field(name: &str) -> Option<Type> {
    match name {
        "id" => Some(ID),
        "databaseId" => Some(INT),
        "name" | "nameWithOwner" => Some(STRING),
        "owner" => Some(Type::RepositoryOwner),
        "isArchived" | "isFork" | "isEmpty" | "isPrivate" => Some(BOOLEAN),
        "visibility" => Some(Type::Scalar("RepositoryVisibility")),
        "pushedAt" | "updatedAt" | "createdAt" => Some(DATE_TIME),
        "url" => Some(URI),
        "defaultBranchRef" => Some(Type::Ref),
        _ => None,
    }
}
