//! The smallest PDF that readers open: one page, one font, a few lines. The sandbox has it so that not every document is
//! XML.

/// A one-page letter (PDF 1.4) with these lines. Characters outside printable ASCII become `?`: the built-in font of a
/// minimal file has no others.
pub fn letter(lines: &[&str]) -> Vec<u8> {
    let mut page = String::from("BT /F1 12 Tf 72 720 Td 16 TL\n");
    for line in lines {
        page.push_str(&format!("({}) Tj T*\n", literal(line)));
    }
    page.push_str("ET");
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>"
            .to_owned(),
        format!("<< /Length {} >>\nstream\n{page}\nendstream", page.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ];
    let mut file = String::from("%PDF-1.4\n");
    let mut table = String::from("0000000000 65535 f \n");
    for (index, object) in objects.iter().enumerate() {
        table.push_str(&format!("{:010} 00000 n \n", file.len()));
        file.push_str(&format!("{} 0 obj\n{object}\nendobj\n", index + 1));
    }
    let count = objects.len() + 1;
    let start = file.len();
    file.push_str(&format!(
        "xref\n0 {count}\n{table}trailer\n<< /Size {count} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n"
    ));
    file.into_bytes()
}

/// Text of a literal string, its delimiters escaped.
fn literal(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '(' | ')' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => out.push('?'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ISO 32000-1: 7.5.4: each entry of the cross-reference table is where its object begins.
    #[test]
    fn the_table_points_at_each_object() {
        let file = String::from_utf8(letter(&["Consult (draft)", "Ñ"])).unwrap();
        assert!(file.starts_with("%PDF-1.4\n") && file.ends_with("%%EOF\n"));
        assert!(file.contains(r"(Consult \(draft\)) Tj") && file.contains("(?) Tj"));
        let start: usize = file.split("startxref\n").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
        assert!(file[start..].starts_with("xref\n0 6\n"));
        for (number, entry) in file[start..].lines().skip(3).take(5).enumerate() {
            let at: usize = entry[..10].parse().unwrap();
            assert!(file[at..].starts_with(&format!("{} 0 obj", number + 1)), "{entry}");
        }
    }
}
