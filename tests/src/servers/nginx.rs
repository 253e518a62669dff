use super::postgres::{command, give_to_server_user};
use super::{Program, Server, directory, free_port};
use crate::skipped;

const NGINX: Program = Program {
    name: "nginx",
    // Debian installs the server in `/usr/sbin`.
    command: || command("nginx"),
    // nginx writes its process id after it has bound the port, and exits if the port is in use.
    is_ready: |directory, id| {
        std::fs::read_to_string(directory.join("pid")).is_ok_and(|text| text.trim() == id.to_string())
    },
};

impl Server {
    /// Starts an nginx with these lines in its `http` block and these in its only `server` block. If it
    /// cannot start, reports that the tests are skipped.
    ///
    /// Every other setting is the default of nginx, except for the paths. The directory of the server
    /// contains `access.log` and `error.log`.
    ///
    /// ```no_run
    /// use roomz_tests::Server;
    ///
    /// let nginx = Server::nginx_or_skip("", "location / { proxy_pass http://127.0.0.1:3000; }");
    /// ```
    pub fn nginx_or_skip(http: &str, server: &str) -> Option<Self> {
        for _ in 0..10 {
            let port = free_port();
            let directory = directory("nginx", port);
            std::fs::write(directory.join("nginx.conf"), configuration(port, http, server)).unwrap();
            give_to_server_user(&directory);
            let prefix = directory.to_str().unwrap().to_owned();
            let arguments =
                ["-p", &prefix, "-c", "nginx.conf", "-e", "error.log"].map(str::to_owned).to_vec();
            let Some(mut nginx) = Self::spawn(NGINX, directory, port, arguments) else {
                skipped("tests with nginx", "there is no `nginx` on the PATH");
                return None;
            };
            // Another process may have bound the port in the meantime.
            if nginx.is_ready_or_exited() {
                return Some(nginx);
            }
            let log = std::fs::read_to_string(nginx.directory.join("error.log")).unwrap_or_default();
            assert!(!log.contains("[emerg]") || log.contains("Address already in use"), "{log}");
        }
        panic!("nginx did not start on any of 10 ports");
    }
}

fn configuration(port: u16, http: &str, server: &str) -> String {
    // Without these paths nginx writes to `/var`.
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {name}_temp;\n"))
        .concat();
    format!(
        "daemon off;\n\
         pid pid;\n\
         events {{}}\n\
         http {{\n\
         access_log access.log;\n\
         {temporary}\
         {http}\n\
         server {{\n\
         listen 127.0.0.1:{port};\n\
         {server}\n\
         }}\n\
         }}\n"
    )
}
