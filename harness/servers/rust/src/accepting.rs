//! Who accepts: one loop as the guides have it, several on one listener, or each on a listener of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;

use clap::{Parser, ValueEnum};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::task::{unconstrained, yield_now};

use crate::{Asked, Error, RuntimeOptions, Stamps, announce, number_or_default};

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, Parser)]
pub struct Accepting {
    /// Tasks that accept; `default`: one, without the means to block it
    #[arg(long, value_name = "N|default", default_value = "default", value_parser = number_or_default::<1>)]
    pub accept_loops: Asked,
    /// Whether each of them has a listener (SO_REUSEPORT) and a runtime of its own
    #[arg(long, default_value = "off")]
    pub reuseport: Switch,
    /// Connections that are accepted in a row, before those are served; `default`: as many as tokio lets a task take
    #[arg(long, value_name = "N|default", default_value = "default", value_parser = number_or_default::<1>)]
    pub accept_batch: Asked,
}

/// Where one loop gets its connections.
pub struct Door {
    listener: Arc<TcpListener>,
    stamps: Stamps,
    batch: Option<u32>,
    in_a_row: u32,
    gate: Option<Gate>,
}

impl Door {
    /// The next connection, and when it was accepted.
    pub async fn accept(&mut self) -> Result<(TcpStream, Option<u64>), Error> {
        let accepted = match self.batch {
            None => self.next().await,
            Some(batch) => {
                if self.in_a_row == batch {
                    self.in_a_row = 0;
                    yield_now().await;
                }
                self.in_a_row += 1;
                // Else tokio would make the loop pause after 128 of them, whatever was asked.
                unconstrained(self.next()).await
            }
        };
        let (stream, _) = accepted?;
        Ok((stream, self.stamps.take()))
    }

    async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let Some(gate) = &self.gate else {
            return self.listener.accept().await;
        };
        loop {
            tokio::select! {
                biased;
                () = gate.asked.notified() => drop(gate.open.lock()), // the thread, not the task, waits
                accepted = self.listener.accept() => return accepted,
            }
        }
    }
}

/// Through which the first loop can be blocked, as a handler that does not yield would: by SIGUSR1, until SIGUSR2.
#[derive(Clone, Default)]
struct Gate {
    asked: Arc<Notify>,
    open: Arc<Mutex<()>>,
}

impl Gate {
    /// One that obeys from now on. A server that is answered by its clients may be sent the signal at any time, and it
    /// would end one that has not asked for it: no listener may be made before.
    fn kept() -> Result<Self, Error> {
        let gate = Self::default();
        // Signals arrive where a runtime waits for events. That of the loops waits nowhere once they block its only
        // worker, so this one has a thread and a runtime of its own; it then sees SIGTERM for the other, too.
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (block, release) = {
            let _inside = runtime.enter();
            (
                signal(SignalKind::user_defined1())?,
                signal(SignalKind::user_defined2())?,
            )
        };
        let keeper = gate.clone();
        thread::Builder::new()
            .name("gate".into())
            .spawn(move || keeper.keep(&runtime, block, release))?;
        Ok(gate)
    }

    fn keep(self, runtime: &Runtime, mut block: Signal, mut release: Signal) {
        loop {
            runtime.block_on(block.recv());
            let _shut = self.open.lock();
            self.asked.notify_one();
            runtime.block_on(release.recv());
        }
    }
}

impl RuntimeOptions {
    /// Has `serve` accept and answer at one door or several, until one fails or SIGTERM arrives.
    pub fn run<Serving>(
        self,
        name: &'static str,
        serve: impl Fn(RuntimeOptions, Door) -> Serving + Copy + Send + 'static,
    ) -> Result<(), Error>
    where
        Serving: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let loops = self.accepting.accept_loops.0;
        let gate = loops.map(|_| Gate::kept()).transpose()?;
        let runtime = self.runtime(None)?;
        let ended = runtime.block_on(async {
            let mut terminate = signal(SignalKind::terminate())?;
            tokio::select! {
                result = self.serve(name, serve, gate) => result,
                _ = terminate.recv() => Ok(()),
            }
        });
        runtime.shutdown_background(); // a blocked loop would be waited for
        ended
    }

    async fn serve<Serving>(
        self,
        name: &'static str,
        serve: impl Fn(RuntimeOptions, Door) -> Serving + Copy + Send + 'static,
        first_gate: Option<Gate>,
    ) -> Result<(), Error>
    where
        Serving: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let Asked(Some(loops)) = self.accepting.accept_loops else {
            let listener = Arc::new(self.listen().await?);
            announce(listener.local_addr()?, name);
            return serve(self, self.door(listener, None)).await;
        };
        let mut gates = first_gate.into_iter();
        let (failed, mut failures) = mpsc::channel(loops as usize);
        if self.accepting.reuseport == Switch::On {
            // All of them, before the first answers: who was answered finds the port complete.
            let listeners: Result<Vec<_>, _> =
                (0..loops).map(|_| self.listen_beside_others()).collect();
            for (number, listener) in listeners?.into_iter().enumerate() {
                let gate = gates.next();
                let (failed, runtime) = (failed.clone(), self.runtime(Some(1))?);
                let run = move || {
                    let served = runtime.block_on(async {
                        let listener = Arc::new(TcpListener::from_std(listener)?);
                        serve(self, self.door(listener, gate)).await
                    });
                    failed.blocking_send(served)
                };
                thread::Builder::new()
                    .name(format!("loop-{number}"))
                    .spawn(run)?;
            }
        } else {
            let listener = Arc::new(self.listen().await?);
            for _ in 0..loops {
                let (door, failed) = (self.door(listener.clone(), gates.next()), failed.clone());
                tokio::spawn(async move { failed.send(serve(self, door).await).await });
            }
        }
        announce(self.shared.address(), name);
        failures.recv().await.unwrap_or(Ok(()))
    }

    fn door(&self, listener: Arc<TcpListener>, gate: Option<Gate>) -> Door {
        Door {
            listener,
            stamps: self.shared.stamps,
            batch: self.accepting.accept_batch.0,
            in_a_row: 0,
            gate,
        }
    }

    /// A runtime with the threads that were asked for; of one thread it is that which calls it.
    fn runtime(&self, unasked: Option<u32>) -> Result<Runtime, Error> {
        let mut builder = match (self.shared.workers.0.or(unasked), unasked) {
            (Some(1), Some(_)) => Builder::new_current_thread(),
            (Some(workers), _) => {
                let mut builder = Builder::new_multi_thread();
                builder.worker_threads(workers as usize);
                builder
            }
            (None, _) => Builder::new_multi_thread(),
        };
        Ok(builder.enable_all().build()?)
    }
}
