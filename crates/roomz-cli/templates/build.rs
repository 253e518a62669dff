//! Describes the gRPC service in Rust, so that `protoc` is not needed. For a `.proto` file, use
//! `tonic-prost-build`.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let watch = Method::builder()
        .name("watch")
        .route_name("Watch")
        .comment("Streams every presence change from now on.")
        .input_type("crate::grpc::WatchRequest")
        .output_type("crate::grpc::PresenceChange")
        .codec_path("tonic_prost::ProstCodec")
        .server_streaming()
        .build();
    let presence = Service::builder()
        .name("Presence")
        .package("example")
        .comment("The presence of workspaces.")
        .method(watch)
        .build();
    Builder::new().compile(&[presence]);
}
