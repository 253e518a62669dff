use roomz_tests::{Server, redis_url};

/// Starts a Redis server with these arguments. `None`, after the tests are reported as skipped, if there is no
/// `redis-server` here.
pub(crate) fn start_redis(arguments: &[&str]) -> Option<Server> {
    let server = Server::redis(arguments);
    if server.is_none() {
        // Reports what is skipped, or fails if the run must be complete.
        redis_url();
    }
    server
}
