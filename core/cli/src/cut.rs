//! Which connections that lead out of a group are cut, and which are kept.

use dormouse_wire::Disconnect;

/// The option of `check` and `freeze`.
#[derive(Clone, Debug, clap::Args)]
pub struct Cut {
    /// Cut connections to services, such as a message bus, and those from clients outside: the programs find them closed
    /// after the thaw. This is a loss. With a NAME, as `check` tells it, only the connections at that one; may be given again.
    #[arg(long = "disconnect", value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    disconnect: Vec<String>,

    /// Keep TCP connections to other machines, and to other programs here: the other end is held off until the thaw, and
    /// notices no more than a silence. This takes root, and nf_tables in the kernel. Without it they are found reset.
    #[arg(long)]
    keep_connections: bool,
}

impl Cut {
    /// Whether connections to outside are kept.
    pub fn keeps(&self) -> bool {
        self.keep_connections
    }

    /// Which are cut.
    pub fn meant(&self) -> Disconnect {
        if self.disconnect.iter().any(String::is_empty) {
            Disconnect::Everything
        } else {
            Disconnect::these(self.disconnect.iter().cloned())
        }
    }
}
