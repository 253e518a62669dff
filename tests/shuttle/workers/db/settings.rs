use std::time::Duration;

pub struct Settings {
    pub connect_timeout: Duration,
    pub response_timeout: Duration,
}
