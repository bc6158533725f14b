//! Compiles a description for a device tree and prints what it says: `check FILE DTB IMAGES [OUT]`.

fn main() -> miette::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, file, dtb, images, rest @ ..] = arguments.as_slice() else {
        return Err(miette::miette!("usage: check FILE DTB IMAGES [OUT]"));
    };
    let read =
        |path: &String| std::fs::read(path).map_err(|error| miette::miette!("{path}: {error}"));
    let compiled = shikiri_describe::compile(&shikiri_describe::Request {
        file: file.into(),
        board_dtb: read(dtb)?,
        image_dirs: vec![images.into()],
        overrides: shikiri_describe::Overrides::default(),
    })?;
    print!("{}", compiled.explanation);
    if let [out] = rest {
        std::fs::write(out, compiled.bundle).map_err(|error| miette::miette!("{out}: {error}"))?;
    }
    Ok(())
}
