//! Holds the declarations against the installed grassflow.h, with a C compiler as the judge: what
//! src/lib.rs says is said again in C after the header, where every contradiction is an error.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

const SOURCE: &str = include_str!("../src/lib.rs");

fn pkg_config(argument: &str) -> String {
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".into());
    let output = Command::new(program).args([argument, "grassflow"]).output().expect("pkg-config");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_string()
}

/// The C spelling of a Rust type of src/lib.rs.
fn c_type(rust: &str) -> String {
    let rust = rust.trim();
    if let Some(target) = rust.strip_prefix("*mut ") {
        return format!("{}*", c_type(target));
    }
    if let Some(target) = rust.strip_prefix("*const ") {
        return format!("const {}*", c_type(target));
    }
    if let Some((element, count)) = rust.strip_prefix('[').and_then(|r| r.rsplit_once("; ")) {
        let count = count.strip_suffix(']').expect("the end of an array");
        let element = c_type(element);
        // C writes the extents of arrays in arrays after their one element, the outermost first.
        let (innermost, extents) = element.split_at(element.find('[').unwrap_or(element.len()));
        return format!("{innermost}[{count}]{extents}");
    }
    match rust {
        "c_char" => "char",
        "c_int" => "int",
        "c_void" => "void",
        "usize" => "size_t",
        "u32" => "uint32_t",
        "i32" => "int32_t",
        "i64" => "int64_t",
        "u64" => "uint64_t",
        "f32" => "float",
        "f64" => "double",
        name if name.starts_with("gf_") => name,
        other => panic!("{other}: no C type is known"),
    }
    .to_string()
}

/// (name, parameter types, return type) of every function of the extern block.
fn functions() -> Vec<(String, Vec<String>, String)> {
    let block = SOURCE.split_once("extern \"C\" {\n").expect("the extern block").1;
    let declarations = block.split("pub fn ").skip(1);
    declarations
        .map(|declaration| {
            let text = declaration.split(';').next().unwrap();
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let (name, rest) = text.split_once('(').unwrap();
            let (parameters, result) = rest.split_once(')').unwrap();
            let parameters = parameters.split(", ").filter(|p| !p.is_empty());
            let types = parameters.map(|p| c_type(p.split_once(": ").unwrap().1)).collect();
            let result = result.strip_prefix(" -> ").map_or("void".to_string(), c_type);
            (name.to_string(), types, result)
        })
        .collect()
}

/// The type of a struct's field as src/lib.rs has it.
fn field_type(structure: &str, field: &str) -> String {
    let start = format!("struct {structure} {{");
    let body = SOURCE.split_once(&start).expect(structure).1.split('}').next().unwrap();
    let line = body.lines().find_map(|line| line.trim().strip_prefix(&format!("{field}: ")));
    c_type(line.expect(field).trim_end_matches(','))
}

/// C source that compiles if, and only if, src/lib.rs agrees with the header.
fn everything_in_c() -> String {
    let mut c =
        String::from("#include <grassflow.h>\n#define SAME(is, text) _Static_assert(is, text)\n");
    for (name, types, result) in functions() {
        let types = if types.is_empty() { "void".to_string() } else { types.join(", ") };
        c += &format!("{result} {name}({types});\n");
    }
    for (name, size, fields) in grassflow_sys::layouts() {
        c += &format!("SAME(sizeof({name}) == {size}, \"size of {name}\");\n");
        for (field, offset) in fields {
            let declared = field_type(name, field);
            c += &format!(
                "SAME(offsetof({name}, {field}) == {offset}, \"{name}.{field}: offset\");\n"
            );
            c += &format!(
                "SAME(__builtin_types_compatible_p(__typeof__((({name}*)0)->{field}), {declared}), \
                 \"{name}.{field}: type\");\n"
            );
        }
    }
    for line in SOURCE.lines().filter_map(|line| line.strip_prefix("pub const ")) {
        let (name, rest) = line.split_once(": ").unwrap();
        let value = rest.split_once(" = ").unwrap().1.trim_end_matches(';');
        c += &format!("SAME({name} == {value}, \"{name}\");\n");
    }
    c
}

#[test]
fn declarations_agree_with_the_header() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("everything.c");
    fs::write(&path, everything_in_c()).unwrap();
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".into());
    let output = Command::new(compiler)
        .args(["-std=gnu11", "-fsyntax-only"])
        .args(pkg_config("--cflags").split_whitespace())
        .arg(&path)
        .output()
        .expect("a C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_function_is_declared() {
    let header = Path::new(&pkg_config("--variable=includedir")).join("grassflow.h");
    let header = fs::read_to_string(&header).unwrap();
    let declared: Vec<String> = functions().into_iter().map(|(name, ..)| name).collect();
    let mut count = 0;
    for declaration in header.split("\nGF_API ").skip(1) {
        let before = declaration.split('(').next().unwrap();
        let name = before.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
        assert!(declared.iter().any(|d| d == name), "{name} is not declared in src/lib.rs");
        count += 1;
    }
    assert_eq!(count, declared.len());
}

#[test]
fn versions_agree() {
    assert_eq!(unsafe { grassflow_sys::gf_version() }, grassflow_sys::GF_VERSION);
}
