//! `mandelbrot`.

use image::Rgb;

use crate::cli::{pool_cli, run};
use crate::tree::Tree;

#[test]
fn an_image_is_drawn_in_place() {
    let tree = Tree::new("mandelbrot");
    let draw = |size: &str, workers: &str| {
        let arguments = ["mandelbrot", "--out", "m.png", "--size", size, "--workers", workers];
        let outcome = run(pool_cli(arguments).current_dir(tree.path())).expect_code(0);
        assert!(outcome.text().ends_with(&format!("by {workers} workers\n")), "{}", outcome.text());
        image::open(tree.path().join("m.png")).unwrap().into_rgb8()
    };
    let image = draw("160x90", "1");
    assert_eq!(image.dimensions(), (160, 90));
    assert_eq!((image.get_pixel(80, 45), image.get_pixel(0, 0) == &Rgb([0; 3])), (&Rgb([0; 3]), false));
    assert_eq!(draw("160x90", "3"), image);
    assert_eq!(draw("7x1", "2").dimensions(), (7, 1));
    let outcome = run(&mut pool_cli(["mandelbrot", "--out", "m.png", "--size=9x0"])).expect_code(2);
    assert!(outcome.err.contains("write two numbers"), "{}", outcome.err);
    run(&mut pool_cli(["mandelbrot", "--size=9x9", "--out", "/dev/null/m.png"])).expect_code(1);
}
