//! The standard library, with the locks, atomics and thread locals of Shuttle. A crate that depends on it by
//! the name `std` is compiled with these, without a change of its source.

pub use std::*;

pub mod prelude {
    pub mod rust_2024 {
        pub use std::prelude::rust_2024::*;

        pub use crate::thread_local;
    }
}

pub mod sync {
    pub use std::sync::*;

    pub use shuttle::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic};
}

/// All tasks of Shuttle run on one thread of the operating system, so each of them has its own cells.
#[macro_export]
macro_rules! thread_local {
    ($(#[$attribute:meta])* static $name:ident: Cell<$type:ty> = const { $value:expr };) => {
        $(#[$attribute])* static $name: $crate::Local<$type> = $crate::Local(|| {
            $crate::of_shuttle::thread_local! { static VALUE: $crate::cell::Cell<$type> = $value }
            &VALUE
        });
    };
    ($($other:tt)*) => { $crate::of_std::thread_local! { $($other)* } };
}

#[doc(hidden)]
pub use {::shuttle as of_shuttle, ::std as of_std};

/// A value of each task.
pub struct Local<T: 'static>(pub fn() -> &'static shuttle::thread::LocalKey<cell::Cell<T>>);

impl<T: Copy> Local<T> {
    pub fn get(&'static self) -> T {
        (self.0)().with(cell::Cell::get)
    }

    pub fn set(&'static self, value: T) {
        self.replace(value);
    }

    pub fn replace(&'static self, value: T) -> T {
        (self.0)().with(|cell| cell.replace(value))
    }
}
