//! The gRPC service, described in Rust so that no `protoc` is needed. With a `.proto` file, use `tonic-prost-build`.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let watch = Method::builder()
        .name("watch")
        .route_name("Watch")
        .comment("Every presence change from now on.")
        .input_type("crate::WatchRequest")
        .output_type("crate::PresenceChange")
        .codec_path("tonic_prost::ProstCodec")
        .server_streaming()
        .build();
    let presence = Service::builder()
        .name("Presence")
        .package("example")
        .comment("Which workspace is taken.")
        .method(watch)
        .build();
    Builder::new().compile(&[presence]);
}
