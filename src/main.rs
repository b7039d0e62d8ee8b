//! stub
fn main() {
    for crd in kanary::api::crds() {
        println!("---\n{}", serde_yaml_ng::to_string(&crd).unwrap_or_default());
    }
}
