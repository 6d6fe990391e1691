//! The command line.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    env_logger::init();
    let vars = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    let config = match seatlock::config::Config::read(vars, None) { Ok(c) => c, Err(e) => { log::error!("{e}"); std::process::exit(78) } };
    actix_web::rt::System::new().block_on(async move {
        match seatlock::app::App::build(&config).await {
            Ok(app) => { log::info!("listening {}", app.address()); let r = app.run_until_stopped(async { let mut s = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap(); s.recv().await; }).await; log::info!("{r:?}") }
            Err(e) => { log::error!("{e}"); std::process::exit(1) }
        }
    });
}
