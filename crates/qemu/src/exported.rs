//! Functions that QEMU's executable exports beside its plugin interface, found by their names.
//!
//! Not here: what they are for, and that they are declared as in QEMU's headers, which is the word of whoever names them.

/// A structure of functions, and how to find all of them.
macro_rules! exported {
    ($(#[$about:meta])* $visibility:vis struct $all:ident {
        $( $name:ident : fn($($argument:ty),*) $(-> $result:ty)? ; )*
    }) => {
        $(#[$about])*
        #[derive(Clone, Copy)]
        $visibility struct $all {
            $( pub $name: unsafe extern "C" fn($($argument),*) $(-> $result)?, )*
        }

        impl $all {
            /// Those of the QEMU that this code runs in.
            ///
            /// # Errors
            /// The name of one that it does not export.
            pub fn find() -> Result<Self, &'static str> {
                Ok(Self {
                    $( $name: {
                        let name = ::std::ffi::CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()).ok();
                        let address = name.and_then($crate::api::find).ok_or(stringify!($name))?;
                        // SAFETY: the symbol is QEMU's function of this name, declared as in its header.
                        unsafe {
                            ::std::mem::transmute_copy::<*mut ::std::ffi::c_void, unsafe extern "C" fn($($argument),*) $(-> $result)?>(
                                &address,
                            )
                        }
                    }, )*
                })
            }
        }
    };
}

pub(crate) use exported;
