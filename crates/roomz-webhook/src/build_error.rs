use std::error::Error;
use std::fmt;
use std::time::Duration;

/// A setting of [`WebhookLayerBuilder`](crate::WebhookLayerBuilder), or a [`Tenant`](crate::Tenant), cannot work.
#[derive(Clone, PartialEq, Eq)]
pub struct BuildError(BuildErrorKind);

impl BuildError {
    pub(crate) const fn new(kind: BuildErrorKind) -> Self {
        Self(kind)
    }

    /// Returns the kind, with the setting and its value.
    #[must_use]
    pub const fn kind(&self) -> &BuildErrorKind {
        &self.0
    }
}

/// The kind of a [`BuildError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildErrorKind {
    /// A limit or a timeout is zero.
    #[non_exhaustive]
    Zero {
        /// The builder method, such as `with_body_limit`.
        setting: &'static str,
    },
    /// A duration is longer than ten years.
    #[non_exhaustive]
    TooLong {
        /// The builder method.
        setting: &'static str,
        /// Its value.
        value: Duration,
    },
    /// A duration is shorter than another setting requires.
    #[non_exhaustive]
    TooShort {
        /// The builder method.
        setting: &'static str,
        /// Its value.
        value: Duration,
        /// The builder method, or sum of methods, that sets the limit.
        limit: &'static str,
        /// The minimum.
        minimum: Duration,
    },
    /// No request can have this path.
    #[non_exhaustive]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it, such as `it contains a query`.
        problem: &'static str,
    },
    /// A store cannot keep this namespace.
    #[non_exhaustive]
    Namespace {
        /// The namespace.
        namespace: String,
        /// What is wrong with it, such as `it is empty`.
        problem: &'static str,
    },
    /// A namespace is set for a layer with tenants, each of which has its own.
    NamespaceWithTenants,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            BuildErrorKind::Zero { setting } => write!(f, "`{setting}` is zero; set a value above zero"),
            BuildErrorKind::TooLong { setting, value } => {
                write!(f, "`{setting}` is {value:?}; the maximum is ten years")
            }
            BuildErrorKind::TooShort { setting, value, limit, minimum } => {
                write!(f, "`{setting}` is {value:?}, but must be at least {minimum:?} (`{limit}`)")
            }
            BuildErrorKind::Path { path, problem } => write!(
                f,
                "the path is {path:?}: {problem}; set the path as the request has it, such as \"/webhooks/roomz\""
            ),
            BuildErrorKind::Namespace { namespace, problem } => {
                let start: String = namespace.chars().take(64).collect();
                write!(f, "the namespace is {start:?}: {problem}; set a short name, such as \"roomz\"")
            }
            BuildErrorKind::NamespaceWithTenants => f.write_str(
                "`with_namespace` cannot be used with `builder_for_tenants`: each tenant has its own namespace; remove it",
            ),
        }
    }
}

/// The same text as `Display`, because an error that `main` returns is printed with `Debug`.
impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for BuildError {}
