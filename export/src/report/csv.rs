//! The tables that a run leaves, read by the names of their columns: another column, or another order, changes nothing
//! here. Names in these tables hold no commas or quotes, so a row is split at its commas.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// A table of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    path: PathBuf,
    /// Names of the columns.
    pub names: Vec<String>,
    /// As many fields a row as there are names.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Reads a table; none when there is no such file.
    ///
    /// # Errors
    /// When it cannot be read, or a row has more or fewer fields than there are names.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(path, &text).map(Some)
    }

    /// As [`Table::read`], of a text.
    ///
    /// # Errors
    /// When a row has more or fewer fields than there are names.
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let mut lines = text.lines().enumerate();
        let (_, head) = lines.next().with_context(|| format!("{} is empty", path.display()))?;
        let fields = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
        let names = fields(head);
        let mut rows = Vec::new();
        for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
            let row = fields(line);
            ensure!(
                row.len() == names.len(),
                "{}, line {}: found {} fields, expected {} as in its first line",
                path.display(),
                number + 1,
                row.len(),
                names.len()
            );
            rows.push(row);
        }
        Ok(Self { path: path.into(), names, rows })
    }

    /// Place of a column, when there is one of that name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name)
    }

    /// Place of a column.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn need(&self, name: &str) -> Result<usize> {
        self.column(name).with_context(|| {
            format!("{} has no column `{name}`; it has {}", self.path.display(), self.names.join(", "))
        })
    }

    /// A number of a row; none where the field is empty.
    ///
    /// # Errors
    /// When the field is no finite number.
    pub fn number(&self, row: usize, column: usize) -> Result<Option<f64>> {
        let field = &self.rows[row][column];
        if field.is_empty() {
            return Ok(None);
        }
        let number = field.parse().ok().filter(|n: &f64| n.is_finite());
        let number = number.with_context(|| {
            format!(
                "{}, line {}, column {}: found `{field}`, expected a number",
                self.path.display(),
                row + 2,
                self.names[column]
            )
        })?;
        Ok(Some(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Result<Table> {
        Table::parse(Path::new("x.csv"), text)
    }

    #[test]
    fn fields_are_found_by_name() {
        let table = table("a,b\n1,x\n,2.5\n").expect("a table");
        assert_eq!((table.column("b"), table.column("c")), (Some(1), None));
        assert_eq!(table.number(1, 1).expect("a number"), Some(2.5));
        assert_eq!(table.number(1, 0).expect("an empty field"), None);
        let refused = format!("{:#}", table.number(0, 1).expect_err("no number"));
        assert!(refused.contains("x.csv, line 2, column b: found `x`"), "{refused}");
        let refused = format!("{:#}", table.need("c").expect_err("no such column"));
        assert!(refused.contains("no column `c`; it has a, b"), "{refused}");
    }

    #[test]
    fn ragged_and_empty_tables_are_refused() {
        let refused = format!("{:#}", table("a,b\n1,2\n1\n").expect_err("ragged"));
        assert!(refused.contains("line 3: found 1 fields, expected 2"), "{refused}");
        assert!(table("").is_err());
        assert_eq!(Table::read(Path::new("/nowhere/x.csv")).expect("no error"), None);
    }
}
