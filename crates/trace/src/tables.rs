//! The two tables of a recording: the words and the places that events name by number.
//!
//! Who writes a recording fills them as it gives out numbers, who reads one fills them from the file's definitions. They
//! hold what they were told and nothing between: a file that names the number four billion takes no more than its own size.

use crate::by_number::ByNumber;
use crate::event::{Definition, Owner, Place, Text};

/// A place in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PlaceRow {
    pub file: Text,
    pub line: u32,
    /// What the code is called there, or 0.
    pub function: Text,
    pub owner: Owner,
}

#[derive(Debug, Clone, Default)]
pub struct Tables {
    texts: ByNumber<Text, Box<str>>,
    places: ByNumber<Place, PlaceRow>,
}

impl Tables {
    /// A number that was defined before means the new thing from now on. 0 can't be defined: it means "unknown".
    pub fn define(&mut self, definition: Definition) {
        match definition {
            Definition::Text { number: 0, .. } | Definition::Place { number: 0, .. } => {}
            Definition::Text { number, text } => {
                self.texts.insert(number, text);
            }
            Definition::Place { number, file, line, function, owner } => {
                self.places.insert(number, PlaceRow { file, line, function, owner });
            }
        }
    }

    /// The words; "" if there are none of that number.
    pub fn text(&self, number: Text) -> &str {
        self.texts.get(&number).map_or("", |text| text)
    }

    pub fn place(&self, number: Place) -> Option<PlaceRow> {
        self.places.get(&number).copied()
    }

    /// Every text, in no order.
    pub fn texts(&self) -> impl Iterator<Item = (Text, &str)> {
        self.texts.iter().map(|(&number, text)| (number, &**text))
    }

    /// Every place, in no order.
    pub fn places(&self) -> impl Iterator<Item = (Place, PlaceRow)> + '_ {
        self.places.iter().map(|(&number, &row)| (number, row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_defined_is_found_and_nothing_else() {
        let mut tables = Tables::default();
        tables.define(Definition::Text { number: 1, text: "app.py".into() });
        tables.define(Definition::Text { number: u32::MAX, text: "main".into() });
        tables.define(Definition::Text { number: 0, text: "never".into() });
        let place = Definition::Place { number: 7, file: 1, line: 12, function: u32::MAX, owner: Owner::Program };
        tables.define(place);
        assert_eq!([tables.text(0), tables.text(1), tables.text(2), tables.text(u32::MAX)], ["", "app.py", "", "main"]);
        let row = PlaceRow { file: 1, line: 12, function: u32::MAX, owner: Owner::Program };
        assert_eq!([tables.place(7), tables.place(0), tables.place(8)], [Some(row), None, None]);
        assert_eq!((tables.texts().count(), tables.places().count()), (2, 1));
    }
}
