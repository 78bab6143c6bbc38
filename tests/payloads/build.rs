//! Links a payload at 2 MiB, at fixed addresses: who loads it need not relocate.

fn main() {
    println!("cargo:rerun-if-changed=../build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        for argument in [
            "--no-pie",
            "--image-base=0x200000",
            "-znorelro",
            "-uruntime_main",
        ] {
            println!("cargo:rustc-link-arg-bins={argument}");
        }
    }
}
