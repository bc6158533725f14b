//! Typed services: from a trait to the stub of its callers and the dispatcher of its servers.

use core::future::Future;

use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use crate::client::Client;
use crate::error::CallError;
use crate::leg::Patience;
use crate::pending::{Outcome, Pending};
use crate::server::Request;
use crate::transport::Transport;

/// What executes requests; [`service!`](crate::service) makes one from a trait.
pub trait Dispatch {
    /// Executes a request and settles its answer.
    fn dispatch<T: Transport>(&self, request: Request<'_, '_, '_, T>);

    /// The same in a task, where the answer has to wait for a buffer or for room.
    fn dispatched<T: Transport>(&self, request: Request<'_, '_, '_, T>)
    -> impl Future<Output = ()>;
}

/// A way to make calls; a stub is generic over it.
pub trait Invoke {
    /// What a method that returns `R` returns at the caller's.
    type Call<R: DeserializeOwned>;

    /// Calls `method`.
    fn invoke<A: Serialize, R: DeserializeOwned>(
        &self,
        method: u16,
        arguments: &A,
    ) -> Self::Call<R>;
}

/// Calls that wait for their result.
pub struct Blocking<'c, 'a, T, const CALLS: usize> {
    client: &'c Client<'a, T, CALLS>,
    patience: Patience,
}

impl<'c, 'a, T: Transport, const CALLS: usize> Blocking<'c, 'a, T, CALLS> {
    /// Calls through this client. `patience` is for requests that find no buffer, no room or no slot.
    pub fn new(client: &'c Client<'a, T, CALLS>, patience: Patience) -> Self {
        Self { client, patience }
    }
}

impl<T: Transport, const CALLS: usize> Invoke for Blocking<'_, '_, T, CALLS> {
    type Call<R: DeserializeOwned> = Outcome<R>;

    fn invoke<A: Serialize, R: DeserializeOwned>(&self, method: u16, arguments: &A) -> Outcome<R> {
        self.client.begin_patiently(method, arguments, self.patience)?.wait()
    }
}

/// Calls that wait for their result until a deadline. One that has none by then is left, and [`CallError::TooLate`]; if it could not
/// even begin, what was missing is the error.
pub struct Timed<'c, 'a, T: Transport, const CALLS: usize> {
    client: &'c Client<'a, T, CALLS>,
    deadline: T::Deadline,
}

impl<'c, 'a, T: Transport, const CALLS: usize> Timed<'c, 'a, T, CALLS> {
    /// Calls through this client, all of which end by then.
    pub fn new(client: &'c Client<'a, T, CALLS>, deadline: T::Deadline) -> Self {
        Self { client, deadline }
    }
}

impl<T: Transport, const CALLS: usize> Invoke for Timed<'_, '_, T, CALLS> {
    type Call<R: DeserializeOwned> = Outcome<R>;

    fn invoke<A: Serialize, R: DeserializeOwned>(&self, method: u16, arguments: &A) -> Outcome<R> {
        let pending = self.client.begin_until(method, arguments, self.deadline)?;
        pending.wait_until(self.deadline).unwrap_or(Err(CallError::TooLate))
    }
}

/// Calls that are begun only: to be polled ([`Pending::finish`]), waited for, or awaited. Results in buffers keep these until their calls are
/// finished: who begins several before it finishes one has a buffer for each, or a thread or task for each (see [`Pending::wait`]).
pub struct Begin<'c, 'a, T, const CALLS: usize> {
    client: &'c Client<'a, T, CALLS>,
}

impl<'c, 'a, T: Transport, const CALLS: usize> Begin<'c, 'a, T, CALLS> {
    /// Calls through this client.
    pub fn new(client: &'c Client<'a, T, CALLS>) -> Self {
        Self { client }
    }
}

impl<'c, 'a, T: Transport, const CALLS: usize> Invoke for Begin<'c, 'a, T, CALLS> {
    type Call<R: DeserializeOwned> = Result<Pending<'c, 'a, T, CALLS, R>, CallError>;

    fn invoke<A: Serialize, R: DeserializeOwned>(
        &self,
        method: u16,
        arguments: &A,
    ) -> Self::Call<R> {
        self.client.begin(method, arguments)
    }
}

/// Makes a service of a trait: the trait, a stub for its callers, a dispatcher for its servers.
///
/// Each method has a number that both sides agree on. Arguments may borrow: at the server they borrow from the
/// context. Results are owned; a method that can fail returns a `Result`.
///
/// ```
/// shikiri_rpc::service! {
///     /// Remembers numbers.
///     pub trait Store, stub StoreStub, server StoreServer {
///         /// The number under this name.
///         1: fn get(name: &str) -> Option<u64>;
///         /// Keeps a number; the one that was there before.
///         2: fn put(name: &str, number: u64) -> Result<Option<u64>, u8>;
///     }
/// }
///
/// struct Empty;
///
/// impl Store for Empty {
///     fn get(&self, _: &str) -> Option<u64> {
///         None
///     }
///
///     fn put(&self, _: &str, _: u64) -> Result<Option<u64>, u8> {
///         Err(1)
///     }
/// }
///
/// use shikiri_rpc::{Blocking, CallError, Client, Patience, Server, Context, Transport};
///
/// fn call<T: Transport>(client: &Client<'_, T, 16>) -> Result<Option<u64>, CallError> {
///     StoreStub(Blocking::new(client, Patience::Wait)).get("answer")
/// }
///
/// fn serve<T: Transport>(server: &Server<'_, T>) {
///     server.serve(&mut Context::<5120>::new(), &StoreServer(Empty));
/// }
/// ```
///
/// Two methods with one number do not compile:
///
/// ```compile_fail,E0081
/// shikiri_rpc::service! {
///     trait Twice, stub TwiceStub, server TwiceServer {
///         1: fn first() -> u8;
///         1: fn second() -> u8;
///     }
/// }
/// ```
///
/// nor does an argument of the wrong type, nor a result that borrows from the server:
///
/// ```compile_fail,E0308
/// # use shikiri_rpc::{Begin, Client, Transport};
/// # shikiri_rpc::service! { trait Square, stub SquareStub, server SquareServer { 1: fn square(side: u32) -> u64; } }
/// # fn with<T: Transport>(client: &Client<'_, T, 16>) {
/// SquareStub(Begin::new(client)).square("ten").ok();
/// # }
/// ```
///
/// ```compile_fail,E0277
/// # use shikiri_rpc::{Begin, Client, Transport};
/// # shikiri_rpc::service! { trait Name, stub NameStub, server NameServer { 1: fn name() -> &'static str; } }
/// # fn with<T: Transport>(client: &Client<'_, T, 16>) { NameStub(Begin::new(client)).name().ok(); }
/// ```
#[macro_export]
macro_rules! service {
    (
        $(#[$doc:meta])*
        $vis:vis trait $Trait:ident, stub $Stub:ident, server $Server:ident {
            $(
                $(#[$method_doc:meta])*
                $number:literal: fn $method:ident($($argument:ident: $Type:ty),* $(,)?) -> $Result:ty;
            )*
        }
    ) => {
        $(#[$doc])*
        $vis trait $Trait {
            $(
                $(#[$method_doc])*
                fn $method(&self, $($argument: $Type),*) -> $Result;
            )*
        }

        #[doc = concat!("Calls [`", stringify!($Trait), "`] at the other side.")]
        $vis struct $Stub<I>($vis I);

        impl<I: $crate::Invoke> $Stub<I> {
            $(
                $(#[$method_doc])*
                $vis fn $method(&self, $($argument: $Type),*) -> I::Call<$Result> {
                    self.0.invoke($number, &($($argument,)*))
                }
            )*
        }

        #[doc = concat!("Serves [`", stringify!($Trait), "`].")]
        $vis struct $Server<S>($vis S);

        impl<S: $Trait> $crate::Dispatch for $Server<S> {
            fn dispatch<T: $crate::Transport>(&self, request: $crate::Request<'_, '_, '_, T>) {
                // Two variants with one number do not compile.
                #[allow(non_camel_case_types, dead_code, reason = "only the numbers are wanted")]
                #[repr(u16)]
                enum Numbers { $($method = $number),* }

                let $crate::Request { method, arguments, answer } = request;
                match method {
                    $(
                        $number => match $crate::decode::<($($Type,)*)>(arguments) {
                            Ok(($($argument,)*)) => answer.settle(&self.0.$method($($argument),*)),
                            Err($crate::BadPayload) => answer.refuse($crate::Status::BadArguments),
                        },
                    )*
                    _ => answer.refuse($crate::Status::NoSuchMethod),
                }
            }

            async fn dispatched<T: $crate::Transport>(
                &self,
                request: $crate::Request<'_, '_, '_, T>,
            ) {
                let $crate::Request { method, arguments, answer } = request;
                match method {
                    $(
                        $number => match $crate::decode::<($($Type,)*)>(arguments) {
                            Ok(($($argument,)*)) => {
                                answer.settled(&self.0.$method($($argument),*)).await;
                            }
                            Err($crate::BadPayload) => {
                                answer.refused($crate::Status::BadArguments).await;
                            }
                        },
                    )*
                    _ => answer.refused($crate::Status::NoSuchMethod).await,
                }
            }
        }
    };
}
