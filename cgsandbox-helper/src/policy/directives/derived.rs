//! What follows from the table of directives.

/// Makes, from the rows of the table, [`Profile`](crate::policy::Profile) with all that goes by
/// its fields, and the list of the rows for those who go through them.
macro_rules! directives {
    ($(
        #[doc = $help:literal]
        $name:ident: $field:ty = $form:ident($($parse:path)?) {
            $(default: $default:expr,)?
            $(session: $twin:ident,)?
            examples: [$example:literal, $other:literal]
        }
    )*) => {
        /// A `[profile.NAME]`. What is none is written neither there nor in what it inherits.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct Profile {
            $(#[doc = $help] pub $name: $field,)*
        }

        /// All directives, in the order in which cgsandbox.toml(5) has them.
        pub const DIRECTIVES: &[Directive] = &[$(Directive {
            name: stringify!($name),
            help: $help.trim_ascii(),
            default: directives!(@optional $(|| ToString::to_string(&$default))?),
            session: directives!(@optional $(stringify!($twin))?),
            examples: [$example, $other],
        },)*];

        /// The keys of a `[profile.NAME]`: all directives, and what the profile begins with.
        pub(crate) const KEYS: &[&str] = &["inherits", $(stringify!($name)),*];

        impl Profile {
            /// Takes what the file has for the directive `name`; false where there is none of this
            /// name.
            pub(crate) fn read(&mut self, name: &str, from: &mut impl Reading) -> bool {
                match name {
                    $(stringify!($name) => self.$name = from.$form($($parse)?),)*
                    _ => return false,
                }
                true
            }

            /// Takes from `other` what this profile does not say.
            pub(crate) fn inherit(&mut self, other: &Profile) {
                $(Field::inherit(&mut self.$name, &other.$name);)*
            }

            /// Everything it says, in the order of the documentation.
            pub fn settings(&self) -> Vec<Setting> {
                let mut all = Vec::new();
                $(self.$name.list(stringify!($name), &mut all);)*
                all
            }

            /// A profile whose user's limits are those that this one has for each session.
            pub(super) fn session_twins(&self) -> Profile {
                Profile { $($($name: self.$twin.clone(),)?)* ..Profile::default() }
            }

            $($(
                #[doc = concat!("The value of `", stringify!($name), "`, written or not.")]
                pub fn $name(&self) -> <$field as Field>::Value {
                    self.$name.as_ref().map_or($default, |written| written.value)
                }
            )?)*
        }

        /// What the table has for one directive.
        #[derive(Debug, Clone, Copy)]
        pub struct Directive {
            /// Its key in a `[profile.NAME]`.
            pub name: &'static str,
            /// What it limits or chooses, in one line.
            pub help: &'static str,
            /// What holds where no profile says anything; none where nothing is limited then, or
            /// other directives decide.
            pub default: Option<fn() -> String>,
            /// The directive that asks the same of each session by itself.
            pub session: Option<&'static str>,
            /// Two different values, as they are written in TOML.
            pub examples: [&'static str; 2],
        }

        impl Directive {
            /// The one with this name.
            pub fn named(name: &str) -> Option<&'static Directive> {
                DIRECTIVES.iter().find(|directive| directive.name == name)
            }
        }
    };
    (@optional) => { None };
    (@optional $value:expr) => { Some($value) };
}
